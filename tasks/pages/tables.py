r"""The board as tables of a paper: a protocol and split each, methods down, data sets across.

    \begin{tabular} ..        LaTeX, with booktabs            | method | .. |   Markdown

The best come first, and the best of each column is bold. Methods that learn from no example stand
in the tables of all shots. The average over data sets is that of the view `averages`: a method that
lacks a data set has none, and a note names what it lacks.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from operators.episodes.shots import shots_order, shots_said
from tasks.pages.reports import goodness, quantity, score, seen
from tasks.plain_text import Marked, in_markdown, markdown_table, plain

AVERAGE = "average"
_GROUND = ("protocol", "split", "backbone", "metric", "test_rows_per_class")
_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
}

Row = Mapping[str, Any]


class Cell(NamedTuple):
    """A score as text, and whether none in its column is better."""

    text: str
    is_best: bool = False


class MethodTable(NamedTuple):
    """Methods down, data sets across.

    Attributes:
        title: Protocol, split, shots and backbone.
        quantity: What the numbers are.
        columns: Data sets, and their average where there are several.
        lines: Name of a method and its cells; the best first.
        notes: What a reader must know: settings, and what is missing.
    """

    title: str
    quantity: str
    columns: list[str]
    lines: list[tuple[str, list[Cell]]]
    notes: list[str]


def method_tables(rows: Iterable[Row], averages: Iterable[Row]) -> list[MethodTable]:
    """A table for each protocol, split, backbone, cap on test rows and number of shots.

    Args:
        rows: As `board_rows` gives them.
        averages: Rows of the view of that name, with the unit of their metric.
    """
    over: dict[tuple, list[Row]] = {}
    for row in averages:
        over.setdefault(tuple(row[name] for name in _GROUND), []).append(row)
    grounds: dict[tuple, list[Row]] = {}
    for row in rows:
        grounds.setdefault(tuple(row[name] for name in _GROUND), []).append(row)
    tables = []
    for ground, found in grounds.items():
        shots = sorted({row["shots"] for row in found}, key=shots_order)
        for number in [k for k in shots if k] or shots:
            competing = [row for row in found if row["shots"] in (0, number)]
            mean = [row for row in over.get(ground, ()) if row["shots"] in (0, number)]
            tables.append(_table(number, competing, mean))
    return tables


def markdown(tables: Sequence[MethodTable]) -> str:
    """Tables in Markdown."""
    parts = []
    for table in tables:
        parts.append(f"### {in_markdown(table.title)}\n\n{in_markdown(table.quantity)}\n")
        lines = (
            (name, *(Marked(f"**{c.text}**") if c.is_best else Marked(c.text) for c in cells))
            for name, cells in table.lines
        )
        numeric = [False] + [True] * len(table.columns)
        parts.append(markdown_table(["method", *table.columns], lines, numeric).rstrip())
        parts += [f"\n{in_markdown(note)}" for note in table.notes]
        parts.append("")
    return "\n".join(parts)


def latex(tables: Sequence[MethodTable]) -> str:
    r"""Tables in LaTeX; `\usepackage{booktabs}` goes before them."""
    parts = []
    for table in tables:
        about = ". ".join([f"{table.title}: {table.quantity}", *table.notes])
        lines = [[Cell(name), *cells] for name, cells in table.lines]
        numeric = [False] + [True] * len(table.columns)
        parts.append(latex_table(about, ["method", *table.columns], lines, numeric))
    return "\n".join(parts)


def latex_table(
    about: str, heads: Sequence[str], lines: Iterable[Sequence[Cell]], numeric: Sequence[bool]
) -> str:
    r"""One table in LaTeX.

    Args:
        about: The caption, without its full stop.
        heads: Of the columns.
        lines: A cell a column.
        numeric: Which columns hold numbers, which stand to the right.
    """
    sides = "".join("r" if number else "l" for number in numeric)
    parts = [r"\begin{table}", r"\centering", rf"\caption{{{in_latex(about)}.}}"]
    parts += [rf"\begin{{tabular}}{{{sides}}}", r"\toprule"]
    parts += [" & ".join(map(in_latex, heads)) + r" \\", r"\midrule"]
    for cells in lines:
        texts = [
            rf"\textbf{{{in_latex(cell.text)}}}" if cell.is_best else in_latex(cell.text)
            for cell in cells
        ]
        parts.append(" & ".join(texts) + r" \\")
    parts += [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
    return "\n".join(parts)


def in_latex(text: object) -> str:
    """The text as a part of a line of LaTeX, shown as it is."""
    words = " ".join(plain(text).split())
    shown = re.sub(r"[&%$#_{}\\~^]", lambda found: _LATEX[found[0]], words)
    return shown.replace("±", r"$\pm$").replace("·", r"$\cdot$")


def _table(shots: int, rows: list[Row], averages: list[Row]) -> MethodTable:
    """The methods of one ground at some shots, and those that learn from no example."""
    first = rows[0]
    datasets = sorted({row["dataset"] for row in rows})
    several = len(datasets) > 1
    names = _names(rows)
    cells: dict[str, dict[str, Row]] = {}
    for row in rows:
        cells.setdefault(names[_key(row)], {})[row["dataset"]] = row
    notes = seen(rows)
    notes += [f"{names[key]}: {key[1]}" for key in names if key[1] and key[1] not in names[key]]
    if several:
        for row in averages:
            name = names.get(_key(row))
            if name in cells and row["mean"] is not None and _covers(row) == datasets:
                cells[name][AVERAGE] = row
        for name, found in cells.items():
            if missing := [dataset for dataset in datasets if dataset not in found]:
                notes.append(f"{name} lacks {', '.join(missing)}")
    columns = [*datasets, *([AVERAGE] if several else [])]
    best = {
        column: max((goodness(of[column]) for of in cells.values() if column in of), default=None)
        for column in columns
    }
    order = sorted(cells, key=lambda name: (*_standing(cells[name], columns), name))
    lines = [
        (
            name,
            [
                _cell(cells[name][column], best[column]) if column in cells[name] else Cell("")
                for column in columns
            ],
        )
        for name in order
    ]
    at = shots_said(shots) if shots else "no shots"
    title = f"{first['protocol']} · {first['split']} · {at} · {first['backbone']}"
    if first["test_rows_per_class"]:
        title += f" · {first['test_rows_per_class']} test rows a class"
    said = f"{quantity(first)}, mean ± standard deviation over seeds"
    return MethodTable(title, said, columns, lines, notes)


def _standing(cells: Mapping[str, Row], columns: Sequence[str]) -> tuple[bool, float]:
    """Sorts the best first: by the average, or by the only data set; what has none comes last."""
    row = cells.get(columns[-1])
    return row is None, -goodness(row) if row else 0.0


def _cell(row: Row, best: float | None) -> Cell:
    return Cell(score(row), row["mean"] is not None and goodness(row) == best)


def _covers(row: Row) -> list[str]:
    return str(row["covers"] or "").split(", ")


def _key(row: Row) -> tuple[str, str]:
    return row["method"], row["variant"]


def _names(rows: Iterable[Row]) -> dict[tuple[str, str], str]:
    """A method's own name; with its setting where it is there in several."""
    variants: dict[str, set[str]] = {}
    for row in rows:
        variants.setdefault(row["method"], set()).add(row["variant"])
    return {
        (method, variant): method if len(found) == 1 else f"{method} [{variant or 'published'}]"
        for method, found in variants.items()
        for variant in found
    }
