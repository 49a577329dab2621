"""What a plan will take, before anything of it is run."""
