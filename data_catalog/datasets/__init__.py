"""The embedded datasets, one file each: a filled form and a parser of a few lines."""
