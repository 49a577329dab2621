"""Prompts that people or language models wrote; nothing is learned."""
