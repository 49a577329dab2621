"""What a plot is: SQL that gives its rows, a Vega-Lite template with holes, and who fills them.

One picture shows one *ground*: the columns that all of its rows have in common, such as protocol,
data set and backbone. Everything that a picture needs to know of its rows (order, colours, places
of labels, units, what is missing, what it says in words) is worked out here once, in Python; a
browser only puts values into holes and rows into Vega-Lite.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.plots.looks import Looks
from tasks.plots.words import several, where

Row = Mapping[str, Any]
Ask = Callable[[str], Sequence[Row]]  # from SQL to rows, as `tasks.pages.asking.rows` of a store

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
VERSION = "6.4"  # of Vega-Lite, by which specifications are drawn


class NothingToDraw(LookupError):
    """Rows in which a plot has nothing to show; the text says what is missing and what to do."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One picture before it is drawn.

    Attributes:
        ground: What all rows have in common, by column.
        rows: The named data set `rows` of the specification; scores in the unit of the board.
        values: What goes into the holes of the template.
        alt: The picture in words, with its numbers.
        notes: What is not in it, and why.
    """

    ground: Row
    rows: Sequence[Row]
    values: Mapping[str, Any]
    alt: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A kind of picture.

    Attributes:
        name: As users ask for it.
        title: What it shows.
        ground: Columns of which one picture has one value each.
        sql: Gives the rows of all pictures.
        template: A Vega-Lite specification; `{"$": "name"}` is a hole, the data set `rows` is
            that of the figure.
        draw: From one ground, its rows and the looks of methods to a figure; raises
            `NothingToDraw`.
        empty: What to do where the board has no rows for it.
    """

    name: str
    title: str
    ground: tuple[str, ...]
    sql: str
    template: Mapping[str, Any]
    draw: Callable[[Row, Sequence[Row], Looks], Figure]
    empty: str = "Run a suite first: `shotboard run`."

    def grounds(self, rows: Iterable[Row]) -> dict[tuple[Any, ...], list[Row]]:
        """The rows of each picture, in their order; a number that is none is None."""
        found: dict[tuple[Any, ...], list[Row]] = {}
        for row in rows:
            row = {
                key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in row.items()
            }
            found.setdefault(tuple(row[name] for name in self.ground), []).append(row)
        return found

    def spec(self, figure: Figure) -> dict[str, Any]:
        """The whole specification of a figure of this plot, rows and all."""
        filled = fill(self.template, figure.values)
        return {
            "$schema": SCHEMA,
            "description": figure.alt,
            "data": {"name": "rows"},
            "datasets": {"rows": [dict(row) for row in figure.rows]},
            **filled,
        }


@dataclass
class Lines:
    """Methods of one ground in the order in which a picture names them.

    Attributes:
        labels: What they are called, best first.
        methods: The method of each label.
    """

    labels: list[str] = field(default_factory=list)
    methods: dict[str, str] = field(default_factory=dict)

    def looks(self, looks: Looks) -> dict[str, Any]:
        """Values of the holes `labels`, `colours` and `shapes`."""
        seen = [looks.of(self.methods[label]) for label in self.labels]
        return {
            "labels": self.labels,
            "colours": [look.colour for look in seen],
            "shapes": [look.shape for look in seen],
        }


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """The template with values in its holes.

    Args:
        template: JSON in which `{"$": "name"}` is a hole.
        values: By name.
    """
    if isinstance(template, Mapping):
        if set(template) == {"$"}:
            return values[template["$"]]
        return {key: fill(value, values) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [fill(value, values) for value in template]
    return template


def labelled(rows: Sequence[Row], *, within: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Rows with a `label`: the method, and its variant where one place has several of it.

    Args:
        rows: Of one ground, with the columns method and variant.
        within: Columns that tell places of one ground apart, such as shots.
    """
    seen: dict[tuple[Any, ...], set[str]] = {}
    for row in rows:
        place = (row["method"], *(row[name] for name in within))
        seen.setdefault(place, set()).add(row["variant"])
    split = {place[0] for place, variants in seen.items() if len(variants) > 1}
    return [
        {
            **row,
            "label": f"{row['method']}, {row['variant']}"
            if row["method"] in split and row["variant"]
            else row["method"],
        }
        for row in rows
    ]


def with_numbers(
    ground: Row, rows: Sequence[dict[str, Any]], *columns: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows that can be drawn, and a note that names those which cannot.

    Args:
        ground: Of the rows.
        rows: With labels.
        columns: That must be known beside the mean.

    Raises:
        NothingToDraw: No row has a number.
    """
    needed = ("mean", *columns)
    known = [row for row in rows if all(row[name] is not None for name in needed)]
    if not known:
        raise NothingToDraw(
            f"no number on {where(ground)} yet: its trials failed or are not done. "
            "`shotboard run` goes on with them."
        )
    lost = sorted({row["label"] for row in rows} - {row["label"] for row in known})
    return known, [f"Without a number: {several(lost)}."] if lost else []
