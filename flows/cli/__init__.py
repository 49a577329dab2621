"""The command line: a module for each group of commands, and `app.py`, which knows them all."""

from flows.cli.app import main

__all__ = ["main"]
