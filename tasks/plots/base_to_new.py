"""Base against new classes: what a method gains where it learned, and what it loses where not.

Contours are of the harmonic mean H, by which the protocol ranks; they are drawn where H is defined,
for shares of which more is better.
"""

import math
from collections.abc import Sequence
from typing import Any

from data_catalog.wording import plural
from tasks.plots.looks import Looks
from tasks.plots.marks import (
    FADING,
    HEADING,
    LEGEND,
    POINTED,
    SAID,
    WIDTH,
    WRITING,
    colour,
    ends,
    saying,
    score,
    shape,
    written,
)
from tasks.plots.measure import MEASURE, Measure
from tasks.plots.plot import Figure, Lines, Plot, Row, labelled, with_numbers
from tasks.plots.words import AVERAGE, best, on, several, where

_LINE = 18  # pixels from one name of the legend to the next
_ROOM = 0.4  # of the span of means, by which intervals may widen an axis: a cross may leave it
_STEPS = 60  # of a contour from end to end
_HEIGHT = 380  # pixels, where the legend needs no more

SQL = f"""
WITH ages AS (SELECT cell_id, max(started_at) AS latest_at FROM trials GROUP BY cell_id),
latest AS (
    SELECT
        protocol, dataset, backbone, shots, test_rows_per_class, method,
        trim(regexp_replace(variant, 'test_rows_per_class=\\d+', '')) AS variant, base, new, h,
        base_std, new_std, h_ci95_low, h_ci95_high, n, datasets, covers, metric
    FROM base_to_new
    LEFT JOIN ages USING (cell_id)
    WHERE dataset <> '{AVERAGE}' OR datasets > 1 OR missing IS NOT NULL
    QUALIFY row_number() OVER (
        PARTITION BY protocol, dataset, backbone, shots, test_rows_per_class, method, variant
        ORDER BY latest_at DESC NULLS LAST, cell_id
    ) = 1
),
drawn AS (
    SELECT DISTINCT protocol, dataset, backbone, shots, test_rows_per_class
    FROM latest
    WHERE shots <> 0
),
cells AS (  -- what needs no labelled example stands beside every number of them
    SELECT * FROM latest
    UNION ALL BY NAME
    SELECT latest.* REPLACE (drawn.shots AS shots)
    FROM latest
    JOIN drawn USING (protocol, dataset, backbone)
    WHERE latest.shots = 0
        AND latest.test_rows_per_class IS NOT DISTINCT FROM drawn.test_rows_per_class
)
SELECT
    protocol, dataset, backbone, shots, test_rows_per_class, method, variant, base, new, h AS mean,
    h_ci95_low AS low, h_ci95_high AS high, n, datasets, covers,
    seeds_low(base, base_std, n, t, metric_definitions.low) AS base_low,
    seeds_high(base, base_std, n, t, metric_definitions.high) AS base_high,
    seeds_low(new, new_std, n, t, metric_definitions.low) AS new_low,
    seeds_high(new, new_std, n, t, metric_definitions.high) AS new_high,
    {MEASURE}
FROM cells
JOIN metric_definitions USING (metric)
LEFT JOIN t_values ON df = least(n - 1, 200)
ORDER BY
    protocol, dataset = '{AVERAGE}' DESC, dataset, backbone, shots_order(shots),
    test_rows_per_class NULLS FIRST,
    method, variant
"""

_CONTOUR: dict[str, Any] = {
    "data": {"values": {"$": "contours"}},
    "encoding": {"x": score("base", axis="x"), "y": score("new"), "detail": {"field": "h"}},
}
TEMPLATE: dict[str, Any] = {
    "title": HEADING,
    "width": WIDTH,
    "height": {"$": "height"},
    "params": [
        {"name": "names", "value": {"$": "names"}},
        {"name": "ordered", "value": {"$": "ordered"}},
        *WRITING,
        POINTED,
    ],
    "transform": [
        saying(
            *("datum.label + ': base '", written("base"), "', new '", written("new")),
            *("', ' + ordered + ' '", written("mean"), ends("low", "high")),
        )
    ],
    "layer": [
        {
            **_CONTOUR,
            "mark": {"type": "line", "strokeWidth": 1, "style": "quiet", "aria": False},
        },
        {
            **_CONTOUR,
            "transform": [{"filter": "datum.named"}],
            "mark": {
                "type": "text",
                "align": "right",
                "baseline": "bottom",
                "dx": -3,
                "dy": -1,
                "style": "quiet-text",
                "aria": False,
            },
            "encoding": {
                "x": score("base", axis="x"),
                "y": score("new"),
                "text": {"field": "text"},
            },
        },
        *(
            {
                "transform": [{"filter": f"isValid(datum.{ends}_low)"}],
                "mark": {
                    "type": "rule",
                    "strokeWidth": 1,
                    "strokeOpacity": 0.6,
                    "clip": True,
                    "aria": False,
                },
                "encoding": {
                    "opacity": FADING,
                    "color": colour(LEGEND),
                    axis: score(f"{ends}_low", axis=axis),
                    f"{axis}2": {"field": f"{ends}_high"},
                    other: score(across, axis=other),
                },
            }
            for axis, ends, other, across in (
                ("x", "base", "y", "new"),
                ("y", "new", "x", "base"),
            )
        ),
        {
            "name": "points",
            "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
            "encoding": {
                "opacity": FADING,
                "x": score("base", axis="x"),
                "y": score("new"),
                "color": colour(LEGEND),
                "shape": shape(LEGEND),
                "description": SAID,
                "tooltip": SAID,
            },
        },
    ],
}


def draw(ground: Row, rows: Sequence[Row], looks: Looks) -> Figure:
    """Methods of one data set, backbone and number of shots.

    Args:
        ground: Values of the columns of `BASE_TO_NEW.ground`.
        rows: Those of `SQL` on it.
        looks: Of methods.

    Raises:
        NothingToDraw: No cell has a number of both.
    """
    measure = Measure.of(rows[0])
    # Where there is no H, as of what is no share, methods are ordered by what they lose less of.
    ranked = [{**row, "mean": _middle(row)} if row["mean"] is None else dict(row) for row in rows]
    widest = max(rows, key=lambda row: row["datasets"])["covers"]
    narrow = sorted({row["method"] for row in rows if row["covers"] != widest})
    ranked = [row for row in ranked if row["covers"] == widest]
    known, notes = with_numbers(ground, labelled(ranked))
    if narrow:
        notes.append(f"Not on all of {widest}, so left out of the mean: {several(narrow)}.")
    known.sort(key=lambda row: (-measure.goodness(row["mean"]), row["label"]))
    lines = Lines([row["label"] for row in known], {row["label"]: row["method"] for row in known})
    has_h = measure.times == 100 and measure.better == "higher"
    ends = {side: measure.domain(_reach(known, side)) for side in ("base", "new")}
    ordered = "H" if has_h else "mean of base and new"
    numbers = (
        *("base", "new", "base_low", "base_high", "new_low", "new_high"),
        *("mean", "low", "high"),
    )
    return Figure(
        ground=ground,
        rows=[
            {
                "label": row["label"],
                **{
                    name: None if row[name] is None else measure.times * row[name]
                    for name in numbers
                },
            }
            for row in known
        ],
        values={
            "title": f"Base against new classes: {on(ground)}",
            "subtitle": [
                f"{where(ground, but='dataset')}; mean and 95 % interval over seeds",
                *(["grey: harmonic mean H of base and new"] if has_h else []),
                *notes,
            ],
            "height": max(_HEIGHT, _LINE * len(known) + 20),
            "names": {
                row["label"]: f"{row['label']}  {measure.text(row['mean'], unit=False)}"
                for row in known
            },
            "legend": f"{ordered} ({'%' if measure.times == 100 else measure.unit})",
            "ordered": ordered,
            **measure.writing,
            "x_title": f"base classes: {measure.axis}",
            "y_title": f"new classes: {measure.axis}",
            "x_domain": ends["base"],
            "y_domain": ends["new"],
            "contours": _contours(ends["base"], ends["new"]) if has_h else [],
            **lines.looks(looks),
        },
        alt=_alt(ground, known, measure, ordered, notes),
        notes=tuple(notes),
    )


def _reach(rows: Sequence[Row], side: str) -> list[float]:
    """Numbers that an axis shows: all means, and of intervals what is not too far from them."""
    means = [row[side] for row in rows]
    room = _ROOM * (max(means) - min(means)) or 0.02
    ends = [row[f"{side}_{end}"] for row in rows for end in ("low", "high")]
    known = [end for end in ends if end is not None]
    return means + [min(max(end, min(means) - room), max(means) + room) for end in known]


def _middle(row: Row) -> float | None:
    """What orders methods where H is not defined."""
    return None if None in (row["base"], row["new"]) else (row["base"] + row["new"]) / 2


def _contours(base: Sequence[float], new: Sequence[float]) -> list[dict[str, Any]]:
    """Points of lines of the same H within a frame, in per cent.

    Args:
        base: Ends of the axis across.
        new: Ends of the axis up.
    """
    least, most = (
        2 * one * other / (one + other) if one > 0 and other > 0 else 0.0
        for one, other in zip(base, new, strict=True)
    )
    step = next((step for step in (1, 2, 5, 10) if (most - least) / step <= 8), 20)
    points: list[dict[str, Any]] = []
    for h in range(step * math.ceil(least / step), math.ceil(most), step):
        if h <= 0:
            continue
        line = []
        for at in range(_STEPS + 1):
            x = base[0] + (base[1] - base[0]) * at / _STEPS
            if 2 * x > h and new[0] <= (y := h * x / (2 * x - h)) <= new[1]:
                line.append({"h": h, "base": x, "new": y, "text": f"H {h}"})
        if len(line) > _STEPS // 10:  # there is room for its name
            line[-1]["named"] = True
        points += line
    return points


def _alt(
    ground: Row, rows: Sequence[Row], measure: Measure, ordered: str, notes: Sequence[str]
) -> str:
    """The picture in words."""
    said = [
        f"{measure.words.capitalize()} on base against new classes of "
        f"{plural(len(rows), 'method')} on {where(ground)}.",
        best("There", rows, measure, what=ordered),
    ]
    for side in ("base", "new"):
        top = max(rows, key=lambda row: measure.goodness(row[side]))
        said.append(f"Best on {side} classes: {top['label']} with {measure.text(top[side])}.")
    return " ".join([*said, *notes])


BASE_TO_NEW = Plot(
    name="base-to-new",
    title="Base against new classes",
    ground=("protocol", "dataset", "backbone", "shots", "test_rows_per_class"),
    sql=SQL,
    template=TEMPLATE,
    draw=draw,
    empty="Run a protocol that tests base and new classes: `--protocols base_to_new`.",
)
