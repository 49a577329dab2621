"""Prompts in words that are searched for, or written about each image; no gradient is taken."""
