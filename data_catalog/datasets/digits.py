"""Digits: 1,797 handwritten digits of 8 x 8 pixels, about 180 of each, inside scikit-learn.

Splits: none official in this copy (it is the test set of the UCI collection); 50/20/30 of
each class in SHA-256 order (`splits.py`), so train 898, val 359, test 540.
Known trouble: 8 x 8 pixels are far below what any backbone was trained on, and the writer of
a digit is not recorded, so one writer may be in train and test.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from data_catalog.card import DatasetCard
from data_catalog.packages import find_package, installed_version
from data_catalog.png import stored_png
from data_catalog.sources import Example

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Digits:
    """The digits of scikit-learn, dark ink on white paper, in the order of the package."""

    composed: ClassVar[bool] = False

    def examples(self) -> Iterator[Example]:
        """Yields each digit as an 8 x 8 grey PNG; ink of 0..16 becomes 255..0."""
        find_package("sklearn", "scikit-learn")
        from sklearn.datasets import load_digits

        digits: Any = load_digits()
        for row, (ink, label) in enumerate(zip(digits.images, digits.target, strict=True)):
            grey = (255 - ink * 255 / 16).round().astype("uint8")
            yield Example(stored_png(grey), f"load_digits#{row}", int(label), NAMES[label])

    def total(self) -> int:
        """Digits in the package."""
        return 1797

    def signature(self) -> str:
        """The file is the same in every release: what is drawn from it is named instead."""
        find_package("sklearn", "scikit-learn")
        return "load_digits, grey PNG, dark on white"

    def describe(self) -> str:
        """The package and its version."""
        return f"load_digits of scikit-learn {installed_version('scikit-learn')}"


CARD = DatasetCard(
    name="digits",
    title="Optical recognition of handwritten digits",
    description="Handwritten digits of 43 writers, scanned from forms and reduced to 8 x 8 pixels.",
    source=Digits(),
    classes=NAMES,
    template="a photo of the digit {}.",
    templates=(
        "a photo of the digit {}.",
        "a handwritten {}.",
        "the number {} written by hand.",
        "a small blurry image of the digit {}.",
    ),
    split_sizes={"train": 898, "val": 359, "test": 540},
    license="CC BY 4.0",
    citation="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998",
    homepage="https://archive.ics.uci.edu/dataset/80",
    trouble="8 x 8 pixels; writers are not recorded, so one may be in train and test.",
    provider_package="scikit-learn",
)
