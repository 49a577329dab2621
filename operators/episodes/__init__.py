"""Who sees which rows of which data, and how they are read."""
