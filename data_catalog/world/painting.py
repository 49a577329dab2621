"""From a scene to pixels, masks and boxes."""

import math
import random
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from data_catalog.world.scenes import SIDE, Scene, Thing
from data_catalog.world.tiles import TILE, tile
from data_catalog.world.vocabulary import COLOURS


class Box(NamedTuple):
    """Pixels that a thing covers: columns `left` to `right` - 1, rows `top` to `bottom` - 1."""

    left: int
    top: int
    right: int
    bottom: int


class Picture(NamedTuple):
    """What painting gives.

    Attributes:
        image: RGB, `SIDE` pixels square.
        forms: Of each thing, how much of each pixel it covers: (`SIDE`, `SIDE`) in 0..1.
    """

    image: Image.Image
    forms: tuple[np.ndarray, ...]

    def mask(self) -> Image.Image:
        """Mode L: k + 1 where thing k is on top, 0 for background."""
        owner = np.zeros((SIDE, SIDE), np.uint8)
        for number, form in enumerate(self.forms, start=1):
            owner[form > 0.5] = number
        return Image.fromarray(owner)

    def boxes(self) -> tuple[Box, ...]:
        """Of each thing, as far as it is in sight."""
        owner = np.asarray(self.mask())
        return tuple(_box(owner == number + 1) for number in range(len(self.forms)))


def paint(scene: Scene) -> Picture:
    """Paints a scene; the same scene gives the same bytes."""
    rng = random.Random(scene.seed)
    noise = np.random.default_rng(scene.seed)
    photo, sketch = scene.domain == "photo", scene.domain == "sketch"
    canvas = _paper(noise) if sketch else _ground(scene.background, rng, noise, photo)
    forms = []
    for thing in scene.things:
        form = _placed(thing, rng)
        alpha = np.asarray(form, np.float32) * np.float32(1 / 255)
        forms.append(alpha)
        if sketch:
            _trace(canvas, form, rng)
        else:
            if photo:
                _shade(canvas, alpha, rng)
            fill = _fill(thing, rng, noise, photo)
            fill -= canvas
            fill *= alpha
            canvas += fill
    # As few pixels as the form bears: a digit is read from eight rows, an icon is not.
    simple = scene.things[0].kind.group not in ("icon", "shape")
    coarse = rng.randint(8, 18) if simple else rng.randint(14, 26)
    return Picture(_developed(canvas, scene.domain, rng, noise, coarse), tuple(forms))


def _placed(thing: Thing, rng: random.Random) -> Image.Image:
    """The thing's mask on the whole canvas, warped as handwork and perspective warp it."""
    side = max(6, round(thing.place.size * SIDE))
    form = tile(thing.style, TILE // 2 if side < TILE // 2 else TILE, thing.weight)
    handmade = thing.kind.group in ("letter", "digit", "symbol")
    wobble = 0.055 if handmade else 0.03
    shear, stretch = rng.uniform(-0.15, 0.15), rng.uniform(0.8, 1.2)
    wide, high = 1 / min(stretch, 1.0), max(stretch, 1.0)
    turn = math.radians(thing.angle)
    c, s = math.cos(turn) * form.width, math.sin(turn) * form.width
    middle = form.width / 2
    flip = -1 if thing.mirrored else 1
    steps = (-0.5, 0.0, 0.5) if handmade else (-0.5, 0.5)
    left = round(thing.place.x * SIDE - side / 2)
    top = round(thing.place.y * SIDE - side / 2)
    corners = []
    for v in steps:
        for u in steps:
            y = v * high
            x = flip * u * wide + shear * y + rng.uniform(-wobble, wobble)
            y += rng.uniform(-wobble, wobble)
            corners.append((c * x - s * y + middle, s * x + c * y + middle))
    count = len(steps)
    cells = range(count - 1)
    edges = [round(side * part / (count - 1)) for part in range(count)]
    mesh = []
    for row in cells:
        for column in cells:
            at = row * count + column
            quad = (*corners[at], *corners[at + count], *corners[at + count + 1], *corners[at + 1])
            box = (left + edges[column], top + edges[row])
            mesh.append(((*box, left + edges[column + 1], top + edges[row + 1]), quad))
    return form.transform((SIDE, SIDE), Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)


# A canvas is planar, (3, SIDE, SIDE): a mask of (SIDE, SIDE) then broadcasts along rows, which
# numpy does several times faster than along pixels of three.


def _colour(name: str, rng: random.Random) -> np.ndarray:
    """A shade of a colour, near enough to keep its name, as (3, 1, 1)."""
    light = rng.uniform(-18, 18)
    parts = [part + light + rng.uniform(-10, 10) for part in COLOURS[name]]
    return np.array(parts, np.float32).reshape(3, 1, 1)


def _ground(name: str, rng: random.Random, noise: np.random.Generator, photo: bool) -> np.ndarray:
    colour = _colour(name, rng)
    if photo:
        return _blotches(noise, 26) + colour
    canvas = np.empty((3, SIDE, SIDE), np.float32)
    canvas[:] = colour
    if rng.random() < 0.3:  # a slope from one side to the other
        slope = np.linspace(-1, 1, SIDE, dtype=np.float32) * np.float32(rng.uniform(-35, 35))
        canvas += slope[:, None] if rng.random() < 0.5 else slope
    return canvas


def _blotches(noise: np.random.Generator, strength: float) -> np.ndarray:
    """Soft random stains around 0, the same size as the canvas: a coarse grid, interpolated."""
    coarse = noise.standard_normal((3, 5, 5), np.float32) * np.float32(strength)
    return _WIDEN @ coarse @ _WIDEN.T


def _widening(coarse: int) -> np.ndarray:
    """Matrix (SIDE, coarse) that interpolates smoothly between evenly spaced values."""
    at = np.linspace(0, coarse - 1, SIDE)
    near = np.clip(1 - np.abs(at[:, None] - np.arange(coarse)), 0, 1)
    return (near * near * (3 - 2 * near)).astype(np.float32)


_WIDEN = _widening(5)


def _fill(thing: Thing, rng: random.Random, noise: np.random.Generator, photo: bool) -> np.ndarray:
    fill = np.empty((3, SIDE, SIDE), np.float32)
    colour = _colour(thing.colour, rng)
    fill[:] = colour
    if thing.texture != "solid":
        other = colour * 0.45 if colour.mean() > 128 else colour * 0.5 + 128
        where = _pattern(thing.texture, rng.randint(5, 9), rng.randrange(4))
        fill += where * (other - colour)
    if photo:
        fill += _blotches(noise, 14)
    return fill


@lru_cache(maxsize=256)
def _pattern(texture: str, period: int, turn: int) -> np.ndarray:
    """1 where the second colour of a texture is, else 0."""
    y, x = np.mgrid[:SIDE, :SIDE]
    if texture == "striped":
        line = (x, y, x + y, x - y)[turn]
        second = line % period < period / 2
    elif texture == "checkered":
        second = (x // (period - 2) + y // (period - 2)) % 2 == 0
    else:
        dx, dy = x % period - period / 2 + 0.5, y % period - period / 2 + 0.5
        second = dx * dx + dy * dy < (0.32 * period) ** 2
    return second.astype(np.float32)


def _shade(canvas: np.ndarray, alpha: np.ndarray, rng: random.Random) -> None:
    """Darkens the ground below and beside the thing: a hard shadow."""
    shift = rng.randint(1, 3)
    canvas[:, shift:, shift:] *= 1 - np.float32(0.45) * alpha[:-shift, :-shift]


def _paper(noise: np.random.Generator) -> np.ndarray:
    grain = noise.standard_normal((SIDE, SIDE), np.float32) * 5 + 238
    return np.repeat(grain[None], 3, axis=0)


def _trace(canvas: np.ndarray, form: Image.Image, rng: random.Random) -> None:
    """Draws the outline of a form in pencil and clears what lies inside."""
    wide = np.asarray(form.filter(ImageFilter.MaxFilter(3)), np.float32)
    narrow = np.asarray(form.filter(ImageFilter.MinFilter(3)), np.float32)
    canvas += (narrow / 255) * (240 - canvas)
    canvas += ((wide - narrow) / 255) * (rng.uniform(25, 90) - canvas)


def _developed(
    canvas: np.ndarray,
    domain: str,
    rng: random.Random,
    noise: np.random.Generator,
    coarse: int,
) -> Image.Image:
    """The picture of a canvas, as the domain's camera takes it; `coarse` pixels when blurred."""
    if domain == "photo":
        light = np.linspace(rng.uniform(0.65, 1.0), rng.uniform(0.8, 1.15), SIDE, dtype=np.float32)
        canvas *= light[:, None] if rng.random() < 0.5 else light
        grain = noise.standard_normal(canvas.shape, np.float32)
        grain *= np.float32(rng.uniform(4, 16))
        canvas += grain
    np.clip(canvas, 0, 255, out=canvas)
    if domain == "inverted":
        np.subtract(255, canvas, out=canvas)
    pixels = np.empty((SIDE, SIDE, 3), np.uint8)
    pixels[:] = canvas.transpose(1, 2, 0)
    image = Image.fromarray(pixels)
    if domain == "blurred":
        image = image.resize((coarse, coarse), Image.Resampling.BOX)
        image = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return image


def _box(covered: np.ndarray) -> Box:
    rows, columns = np.nonzero(covered)
    if not len(rows):
        return Box(0, 0, 0, 0)
    return Box(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
