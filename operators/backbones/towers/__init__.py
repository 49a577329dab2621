"""Towers that the families are built from."""
