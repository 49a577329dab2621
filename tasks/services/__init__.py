"""Servers that we start, and their end."""
