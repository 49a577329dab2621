"""Dual encoders: images and texts in one feature space."""
