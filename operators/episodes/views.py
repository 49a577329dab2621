"""View policies: which random view of a training image each epoch shows.

    none      the centre crop, as validation and test images have it
    bank:K    epoch e shows view e mod K; view k of an image follows from its row id and k alone
    fresh     every epoch shows a view of its own, which follows from the trial's seed as well

So the views of a bank are the same for every trial, and a smaller bank is the beginning of a
larger one: their features are encoded once and kept. What `fresh` shows is never seen again.

What a random view does to an image is an augmentation. Unless a policy names another
(`fresh:crop-0.5`, `bank:8:randaugment`) it is that of the CoOp code bases: an area of 8 to 100
percent of the image and an aspect ratio of 3/4 to 4/3, cut out, resized, and mirrored in half of
the cases (Dassl, `random_resized_crop` and `random_flip`; torchvision,
`RandomResizedCrop.get_params`). Only the source of randomness differs: each view of each image has
a generator of its own, seeded with the name of the view and the row, so neither the order of
reading nor the process matters.

A method that tunes on views of a test image may have them made by a generator, a function that is
given by name; `GENERATORS` has those that ship.

A suite may ask for `published`, which stands for the policy on the card of each method, or for
`bank:K:published`, a bank of the method's own augmentation.

Whatever moves a crop here raises `TRANSFORM_VERSION` in `operators/images.py`.
"""

import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from operators.crops import Crop, CropRule, Filter
from operators.functions import Functions, Rubbish
from operators.wording import either

PUBLISHED = "published"
LARGEST_BANK = 1024  # each view is encoded and kept
AREAS = (0.08, 1.0)  # of the image
RATIOS = (3 / 4, 4 / 3)  # width to height
TRIES = 10
MIRRORED = 0.5


class Augmentation(NamedTuple):
    """What a random view does to an image.

    Attributes:
        does: In words.
        areas: Least and largest share of the image that is cut out; None takes all of it into the
            square, whatever its shape.
        mirrored: How often the square is turned left to right, 0 to 1.
        filter: Of the resize; None for the backbone's own.
        repaint: Function of `operators/augmentations.py`, or of a user's own, that the square then
            goes through.
        turns: Whether nothing is drawn: the views are the centre crop and its mirror image in turn.
        centred: Whether, where `areas` is None, the square is that of test images.
    """

    does: str
    areas: tuple[float, float] | None = AREAS
    mirrored: float = MIRRORED
    filter: Filter | None = None
    repaint: (
        Literal["", "randaugmented", "augmixed", "recoloured", "tilted"] | Callable[..., np.ndarray]
    ) = ""
    turns: bool = False
    centred: bool = False


CROP = ""  # stands for itself in a policy: `fresh`, `bank:8`
AUGMENTATIONS = {
    CROP: Augmentation("8 to 100 % of the image, mirrored in half of the cases"),
    "crop-0.5": Augmentation(
        "50 to 100 % of the image, mirrored in half of the cases", areas=(0.5, 1.0)
    ),
    "crop-bilinear": Augmentation(
        "8 to 100 % of the image by a bilinear filter, mirrored in half of the cases",
        filter="bilinear",
    ),
    "randaugment": Augmentation(
        "all of the image, then two of RandAugment's operations",
        areas=None,
        mirrored=0,
        repaint="randaugmented",
    ),
    "augmix": Augmentation(
        "8 to 100 % of the image by a bilinear filter, mirrored in half of the cases, then AugMix",
        filter="bilinear",
        repaint="augmixed",
    ),
    "flip": Augmentation("the centre crop and its mirror image in turn", turns=True),
    "mocov3": Augmentation(
        "8 to 100 % of the image by a bilinear filter, mirrored in half of the cases, then colours "
        "jittered in four of five, grey in one of five, blurred",
        filter="bilinear",
        repaint="recoloured",
    ),
    "perspective": Augmentation(
        "the centre, mirrored and seen from aside in half of the cases each, turned by up to 5 "
        "degrees",
        areas=None,
        mirrored=0,
        repaint="tilted",
        centred=True,
    ),
}


def _jittered(image: np.ndarray, draw: Callable[[], float]) -> np.ndarray:
    from operators.augmentations import jittered  # takes Pillow

    return jittered(image, draw)


def _painted(found: Any, image: np.ndarray, *_: Any) -> np.ndarray:
    """Reads an image that a generator gave.

    Raises:
        Rubbish: It is no array of numbers from 0 to 255 of the same shape.
    """
    found = np.asarray(found)
    if found.shape != image.shape:
        raise Rubbish(f"an array of shape {found.shape} for an image of shape {image.shape}")
    if found.dtype.kind not in "uif":
        raise Rubbish(f"an array of {found.dtype}")
    low, high = found.min(), found.max()
    if not (low >= 0 and high <= 255):  # nor where one is no number
        raise Rubbish(f"numbers from {low:g} to {high:g}")
    if found.dtype.kind == "f" and 0 < high <= 1 < image.max():
        raise Rubbish(f"numbers from {low:g} to {high:g} for an image of 0 to {image.max()}")
    return found


# A view that a generator makes has all of the image, in the square that the backbone reads.
GENERATORS = Functions(
    "a generator of images",
    ("image", "draw"),
    "an image of the same size: (s, s, 3) numbers from 0 to 255",
    {"jitter": _jittered},
    reads=_painted,
)
_NAMED = "|".join(re.escape(name) for name in AUGMENTATIONS if name)
PATTERN = f"none|(fresh|bank:[1-9][0-9]*)(:({_NAMED}))?"  # of a policy
ASKED = f"{PUBLISHED}|{PATTERN}|bank:[1-9][0-9]*:{PUBLISHED}"  # of what a suite asks for


class View(NamedTuple):
    """One random view of every image.

    Attributes:
        number: k of a bank, or the epoch that is shown a fresh view.
        seed: Of the trial, for a fresh view; None for those of a bank, which all trials share.
        augmentation: Key of `AUGMENTATIONS`, or the name of one of `GENERATORS`.
    """

    number: int
    seed: int | None = None
    augmentation: str = CROP

    @property
    def kept(self) -> bool:
        """Whether its features are: somebody else will ask for them."""
        return self.seed is None

    @property
    def name(self) -> str:
        """What it is drawn from, and its features filed under: `bank-3`, `fresh-1-3-augmix`."""
        kind = f"bank-{self.number}" if self.seed is None else f"fresh-{self.seed}-{self.number}"
        return f"{kind}-{self.augmentation}" if self.augmentation else kind

    def crop(self, row: int, height: int, width: int) -> Crop:
        """What it shows of the image of a row.

        Args:
            row: Row id in the dataset.
            height: Of the decoded image, in pixels.
            width: As `height`.
        """
        # Of all that `random` has, only `random()` promises the same values in every version.
        draw = random.Random(f"view/{self.name}/{row}").random
        how = AUGMENTATIONS.get(self.augmentation) or _generated(self.augmentation)
        if how.turns:
            return Crop(0, 0, height, width, mirrored=self.number % 2 == 1, tested=True)
        part = Crop(0, 0, height, width, mirrored=False, tested=how.centred)
        if how.areas is not None:
            part = _random_part(how.areas, draw() < how.mirrored, height, width, draw)
        if not how.repaint:
            return part._replace(filter=how.filter)
        repaint = how.repaint
        if isinstance(repaint, str):
            from operators import augmentations  # takes Pillow

            repaint = getattr(augmentations, repaint)
        return part._replace(filter=how.filter, repaint=partial(repaint, draw=draw))

    def crops(self, rows: np.ndarray) -> list[CropRule]:
        """For each row, what it shows of an image of some height and width."""
        return [partial(self.crop, row) for row in rows.tolist()]


@dataclass(frozen=True)
class ViewPolicy:
    """How the views of the epochs follow from each other.

    Attributes:
        kind: `none`, `bank` or `fresh`.
        size: K of a bank, else 0.
        augmentation: Key of `AUGMENTATIONS`.
    """

    kind: Literal["none", "bank", "fresh"] = "none"
    size: int = 0
    augmentation: str = CROP

    @classmethod
    def parse(cls, text: str) -> "ViewPolicy":
        """The policy that is written `none`, `bank:K` or `fresh`, the latter with an augmentation.

        Raises:
            ValueError: It is none of them.
        """
        if not re.fullmatch(PATTERN, text):
            raise ValueError(
                f"views={text!r}: give none for the centre crop, bank:K for K random views that "
                "the epochs take in turn, K at least 1, such as bank:8, or fresh for another view "
                "in every epoch. These views are random crops; "
                f"{either([*filter(None, AUGMENTATIONS)])} may stand behind either, as in "
                "fresh:crop-0.5."
            )
        kind, *rest = text.split(":")
        size = rest.pop(0) if kind == "bank" else ""
        if len(size) > len(str(LARGEST_BANK)) or int(size or 0) > LARGEST_BANK:
            raise ValueError(
                f"views={text!r}: every view of a bank is encoded and kept, so give at most "
                f"bank:{LARGEST_BANK}, or fresh."
            )
        own = rest[0] if rest else CROP
        return cls(kind, int(size or 0), own)  # pyright: ignore[reportArgumentType]  # see PATTERN

    def __str__(self) -> str:
        """As `parse` reads it."""
        parts = [self.kind, *([str(self.size)] if self.size else []), self.augmentation]
        return ":".join(part for part in parts if part)

    @property
    def described(self) -> str:
        """What the epochs show, in words."""
        does = AUGMENTATIONS[self.augmentation].does
        if self.kind == "none":
            return "the centre crop"
        if self.kind == "fresh":
            return f"another in every epoch: {does}"
        return f"{self.size} in turn: {does}"

    def view(self, epoch: int, *, seed: int) -> View | None:
        """What an epoch of a trial shows; None is the centre crop.

        Args:
            epoch: From 0.
            seed: Of the trial.
        """
        if self.kind == "none":
            return None
        if self.kind == "bank":
            return View(epoch % self.size, augmentation=self.augmentation)
        return View(epoch, seed, self.augmentation)

    def further(
        self, epoch: int, augmentations: Sequence[str], *, epochs: int, seed: int
    ) -> tuple[View, ...]:
        """More views for an epoch, for methods that compare some of the same image.

        With a bank they are the next in turn. What a bank has no other for, and all under `none`
        and `fresh`, are fresh views of their own augmentations that no epoch shows.

        Args:
            epoch: From 0.
            augmentations: Keys of `AUGMENTATIONS`, one for each view.
            epochs: Of the whole trial.
            seed: Of the trial.
        """
        bank = [view for view in self.shown(epochs, seed=seed) if view is not None and view.kept]
        turned = [bank[(epoch + step) % len(bank)] for step in range(1, len(bank))]
        fresh = [View(epochs + epoch, seed, name) for name in augmentations[len(turned) :]]
        return (*turned[: len(augmentations)], *fresh)

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


def refuse_unknown(text: str) -> None:
    """Refuses what no suite can ask for: neither a policy nor one that methods complete.

    Raises:
        ValueError: Says what there is.
    """
    if text == PUBLISHED:
        return
    bank, _, own = text.rpartition(":")
    try:
        ViewPolicy.parse(bank if own == PUBLISHED and bank.startswith("bank:") else text)
    except ValueError as error:
        raise ValueError(f"{error} published gives each method the views on its card.") from error


def policy_of(asked: str, published: str) -> str:
    """The policy of a method's trials.

    Args:
        asked: By the suite: a policy, `published`, or `bank:K:published`.
        published: The policy on the method's card.
    """
    if asked == PUBLISHED:
        return published
    bank, _, own = asked.rpartition(":")
    if own != PUBLISHED:
        return asked
    theirs = ViewPolicy.parse(published)
    if theirs == CENTRE:
        return published
    return str(replace(ViewPolicy.parse(bank), augmentation=theirs.augmentation))


def _generated(name: str) -> Augmentation:
    """What a generator does to an image.

    Raises:
        ValueError: There is none of that name.
    """
    make = GENERATORS.find(name)

    def made(image: np.ndarray, draw: Callable[[], float]) -> np.ndarray:
        return make(image, draw)  # by position: a user calls the parameters as they like

    return Augmentation("what a generator makes of it", areas=None, mirrored=0, repaint=made)


def _random_part(
    areas: tuple[float, float], mirrored: bool, height: int, width: int, draw: Callable[[], float]
) -> Crop:
    """A random part of an image, the largest in its middle where no draw fits."""
    for _ in range(TRIES):
        area = height * width * _between(*areas, draw())
        ratio = math.exp(_between(math.log(RATIOS[0]), math.log(RATIOS[1]), draw()))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            top, left = int(draw() * (height - high + 1)), int(draw() * (width - wide + 1))
            return Crop(top, left, high, wide, mirrored)
    wide = min(width, round(height * RATIOS[1]))
    high = min(height, round(width / RATIOS[0]))
    return Crop((height - high) // 2, (width - wide) // 2, high, wide, mirrored)


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share
