"""Parts of Vega-Lite specifications that plots have in common.

Each is JSON with holes (`{"$": "name"}`); what is put into them comes with the rows.
"""

from collections.abc import Mapping
from typing import Any

WIDTH = 480  # pixels, of a picture; on a page plots are as wide as their place
HEIGHT = 340  # pixels, where names beside a plot need no more

LEGEND: dict[str, Any] = {  # names with scores, best first
    "title": {"$": "legend"},
    "labelExpr": "names[datum.label]",
    "symbolOpacity": 1,
    "symbolLimit": 0,
}
FIXED_WIDTH = {"fixed_width": True}  # of a plot that is no wider in a wide place
HEADING: dict[str, Any] = {"text": {"$": "title"}, "subtitle": {"$": "subtitle"}}
# What is pointed at stays, and the rest fades; nothing fades in a picture.
# Whether the place is a narrow one, as on a phone; a page says so.
NARROW: dict[str, Any] = {"name": "narrow", "value": False}
POINTED: dict[str, Any] = {
    "name": "pointed",
    "select": {"type": "point", "fields": ["label"], "on": "pointerover"},
    "views": ["points"],
}
FADING: dict[str, Any] = {"condition": {"param": "pointed", "value": 1}, "value": 0.15}

ROW = 22  # pixels, of a method where each has a row of its own
NUMBERS: dict[str, Any] = {"align": "left", "baseline": "middle", "fontSize": 11}
SAID: dict[str, Any] = {"field": "said", "type": "nominal"}  # a mark in words, for screen readers
# How scores are written, for `saying`; holes `digits` and `unit`.
WRITING: list[dict[str, Any]] = [
    {"name": "digits", "value": {"$": "digits"}},
    {"name": "in_unit", "value": {"$": "unit"}},
]


def colour(legend: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The colour of a method, from the holes `labels` and `colours`."""
    return _look("colours", legend)


def shape(legend: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The symbol of a method, from the holes `labels` and `shapes`."""
    return _look("shapes", legend)


def score(field: str = "shown", *, axis: str = "y") -> dict[str, Any]:
    """A score in the unit in which people read it, on an axis whose ends are given.

    Args:
        field: Of the rows.
        axis: `x` or `y`; its holes are `y_domain` and `y_title`, or those of x.
    """
    return {
        "field": field,
        "type": "quantitative",
        "scale": {"domain": {"$": f"{axis}_domain"}, "nice": False, "zero": False},
        "axis": {"title": {"$": f"{axis}_title"}, "tickCount": 6},
    }


def _look(range_of: str, legend: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "field": "label",
        "type": "nominal",
        "scale": {"domain": {"$": "labels"}, "range": {"$": range_of}},
        "legend": legend,
    }


def names() -> dict[str, Any]:
    """A row for each method, in the order of the hole `labels`."""
    return {
        "field": "label",
        "type": "nominal",
        "scale": {"domain": {"$": "labels"}},
        "axis": {"title": None, "domain": False, "ticks": False, "labelPadding": 8},
    }


def saying(*parts: str) -> dict[str, Any]:
    """A transform that gives marks their words.

    Vega makes them, for as text of each row they would be a third of what a page has of plots.

    Args:
        parts: Expressions of Vega, of which the texts are put together.
    """
    return {"calculate": " + ".join(parts), "as": "said"}


def written(field: str = "shown") -> str:
    """The expression of a score as people read it, such as `71.3 %`."""
    return f"(isValid(datum.{field}) ? format(datum.{field}, digits) + in_unit : 'no number')"


def ends(low: str = "shown_low", high: str = "shown_high") -> str:
    """The expression of an interval in words; empty where there is none.

    Args:
        low: Field of its lower end.
        high: Field of its upper end.
    """
    interval = f"format(datum.{low}, digits) + ' to ' + format(datum.{high}, digits)"
    return f"(isValid(datum.{low}) ? ' (95 % interval ' + {interval} + ')' : '')"


def counted(field: str, noun: str) -> str:
    """The expression of `1 seed`, `3 seeds`.

    Args:
        field: Holds how many.
        noun: What one is called.
    """
    return f"datum.{field} + (datum.{field} === 1 ? ' {noun}' : ' {noun}s')"
