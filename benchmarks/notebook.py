"""Executes docs/first-ten-minutes.ipynb and keeps what its cells say.

    python benchmarks/notebook.py write     # runs every cell in an empty folder, writes the outputs
    python benchmarks/notebook.py check     # runs them, and says what is not as it stands there

The notebook is edited as any other: change a cell, then `write`. It has no path and no time of the
machine that it ran on. tests/flows/test_notebook.py runs it.
"""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

PROJECT = Path(__file__).resolve().parents[1]
NOTEBOOK = PROJECT / "docs" / "first-ten-minutes.ipynb"
SECONDS = 600  # most that a cell may take
# Processors round in ways of their own, and a prompt that was tuned turns a few test images over:
SHARE, COUNT = 0.1, 0.25  # how far a score or p value may move, and which part of a count
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.])")


def executed(path: Path = NOTEBOOK) -> Any:
    """The notebook with what its cells say now, in a store of its own.

    Raises:
        CellExecutionError: A cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SHOTBOARD_")}
        client = NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": folder}})
        client.execute(env=environment)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = [*_kept(cell.outputs, folder)]
                cell.metadata = {}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def _kept(outputs: list[Any], folder: str) -> Iterator[Any]:
    """Outputs without progress, and without places of this machine."""
    for output in outputs:
        if output.get("name") == "stderr" or output.output_type == "display_data":
            continue  # bars and lines of progress
        output.get("data", {}).pop("image/jpeg", None)  # beside a PNG
        yield nbformat.from_dict(_without_places(output, folder))


def _without_places(value: Any, folder: str) -> Any:
    if isinstance(value, str):
        places = {os.path.realpath(folder), folder, str(PROJECT)}
        for place in sorted(places, key=len, reverse=True):
            value = value.replace(place, ".")
        return value
    if isinstance(value, dict):
        return {key: _without_places(inner, folder) for key, inner in value.items()}
    return [_without_places(v, folder) for v in value] if isinstance(value, list) else value


def texts(notebook: Any) -> list[tuple[str, str]]:
    """Each code cell that says something: its code, and its outputs as plain text."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            said = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs]
            found.append((cell.source, "\n".join(said)))
    return found


def differences(kept: Any, now: Any) -> list[str]:
    """Cells that say something else: other words, or numbers beyond the tolerance.

    Rows may come in another order, for they are ordered by their numbers.
    """
    found = []
    for (source, before), (_, after) in zip(texts(kept), texts(now), strict=True):
        words = [sorted(_NUMBER.sub("", text).split()) for text in (before, after)]
        numbers = [sorted(float(n) for n in _NUMBER.findall(text)) for text in (before, after)]
        near = len(numbers[0]) == len(numbers[1]) and all(
            abs(a - b) <= (SHARE if abs(a) <= 1 else COUNT * abs(a))
            for a, b in zip(numbers[0], numbers[1], strict=True)
        )
        if words[0] != words[1] or not near:
            found.append(f"{source}\n--- was\n{before}\n--- is\n{after}")
    return found


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["write", "check"])
    what = parser.parse_args().what
    now = executed()
    if what == "write":
        nbformat.write(now, NOTEBOOK)
        return 0
    wrong = differences(nbformat.read(NOTEBOOK, as_version=4), now)
    print("\n\n".join(wrong) or "every cell says what it said")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
