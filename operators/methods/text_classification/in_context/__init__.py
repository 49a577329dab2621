"""Labelled examples in front of the question."""
