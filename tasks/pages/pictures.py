"""Plots of a store's board as pictures: for files, Prefect's artifacts and MLflow."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from tasks.pages.asking import own_rows
from tasks.pages.known import method_rows
from tasks.plots.drawing import PLOTS, figure, render
from tasks.plots.looks import Looks
from tasks.storage.store import Store

MEDIA_TYPES = {
    "svg": "image/svg+xml",
    "png": "image/png",
    "pdf": "application/pdf",
    "json": "application/json",
}


class Picture(NamedTuple):
    """A picture and what it says.

    Attributes:
        content: Of the file.
        media_type: Of the content.
        title: What it shows.
        alt: The same in words, with its numbers, for who cannot see it.
    """

    content: bytes
    media_type: str
    title: str
    alt: str


def picture(
    store: Store,
    name: str,
    filters: Mapping[str, Any] | None = None,
    *,
    format: str = "svg",
    theme: str = "light",
    transparent: bool = False,
) -> Picture:
    """Draws one plot of the board; needs no browser and no network.

    Args:
        store: Whose board.
        name: One of `tasks.plots.drawing.PLOTS`.
        filters: What it shows, by column: protocol, dataset, backbone, shots and others that the
            plot has; where they leave a choice, the place with most methods.
        format: `svg`, `png`, `pdf`, or `json` for its Vega-Lite specification with its rows.
        theme: `light` or `dark`.
        transparent: Whether what is behind shows through.

    Raises:
        LookupError: There is no such plot, column, value, format or theme, or the board has
            nothing to draw; says what there is.
        BoardError: There is no board, it cannot be read, or it is of another version.
    """
    drawn = figure(partial(own_rows, store), name, looks(), filters)
    plot = PLOTS[name]
    content = render(plot, drawn, format=format, theme=theme, transparent=transparent)
    return Picture(content, MEDIA_TYPES[format], plot.title, drawn.alt)


def looks() -> Looks:
    """How methods are drawn: the same in every picture and on every page."""
    return Looks({row["method"]: row["trains"] for row in method_rows()})
