"""Datasets and descriptions into the store."""
