"""Writes `operators/board/studentized_ranges.csv`: what Nemenyi's critical difference needs.

    python benchmarks/studentized_ranges.py

The 95 % quantile of the studentized range of k normal means, with infinitely many degrees of
freedom. A board of one ground seldom ranks more than a hundred methods; beyond the table no
critical difference is told.
"""

import csv
from pathlib import Path

from scipy.stats import studentized_range

FILE = Path(__file__).resolve().parents[1] / "operators" / "board" / "studentized_ranges.csv"
MOST = 200  # methods


def main() -> None:
    """See the module."""
    with FILE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["methods", "q"])
        for methods in range(2, MOST + 1):
            q = float(studentized_range.ppf(0.95, methods, float("inf")))
            writer.writerow([methods, f"{q:.8f}"])


if __name__ == "__main__":
    main()
