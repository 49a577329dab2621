"""Compositions: the Prefect flows, the shipped suites and the command line."""

import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any


class OwnPackages:
    """Finds our packages beside this one, whatever else of their names is on the search path.

    Every project of Celery or Invoke has a `tasks.py`, and a script's folder comes first in it.
    """

    names = frozenset({"tasks", "operators", "data_catalog"})
    root = str(Path(__file__).resolve().parents[1])

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The spec of one of our packages; None for all others, which are found as ever."""
        return PathFinder.find_spec(name, [cls.root], target) if name in cls.names else None


sys.meta_path.insert(0, OwnPackages)  # pyright: ignore[reportArgumentType]  # a class will do
