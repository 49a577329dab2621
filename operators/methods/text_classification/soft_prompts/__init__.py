"""Learned tokens at the input of a frozen language model."""
