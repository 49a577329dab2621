"""What is in a picture, before it is painted: things, their looks and places, and the domain.

A scene is drawn by a `random.Random` and nothing else, so one seed and number give one scene.
Pretraining sees `random_scene`, and `plain_scene` at first; the embedded sets build their own
scenes from `thing`.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from data_catalog.world.vocabulary import (
    COLOURS,
    TEXTURES,
    Finish,
    Group,
    Kind,
    Style,
    held_out_pair,
    known,
)

K = TypeVar("K")

SIDE = 64  # of a picture, in pixels
DOMAINS = ("clean", "photo", "inverted", "blurred", "sketch")
HELD_OUT_DOMAIN = "sketch"

# How often pretraining draws each group, and each domain.
GROUPS: dict[Group, float] = {
    "icon": 0.52, "shape": 0.12, "letter": 0.14, "digit": 0.15, "symbol": 0.07,
}  # fmt: skip
SEEN_DOMAINS = {"clean": 0.40, "photo": 0.30, "blurred": 0.18, "inverted": 0.12}
# And the finish of an icon, where a kind has it.
FINISHES: dict[Finish, float] = {"filled": 0.55, "inked": 0.3, "line": 0.15}
_ONE, _SEVERAL = 0.82, 0.08  # of the scenes; the others show two different things


class Place(NamedTuple):
    """Where a thing is: its centre and its longer side, as parts of the picture's side."""

    x: float
    y: float
    size: float


@dataclass(frozen=True)
class Thing:
    """One object of a scene.

    Attributes:
        kind: What it is.
        style: How it looks.
        colour: Key of `COLOURS`.
        texture: One of `TEXTURES`.
        place: Where it is.
        angle: Degrees, counter-clockwise.
        weight: Erodes the form by so many pixels of its tile where negative, else thickens it.
        mirrored: Whether left and right are swapped.
    """

    kind: Kind
    style: Style
    colour: str
    texture: str
    place: Place
    angle: float
    weight: int = 0
    mirrored: bool = False


@dataclass(frozen=True)
class Scene:
    """All that decides a picture, but for the noise that `seed` draws.

    Attributes:
        things: In the order of painting, at least one.
        background: Key of `COLOURS`.
        domain: One of `DOMAINS`.
        relation: How the first of two things lies to the second: `above`, `left`; else empty.
        seed: Of warps, noise and shades.
    """

    things: tuple[Thing, ...]
    background: str
    domain: str
    relation: str
    seed: int


def random_scene(rng: random.Random) -> Scene:
    """A scene as pretraining sees it: nothing held out is in it."""
    domain = weighted(rng, SEEN_DOMAINS)
    what = rng.random()
    background = rng.choice(list(COLOURS))
    relation = ""
    if what < _ONE:
        kind = rng.choice(known(weighted(rng, GROUPS)))
        things = [seen_thing(rng, kind, background, single_place(rng))]
        if kind.group in ("letter", "digit", "symbol") and rng.random() < 0.4:
            things, background = [_ink(things[0])], "white"  # as print and handwriting have it
    elif what < _ONE + _SEVERAL:
        kind = rng.choice(known(rng.choice(("icon", "shape"))))
        first = seen_thing(rng, kind, background, Place(0.5, 0.5, 0.5))
        things = [_moved(rng, first, place) for place in _grid(rng, rng.randint(2, 4))]
    else:
        relation = rng.choice(("above", "left"))
        groups = ("icon", "icon", "shape")
        first, second = (rng.choice(known(rng.choice(groups))) for _ in range(2))
        there, here = _pair_of_places(rng, relation)
        things = [
            seen_thing(rng, first, background, there),
            seen_thing(rng, second, background, here),
        ]
    return Scene(tuple(things), background, domain, relation, rng.getrandbits(48))


def plain_scene(rng: random.Random) -> Scene:
    """A first picture for a beginner: one large upright thing, often black on white."""
    kind = rng.choice(known(weighted(rng, GROUPS)))
    place = filling_place(rng, least=0.75)
    background = rng.choice(list(COLOURS))
    shown = replace(seen_thing(rng, kind, background, place), texture="solid")
    shown = replace(shown, angle=shown.angle / 2)
    if rng.random() < 0.5:
        shown, background = _ink(shown), "white"
    return Scene((shown,), background, "clean", "", rng.getrandbits(48))


def seen_thing(rng: random.Random, kind: Kind, background: str, place: Place) -> Thing:
    """A thing in a style and colour that pretraining may see, in another than `background`.

    Args:
        rng: Random stream of the look.
        kind: What it is.
        background: Colour of the ground.
        place: Where it is.
    """
    colour = rng.choice(list(COLOURS))
    while colour == background or held_out_pair(colour, kind.name):
        colour = rng.choice(list(COLOURS))
    shown = thing(rng, kind, _seen_style(rng, kind), colour, place)
    if kind.group != "icon":
        return shown
    # Icon sets are few and each draws a kind its own way; what a mirror or a thicker line changes
    # is no part of the kind.
    return replace(shown, mirrored=rng.random() < 0.4, weight=rng.choice((-1, 0, 0, 1)))


def _seen_style(rng: random.Random, kind: Kind) -> Style:
    finish = weighted(rng, FINISHES)
    return rng.choice([style for style in kind.seen if style.finish == finish] or kind.seen)


def thing(rng: random.Random, kind: Kind, style: Style, colour: str, place: Place) -> Thing:
    """A thing of a given look; texture, angle and weight are drawn.

    Args:
        rng: Random stream of the look.
        kind: What it is.
        style: Icon set, font or form.
        colour: Its name.
        place: Where it is.
    """
    # A texture on small or thin forms would hide what they are.
    plain = kind.group not in ("icon", "shape") or place.size < 0.5 or rng.random() < 0.7
    return Thing(
        kind=kind,
        style=style,
        colour=colour,
        texture="solid" if plain else rng.choice(TEXTURES[1:]),
        place=place,
        angle=rng.uniform(-18, 18),
        weight=rng.choice((-1, 0, 0, 0, 1)) if kind.group in ("letter", "digit", "symbol") else 0,
    )


def single_place(rng: random.Random) -> Place:
    """A place for one thing: mostly large, always wholly in the picture."""
    size = rng.uniform(0.55, 0.98) if rng.random() < 0.85 else rng.uniform(0.38, 0.55)
    return _inside(rng, size)


def filling_place(rng: random.Random, *, least: float = 0.7) -> Place:
    """A place for one thing that fills most of the picture, as the subject of a photo does.

    Args:
        rng: Random stream of the place.
        least: Smallest share of the side of the picture, 0..1.
    """
    return _inside(rng, rng.uniform(least, 0.98))


def weighted(rng: random.Random, weights: Mapping[K, float]) -> K:
    """A key, drawn with its weight.

    Args:
        rng: Random stream of the draw.
        weights: Weight of each key, 0 or more.
    """
    return rng.choices(list(weights), list(weights.values()))[0]


def _inside(rng: random.Random, size: float) -> Place:
    room = (1 - size) / 2
    return Place(0.5 + rng.uniform(-room, room), 0.5 + rng.uniform(-room, room), size)


def _ink(drawn: Thing) -> Thing:
    """The same thing in black ink; of no held-out pair, since black is in none."""
    return replace(drawn, colour="black", texture="solid")


def _moved(rng: random.Random, first: Thing, place: Place) -> Thing:
    return replace(first, place=place, angle=rng.uniform(-18, 18))


def _grid(rng: random.Random, count: int) -> Sequence[Place]:
    """Places that do not overlap: `count` of the four quarters."""
    cells = [(0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)]
    size = rng.uniform(0.34, 0.44)
    return [
        Place(x + rng.uniform(-0.04, 0.04), y + rng.uniform(-0.04, 0.04), size)
        for x, y in sorted(rng.sample(cells, count))
    ]


def _pair_of_places(rng: random.Random, relation: str) -> tuple[Place, Place]:
    near, far = rng.uniform(0.24, 0.3), rng.uniform(0.7, 0.76)
    across = [rng.uniform(0.35, 0.65) for _ in range(2)]
    sizes = [rng.uniform(0.38, 0.48) for _ in range(2)]
    if relation == "above":
        return Place(across[0], near, sizes[0]), Place(across[1], far, sizes[1])
    return Place(near, across[0], sizes[0]), Place(far, across[1], sizes[1])
