"""What is wrong with an installation or a store, and the remedy."""
