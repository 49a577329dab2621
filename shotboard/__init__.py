"""The command `shotboard`, under a name that is ours alone.

A project of the user may well have a `flows.py` or a `tasks.py`, and `PYTHONPATH` may name its
folder. So our packages are looked for beside this one, whatever else is on the search path.
"""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import NoReturn


def main() -> NoReturn:
    """Runs the command line."""
    # By place. From its first line on, that package sees to the others: see flows/__init__.py.
    spec = PathFinder.find_spec("flows", [str(Path(__file__).resolve().parents[1])])
    if spec is None or spec.loader is None:
        sys.exit("shotboard is not installed whole: it has no package `flows`. Install it again.")
    sys.modules["flows"] = flows = module_from_spec(spec)
    spec.loader.exec_module(flows)

    from flows.cli import main as command_line

    command_line()
