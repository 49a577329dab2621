"""The binary version of CIFAR, which CIFAR-10 and CIFAR-100 share."""

from collections.abc import Callable, Sequence

import numpy as np

from data_catalog.published.form import Reading
from data_catalog.published.packed import Pack, unpacked
from data_catalog.published.templates import PHOTO, TemplateSet, photo_sets
from data_catalog.published.tree import LayoutError, Tree

SITE = "https://www.cs.toronto.edu/~kriz"
SIDE = 32  # pixels
_QUALITIES = ("", "blurry ", "black and white ", "low contrast ", "high contrast ", "bad ", "good ")
_SIZES = ("small ", "big ")

# The 18 prompts of CLIP's `data/prompts.md`, in its order.
_CLIP = tuple(
    prompt
    for word in ("a", "the")
    for prompt in (
        *(f"a {quality}photo of {word} {{}}." for quality in _QUALITIES),
        *(f"a photo of {word} {size}{{}}." for size in _SIZES),
    )
)


def cifar_templates() -> dict[str, TemplateSet]:
    """CLIP's 18 prompts, and those that all datasets have."""
    clip = TemplateSet(PHOTO, _CLIP, "Radford et al., ICML 2021; data/prompts.md")
    return {"clip": clip, **photo_sets()}


def binary_reader(
    train: Sequence[str],
    test: str,
    label_bytes: int,
    classes: Sequence[str],
    archive: str,
) -> Callable[[Tree], Reading]:
    """The reader of files of records: labels of one byte each, then 3 x 32 x 32 pixels.

    Args:
        train: Names of the files of train images.
        test: Name of that of the test images.
        label_bytes: Labels a record; the last one is the class.
        classes: Names in label order.
        archive: The archive that has the files.
    """

    def read(tree: Tree) -> Reading:
        if tree.find(test) is None and tree.find("batches.meta" if len(train) > 1 else "meta"):
            raise LayoutError(
                f"{tree.place} holds the Python version, which is pickles, and these are never "
                f"read since they may run code; the same images are in {SITE}/{archive}"
            )
        packs = [_pack(tree, name, label_bytes, len(classes)) for name in (*train, test)]
        return unpacked(packs[:-1], packs[-1:], classes)

    return read


def _pack(tree: Tree, name: str, label_bytes: int, classes: int) -> Pack:
    path = tree.need(name)

    def records() -> np.ndarray:
        content, size = tree.content(path), label_bytes + 3 * SIDE * SIDE
        if not content or len(content) % size:
            raise LayoutError(
                f"{path} has {len(content):,} bytes, and no whole number of records of {size:,}"
            )
        return np.frombuffer(content, np.uint8).reshape(-1, size)

    labels = records()[:, label_bytes - 1].astype(np.int64)
    if labels.max() >= classes:
        raise LayoutError(f"{path} has label {labels.max()}, and there are {classes} classes")
    return Pack(
        path,
        labels,
        lambda: records()[:, label_bytes:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1),
    )
