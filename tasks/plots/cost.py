"""A score against what it costs, on a log axis, with the Pareto front.

On the front is what no other method beats in both: nothing that costs as little is better. A cost
of nothing, as of a method that is not tuned, has a place of its own left of the log axis.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from data_catalog.wording import plural
from tasks.plots.cells import CELLS
from tasks.plots.looks import Looks
from tasks.plots.marks import (
    FADING,
    HEADING,
    HEIGHT,
    LEGEND,
    NARROW,
    POINTED,
    SAID,
    WIDTH,
    WRITING,
    colour,
    counted,
    ends,
    saying,
    score,
    shape,
    written,
)
from tasks.plots.measure import MEASURE, Measure
from tasks.plots.plot import Figure, Lines, NothingToDraw, Plot, Row, labelled
from tasks.plots.words import best, on, several, where

COSTS = {  # what a cost is called, by its column
    "tune_seconds": "time to tune (s)",
    "tune_flops": "operations to tune (FLOP)",
    "trainable_parameters": "trainable parameters",
    "evaluate_seconds": "time to test (s)",
}
_LINE = 18  # pixels from one name of the legend to the next
_LETTER, _LETTERS_HIGH = 7.5, 14  # pixels that a name of a point takes

SQL = f"""
{CELLS}
SELECT
    protocol, dataset, backbone, shots, split, test_rows_per_class, cost, method, variant, mean,
    cells.low, cells.high, n, devices,
    -- What is not tuned costs nothing, whatever the clock says of it.
    CASE WHEN NOT draws AND cost = 'tune_seconds' THEN 0 ELSE spent END AS spent,
    {MEASURE}
FROM cells UNPIVOT INCLUDE NULLS (spent FOR cost IN ({", ".join(COSTS)})) AS cells
JOIN metric_definitions USING (metric)
ORDER BY
    protocol, dataset, backbone, shots_order(shots), split, test_rows_per_class NULLS FIRST,
    list_position({list(COSTS)}, cost), method, variant
"""

_X = {
    "field": "at",
    "type": "quantitative",
    "scale": {"type": "log", "domain": {"$": "x_domain"}, "nice": False},
    "axis": {
        "title": {"$": "x_title"},
        "values": {"$": "ticks"},
        "labelExpr": (
            "datum.value <= zero_at ? '0' : format(datum.value, datum.value < 1000 ? '~g' : '~s')"
        ),
        "grid": False,
    },
}
TEMPLATE: dict[str, Any] = {
    "title": HEADING,
    "width": WIDTH,
    "height": {"$": "height"},
    "params": [
        {"name": "names", "value": {"$": "names"}},
        {"name": "zero_at", "value": {"$": "zero_at"}},
        NARROW,
        *WRITING,
        POINTED,
    ],
    "transform": [
        {"calculate": "datum.spent > 0 ? datum.spent : zero_at", "as": "at"},
        saying(
            "datum.label + ': '",
            *(written(), ends(), "' at ' + format(datum.spent, '.3~g') + ' ('"),
            counted("n", "seed"),
            "')'",
        ),
    ],
    "encoding": {"opacity": FADING},
    "layer": [
        {
            "data": {"values": {"$": "break"}},
            "mark": {"type": "rule", "strokeDash": [2, 4], "style": "quiet", "aria": False},
            "encoding": {"x": _X},
        },
        {
            "transform": [{"filter": "datum.front"}],
            "mark": {
                "type": "line",
                "interpolate": "step-after",
                "strokeWidth": 6,
                "strokeOpacity": 0.35,
                "style": "quiet",
                "aria": False,
            },
            "encoding": {"x": _X, "y": score()},
        },
        {
            "transform": [{"filter": "isValid(datum.shown_low)"}],
            "mark": {"type": "rule", "strokeWidth": 1.2, "aria": False},
            "encoding": {
                "x": _X,
                "y": score("shown_low"),
                "y2": {"field": "shown_high"},
                "color": colour(LEGEND),
            },
        },
        {
            "name": "points",
            "mark": {"type": "point", "filled": True, "size": 75, "opacity": 1},
            "encoding": {
                "x": _X,
                "y": score(),
                "color": colour(LEGEND),
                "shape": shape(LEGEND),
                "description": SAID,
                "tooltip": SAID,
            },
        },
        {
            "transform": [{"filter": "datum.front && !narrow"}],
            "mark": {
                "type": "text",
                "align": {"expr": "datum.lean"},
                "dx": {"expr": "datum.lean === 'left' ? 7 : -7"},
                "dy": {"expr": "datum.rise"},
                "fontWeight": 600,
                "limit": 160,
                "aria": False,
            },
            "encoding": {"x": _X, "y": score(), "text": {"field": "label"}},
        },
    ],
}


def draw(ground: Row, rows: Sequence[Row], looks: Looks) -> Figure:
    """Scores of one place against one cost.

    Args:
        ground: Values of the columns of `COST.ground`.
        rows: Those of `SQL` on it.
        looks: Of methods.

    Raises:
        NothingToDraw: No cell has a number of both.
    """
    cost = ground["cost"]
    notes: list[str] = []
    named = labelled(rows)
    unknown = sorted({row["label"] for row in named if None in (row["mean"], row["spent"])})
    if unknown:
        notes.append(f"Without a score or without this cost: {several(unknown)}.")
    known = [row for row in named if None not in (row["mean"], row["spent"])]
    if not known:
        raise NothingToDraw(
            f"no trial on {where(ground)} says its {COSTS[cost]}. Trials of before it was "
            "noted can be computed again with `shotboard run --fresh`."
        )
    devices = sorted({row["devices"] for row in known if row["devices"] and row["spent"]})
    if cost.endswith("seconds") and len(devices) > 1:
        notes.append(f"Times are of several devices ({several(devices)}): compare with care.")
    measure = Measure.of(known[0])
    known.sort(key=lambda row: (-measure.goodness(row["mean"]), row["label"]))
    order = [row["label"] for row in known]
    front = _front(known, measure)
    axis = _axis([row["spent"] for row in known])
    lines = Lines(order, {row["label"]: row["method"] for row in known})
    times = measure.times
    height = max(HEIGHT, _LINE * len(order) + 20)
    y_domain = measure.domain([row[name] for row in known for name in ("mean", "low", "high")])
    drawn = [
        {
            "label": row["label"],
            "spent": row["spent"],
            "shown": times * row["mean"],
            "shown_low": None if row["low"] is None else times * row["low"],
            "shown_high": None if row["high"] is None else times * row["high"],
            "n": row["n"],
            "front": row["label"] in front,
        }
        for row in known
    ]
    places = {row["label"]: row for row in drawn}
    _names(
        [places[label] for label in front],
        [_pixels(places[label], axis, y_domain, height) for label in front],
        away=-1 if measure.better == "higher" else 1,
    )
    return Figure(
        ground=ground,
        rows=drawn,
        values={
            "title": f"{measure.words.capitalize()} against {COSTS[cost].split(' (')[0]}: "
            f"{on(ground)}",
            "subtitle": [
                f"{where(ground, but='dataset')}; mean and 95 % interval over seeds",
                "bold, joined: the Pareto front",
                *notes,
            ],
            "height": height,
            "names": {
                row["label"]: f"{row['label']}  {measure.text(row['mean'], unit=False)}"
                for row in known
            },
            "legend": measure.axis,
            "x_title": COSTS[cost],
            "y_title": measure.axis,
            "y_domain": y_domain,
            **measure.writing,
            **axis,
            **lines.looks(looks),
        },
        alt=_alt(ground, known, front, measure, notes),
        notes=tuple(notes),
    )


def _front(rows: Sequence[Row], measure: Measure) -> list[str]:
    """Labels of rows that are better than all that cost as little, the cheapest first."""
    front, reached = [], -math.inf
    for row in sorted(rows, key=lambda row: (row["spent"], -measure.goodness(row["mean"]))):
        if measure.goodness(row["mean"]) > reached:
            reached = measure.goodness(row["mean"])
            front.append(row["label"])
    return front


def _axis(spent: Sequence[float]) -> dict[str, Any]:
    """Ends and ticks of a log axis, with a place for 0 where something costs nothing."""
    positive = [value for value in spent if value > 0]
    if not positive:
        return {"x_domain": [0.1, 10], "ticks": [1], "zero_at": 1, "break": []}
    low, high = min(positive), max(positive)
    room = max((high / low) ** 0.06, 1.3)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    ticks = [10.0**power for power in powers]
    inside = [tick for tick in ticks if low / room <= tick <= high * room]
    if len(inside) < 2:
        ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        inside = [tick for tick in ticks if low / room <= tick <= high * room]
    if len(positive) == len(spent):
        return {"x_domain": [low / room, high * room], "ticks": inside, "zero_at": 0, "break": []}
    zero_at = low / room**3
    inside = [tick for tick in inside if tick > zero_at * room]
    return {
        "x_domain": [zero_at / room, high * room],
        "ticks": [zero_at, *inside],
        "zero_at": zero_at * (1 + 1e-9),
        "break": [{"at": zero_at * room**1.5}],
    }


def _pixels(
    row: Row, axis: Mapping[str, Any], y_domain: Sequence[float], height: int
) -> tuple[float, float]:
    """Where a point is, from the left and from the top."""
    left, right = axis["x_domain"]
    across = math.log((row["spent"] or axis["zero_at"]) / left) / math.log(right / left)
    down = (y_domain[1] - row["shown"]) / (y_domain[1] - y_domain[0])
    return WIDTH * across, height * down


def _names(
    rows: Sequence[dict[str, Any]], places: Sequence[tuple[float, float]], *, away: int
) -> None:
    """Says of each row of a front where its name stands, so that no two lie on each other.

    Args:
        rows: From the left; they get `lean`, the side of the name, and `rise`, its way up or down.
        places: Of their points, in pixels from the left and from the top.
        away: -1 where better is up, 1 where it is down: names are on the free side of the front.
    """
    taken: list[tuple[float, float, float]] = []  # left, right, height
    for row, (x, y) in zip(rows, places, strict=True):
        width = _LETTER * min(len(row["label"]), 24)
        row["lean"] = "left" if x < width else "right"
        left = x if row["lean"] == "left" else x - width
        row["rise"] = 10 * away
        while any(
            left < other_right
            and other_left < left + width
            and abs(y + row["rise"] - other_y) < _LETTERS_HIGH
            for other_left, other_right, other_y in taken
        ):
            row["rise"] += _LETTERS_HIGH * away
        taken.append((left, left + width, y + row["rise"]))


def _alt(
    ground: Row, rows: Sequence[Row], front: Sequence[str], measure: Measure, notes: Sequence[str]
) -> str:
    """The picture in words."""
    title = COSTS[ground["cost"]]
    cheap = min(rows, key=lambda row: (row["spent"], -measure.goodness(row["mean"])))
    said = [
        f"{measure.words.capitalize()} against {title} of {plural(len(rows), 'method')} on "
        f"{where(ground)}.",
        best("There", rows, measure),
        f"The cheapest is {cheap['label']} at {cheap['spent']:.3g} with "
        f"{measure.text(cheap['mean'])}.",
        f"The Pareto front is {several(front, 8)}.",
    ]
    return " ".join([*said, *notes])


COST = Plot(
    name="cost",
    title="Score against cost",
    ground=("protocol", "dataset", "backbone", "shots", "split", "test_rows_per_class", "cost"),
    sql=SQL,
    template=TEMPLATE,
    draw=draw,
)
