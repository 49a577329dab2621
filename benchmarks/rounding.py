"""What another processor may move: the quickstart with the instructions of older ones.

    python benchmarks/rounding.py                          # three runs of the suite, minutes
    python benchmarks/rounding.py --suite zoo --json docs/figures/rounding.json

Sums of products are taken in another order where a processor has other vector instructions, so a
feature differs in its last bits and a prompt that was tuned for hundreds of steps by a bit more.
The suite runs in an empty store with all that this processor has, then with AVX2 alone, then with
none of these; trials are compared by id.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb
from measuring import markdown_table, write_json

# What torch, oneDNN and MKL read when they choose their kernels.
INSTRUCTIONS = {
    "all": {},
    "AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "SSE4": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    },
}
COMPARED = """
WITH a AS (SELECT * FROM one.{table}), b AS (SELECT * FROM two.{table})
SELECT {what} FROM a JOIN b USING ({keys})
"""


def run(suite: str, home: Path, instructions: dict[str, str]) -> None:
    """Runs a suite in a store of its own."""
    command = [Path(sys.executable).with_name("shotboard"), "run", suite, "--home", home]
    subprocess.run(command, env=os.environ | instructions, check=True, stdout=subprocess.DEVNULL)


def compare(one: Path, two: Path) -> dict[str, Any]:
    """How far two boards of the same trials are apart.

    Args:
        one: A store.
        two: Another one.

    Returns:
        Counts of predictions and of means over seeds and how many differ, also in the last digit
        that a board shows; the largest difference of a trial's accuracy and of a mean; the method
        of that mean.
    """
    board = duckdb.connect()
    for name, home in (("one", one), ("two", two)):
        board.execute(f"ATTACH '{home / 'leaderboard.duckdb'}' AS {name} (READ_ONLY)")
    rows, turned = _one(
        board,
        table="predictions",
        keys="trial_id, split, row_id",
        what="count(*), count(*) FILTER (a.predicted <> b.predicted)",
    )
    means, shown, largest, method = _one(
        board,
        table="leaderboard",
        keys="cell_id, split, metric",
        what="""
            count(*) FILTER (metric = 'accuracy'),
            count(*) FILTER (metric = 'accuracy' AND round(a.mean, 3) <> round(b.mean, 3)),
            max(abs(a.mean - b.mean)) FILTER (metric = 'accuracy'),
            arg_max(a.method, abs(a.mean - b.mean)) FILTER (metric = 'accuracy')
        """,
    )
    (trial,) = _one(
        board,
        table="metrics",
        keys="trial_id, split, metric",
        what="max(abs(a.value - b.value)) FILTER (metric = 'accuracy')",
    )
    return {
        "predictions": rows,
        "predictions_turned": turned,
        "means": means,
        "means_shown_otherwise": shown,
        "largest_mean_difference": largest,
        "largest_in": method,
        "largest_trial_difference": trial,
    }


def _one(board: duckdb.DuckDBPyConnection, **parts: str) -> tuple[Any, ...]:
    found = board.execute(COMPARED.format(**parts)).fetchone()
    assert found is not None
    return found


def markdown(report: dict[str, Any]) -> str:
    """The report as a table."""
    heads = {"Instructions": "<", "Predictions that differ": ">", "Means shown otherwise": ">"}
    heads |= {"Largest, a mean": ">", "Largest, a trial": ">"}
    rows = [
        (
            row["instructions"],
            f"{row['predictions_turned']:,} of {row['predictions']:,}",
            f"{row['means_shown_otherwise']} of {row['means']}",
            f"{100 * row['largest_mean_difference']:.2f} points ({row['largest_in']})",
            f"{100 * row['largest_trial_difference']:.2f} points",
        )
        for row in report["rows"]
    ]
    return markdown_table(heads, rows)


def main() -> None:
    """Runs, compares, prints the table, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--suite", default="quickstart")
    parser.add_argument("--home", type=Path, help="a store in which all has been run already")
    parser.add_argument("--json", metavar="PATH", help="a file, or - for standard output")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        homes = {name: Path(folder) / name for name in INSTRUCTIONS}
        if given.home is not None:
            homes["all"] = given.home
        for name, instructions in INSTRUCTIONS.items():
            run(given.suite, homes[name], instructions)
        rows = [
            {"instructions": name, **compare(homes["all"], homes[name])}
            for name in INSTRUCTIONS
            if name != "all"
        ]
    report = {"benchmark": "rounding", "suite": given.suite, "rows": rows}
    if given.json != "-":
        print(markdown(report))
    write_json(report, given.json)


if __name__ == "__main__":
    main()
