"""How plots look: colours and shapes of methods, and the two themes.

A method looks the same in every picture, light or dark. So each colour has a contrast of 3 : 1 and
more (WCAG 2.2, 1.4.11) to both backgrounds, and any two of them stay apart for people with
protanopia, deuteranopia and tritanopia (Machado et al., IEEE TVCG 2009). Shapes tell apart what
has the same colour.
"""

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

COLOURS = (
    *("#2c93f2", "#9c551b", "#1b8d78", "#fe297e"),
    *("#5760b1", "#c0860b", "#9b14f7", "#a781b4"),
)
GREY = "#7f858c"  # of methods that learn nothing from labelled examples
SHAPES = (
    *("circle", "square", "triangle-up", "diamond", "cross", "triangle-down"),
    *("triangle-right", "triangle-left", "wedge", "arrow"),
)


class Look(NamedTuple):
    """How a method is drawn.

    Attributes:
        colour: As `#rrggbb`.
        shape: A symbol of Vega.
    """

    colour: str
    shape: str


class Looks:
    """The look of each method.

    Args:
        trains: Whether it learns from labelled examples, by method, in the order of the code: those
            of one plot are often neighbours there, and neighbours differ.
    """

    def __init__(self, trains: Mapping[str, bool]) -> None:
        self._looks: dict[str, Look] = {}
        counts = {True: 0, False: 0}
        for method, learns in trains.items():
            place = counts[learns]
            counts[learns] += 1
            self._looks[method] = (
                Look(COLOURS[place % len(COLOURS)], SHAPES[place // len(COLOURS) % len(SHAPES)])
                if learns
                else Look(GREY, SHAPES[place % len(SHAPES)])
            )

    def of(self, method: str) -> Look:
        """The look of a method; one that the code does not know has that of its name's digest."""
        if method in self._looks:
            return self._looks[method]
        place = zlib.crc32(method.encode())
        return Look(COLOURS[place % len(COLOURS)], SHAPES[place // len(COLOURS) % len(SHAPES)])


class Theme(NamedTuple):
    """Colours of what is no mark.

    Attributes:
        background: Behind the picture.
        text: Of titles, labels and numbers.
        quiet: Of subtitles, leaders and ticks.
        lines: Of the grid.
        far: Behind cells that are far from the best.
        near: Behind the best.
    """

    background: str
    text: str
    quiet: str
    lines: str
    far: str
    near: str


THEMES = {
    "light": Theme("#ffffff", "#1c2026", "#5b626b", "#e4e7eb", "#f3f6fa", "#1c5fa8"),
    "dark": Theme("#15181d", "#e8eaed", "#a2a9b2", "#31363e", "#20262e", "#6fb3f7"),
}
_FONT = "Inter, system-ui, 'Liberation Sans', Arial, sans-serif"


def config(theme: str = "light", *, transparent: bool = False) -> dict[str, Any]:
    """The configuration of Vega-Lite in which the plots are drawn.

    Args:
        theme: One of `THEMES`.
        transparent: Whether what is behind shows through.
    """
    colours = THEMES[theme]
    return {
        "background": None if transparent else colours.background,
        "font": _FONT,
        "padding": 12,
        "view": {"stroke": None},
        "title": {
            "anchor": "start",
            "frame": "group",
            "color": colours.text,
            "subtitleColor": colours.quiet,
            "fontSize": 15,
            "fontWeight": 600,
            "subtitleFontSize": 12,
            "subtitlePadding": 5,
            "offset": 14,
        },
        "axis": {
            "domainColor": colours.quiet,
            "tickColor": colours.quiet,
            "gridColor": colours.lines,
            "labelColor": colours.text,
            "titleColor": colours.text,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": 500,
            "titlePadding": 10,
            "labelLimit": 220,
        },
        "legend": {
            "labelColor": colours.text,
            "titleColor": colours.text,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": 500,
            "labelLimit": 260,
            "titleLimit": 400,
            "symbolSize": 70,
        },
        "range": {"heatmap": [colours.far, colours.near]},
        "text": {"color": colours.text, "fontSize": 12},
        "rule": {"color": colours.text},
        "point": {"color": colours.text},
        "tick": {"color": colours.text},
        "style": {
            "quiet": {"color": colours.quiet, "opacity": 0.6},
            "quiet-text": {"color": colours.quiet, "fontSize": 11},
            "outline": {"stroke": colours.background, "strokeWidth": 1},
            "gap": {"color": colours.background, "stroke": colours.quiet, "strokeDash": [3, 3]},
        },
    }
