"""Blocks that methods are composed of; each has two users at least."""
