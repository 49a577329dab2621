"""A CLIP from scratch, as Prefect tasks."""
