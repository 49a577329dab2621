"""Every plot of a board for a page: templates once, and what fills them place by place."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.plots.drawing import PLOTS
from tasks.plots.looks import THEMES, Looks, config
from tasks.plots.loss import LOSS
from tasks.plots.plot import Ask, Figure, NothingToDraw, Plot, Row


def bundle(ask: Ask, looks: Looks) -> dict[str, Any]:
    """What a page needs to draw all plots without Python.

    Args:
        ask: Answers SQL on the board.
        looks: Of methods.

    Returns:
        `config` and `background` by theme; `plots`, each with name, title, columns of its ground,
        template, and figures; of the plot of a trial the template alone, as `loss`, with `colours`
        by method. A figure has the values of its ground and either `missing`, a sentence, or its
        values, alternative text and rows, column by column.
    """
    trained = ask("SELECT DISTINCT method FROM trials WHERE losses IS NOT NULL ORDER BY method")
    return {
        "background": {name: theme.background for name, theme in THEMES.items()},
        "loss": {"name": LOSS.name, "title": LOSS.title, "template": LOSS.template},
        "colours": {row["method"]: looks.of(row["method"]).colour for row in trained},
        "config": {theme: config(theme, transparent=True) for theme in THEMES},
        "plots": [
            {
                "name": plot.name,
                "title": plot.title,
                "ground": plot.ground,
                "template": plot.template,
                "figures": [
                    _figure(plot, key, rows, looks)
                    for key, rows in plot.grounds(ask(plot.sql)).items()
                ],
            }
            for plot in PLOTS.values()
            if plot is not LOSS
        ],
    }


def _figure(plot: Plot, key: Sequence[Any], rows: Sequence[Row], looks: Looks) -> dict[str, Any]:
    """One figure as JSON has it."""
    try:
        drawn = plot.draw(dict(zip(plot.ground, key, strict=True)), rows, looks)
    except NothingToDraw as error:
        return {"ground": key, "missing": str(error)}
    return {
        "ground": key,
        "alt": drawn.alt,
        "values": _short(drawn.values),
        "rows": _columns(drawn),
    }


def _columns(figure: Figure) -> dict[str, list[Any]]:
    """Rows column by column, which packs better."""
    names = list(dict.fromkeys(name for row in figure.rows for name in row))
    return {name: [_short(row.get(name)) for row in figure.rows] for name in names}


def _short(value: Any) -> Any:
    """The value with numbers of as many digits as a picture shows, and some more."""
    if isinstance(value, Mapping):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_short(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
