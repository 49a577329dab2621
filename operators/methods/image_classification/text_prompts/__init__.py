"""Learned context of class prompts at the input of the text tower."""
