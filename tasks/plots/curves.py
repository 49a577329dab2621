"""Few-shot curves: the primary metric over labelled examples a class, a line for each method.

Intervals stand beside each other, so that lines that cross can be told apart: points of one number
of shots are moved sideways by up to a sixth of an octave. What needs no labelled example is a
dashed line across, what has all of the train split a point behind the others.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from data_catalog.wording import plural
from operators.episodes.shots import ALL_SHOTS, ALL_WORD, shots_order, shots_said, shots_word
from tasks.plots.looks import Looks
from tasks.plots.marks import (
    FADING,
    HEADING,
    HEIGHT,
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
from tasks.plots.places import spread
from tasks.plots.plot import Figure, Lines, NothingToDraw, Plot, Row, labelled
from tasks.plots.words import AVERAGE, best, on, several, where

_LINE = 15  # pixels from one label to the next
_SPREAD = 1 / 3  # octaves that the points of one number of shots are apart at most
_STEP = 0.05  # octaves between two of them, where there is room

# Of cells that differ in nothing that has a name (an older revision of a method) the latest.
SQL = f"""
WITH ages AS (SELECT cell_id, max(started_at) AS latest_at FROM trials GROUP BY cell_id),
published AS (
    SELECT
        cell_id, any_value(published_median) AS middle, any_value(published_min) AS low,
        any_value(published_max) AS high, any_value(sources) AS sources
    FROM reproduction
    WHERE cell_id IS NOT NULL AND metric <> 'harmonic_mean'
    GROUP BY cell_id
)
SELECT
    protocol, dataset, backbone, test_rows_per_class, method,
    trim(regexp_replace(variant, 'test_rows_per_class=\\d+', '')) AS variant,
    shots, mean, ci95_low AS low, ci95_high AS high, n, datasets, covers, missing, published.middle
    AS published, published.low AS published_low, published.high AS published_high, sources,
    {MEASURE}
FROM few_shot_curves
JOIN metric_definitions USING (metric)
LEFT JOIN ages USING (cell_id)
LEFT JOIN published USING (cell_id)
WHERE dataset <> '{AVERAGE}' OR datasets > 1 OR missing IS NOT NULL
QUALIFY row_number() OVER (
    PARTITION BY protocol, dataset, backbone, test_rows_per_class, method, variant, shots
    ORDER BY latest_at DESC NULLS LAST, cell_id
) = 1
ORDER BY
    protocol, dataset = '{AVERAGE}' DESC, dataset, backbone, test_rows_per_class NULLS FIRST,
    method, variant, shots_order(shots)
"""

_X = {
    "field": "at",
    "type": "quantitative",
    "scale": {"type": "log", "base": 2, "domain": {"$": "x_domain"}, "nice": False},
    "axis": {
        "title": "labelled examples a class (shots)",
        "values": {"$": "shots"},
        "grid": False,
        "labelExpr": {"$": "shots_label"},
    },
}
TEMPLATE: dict[str, Any] = {
    "title": HEADING,
    "width": WIDTH,
    "height": {"$": "height"},
    "params": [*WRITING, POINTED],
    "transform": [
        saying(
            "datum.label + ', '",
            "datum.shots_said",
            *("': '", written(), ends(), "' ('"),
            counted("n", "seed"),
            "')'",
        )
    ],
    "encoding": {"opacity": FADING},
    "layer": [
        {
            "transform": [{"filter": "datum.shots === 0"}],
            "mark": {"type": "rule", "strokeDash": [5, 4], "strokeWidth": 1.5, "aria": False},
            "encoding": {"color": colour(), "y": score()},
        },
        {
            "transform": [{"filter": "datum.shots > 0"}],
            "mark": {"type": "line", "strokeWidth": 1.8, "aria": False},
            "encoding": {"color": colour(), "x": _X, "y": score()},
        },
        {
            "transform": [{"filter": "datum.shots !== 0 && isValid(datum.shown_low)"}],
            "mark": {"type": "rule", "strokeWidth": 1.2, "aria": False},
            "encoding": {
                "color": colour(),
                "x": _X,
                "y": score("shown_low"),
                "y2": {"field": "shown_high"},
            },
        },
        {
            "transform": [{"filter": "datum.shots !== 0 && isValid(datum.shown_published)"}],
            "mark": {
                "type": "rule",
                "strokeWidth": 5,
                "strokeOpacity": 0.3,
                "clip": True,
                "aria": False,
            },
            "encoding": {
                "color": colour(),
                "x": _X,
                "y": score("shown_published_low"),
                "y2": {"field": "shown_published_high"},
            },
        },
        {
            "transform": [{"filter": "datum.shots !== 0 && isValid(datum.shown_published)"}],
            "mark": {"type": "point", "shape": "diamond", "size": 90, "filled": False},
            "encoding": {
                "color": colour(),
                "x": _X,
                "y": score("shown_published"),
                "tooltip": {"field": "said_published"},
                "description": {"field": "said_published"},
            },
        },
        {
            "name": "points",
            "transform": [{"filter": "datum.shots !== 0"}],
            "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1},
            "encoding": {
                "color": colour(),
                "x": _X,
                "y": score(),
                "shape": shape(),
                "tooltip": SAID,
                "description": SAID,
            },
        },
        {
            "transform": [{"filter": "datum.last && datum.shots !== 0"}],
            "mark": {"type": "rule", "strokeWidth": 0.8, "strokeOpacity": 0.6, "aria": False},
            "encoding": {
                "color": colour(),
                "x": _X,
                "x2": {"value": {"expr": "width + 10"}},
                "y": score(),
                "y2": {"field": "label_at"},
            },
        },
        {
            "transform": [{"filter": "datum.last && datum.shots === 0"}],
            "mark": {"type": "rule", "strokeWidth": 0.8, "strokeOpacity": 0.6, "aria": False},
            "encoding": {
                "color": colour(),
                "x": {"value": {"expr": "width"}},
                "x2": {"value": {"expr": "width + 10"}},
                "y": score(),
                "y2": {"field": "label_at"},
            },
        },
        {
            "transform": [{"filter": "datum.last"}],
            "mark": {"type": "point", "filled": True, "size": 45, "opacity": 1, "aria": False},
            "encoding": {
                "color": colour(),
                "x": {"value": {"expr": "width + 15"}},
                "y": score("label_at"),
                "shape": shape(),
            },
        },
        {
            "name": "names",
            "transform": [{"filter": "datum.last"}],
            "mark": {
                "type": "text",
                "align": "left",
                "baseline": "middle",
                "limit": 230,
                "aria": False,
            },
            "encoding": {
                "x": {"value": {"expr": "width + 23"}},
                "y": score("label_at"),
                "text": {"field": "name"},
                "tooltip": SAID,
            },
        },
    ],
}


def draw(ground: Row, rows: Sequence[Row], looks: Looks) -> Figure:
    """The curves of one protocol, data set and backbone.

    Args:
        ground: Values of the columns of `CURVES.ground`.
        rows: Those of `SQL` on it.
        looks: Of methods.

    Raises:
        NothingToDraw: No cell has a number.
    """
    notes: list[str] = []
    widest = max(rows, key=lambda row: row["datasets"])["covers"]
    narrow = sorted({row["method"] for row in rows if row["covers"] != widest})
    if narrow:
        notes.append(f"Not on all of {widest}, so left out of the mean: {several(narrow)}.")
    rows = [row for row in rows if row["covers"] == widest]
    gaps = {row["method"]: row["missing"] for row in rows if row["missing"]}
    notes += [f"No mean: {method} lacks {missing}." for method, missing in sorted(gaps.items())]
    unknown = {row["method"] for row in rows if row["mean"] is None} - set(gaps)
    if unknown:
        notes.append(f"Without a number: {several(sorted(unknown))}.")
    rows = [row for row in rows if row["mean"] is not None]
    if not rows:
        lacking = " ".join(notes)
        raise NothingToDraw(
            f"no number on {where(ground)} yet. {lacking or 'Run a suite on it first.'}"
        )
    measure = Measure.of(rows[0])
    named = labelled(rows, within=("shots",))
    ends = {row["label"]: row for row in sorted(named, key=lambda row: shots_order(row["shots"]))}
    order = sorted(ends, key=lambda label: (-measure.goodness(ends[label]["mean"]), label))
    lines = Lines(order, {label: ends[label]["method"] for label in order})
    drawn = [
        row[name]
        for row in named
        for name in ("mean", "low", "high", "published")  # runs that diverged were published too
    ]
    domain = measure.domain(drawn)
    height = max(HEIGHT, _LINE * len(order))
    upwards = sorted(order, key=lambda label: -ends[label]["mean"])
    places = spread(
        [measure.times * ends[label]["mean"] for label in upwards],
        _LINE * (domain[1] - domain[0]) / height,
        *domain,
    )
    label_at = dict(zip(upwards, places, strict=True))
    places_of_shots = _places({row["shots"] for row in named})
    return Figure(
        ground=ground,
        rows=[
            {
                "label": row["label"],
                "shots": row["shots"],
                "shots_said": shots_said(row["shots"]),
                "at": places_of_shots.get(row["shots"], 0) * 2 ** _aside(row["label"], order),
                "name": f"{row['label']}  {measure.text(row['mean'], unit=False)}",
                "said_published": _published(row, measure),
                "last": row is ends[row["label"]],
                "label_at": label_at[row["label"]] if row is ends[row["label"]] else None,
                "n": row["n"],
                **shown(row, measure),
            }
            for row in named
        ],
        values={
            "title": f"Few-shot curves: {on(ground)}",
            "subtitle": [
                f"{where(ground, but='dataset')}; mean and 95 % interval over seeds",
                *(
                    ["hollow: median of the published numbers; wide bar: all of them"]
                    if any(row["published"] is not None for row in named)
                    else []
                ),
                *notes,
            ],
            "height": height,
            "shots": list(places_of_shots.values()),
            "shots_label": _tick(places_of_shots),
            "x_domain": _ends(list(places_of_shots.values())),
            "y_domain": domain,
            **measure.writing,
            "y_title": measure.axis,
            **lines.looks(looks),
        },
        alt=_alt(ground, named, len(order), measure, notes),
        notes=tuple(notes),
    )


def shown(row: Row, measure: Measure) -> dict[str, float | None]:
    """What a row has of means, ends of intervals and published numbers, as people read it.

    Args:
        row: With columns of these names.
        measure: Of its metric.
    """
    names = ("mean", "low", "high", "published", "published_low", "published_high")
    return {
        "shown" if name == "mean" else f"shown_{name}": None
        if row[name] is None
        else measure.times * row[name]
        for name in names
        if name in row
    }


def _published(row: Row, measure: Measure) -> str | None:
    """What papers say of a cell; None where they say nothing."""
    if row["published"] is None:
        return None
    said = f"published for {row['label']}, {shots_said(row['shots'])}: "
    said += measure.text(row["published"])
    if row["sources"] == 1:
        return f"{said} (1 source)"
    ends = [measure.text(row[name], unit=False) for name in ("published_low", "published_high")]
    return f"{said}, median of {row['sources']} sources ({' to '.join(ends)})"


def _places(counts: set[int]) -> dict[int, float]:
    """Where each number of shots stands on the axis, in order.

    All of the train split is another number of examples for each class, so it has no place on the
    scale: it stands an octave and a half behind the last number, and no line leads there.
    """
    places: dict[int, float] = {count: count for count in sorted(counts) if count > 0}
    if ALL_SHOTS in counts:
        places[ALL_SHOTS] = max(places.values()) * 2**1.5 if places else 1
    return places


def _tick(places: Mapping[int, float]) -> str:
    """The expression of the label of a place on the axis."""
    at = places.get(ALL_SHOTS, -1)  # figures of a page are rounded
    return f"abs(datum.value - {at}) < 0.01 ? '{ALL_WORD}' : format(datum.value, 'd')"


def _ends(places: Sequence[float]) -> list[float]:
    """The axis, with some room about the first and the last place."""
    return [places[0] / 2**0.25, places[-1] * 2**0.25] if places else [1, 2]


def _aside(label: str, order: Sequence[str]) -> float:
    """How far the points of a line are from their number of shots, in octaves."""
    step = min(_STEP, _SPREAD / max(len(order) - 1, 1))
    return step * (order.index(label) - (len(order) - 1) / 2)


def _alt(
    ground: Row,
    rows: Sequence[Row],
    methods: int,
    measure: Measure,
    notes: Sequence[str],
) -> str:
    """The picture in words."""
    shots = sorted({row["shots"] for row in rows}, key=shots_order)
    drawn = [shots_word(number) for number in shots if number]
    said = [
        f"Few-shot curves of {plural(methods, 'method')} on {where(ground)}"
        + (f", at {several(drawn, 8)} shots." if drawn[1:] else ".")
    ]
    for number in {shots[-1]: 0, shots[0]: 0}:
        if number in (0, shots[-1]):
            at = "Without labelled examples" if not number else f"At {shots_said(number)}"
            said.append(best(at, [row for row in rows if row["shots"] == number], measure))
    return " ".join([*said, *notes])


CURVES = Plot(
    name="curves",
    title="Few-shot curves",
    ground=("protocol", "dataset", "backbone", "test_rows_per_class"),
    sql=SQL,
    template=TEMPLATE,
    draw=draw,
)
