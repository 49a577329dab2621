"""Textiles: 2,000 simulated textures of woven fabric, sound or with one of two faults.

Splits: none official; 50/20/30 of each class in SHA-256 order (`splits.py`), so train 1,000,
val 400, test 600. Classes are not balanced: 1,000 sound, 500 with each fault.
Known trouble: the pictures are simulated, and a local defect covers less than one percent of
one, so zero-shot models are near chance and a random crop may cut the defect away.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from data_catalog.card import DatasetCard
from data_catalog.packages import find_package, installed_version
from data_catalog.sources import Example

FOLDERS = {
    "nominal": "normal woven fabric",
    "local": "woven fabric with a local defect",
    "global": "woven fabric with a shifted weave",
}
_WHERE = "data/textile_images/simulated"


@dataclass(frozen=True)
class Textiles:
    """The JPEG files of the package `conformal-clip-data`, by class and file name."""

    composed: ClassVar[bool] = False

    def examples(self) -> Iterator[Example]:
        """Yields every image, the sound ones first."""
        root = find_package("conformal_clip_data", "conformal-clip-data") / _WHERE
        for label, (folder, name) in enumerate(FOLDERS.items()):
            for file in _files(root / folder):
                yield Example(file.read_bytes(), f"{folder}/{file.name}", label, name)

    def total(self) -> int:
        """Images in the package."""
        root = find_package("conformal_clip_data", "conformal-clip-data") / _WHERE
        return sum(len(_files(root / folder)) for folder in FOLDERS)

    def signature(self) -> str:
        """Name and version of the package: a release does not change."""
        find_package("conformal_clip_data", "conformal-clip-data")
        return f"conformal-clip-data {installed_version('conformal-clip-data')}"

    def describe(self) -> str:
        """The package and its version."""
        return f"images of conformal-clip-data {installed_version('conformal-clip-data')}"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


CARD = DatasetCard(
    name="textiles",
    title="Simulated textiles",
    description="Textures of woven fabric: sound, with a local defect, or with a shifted weave.",
    source=Textiles(),
    classes=tuple(FOLDERS.values()),
    template="a photo of a {}.",
    templates=(
        "a photo of a {}.",
        "a close-up photo of a {}.",
        "a grey scale photo of a {}.",
        "a microscope image of a {}.",
    ),
    split_sizes={"train": 1000, "val": 400, "test": 600},
    license="MIT",
    citation=(
        "Megahed et al., Adapting OpenAI's CLIP Model for Few-Shot Image Inspection in "
        "Manufacturing Quality Control, arXiv 2501.12596, 2025"
    ),
    homepage="https://arxiv.org/abs/2501.12596",
    trouble="Simulated; a local defect is tiny, and a random crop may cut it away.",
    provider_package="conformal-clip-data",
)
