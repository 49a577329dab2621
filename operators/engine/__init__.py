"""Exact speed-ups that all methods share, and the count of what they save."""
