"""Mean ranks over data sets and what of them is chance, as Demsar draws it.

The best is on the right. Methods that one bar joins are no further apart than Nemenyi's critical
difference: these data sets do not tell them apart.

Source: Demsar, "Statistical comparisons of classifiers over multiple data sets", Journal of Machine
Learning Research 7, 2006, figure 1.
"""

import math
from collections.abc import Sequence
from typing import Any

from data_catalog.wording import plural
from tasks.plots.looks import Looks
from tasks.plots.marks import HEADING, SAID, WIDTH, colour, shape
from tasks.plots.plot import Figure, Lines, NothingToDraw, Plot, Row, labelled
from tasks.plots.words import several, where

_AXIS, _BAR, _LINE = 48, 9, 19  # pixels from the top, from bar to bar, from name to name
_FEW = 10  # data sets, below which the tests have little power
_LEVEL = 0.05

SQL = """
SELECT
    protocol, source, backbone, shots, split, test_rows_per_class, method,
    trim(regexp_replace(variant, 'test_rows_per_class=\\d+', '')) AS variant, mean_rank, datasets,
    covers, missing, friedman, friedman_p, critical_difference
FROM ranks
ORDER BY
    protocol, source, backbone, shots_order(shots), split,
    test_rows_per_class NULLS FIRST, method, variant
"""

_X: dict[str, Any] = {
    "field": "rank",
    "type": "quantitative",
    "scale": {"domain": {"$": "x_domain"}, "nice": False, "zero": False},
    "axis": {
        "orient": "top",
        "offset": -_AXIS,
        "title": None,
        "grid": False,
        "values": {"$": "ticks"},
        "format": "d",
    },
}
_Y: dict[str, Any] = {
    "field": "at",
    "type": "quantitative",
    "scale": {"domain": [{"$": "height"}, 0], "nice": False, "zero": False},
    "axis": None,
}


def _stems(side: str) -> list[dict[str, Any]]:
    """Layers of one side: from the axis down, across to the edge, and the name there."""
    edge: dict[str, Any] = {"value": 0 if side == "left" else {"expr": "width"}}
    away = "-" if side == "left" else "+"
    place = f"{'0' if side == 'left' else 'width'} {away} "
    those = [{"filter": f"datum.kind === 'method' && datum.side === '{side}'"}]
    return [
        {
            "transform": those,
            "mark": {"type": "rule", "strokeWidth": 1.2, "aria": False},
            "encoding": {"x": _X, "x2": edge, "y": _Y, "color": colour()},
        },
        {
            "transform": those,
            "mark": {"type": "point", "filled": True, "size": 45, "opacity": 1, "aria": False},
            "encoding": {
                "x": {"value": {"expr": f"{place}8"}},
                "y": _Y,
                "color": colour(),
                "shape": shape(),
            },
        },
        {
            "transform": those,
            "mark": {
                "type": "text",
                "align": "right" if side == "left" else "left",
                "baseline": "middle",
                "limit": 200,
                "aria": False,
            },
            "encoding": {
                "x": {"value": {"expr": f"{place}16"}},
                "y": _Y,
                "text": {"field": "name"},
            },
        },
    ]


TEMPLATE: dict[str, Any] = {
    "title": HEADING,
    "width": WIDTH,
    "height": {"$": "height"},
    "layer": [
        {
            "transform": [{"filter": "datum.kind === 'method'"}],
            "mark": {"type": "rule", "strokeWidth": 1.2, "aria": False},
            "encoding": {
                "x": _X,
                "y": {**_Y, "field": "top"},
                "y2": {"field": "at"},
                "color": colour(),
            },
        },
        *_stems("left"),
        *_stems("right"),
        {
            "transform": [{"filter": "datum.kind === 'method'"}],
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
            "encoding": {
                "x": _X,
                "y": {**_Y, "field": "top"},
                "color": colour(),
                "shape": shape(),
                "description": SAID,
                "tooltip": SAID,
            },
        },
        {
            "transform": [{"filter": "datum.kind !== 'method'"}],
            "mark": {
                "type": "rule",
                "strokeWidth": {"expr": "datum.kind === 'clique' ? 5 : 1.5"},
                "strokeCap": "round",
            },
            "encoding": {
                "x": _X,
                "x2": {"field": "to"},
                "y": _Y,
                "description": SAID,
                "tooltip": SAID,
            },
        },
        {
            "transform": [
                {"filter": "datum.kind === 'difference'"},
                {"calculate": "[datum.rank, datum.to]", "as": "end"},
                {"flatten": ["end"]},
            ],
            "mark": {"type": "tick", "orient": "vertical", "size": 9, "aria": False},
            "encoding": {"x": {**_X, "field": "end"}, "y": _Y},
        },
        {
            "transform": [{"filter": "datum.kind === 'difference'"}],
            "mark": {"type": "text", "align": "left", "baseline": "middle", "dx": 8, "aria": False},
            "encoding": {"x": {**_X, "field": "to"}, "y": _Y, "text": {"field": "name"}},
        },
    ],
}


def draw(ground: Row, rows: Sequence[Row], looks: Looks) -> Figure:
    """The ranks of one protocol, backbone, number of shots and split.

    Args:
        ground: Values of the columns of `CRITICAL_DIFFERENCE.ground`.
        rows: Those of `SQL` on it.
        looks: Of methods.

    Raises:
        NothingToDraw: Fewer than two methods or data sets can be compared.
    """
    named = labelled(rows)
    ranked = [row for row in named if row["mean_rank"] is not None]
    ranked.sort(key=lambda row: (row["mean_rank"], row["label"]))
    lost = [
        f"{row['label']} (lacks {row['missing']})" if row["missing"] else row["label"]
        for row in named
        if row["mean_rank"] is None
    ]
    width = ranked[0]["critical_difference"] if ranked else None
    if len(ranked) < 2 or width is None:
        raise NothingToDraw(
            f"ranks on {where(ground)} need two methods and two data sets that all of them have"
            + (f"; left out: {several(lost)}" if lost else "")
            + ". Run the missing data sets first."
        )
    datasets, p = ranked[0]["datasets"], ranked[0]["friedman_p"]
    notes = _notes(p, datasets, lost)
    joined = cliques([row["mean_rank"] for row in ranked], width)
    levels = _levels([(ranked[first], ranked[last]) for first, last in joined])
    names_at = _AXIS + 14 + _BAR * (max(levels, default=-1) + 1) + 10
    half = math.ceil(len(ranked) / 2)
    height = names_at + _LINE * half
    low, high = 1, len(ranked)
    drawn: list[dict[str, Any]] = []
    for place, row in enumerate(ranked):
        right = place < half
        line = place if right else len(ranked) - 1 - place
        drawn.append(
            {
                "kind": "method",
                "label": row["label"],
                "rank": row["mean_rank"],
                "top": _AXIS,
                "at": names_at + _LINE * line,
                "side": "right" if right else "left",
                "name": f"{row['label']}  {row['mean_rank']:.2f}",
                "said": f"{row['label']}: mean rank {row['mean_rank']:.2f}",
            }
        )
    for (first, last), level in zip(joined, levels, strict=True):
        members = [row["label"] for row in ranked[first : last + 1]]
        drawn.append(
            {
                "kind": "clique",
                "rank": ranked[first]["mean_rank"] - 0.06,
                "to": ranked[last]["mean_rank"] + 0.06,
                "at": _AXIS + 14 + _BAR * level,
                "said": f"not told apart: {several(members, 20)}",
            }
        )
    drawn.append(
        {
            "kind": "difference",
            "rank": high,
            "to": max(high - width, low),
            "at": 12,
            "name": f"critical difference {width:.2f}"
            + (" (beyond the axis)" if width > high - low else ""),
            "said": f"critical difference {width:.2f}",
        }
    )
    lines = Lines([row["label"] for row in ranked], {r["label"]: r["method"] for r in ranked})
    return Figure(
        ground=ground,
        rows=drawn,
        values={
            "title": "Mean rank over data sets, with the critical difference",
            "subtitle": [
                f"{where(ground)}; {plural(datasets, 'data set')}, the best on the right",
                "joined: not told apart at the 5 % level (Nemenyi)",
                *notes,
            ],
            "height": height,
            "x_domain": [high, low],
            "ticks": list(range(low, high + 1)),
            **lines.looks(looks),
        },
        alt=_alt(ground, ranked, joined, width, notes),
        notes=tuple(notes),
    )


def cliques(ranks: Sequence[float], width: float) -> list[tuple[int, int]]:
    """The largest runs of methods no further apart than the critical difference.

    Args:
        ranks: Mean ranks, the best first.
        width: The critical difference.

    Returns:
        First and last place of each run of two and more; none is within another.
    """
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(place for place, other in enumerate(ranks) if other - rank <= width)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def _levels(bars: Sequence[tuple[Row, Row]]) -> list[int]:
    """A line for each bar, such that no two on one line touch."""
    ends: list[float] = []
    levels = []
    for first, last in bars:
        free = [level for level, end in enumerate(ends) if end < first["mean_rank"] - 0.2]
        level = free[0] if free else len(ends)
        ends[level : level + 1] = [last["mean_rank"]]
        levels.append(level)
    return levels


def _notes(p: float | None, datasets: int, lost: Sequence[str]) -> list[str]:
    """What the tests say of all methods together, and who is not in it."""
    notes = []
    if p is not None:
        notes.append(
            f"Friedman's test: p = {p:.2g}" + (", so pairs tell nothing." if p >= _LEVEL else ".")
        )
    if datasets < _FEW:
        notes.append(f"With {plural(datasets, 'data set')} little can be told apart.")
    if lost:
        notes.append(f"Left out: {several(lost)}.")
    return notes


def _alt(
    ground: Row,
    ranked: Sequence[Row],
    joined: Sequence[tuple[int, int]],
    width: float,
    notes: Sequence[str],
) -> str:
    """The picture in words."""
    order = [f"{row['label']} {row['mean_rank']:.2f}" for row in ranked]
    said = [
        f"Mean ranks of {plural(len(ranked), 'method')} over "
        f"{plural(ranked[0]['datasets'], 'data set')} ({ranked[0]['covers']}), {where(ground)}.",
        f"Best first: {several(order, 30)}.",
        f"The critical difference is {width:.2f}.",
    ]
    for first, last in joined:
        members = [row["label"] for row in ranked[first : last + 1]]
        said.append(f"Not told apart: {several(members, 30)}.")
    if not joined:
        said.append("All methods are told apart.")
    return " ".join([*said, *notes])


CRITICAL_DIFFERENCE = Plot(
    name="critical-difference",
    title="Mean ranks and critical difference",
    ground=("protocol", "source", "backbone", "shots", "split", "test_rows_per_class"),
    sql=SQL,
    template=TEMPLATE,
    draw=draw,
)
