"""The labelled images under several views as one set of features, with texts beside them if asked.

The published codes of feature heads encode all views once and then draw batches from all of them,
where the tuning loop shows one view an epoch.
"""

from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from operators.bounds import Bounds, Brief
from operators.engine.transfer import onto
from operators.episodes.episode import Batch, FewShot
from operators.episodes.views import CENTRE, View
from operators.shapes import Float, Int
from operators.tuning import Tuning, batches

# Views of each image that are learned from together.
Passes = Annotated[int, Bounds(1, 1024), Brief(3)]


class _Nothing:
    """Behind features that are there already."""

    def features(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b d"]:
        """See `ImageSource.features`."""
        raise ValueError("held features are seen by no other backbone.")

    def pixels(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b 3 s s"]:
        """See `ImageSource.pixels`."""
        raise ValueError("there are no pixels behind held features.")


class HeldFeatures(Batch):
    """Features that are there already, of images or of texts; there are no pixels behind them.

    Args:
        features: One a row.
        labels: Positions in the classes.
    """

    def __init__(
        self,
        features: Float[Tensor, "b d"],
        labels: Int[Tensor, "b"],  # noqa: F821
    ) -> None:
        super().__init__(_Nothing(), np.arange(len(labels)), labels)
        self.features = features

    def select(self, index: Int[Tensor, "m"]) -> "HeldFeatures":  # noqa: F821
        """The rows at some positions."""
        places = onto(index, self.device)
        return HeldFeatures(self.features[places], self.labels[places])

    def under(self, view: View | None) -> "HeldFeatures":
        """These very rows: under which views they were seen is settled."""
        return self


class SupportPool:
    """What there is to learn from, encoded once.

    Dimensions: n labelled images under v views, t texts, d width of a feature.

    Args:
        shots: The labelled images, and validation images as they are.
        passes: Views of each image that are taken, in the order of the epochs.
        texts: (t, d) features and (t,) labels of texts, which lie behind those of images.

    Attributes:
        shots: The same with all of these rows as what is learned from.
        images: n.
        seen: n v, rows of images.
    """

    def __init__(
        self, shots: FewShot, passes: int, texts: tuple[Tensor, Tensor] | None = None
    ) -> None:
        shown = shots.shown(passes)
        views = len(shown)
        features = [shown.pop(0).features for _ in range(views)]  # fresh ones may be large
        labels = [shots.train.labels] * views
        self.images, self.seen = len(shots.train), views * len(shots.train)
        if texts is not None:
            features, labels = [*features, texts[0]], [*labels, texts[1]]
        held = HeldFeatures(torch.cat(features), torch.cat(labels))
        self.shots = replace(shots, train=held, views=CENTRE)

    @property
    def train(self) -> Batch:
        """All rows: view by view, then the texts."""
        return self.shots.train

    def steps(self, tuning: Tuning) -> int:
        """Batches that the images fill, seen once each."""
        whole, rest = divmod(self.images, tuning.batch_size)
        return max(1, whole) if tuning.drop_last else whole + bool(rest)

    def draw(self, tuning: Tuning, generator: torch.Generator) -> list[Tensor]:
        """For `tune`: as many steps as the images fill, each of rows under any view.

        Args:
            tuning: Says how large a batch is.
            generator: Draws the order of all rows.
        """
        return drawn(self.seen, self.steps(tuning), tuning, generator)

    def draw_with_texts(
        self, tuning: Tuning, generator: torch.Generator, *, steps: int
    ) -> list[Tensor]:
        """For `tune`: in each step a batch of images, and as many texts, or all if there are fewer.

        Args:
            tuning: Says how many images a step has.
            generator: Draws the orders.
            steps: Of an epoch; 0 for as many as the images fill.
        """
        steps = steps or self.steps(tuning)
        texts = len(self.train) - self.seen
        pairs = zip(
            drawn(self.seen, steps, tuning, generator),
            drawn(texts, steps, tuning, generator),
            strict=True,
        )
        return [torch.cat([images, self.seen + read]) for images, read in pairs]


def drawn(rows: int, steps: int, tuning: Tuning, generator: torch.Generator) -> list[Tensor]:
    """Positions of some steps, one random order of all rows after the other.

    Args:
        rows: How many there are.
        steps: How many batches.
        tuning: Says how large they are.
        generator: Draws the orders.
    """
    found: list[Tensor] = []
    while len(found) < steps:
        found += batches(rows, tuning, generator)
    return found[:steps]
