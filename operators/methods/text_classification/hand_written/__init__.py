"""Prompts that a person wrote; nothing is learned."""
