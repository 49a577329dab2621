"""Learned tokens in the layers of one tower or both."""
