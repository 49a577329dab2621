"""A leaderboard as a picture: mean and 95 % interval of each method, best first."""

from collections.abc import Sequence
from typing import Any

from data_catalog.wording import plural
from tasks.plots.cells import CELLS
from tasks.plots.looks import Looks
from tasks.plots.marks import (
    HEADING,
    NARROW,
    NUMBERS,
    ROW,
    SAID,
    WIDTH,
    WRITING,
    colour,
    counted,
    ends,
    names,
    saying,
    score,
    shape,
    written,
)
from tasks.plots.measure import MEASURE, Measure
from tasks.plots.plot import Figure, Lines, Plot, Row, labelled, with_numbers
from tasks.plots.words import best, on, told, where

SQL = f"""
{CELLS}
SELECT
    protocol, dataset, backbone, shots, split, test_rows_per_class, method, variant, mean,
    cells.low, cells.high, n, {MEASURE}
FROM cells
JOIN metric_definitions USING (metric)
ORDER BY ALL
"""

# `71.3 [70.1, 72.5]`, as tables of papers have it; a narrow place has room for the first.
_NUMBERS = (
    "format(datum.shown, digits) + (narrow || !isValid(datum.shown_low) ? '' : ' [' + "
    "format(datum.shown_low, digits) + ', ' + format(datum.shown_high, digits) + ']')"
)
TEMPLATE: dict[str, Any] = {
    "title": HEADING,
    "width": WIDTH,
    "height": {"$": "height"},
    "params": [NARROW, *WRITING],
    "transform": [
        {"calculate": _NUMBERS, "as": "told"},
        saying(
            "datum.row + '. ' + datum.label + ': '",
            *(written(), ends(), "' ('"),
            counted("n", "seed"),
            "')'",
        ),
    ],
    "encoding": {"y": names()},
    "layer": [
        {
            "transform": [{"filter": "datum.row === 1"}],
            "mark": {"type": "rule", "strokeDash": [2, 4], "style": "quiet", "aria": False},
            "encoding": {"x": score(axis="x"), "y": None},
        },
        {
            "transform": [{"filter": "isValid(datum.shown_low)"}],
            "mark": {"type": "rule", "strokeWidth": 2, "aria": False},
            "encoding": {
                "x": score("shown_low", axis="x"),
                "x2": {"field": "shown_high"},
                "color": colour(),
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 75, "opacity": 1},
            "encoding": {
                "x": score(axis="x"),
                "color": colour(),
                "shape": shape(),
                "description": SAID,
                "tooltip": SAID,
            },
        },
        {
            "mark": {"type": "text", "aria": False, **NUMBERS},
            "encoding": {
                "x": {"value": {"expr": "width + 12"}},
                "text": {"field": "told"},
            },
        },
    ],
}


def draw(ground: Row, rows: Sequence[Row], looks: Looks) -> Figure:
    """The methods of one place.

    Args:
        ground: Values of the columns of `INTERVALS.ground`.
        rows: Those of `SQL` on it.
        looks: Of methods.

    Raises:
        NothingToDraw: No cell has a number.
    """
    known, notes = with_numbers(ground, labelled(rows))
    measure = Measure.of(known[0])
    known.sort(key=lambda row: (-measure.goodness(row["mean"]), row["label"]))
    lines = Lines([row["label"] for row in known], {row["label"]: row["method"] for row in known})
    times = measure.times
    drawn = [
        {
            "label": row["label"],
            "row": place,
            "shown": times * row["mean"],
            "shown_low": None if row["low"] is None else times * row["low"],
            "shown_high": None if row["high"] is None else times * row["high"],
            "n": row["n"],
        }
        for place, row in enumerate(known, 1)
    ]
    return Figure(
        ground=ground,
        rows=drawn,
        values={
            "title": f"{measure.words.capitalize()}: {on(ground)}",
            "subtitle": [
                f"{where(ground, but='dataset')}; mean and 95 % interval over seeds",
                *notes,
            ],
            "height": ROW * len(known),
            "x_title": measure.axis,
            **measure.writing,
            "x_domain": measure.domain(
                [row[name] for row in known for name in ("mean", "low", "high")]
            ),
            **lines.looks(looks),
        },
        alt=" ".join(
            [
                f"{plural(len(known), 'method')} on {where(ground)} by {measure.words}.",
                best("There", known, measure),
                *(
                    [f"Last is {known[-1]['label']} with {told(known[-1], measure)}."]
                    if len(known) > 1
                    else []
                ),
                *notes,
            ]
        ),
        notes=tuple(notes),
    )


INTERVALS = Plot(
    name="intervals",
    title="Means and intervals",
    ground=("protocol", "dataset", "backbone", "shots", "split", "test_rows_per_class"),
    sql=SQL,
    template=TEMPLATE,
    draw=draw,
)
