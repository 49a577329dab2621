"""Our numbers beside the published ones: a mean with its interval, and what papers say of the same.

A bar is from the least to the greatest published number, a diamond is one of them. They are of the
same method, backbone, data set, protocol and number of shots (view `reproduction`).
"""

from collections.abc import Sequence
from typing import Any

from data_catalog.wording import plural
from tasks.plots.looks import Looks
from tasks.plots.marks import HEADING, NARROW, NUMBERS, SAID, WIDTH, colour, names, score, shape
from tasks.plots.measure import Measure
from tasks.plots.plot import Figure, Lines, Plot, Row, labelled, with_numbers
from tasks.plots.words import on, several, told, where

_ROW = 28  # pixels

SQL = """
SELECT
    protocol, dataset, backbone, shots,
    -- Some papers print each seed of a whole test set.
    CASE WHEN split IN ('base', 'new', 'HM') THEN split ELSE 'test' END AS split,
    test_rows_per_class, method,
    trim(regexp_replace(variant, 'test_rows_per_class=\\d+', '')) AS variant, mean, n,
    reproduction.ci95_low AS low, reproduction.ci95_high AS high, published, reproduction.source,
    published_method, published_min, published_median, published_max, verdict,
    -- Published are shares of which more is better; H of base and new is no metric of its own.
    reproduction.metric, coalesce(title, 'harmonic mean of base and new') AS metric_title,
    coalesce(unit, 'share') AS unit, coalesce(better, 'higher') AS better,
    coalesce(metric_definitions.low, 0) AS metric_low,
    coalesce(metric_definitions.high, 1) AS metric_high
FROM reproduction
LEFT JOIN metric_definitions USING (metric)
ORDER BY ALL
"""

TEMPLATE: dict[str, Any] = {
    "title": HEADING,
    "width": WIDTH,
    "height": {"$": "height"},
    "params": [NARROW],
    "encoding": {"y": names()},
    "layer": [
        {
            "transform": [{"filter": "datum.kind === 'ours'"}],
            "mark": {
                "type": "rule",
                "strokeWidth": 9,
                "strokeOpacity": 0.3,
                "yOffset": 6,
                "aria": False,
            },
            "encoding": {
                "x": score("least", axis="x"),
                "x2": {"field": "greatest"},
            },
        },
        {
            "transform": [{"filter": "datum.kind === 'published'"}],
            "mark": {
                "type": "point",
                "shape": "diamond",
                "filled": False,
                "size": 55,
                "style": "strong",
                "opacity": 0.9,
                "yOffset": 6,
            },
            "encoding": {
                "x": score(axis="x"),
                "description": SAID,
                "tooltip": SAID,
            },
        },
        {
            "transform": [{"filter": "datum.kind === 'ours' && isValid(datum.shown_low)"}],
            "mark": {"type": "rule", "strokeWidth": 2, "yOffset": -5, "aria": False},
            "encoding": {
                "x": score("shown_low", axis="x"),
                "x2": {"field": "shown_high"},
                "color": colour(),
            },
        },
        {
            "transform": [{"filter": "datum.kind === 'ours'"}],
            "mark": {"type": "point", "filled": True, "size": 75, "opacity": 1, "yOffset": -5},
            "encoding": {
                "x": score(axis="x"),
                "color": colour(),
                "shape": shape(),
                "description": SAID,
                "tooltip": SAID,
            },
        },
        {
            "transform": [{"filter": "datum.kind === 'ours'"}],
            "mark": {"type": "text", "aria": False, **NUMBERS},
            "encoding": {
                "x": {"value": {"expr": "width + 12"}},
                "text": {"condition": {"test": "narrow", "field": "short"}, "field": "told"},
            },
        },
    ],
}


def draw(ground: Row, rows: Sequence[Row], looks: Looks) -> Figure:
    """Methods of one place that papers have numbers of.

    Args:
        ground: Values of the columns of `PUBLISHED.ground`.
        rows: Those of `SQL` on it: one a published number.
        looks: Of methods.

    Raises:
        NothingToDraw: No cell has a number.
    """
    known, notes = with_numbers(ground, labelled(rows))
    measure = Measure.of(known[0])
    ours: dict[str, dict[str, Any]] = {row["label"]: row for row in known}
    order = sorted(ours, key=lambda label: (-measure.goodness(ours[label]["mean"]), label))
    times = measure.times
    counts = {label: sum(row["label"] == label for row in known) for label in order}
    drawn: list[dict[str, Any]] = [
        {
            "kind": "ours",
            "label": label,
            "shown": times * ours[label]["mean"],
            "shown_low": None if ours[label]["low"] is None else times * ours[label]["low"],
            "shown_high": None if ours[label]["high"] is None else times * ours[label]["high"],
            "least": times * ours[label]["published_min"],
            "greatest": times * ours[label]["published_max"],
            "told": f"ours {measure.text(ours[label]['mean'], unit=False)}, published "
            f"{measure.text(ours[label]['published_median'], unit=False)}",
            "short": measure.text(ours[label]["mean"], unit=False),
            "said": f"{label}: ours {told(ours[label], measure)}",
        }
        for label in order
    ]
    drawn += [
        {
            "kind": "published",
            "label": row["label"],
            "shown": times * row["published"],
            "said": f"{row['label']} as {row['published_method']}: published "
            f"{measure.text(row['published'])} ({row['source']}), {row['verdict']}",
        }
        for row in known
    ]
    lines = Lines(order, {label: ours[label]["method"] for label in order})
    values = [
        row[name]
        for row in known
        for name in ("mean", "low", "high", "published_min", "published_max")
    ]
    return Figure(
        ground=ground,
        rows=drawn,
        values={
            "title": f"Ours beside published: {on(ground)}",
            "subtitle": [
                f"{where(ground, but='dataset')}; above: our mean and 95 % interval",
                "below: every published number, and the span of them",
                *notes,
            ],
            "height": _ROW * len(order),
            "x_title": measure.axis,
            "x_domain": measure.domain(values),
            **lines.looks(looks),
        },
        alt=_alt(ground, ours, order, counts, measure, notes),
        notes=tuple(notes),
    )


def _alt(
    ground: Row,
    ours: dict[str, dict[str, Any]],
    order: Sequence[str],
    counts: dict[str, int],
    measure: Measure,
    notes: Sequence[str],
) -> str:
    """The picture in words."""
    said = [f"Ours beside published numbers of {plural(len(order), 'method')} on {where(ground)}."]
    for label in order:
        row = ours[label]
        middle, ends = row["published_median"], ("published_min", "published_max")
        span = " to ".join(measure.text(row[end], unit=False) for end in ends)
        said.append(
            f"{label}: ours {told(row, measure)}, published {measure.text(middle)}"
            + (f" (median of {counts[label]}, {span})." if counts[label] > 1 else ".")
        )
    outside = [label for label in order if ours[label]["verdict"] == "outside"]
    if outside:
        said.append(f"Outside of our interval: {several(outside, 8)}.")
    return " ".join([*said, *notes])


PUBLISHED = Plot(
    name="published",
    title="Ours beside published",
    ground=("protocol", "dataset", "backbone", "shots", "split", "test_rows_per_class"),
    sql=SQL,
    template=TEMPLATE,
    draw=draw,
    empty="No trial is of a method, backbone and data set that the shipped papers report.",
)
