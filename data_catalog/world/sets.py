"""Labelled sets that are drawn from the world: what the embedded benchmarks have in common."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from data_catalog.png import stored_png
from data_catalog.sources.base import Example, digest_of
from data_catalog.world.scenes import (
    SIDE,
    Place,
    Scene,
    Thing,
    filling_place,
    single_place,
    thing,
)
from data_catalog.world.vocabulary import COLOURS, Kind, Style, kinds

# Moves when a set's images do: what is ingested already is then read anew.
REVISION = 2


class Drawn(NamedTuple):
    """One scene of a set and what its row says beyond the class.

    Attributes:
        scene: What to paint.
        extras: Further columns of the row.
        masked: Whether the row gets `mask` and the box of its first thing.
    """

    scene: Scene
    extras: Mapping[str, Any] = MappingProxyType({})
    masked: bool = False


@dataclass(frozen=True)
class WorldSet:
    """Images of a named set, split by split and class by class, from `draw`.

    Each image has a random stream of its own, so a larger set begins with the smaller one.

    Attributes:
        name: Name of the set; part of every random stream.
        classes: Class names, in label order.
        per_class: Images of each class, by split.
        domains: Domains that each class is drawn in, the images of a split in turn.
        draw: From a random stream, a class name and a domain to a scene.
        composed: Whether `draw` says the attribute and the object of each class.
    """

    name: str
    classes: tuple[str, ...]
    per_class: Mapping[str, int]
    domains: tuple[str, ...]
    draw: Callable[[random.Random, str, str], Drawn] = field(repr=False, compare=False)
    composed: bool = field(default=False, repr=False, compare=False)

    def examples(self) -> Iterator[Example]:
        """Yields every image.

        Raises:
            SourceUnavailable: A package that brings a font is not installed.
        """
        for split, count in self.per_class.items():
            for label, name in enumerate(self.classes):
                for number in range(count):
                    domain = self.domains[number % len(self.domains)]
                    stream = random.Random(f"{self.name}/{split}/{name}/{number}")
                    yield self._example(self.draw(stream, name, domain), split, label, number)

    def _example(self, drawn: Drawn, split: str, label: int, number: int) -> Example:
        from data_catalog.world.painting import paint

        picture = paint(drawn.scene)
        extras = dict(drawn.extras)
        if drawn.masked:
            extras["mask"] = stored_png(np.asarray(picture.mask()))
            extras |= {f"box_{side}": at for side, at in picture.boxes()[0]._asdict().items()}
        return Example(
            content=stored_png(np.asarray(picture.image)),
            path=f"{split}/{self.classes[label]}/{number}",
            label=label,
            class_name=self.classes[label],
            split=split,
            domain=drawn.scene.domain if len(self.domains) > 1 else None,
            extras=extras,
        )

    def total(self) -> int:
        """Images of all classes and splits."""
        return len(self.classes) * sum(self.per_class.values())

    def signature(self) -> str:
        """Digest of what decides the images."""
        return digest_of(["world set", REVISION, self.name, self.classes, self.domains]) + str(
            sorted(self.per_class.items())
        )

    def describe(self) -> str:
        """The set and its revision."""
        return f"{self.name} of Shotboard's world, revision {REVISION}, {SIDE} pixels"

    def sizes(self) -> dict[str, int]:
        """Images by split."""
        return {split: count * len(self.classes) for split, count in self.per_class.items()}


def alone(
    rng: random.Random,
    kind: Kind,
    styles: tuple[Style, ...],
    domain: str,
    *,
    colour: str | None = None,
    place: Place | None = None,
) -> Scene:
    """A scene of one thing in one of `styles`, on a ground of another colour.

    Args:
        rng: Random stream of the scene.
        kind: What is shown.
        styles: Of which one is drawn.
        domain: Of the picture.
        colour: Of the thing; None draws one.
        place: Of the thing; None draws one.
    """
    colour = colour or rng.choice(list(COLOURS))
    shown = thing(rng, kind, rng.choice(styles), colour, place or single_place(rng))
    return scene_of((shown,), rng, domain)


def held_out_look(rng: random.Random, name: str, domain: str) -> Drawn:
    """A kind by itself, filling the picture, in a style that pretraining never saw.

    Args:
        rng: Random stream of the scene.
        name: Of the kind.
        domain: Of the picture.
    """
    kind = kinds()[name]
    return Drawn(alone(rng, kind, kind.held_out, domain, place=filling_place(rng)))


def scene_of(things: tuple[Thing, ...], rng: random.Random, domain: str) -> Scene:
    """A scene of `things` on a ground of a colour that none of them has.

    Args:
        things: What is shown.
        rng: Random stream of the ground.
        domain: Of the picture.
    """
    taken = {shown.colour for shown in things}
    background = rng.choice([name for name in COLOURS if name not in taken])
    return Scene(things, background, domain, "", rng.getrandbits(48))
