"""`shotboard board --reference`: the board beside published numbers."""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from flows.cli.answers import as_csv, write_file
from flows.cli.terminal import err, out, print_table, write_out
from operators.episodes.shots import shots_word
from tasks.pages.reference import (
    COLUMNS,
    conflict_rows,
    conflicts_of,
    reference_rows,
    why_none,
)
from tasks.plain_text import in_markdown, markdown_table
from tasks.storage.store import Store

ABOUT = "Ours beside published numbers, shares in per cent; difference = ours - published"
DISAGREE = "papers disagree about these numbers"
SHOWN = 12  # disagreements in a terminal
_HEADS = ("protocol", "dataset", "backbone", "shots", "split", "method", "ours", "95 %")
HEADS = (*_HEADS, "published", "difference", "95 % of it", "verdict", "published as", "source")
NUMERIC = [name in ("shots", "ours", "published", "difference") for name in HEADS]
CONFLICT_HEADS = ("kind", "method", "dataset", "shots", "split", "spread", "numbers", "note")

Row = Mapping[str, Any]


def put_reference(
    store: Store, asked: Mapping[str, Any], format: StrEnum, output: Path | None
) -> None:
    """Prints the board beside published numbers, or writes it to a file.

    Args:
        store: Whose board.
        asked: Values that rows keep to, by column; None for all.
        format: `table`, `markdown`, `latex`, `csv` or `json`.
        output: The file; default: standard output.

    Raises:
        LookupError: What stands beside published numbers has no such value.
        ValueError: A table is for a terminal, and a file is asked for.
    """
    every = reference_rows(store)
    rows = _only(every, asked)
    why = None if every else why_none(store)
    conflicts = conflicts_of(conflict_rows(store), rows)
    if format.value == "table":
        if output is not None:
            raise ValueError("-o takes what --format makes: add it.")
        _print(rows, conflicts, why)
        return
    text = _WRITERS[format.value](rows, conflicts, why)
    write_file(output, text.encode()) if output else write_out(text)
    if why and format.value in ("csv", "latex"):
        err.print(why)


def _only(rows: list[dict[str, Any]], asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    for name, value in asked.items():
        if value is None or not rows:
            continue
        wanted = str(value).lower()
        known = list(dict.fromkeys(row[name] for row in rows))
        kept = [row for row in rows if str(row[name]).lower() == wanted]
        if not kept:
            said = ", ".join(shots_word(v) if name == "shots" else str(v) for v in known)
            raise LookupError(
                f"no published number stands beside {name} {value!r} here: there is {said}."
            )
        rows = kept
    return rows


def _print(rows: Sequence[Row], conflicts: Sequence[Row], why: str | None) -> None:
    if why:
        out.print(why)
        return
    out.print(f"{ABOUT}\n")
    print_table(HEADS, map(_line, rows), numeric=NUMERIC)
    if conflicts:
        out.print(f"\n{DISAGREE} ({len(conflicts)}); SQL: reference_conflicts, reference_sources")
        print_table(CONFLICT_HEADS, map(_conflict, conflicts[:SHOWN]))
        if len(conflicts) > SHOWN:
            out.print(f".. and {len(conflicts) - SHOWN} more: --json has all")


def _markdown(rows: Sequence[Row], conflicts: Sequence[Row], why: str | None) -> str:
    if why:
        return f"{in_markdown(why)}\n"
    text = f"{ABOUT}.\n\n{markdown_table(HEADS, map(_line, rows), NUMERIC)}"
    if conflicts:
        table = markdown_table(CONFLICT_HEADS, map(_conflict, conflicts))
        text += f"\n{DISAGREE.capitalize()}:\n\n{table}"
    return text


def _latex(rows: Sequence[Row], _: Sequence[Row], why: str | None) -> str:
    from tasks.pages.tables import Cell, latex_table

    lines = ([Cell(str(value)) for value in _line(row)] for row in rows)
    return "" if why else latex_table(ABOUT, HEADS, lines, NUMERIC)


def _csv(rows: Sequence[Row], _: Sequence[Row], why: str | None) -> str:
    return as_csv([COLUMNS, *(row.values() for row in rows)])


def _json(rows: Sequence[Row], conflicts: Sequence[Row], why: str | None) -> str:
    found = {"rows": rows, "conflicts": conflicts, "why_none": why}
    return json.dumps(found, indent=1, default=str) + "\n"


_WRITERS = {"markdown": _markdown, "latex": _latex, "csv": _csv, "json": _json}


def _line(row: Row) -> list[str]:
    low, high = row["difference_ci95_low"], row["difference_ci95_high"]
    ends = row["ci95_low"], row["ci95_high"]
    return [
        *(str(row[name]) for name in ("protocol", "dataset", "backbone")),
        shots_word(row["shots"]),
        row["split"],
        " ".join(filter(None, (row["method"], row["variant"]))),
        _percent(row["mean"]),
        "" if None in ends else f"[{', '.join(map(_percent, ends))}]",
        _percent(row["published"]),
        _signed(row["difference"]),
        "" if low is None or high is None else f"[{_signed(low)}, {_signed(high)}]",
        row["verdict"],
        row["published_method"],
        row["source"],
    ]


def _conflict(row: Row) -> list[str]:
    place = [str(row[name]) for name in ("kind", "method", "dataset")]
    numbers = [shots_word(row["shots"]), row["split"], _percent(row["spread"], digits=2)]
    return [*place, *numbers, row["said"], row["note"] or ""]


def _percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f}"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}"
