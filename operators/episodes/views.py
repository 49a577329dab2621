"""View policies: which random crop of a training image each epoch shows.

    none      the centre crop, as validation and test images have it
    bank:K    epoch e shows view e mod K; view k of an image follows from its row id and k alone
    fresh     every epoch shows a view of its own, which follows from the trial's seed as well

So the views of a bank are the same for every trial, and a smaller bank is the beginning of a
larger one: their features are encoded once and kept. What `fresh` shows is never seen again.

The augmentation is that of the CoOp code bases: an area of 8 to 100 percent of the image and an
aspect ratio of 3/4 to 4/3, cut out, resized, and mirrored in half of the cases (Dassl,
`random_resized_crop` and `random_flip`; torchvision, `RandomResizedCrop.get_params`). Only the
source of randomness differs: each crop has a generator of its own, seeded with the name of the
view and the row, so neither the order of reading nor the process matters.

Whatever moves a crop here raises `TRANSFORM_VERSION` in `operators/images.py`.
"""

import math
import random
import re
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from operators.crops import Crop, CropRule

PATTERN = "none|fresh|bank:[1-9][0-9]*"
LARGEST_BANK = 1024  # each view is encoded and kept
AREAS = (0.08, 1.0)  # of the image
RATIOS = (3 / 4, 4 / 3)  # width to height
TRIES = 10
MIRRORED = 0.5


class View(NamedTuple):
    """One random view of every image.

    Attributes:
        number: k of a bank, or the epoch that is shown a fresh view.
        seed: Of the trial, for a fresh view; None for those of a bank, which all trials share.
    """

    number: int
    seed: int | None = None

    @property
    def kept(self) -> bool:
        """Whether its features are: somebody else will ask for them."""
        return self.seed is None

    @property
    def name(self) -> str:
        """What its crops are drawn from, and its features filed under: `bank-3`, `fresh-1-3`."""
        return f"bank-{self.number}" if self.seed is None else f"fresh-{self.seed}-{self.number}"

    def crop(self, row: int, height: int, width: int) -> Crop:
        """What it shows of the image of a row.

        Args:
            row: Row id in the dataset.
            height: Of the decoded image, in pixels.
            width: As `height`.
        """
        # Of all that `random` has, only `random()` promises the same values in every version.
        draw = random.Random(f"view/{self.name}/{row}").random
        mirrored = draw() < MIRRORED
        for _ in range(TRIES):
            area = height * width * _between(*AREAS, draw())
            ratio = math.exp(_between(math.log(RATIOS[0]), math.log(RATIOS[1]), draw()))
            wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < wide <= width and 0 < high <= height:
                top, left = int(draw() * (height - high + 1)), int(draw() * (width - wide + 1))
                return Crop(top, left, high, wide, mirrored)
        wide = min(width, round(height * RATIOS[1]))
        high = min(height, round(width / RATIOS[0]))
        return Crop((height - high) // 2, (width - wide) // 2, high, wide, mirrored)

    def crops(self, rows: np.ndarray) -> list[CropRule]:
        """For each row, what it shows of an image of some height and width."""
        return [partial(self.crop, row) for row in rows.tolist()]


@dataclass(frozen=True)
class ViewPolicy:
    """How the views of the epochs follow from each other.

    Attributes:
        kind: `none`, `bank` or `fresh`.
        size: K of a bank, else 0.
    """

    kind: Literal["none", "bank", "fresh"] = "none"
    size: int = 0

    @classmethod
    def parse(cls, text: str) -> "ViewPolicy":
        """The policy that is written `none`, `bank:K` or `fresh`.

        Raises:
            ValueError: It is none of them.
        """
        if not re.fullmatch(PATTERN, text):
            raise ValueError(
                f"views={text!r}: give none for the centre crop, bank:K for K random views that "
                "the epochs take in turn, K at least 1, such as bank:8, or fresh for another view "
                "in every epoch."
            )
        kind, _, size = text.partition(":")
        if len(size) > len(str(LARGEST_BANK)) or int(size or 0) > LARGEST_BANK:
            raise ValueError(
                f"views={text!r}: every view of a bank is encoded and kept, so give at most "
                f"bank:{LARGEST_BANK}, or fresh."
            )
        return cls(kind, int(size or 0))  # pyright: ignore[reportArgumentType]  # PATTERN has it

    def view(self, epoch: int, *, seed: int) -> View | None:
        """What an epoch of a trial shows; None is the centre crop.

        Args:
            epoch: From 0.
            seed: Of the trial.
        """
        if self.kind == "none":
            return None
        return View(epoch % self.size) if self.kind == "bank" else View(epoch, seed)

    def second(self, epoch: int, *, epochs: int, seed: int) -> View:
        """Another view for an epoch, for methods that compare two of the same image.

        With a bank it is the next in turn. Where the bank has no other, and under `none` and
        `fresh`, it is a fresh view that no epoch shows.

        Args:
            epoch: From 0.
            epochs: Of the whole trial.
            seed: Of the trial.
        """
        bank = [view for view in self.shown(epochs, seed=seed) if view is not None and view.kept]
        if len(bank) > 1:
            return bank[(epoch + 1) % len(bank)]
        return View(epochs + epoch, seed)

    def shown(self, epochs: int, *, seed: int) -> tuple[View | None, ...]:
        """The different views of the first epochs, in the order shown.

        Args:
            epochs: How many, from the first.
            seed: Of the trial, which draws fresh views.
        """
        if self.kind == "bank":
            epochs = min(epochs, self.size)
        return tuple(dict.fromkeys(self.view(epoch, seed=seed) for epoch in range(epochs)))


CENTRE = ViewPolicy()


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share
