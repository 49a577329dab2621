"""Prompts that are learned on each test image."""
