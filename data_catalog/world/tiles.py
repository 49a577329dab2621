"""The form of a kind in one style: a grey mask of `TILE` pixels that painting warps and colours."""

import io
import math
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy.ndimage import binary_fill_holes

from data_catalog.world.vocabulary import Style

TILE = 64
_FILL = 0.92  # of the tile, by the longer side
_FINE = 4  # shapes are drawn so many times larger, for smooth edges
_OUTLINE = 6  # pixels of the tile: as wide as the widest outline of the sets


@lru_cache(maxsize=65536)
def tile(style: Style, side: int = TILE, weight: int = 0) -> Image.Image:
    """The mask of a style: 255 inside, 0 outside, centred, in mode L. Do not change it in place.

    Args:
        style: What to draw.
        side: In pixels; a small copy is for small things, which would else lose thin lines.
        weight: Thins the form by a pixel of the full tile where negative, else thickens it.
    """
    if weight:
        thick = ImageFilter.MaxFilter(5) if weight > 0 else ImageFilter.MinFilter(3)
        return tile(style).filter(thick).resize((side, side), Image.Resampling.BOX)
    if side != TILE:
        return tile(style).resize((side, side), Image.Resampling.BOX)
    if not style.file:
        return _shape(style.text)
    form = _drawing(style) if style.text.endswith(".svg") else _glyph(style)
    return _inked(form) if style.finish == "inked" else form


def _glyph(style: Style) -> Image.Image:
    font = _font(style.file)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(style.text))
    drawn = Image.new("L", (max(1, right - left), max(1, bottom - top)))
    ImageDraw.Draw(drawn).text((-left, -top), style.text, fill=255, font=font)
    return _centred(drawn)


@lru_cache(maxsize=64)
def _font(path: str) -> ImageFont.FreeTypeFont:
    # The basic layout: it is in every build of Pillow, and the other needs a system library.
    return ImageFont.truetype(path, 96, layout_engine=ImageFont.Layout.BASIC)


def _drawing(style: Style) -> Image.Image:
    import resvg_py  # here: what draws no icon needs none of it

    source = _archive(style.file).read(style.text).decode()
    side = TILE * _FINE
    png = resvg_py.svg_to_bytes(source, width=side, height=side, skip_system_fonts=True)
    return _centred(Image.open(io.BytesIO(png)).getchannel("A"))


@lru_cache(maxsize=8)
def _archive(path: str) -> zipfile.ZipFile:
    # In memory, not an open file: forked workers would share its position.
    return zipfile.ZipFile(io.BytesIO(Path(path).read_bytes()))


def _inked(lines: Image.Image) -> Image.Image:
    """A line drawing filled up to its outline, its inner lines blank; with a gap, as it is."""
    side = TILE * _FINE
    drawn = np.asarray(lines.resize((side, side), Image.Resampling.BICUBIC)) >= 128
    solid = np.asarray(binary_fill_holes(drawn))
    # What lies deeper than the outline is thick: a box filter is 255 where all is inside.
    blurred = Image.fromarray(solid).convert("L").filter(ImageFilter.BoxBlur(_OUTLINE * _FINE))
    inked = solid & ~(drawn & (np.asarray(blurred) == 255))
    return Image.fromarray(inked).convert("L").resize((TILE, TILE), Image.Resampling.BOX)


def _centred(mask: Image.Image) -> Image.Image:
    box = mask.getbbox()
    mask = mask.crop(box) if box else mask
    scale = TILE * _FILL / max(mask.size)
    size = (max(1, round(mask.width * scale)), max(1, round(mask.height * scale)))
    mask = mask.resize(size, Image.Resampling.LANCZOS)
    canvas = Image.new("L", (TILE, TILE))
    canvas.paste(mask, ((TILE - mask.width) // 2, (TILE - mask.height) // 2))
    return canvas


def _shape(name: str) -> Image.Image:
    side = TILE * _FINE
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)
    if name in _POLYGONS:
        draw.polygon([(x * side, y * side) for x, y in _POLYGONS[name]], fill=255)
    elif name == "circle":
        _disc(draw, side, 0.5, 0.5, 0.46, 255)
    elif name == "oval":
        draw.ellipse((0.04 * side, 0.24 * side, 0.96 * side, 0.76 * side), fill=255)
    elif name == "semicircle":
        draw.pieslice((0.04 * side, 0.27 * side, 0.96 * side, 1.19 * side), 180, 360, fill=255)
    elif name == "ring":
        _disc(draw, side, 0.5, 0.5, 0.46, 255)
        _disc(draw, side, 0.5, 0.5, 0.27, 0)
    elif name == "crescent":
        _disc(draw, side, 0.5, 0.5, 0.46, 255)
        _disc(draw, side, 0.68, 0.42, 0.38, 0)
    elif name == "spiral":
        points = [
            (side * (0.5 + 0.021 * t * math.cos(t)), side * (0.5 + 0.021 * t * math.sin(t)))
            for t in (step * 0.1 for step in range(5, 200))
        ]
        draw.line(points, fill=255, width=round(0.065 * side), joint="curve")
    elif name == "heart":
        points = []
        for step in range(100):
            t = step * math.tau / 100
            x = 16 * math.sin(t) ** 3
            y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
            points.append((side * (0.5 + x / 36), side * (0.48 - y / 36)))
        draw.polygon(points, fill=255)
    else:
        raise KeyError(name)
    return _centred(mask)


def _disc(
    draw: ImageDraw.ImageDraw, side: int, x: float, y: float, radius: float, fill: int
) -> None:
    box = ((x - radius) * side, (y - radius) * side, (x + radius) * side, (y + radius) * side)
    draw.ellipse(box, fill=fill)


def _regular(corners: int, inner: float = 1.0) -> list[tuple[float, float]]:
    """Corners of a regular polygon, its top up; with `inner` below 1 a star of as many points."""
    points = []
    for step in range(corners * 2 if inner < 1 else corners):
        angle = math.tau * step / (corners * 2 if inner < 1 else corners) - math.pi / 2
        radius = 0.46 * (inner if inner < 1 and step % 2 else 1)
        points.append((0.5 + radius * math.cos(angle), 0.5 + radius * math.sin(angle)))
    return points


_POLYGONS = {
    "square": [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9)],
    "triangle": _regular(3),
    "diamond": [(0.5, 0.04), (0.82, 0.5), (0.5, 0.96), (0.18, 0.5)],
    "pentagon": _regular(5),
    "hexagon": _regular(6),
    "star": _regular(5, 0.42),
    "cross": [
        (0.36, 0.05), (0.64, 0.05), (0.64, 0.36), (0.95, 0.36), (0.95, 0.64), (0.64, 0.64),
        (0.64, 0.95), (0.36, 0.95), (0.36, 0.64), (0.05, 0.64), (0.05, 0.36), (0.36, 0.36),
    ],
    "arrow": [
        (0.04, 0.38), (0.52, 0.38), (0.52, 0.14), (0.96, 0.5), (0.52, 0.86), (0.52, 0.62),
        (0.04, 0.62),
    ],
    "trapezoid": [(0.28, 0.24), (0.72, 0.24), (0.96, 0.78), (0.04, 0.78)],
}  # fmt: skip
