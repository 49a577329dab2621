"""Shotboard: the command, and the same as functions that return data frames.

A project of the user may well have a `flows.py` or a `tasks.py`, and `PYTHONPATH` may name its
folder. So our packages are looked for beside this one, whatever else is on the search path.
"""

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:  # they are imported when they are asked for
    from shotboard.notebook import (
        board,
        compare,
        confusions,
        merge,
        plot,
        predict,
        run,
        runs,
        show,
        sql,
        verify,
    )

__all__ = [
    "board",
    "compare",
    "confusions",
    "merge",
    "plot",
    "predict",
    "run",
    "runs",
    "show",
    "sql",
    "verify",
]


def __getattr__(name: str) -> Any:
    """A function of the notebook."""
    if name not in __all__:
        raise AttributeError(f"module 'shotboard' has no attribute {name!r}")
    _find_own_packages()
    return getattr(import_module("shotboard.notebook"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def main() -> NoReturn:
    """Runs the command line."""
    _find_own_packages()
    from flows.cli import main as command_line

    command_line()


def _find_own_packages() -> None:
    """Imports our `flows` by place; from its first line on it sees to the others."""
    root = str(Path(__file__).resolve().parents[1])
    spec = PathFinder.find_spec("flows", [root])
    if spec is None or spec.loader is None:
        sys.exit("shotboard is not installed whole: it has no package `flows`. Install it again.")
    there = getattr(sys.modules.get("flows"), "__file__", None)
    if there is None or there != spec.origin:
        sys.modules["flows"] = flows = module_from_spec(spec)
        spec.loader.exec_module(flows)
