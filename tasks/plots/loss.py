"""The training loss of a trial by epoch, with those of its other seeds behind it."""

from collections.abc import Sequence
from typing import Any

from data_catalog.wording import plural
from tasks.plots.looks import Looks
from tasks.plots.marks import HEADING, SAID, WIDTH
from tasks.plots.plot import Figure, NothingToDraw, Plot, Row
from tasks.plots.words import where

_POINTS = 40  # epochs, beyond which a line has no points

# Each trial with the losses of its cell's others: a list of {seed, losses}.
SQL = """
SELECT
    trial_id, method, protocol, dataset, backbone, shots, seed, losses,
    (
        SELECT list({seed: other.seed, losses: other.losses} ORDER BY other.seed)
        FROM trials AS other
        WHERE other.cell_id = trials.cell_id AND other.trial_id <> trials.trial_id
            AND other.losses IS NOT NULL
    ) AS others
FROM trials
WHERE status = 'completed'
"""

_X: dict[str, Any] = {
    "field": "epoch",
    "type": "quantitative",
    "scale": {"domain": {"$": "x_domain"}, "nice": False, "zero": False},
    "axis": {"title": "epoch", "grid": False, "tickMinStep": 1, "format": "d"},
}
_Y: dict[str, Any] = {
    "field": "loss",
    "type": "quantitative",
    "scale": {"zero": {"$": "zero"}},
    "axis": {"title": "mean training loss"},
}
TEMPLATE: dict[str, Any] = {
    "title": HEADING,
    "width": WIDTH,
    "height": 240,
    "layer": [
        {
            "transform": [{"filter": "!datum.own"}],
            "mark": {"type": "line", "strokeWidth": 1, "style": "quiet", "aria": False},
            "encoding": {"x": _X, "y": _Y, "detail": {"field": "seed"}},
        },
        {
            "transform": [{"filter": "datum.own"}],
            "mark": {"type": "line", "strokeWidth": 2, "color": {"$": "colour"}, "aria": False},
            "encoding": {"x": _X, "y": _Y},
        },
        {
            "transform": [{"filter": "datum.own && (datum.point || datum.last)"}],
            "mark": {
                "type": "point",
                "filled": True,
                "size": 35,
                "opacity": 1,
                "color": {"$": "colour"},
            },
            "encoding": {"x": _X, "y": _Y, "description": SAID, "tooltip": SAID},
        },
        {
            "transform": [{"filter": "datum.last"}],
            "mark": {
                "type": "text",
                "align": "left",
                "dx": 7,
                "baseline": "middle",
                "aria": False,
            },
            "encoding": {"x": _X, "y": _Y, "text": {"field": "name"}},
        },
    ],
}


def draw(ground: Row, rows: Sequence[Row], looks: Looks) -> Figure:
    """The losses of one trial.

    Args:
        ground: Its id.
        rows: One, of `SQL`.
        looks: Of methods.

    Raises:
        NothingToDraw: It has no losses: its method tunes nothing by steps.
    """
    (row,) = rows
    losses = [loss for loss in row["losses"] or () if loss is not None]
    if not losses:
        raise NothingToDraw(
            f"trial {row['trial_id']} of {row['method']} has no loss: nothing is tuned by steps."
        )
    others = [other for other in row["others"] or () if other["losses"]]
    drawn = [
        {"seed": other["seed"], "own": False, "epoch": epoch, "loss": loss}
        for other in others
        for epoch, loss in enumerate(other["losses"], 1)
        if loss is not None
    ]
    drawn += [
        {
            "seed": row["seed"],
            "own": True,
            "epoch": epoch,
            "loss": loss,
            "point": len(losses) <= _POINTS,
            "last": epoch == len(losses),
            "name": f"{loss:.3g}",
            "said": f"epoch {epoch}: loss {loss:.4g}",
        }
        for epoch, loss in enumerate(losses, 1)
    ]
    longest = max(point["epoch"] for point in drawn)
    lowest = min(losses)
    greatest = max(point["loss"] for point in drawn)
    place = where({name: row[name] for name in ("protocol", "dataset", "backbone", "shots")})
    behind = f"; grey: its {plural(len(others), 'other seed')}" if others else ""
    return Figure(
        ground=ground,
        rows=drawn,
        values={
            "title": f"Training loss: {row['method']}, seed {row['seed']}",
            "subtitle": [f"{place}; trial {row['trial_id']}{behind}"],
            "x_domain": [1, max(longest, 2)],
            # From 0, unless that would hide the curve.
            "zero": min(point["loss"] for point in drawn) < greatest / 2,
            "colour": looks.of(row["method"]).colour,
        },
        alt=(
            f"Training loss of {row['method']}, seed {row['seed']}, on {place} over "
            f"{plural(len(losses), 'epoch')}: from {losses[0]:.4g} to {losses[-1]:.4g}, the least "
            f"{lowest:.4g} in epoch {losses.index(lowest) + 1}."
        ),
    )


LOSS = Plot(
    name="loss",
    title="Training loss",
    ground=("trial_id",),
    sql=SQL,
    template=TEMPLATE,
    draw=draw,
)
