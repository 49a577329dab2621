"""Learned words: an embedding for each attribute and each object."""
