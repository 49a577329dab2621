"""What it costs to read a store of ten thousand trials and a million predictions.

    python benchmarks/reading.py                        # makes the store first, some minutes
    python benchmarks/reading.py --store FOLDER         # keeps it, or takes one that is there
    python benchmarks/reading.py --trials 200 --json -

Commands are started as a user starts them; CPU seconds are those of their process, imports
included, the least of some rounds. Views and a rebuild that finds nothing new are timed inside.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from many_trials import make_store
from measuring import markdown_table, write_json

from operators.board import VIEWS
from tasks.pages.asking import reading
from tasks.pages.rebuilding import rebuild_board
from tasks.storage.store import Store

GOALS = {"read": 1.0, "rebuild with nothing new": 1.0, "full rebuild": 10.0, "view": 0.2}


def commands(store: Store, scratch: Path) -> dict[str, list[str]]:
    """Every command that only reads, as a user writes it."""
    trial = min(store.done())
    return {
        "--help": ["--help"],
        "board": ["board"],
        "sql .. limit 1": ["sql", "SELECT * FROM trials LIMIT 1"],
        "sql of 12,184 rows": ["sql", "SELECT * FROM significance LIMIT 12184"],
        "sql of all predictions -o": [
            *("sql", "SELECT * FROM predictions", "-o"),
            str(scratch / "predictions.parquet"),
        ],
        "show": ["show", trial],
        "methods": ["methods"],
        "methods show": ["methods", "show", "coop"],
        "datasets": ["datasets"],
        "datasets show": ["datasets", "show", "digits"],
        "backbones": ["backbones"],
        "backbones show": ["backbones", "show", "mini-clip"],
    }


def cpu_seconds(arguments: list[str], home: Path) -> float:
    """CPU seconds of the command line in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", *arguments],
        env={**os.environ, "SHOTBOARD_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(store: Store, rounds: int) -> dict[str, dict[str, float]]:
    """CPU seconds of every command, view and rebuild, by kind and name."""
    found: dict[str, dict[str, float]] = {"full rebuild": {}, "rebuild with nothing new": {}}
    found["full rebuild"]["board --rebuild"] = cpu_seconds(["board", "--rebuild"], store.home)
    rebuild_board(store)  # what it imports is not counted below
    found["rebuild with nothing new"][""] = _least(lambda: rebuild_board(store), rounds)
    with tempfile.TemporaryDirectory() as scratch, reading(store) as connection:
        found["view"] = {
            view: _least(lambda view=view: connection.sql(f"FROM {view}").to_arrow_table(), rounds)
            for view in VIEWS
        }
        found["read"] = {
            name: min(cpu_seconds(arguments, store.home) for _ in range(rounds))
            for name, arguments in commands(store, Path(scratch)).items()
        }
    return found


def _least(action: Any, rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        action()
        taken.append(time.process_time() - start)
    return min(taken)


def markdown(report: dict[str, Any]) -> str:
    """A report as a table of docs/benchmarks.md."""
    rows = [
        (kind, f"`{name}`" if name else "", f"{value:.2f} s", f"{GOALS[kind]:g} s")
        for kind, values in report["cpu_seconds"].items()
        for name, value in values.items()
    ]
    return markdown_table({"Kind": "<", "What": "<", "CPU": ">", "Goal": ">"}, rows)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", type=Path, help="made here, or there already")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", help="`-` for standard output")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = asked.store or Path(folder) / "store"
        store = Store.at(home)
        if not store.done():
            make_store(store.home, asked.trials)
        found = measure(store, asked.rounds)
    report = {"benchmark": "reading", "cpu_seconds": found}
    if asked.json != "-":
        print(f"{len(store.done()) if asked.store else asked.trials:,} trials; CPU seconds\n")
        print(markdown(report))
    write_json(report, asked.json)


if __name__ == "__main__":
    main()
