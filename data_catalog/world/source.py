"""The world as a source of pairs for pretraining."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from data_catalog.pairs import Pair
from data_catalog.sources.base import digest_of
from data_catalog.world.captions import caption
from data_catalog.world.painting import paint
from data_catalog.world.scenes import SIDE, Scene, plain_scene, random_scene

# Moves when the same seed and number give another pair.
REVISION = 2
PLAIN_SHARE = 0.2  # of the pairs after the curriculum, where there is one


@dataclass(frozen=True)
class World:
    """Endless pairs; pair `number` of a seed is always the same.

    Attributes:
        seed: Another seed is another stream from the same distribution.
        plain_pairs: A curriculum: so many first pairs show one large thing and name it, no more;
            their share then falls to `PLAIN_SHARE` over as many pairs again. 0 for none. Without
            it a model learns colours first and kinds very late.
    """

    seed: int = 0
    plain_pairs: int = 0

    def __post_init__(self) -> None:
        if self.plain_pairs < 0:
            raise ValueError(f"plain_pairs={self.plain_pairs}: a number of pairs is 0 or more.")

    def pair(self, number: int) -> Pair:
        """The pair of a number, a picture of 64 pixels and its caption."""
        scene, text = self._described(number)
        return Pair(np.array(paint(scene).image), text)

    def batch(self, step: int, size: int) -> Sequence[Pair]:
        """See `PairSource.batch`.

        Args:
            step: Of training, from 0.
            size: Pairs in it.
        """
        return [self.pair(number) for number in range(step * size, (step + 1) * size)]

    def texts(self, count: int) -> Iterator[str]:
        """See `PairSource.texts`: captions of pairs after the curriculum."""
        for number in range(2 * self.plain_pairs, 2 * self.plain_pairs + count):
            yield self._described(number)[1]

    def signature(self) -> str:
        """See `PairSource.signature`."""
        return digest_of(["world", REVISION, self.seed, self.plain_pairs])

    def describe(self) -> str:
        """See `PairSource.describe`."""
        return f"Shotboard's world, revision {REVISION}, seed {self.seed}, {SIDE} pixels"

    def _described(self, number: int) -> tuple[Scene, str]:
        rng = random.Random(f"world/{self.seed}/{number}")
        if rng.random() < self._plain_share(number):
            scene = plain_scene(rng)
            return scene, caption(scene, rng, detail=0)
        scene = random_scene(rng)
        return scene, caption(scene, rng)

    def _plain_share(self, number: int) -> float:
        if not self.plain_pairs:
            return 0.0
        return min(1.0, max(PLAIN_SHARE, 2 - number / self.plain_pairs))
