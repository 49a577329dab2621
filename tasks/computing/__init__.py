"""Trials on Ray workers."""
