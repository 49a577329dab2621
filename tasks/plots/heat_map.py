"""Methods x data sets: scores as numbers, and as colour the gap to the best of the column.

Data sets differ in difficulty by more than methods differ on one of them, so colour says what can
be compared: the gap to the best method on the same data set. A cell without a number is a hole with
a dashed rim, and its method has no mean.
"""

from collections.abc import Sequence
from typing import Any

from data_catalog.wording import plural
from tasks.plots.cells import CELLS
from tasks.plots.looks import Looks
from tasks.plots.marks import FIXED_WIDTH, HEADING, ROW, SAID, WRITING, names, saying, written
from tasks.plots.measure import MEASURE, Measure
from tasks.plots.plot import Figure, NothingToDraw, Plot, Row, labelled
from tasks.plots.words import best, several, where

MEAN = "mean"
_COLUMN = 64  # pixels
_DARK = 0.179  # luminance on which black and white have the same contrast, 4.6 : 1

# Of what was tuned on a source the columns are its targets.
SQL = f"""
{CELLS}
SELECT
    protocol, CASE tests WHEN 'targets' THEN dataset END AS source, backbone, shots,
    CASE tests WHEN 'targets' THEN 'targets' ELSE split END AS split, test_rows_per_class,
    CASE tests WHEN 'targets' THEN split ELSE dataset END AS dataset, method, variant, mean,
    cells.low, cells.high, n, {MEASURE}
FROM cells
JOIN protocols USING (protocol)
JOIN metric_definitions USING (metric)
WHERE NOT (tests = 'targets' AND split = 'all')
ORDER BY ALL
"""

_COLUMNS: dict[str, Any] = {
    "field": "dataset",
    "type": "nominal",
    "scale": {"domain": {"$": "columns"}},
    "axis": {
        "orient": "top",
        "title": None,
        "domain": False,
        "ticks": False,
        "labelAngle": {"$": "angle"},
        "labelAlign": {"$": "align"},
        "labelLimit": 150,
    },
}
TEMPLATE: dict[str, Any] = {
    "title": HEADING,
    "usermeta": FIXED_WIDTH,
    "width": {"$": "width"},
    "height": {"$": "height"},
    "params": WRITING,
    "transform": [saying("datum.label + ', ' + datum.dataset + ': '", written())],
    "encoding": {"x": _COLUMNS, "y": names()},
    "layer": [
        {
            "transform": [{"filter": "!isValid(datum.shown)"}],
            "mark": {"type": "rect", "style": "gap", "strokeWidth": 1},
            "encoding": {"description": SAID, "tooltip": SAID},
        },
        {
            "transform": [{"filter": "!isValid(datum.shown)"}],
            "mark": {"type": "text", "style": "quiet-text", "aria": False},
            "encoding": {"text": {"value": "-"}},
        },
        {
            "transform": [{"filter": "isValid(datum.shown)"}],
            "mark": {"type": "rect", "style": "outline"},
            "encoding": {
                "color": {
                    "field": "gap",
                    "type": "quantitative",
                    "scale": {"type": "sqrt", "reverse": True, "domain": [0, {"$": "widest"}]},
                    "legend": {
                        "title": {"$": "legend"},
                        "orient": "bottom",
                        "direction": "horizontal",
                        "gradientLength": 200,
                        "gradientThickness": 10,
                        "tickCount": 4,
                    },
                },
                "description": SAID,
                "tooltip": SAID,
            },
        },
        {
            "transform": [{"filter": "isValid(datum.shown)"}],
            "mark": {
                "type": "text",
                "fontWeight": {"expr": "datum.best ? 700 : 400"},
                "color": {
                    "expr": f"luminance(scale('color', datum.gap)) > {_DARK} ? '#000' : '#fff'"
                },
                "aria": False,
            },
            "encoding": {
                "text": {"field": "shown", "type": "quantitative", "format": {"$": "digits"}}
            },
        },
    ],
}


def draw(ground: Row, rows: Sequence[Row], looks: Looks) -> Figure:
    """Methods x data sets of one protocol, backbone, number of shots and split.

    Args:
        ground: Values of the columns of `HEAT_MAP.ground`.
        rows: Those of `SQL` on it.
        looks: Of methods; what is drawn has the colours of gaps.

    Raises:
        NothingToDraw: No cell has a number.
    """
    named = labelled(rows, within=("dataset",))
    scores = {(row["label"], row["dataset"]): row["mean"] for row in named}
    if all(value is None for value in scores.values()):
        raise NothingToDraw(f"no number on {where(ground)} yet. Run a suite on it first.")
    measure = Measure.of(named[0])
    columns = sorted({dataset for _, dataset in scores})
    labels = sorted({label for label, _ in scores})
    means: dict[str, float | None] = {}
    if len(columns) > 1:
        for label in labels:
            values = [scores.get((label, column)) for column in columns]
            whole = None not in values
            means[label] = sum(v for v in values if v is not None) / len(values) if whole else None
            scores[label, MEAN] = means[label]
        columns.append(MEAN)
    tops = {
        column: max(measure.goodness(scores.get((label, column))) for label in labels)
        for column in columns
    }

    def gap(label: str, column: str) -> float | None:
        value = scores.get((label, column))
        return None if value is None else measure.times * (tops[column] - measure.goodness(value))

    gaps = {(label, column): gap(label, column) for label in labels for column in columns}
    widest = max(value for value in gaps.values() if value is not None) or 1.0
    labels.sort(key=lambda label: _place(label, columns, means, gaps))
    holes = sum(value is None for (_, column), value in gaps.items() if column != MEAN)
    notes = []
    if holes:
        partial = [label for label in labels if means.get(label, 0) is None]
        notes.append(
            f"{plural(holes, 'cell')} without a number"
            + (f"; no mean for {several(partial)}." if partial else ".")
        )
    drawn = []
    for label in labels:
        for column in columns:
            value, away = scores.get((label, column)), gaps[label, column]
            drawn.append(
                {
                    "label": label,
                    "dataset": column,
                    "shown": None if value is None else measure.times * value,
                    "gap": away,
                    "best": away == 0,
                }
            )
    long = max(len(column) for column in columns) > 8
    return Figure(
        ground=ground,
        rows=drawn,
        values={
            "title": f"{measure.words.capitalize()} by data set",
            "subtitle": [f"{where(ground)}; mean over seeds, the best of a column in bold", *notes],
            "labels": labels,
            "columns": columns,
            "width": _COLUMN * len(columns),
            "height": ROW * len(labels),
            "angle": -35 if long else 0,
            "align": "left" if long else "center",
            "widest": widest,
            "legend": f"gap to the best ({_points(measure)})",
            **measure.writing,
        },
        alt=_alt(ground, scores, labels, columns, measure, notes),
        notes=tuple(notes),
    )


def _place(label: str, columns: Sequence[str], means: dict, gaps: dict) -> tuple:
    """Whole methods by their mean, then the others by their mean gap."""
    known = [gaps[label, column] for column in columns if gaps[label, column] is not None]
    lacks = means.get(label, 0) is None
    reach = gaps.get((label, MEAN)) if not lacks and means else None
    return lacks, reach if reach is not None else sum(known) / max(len(known), 1), label


def _points(measure: Measure) -> str:
    return "points" if measure.times == 100 else measure.unit


def _alt(
    ground: Row,
    scores: dict,
    labels: Sequence[str],
    columns: Sequence[str],
    measure: Measure,
    notes: Sequence[str],
) -> str:
    """The picture in words."""
    datasets = [column for column in columns if column != MEAN]
    said = [
        f"{measure.words.capitalize()} of {plural(len(labels), 'method')} on "
        f"{plural(len(datasets), 'data set')} ({several(datasets, 8)}), {where(ground)}."
    ]
    for column in columns[-1:] if MEAN in columns else columns:
        rows = [
            {"label": label, "mean": scores[label, column], "low": None, "high": None}
            for label in labels
            if scores.get((label, column)) is not None
        ]
        at = f"In the mean over {plural(len(datasets), 'data set')}" if MEAN in columns else "There"
        said += [best(at, rows, measure)] if rows else []
    return " ".join([*said, *notes])


HEAT_MAP = Plot(
    name="heat-map",
    title="Methods x data sets",
    ground=("protocol", "source", "backbone", "shots", "split", "test_rows_per_class"),
    sql=SQL,
    template=TEMPLATE,
    draw=draw,
)
