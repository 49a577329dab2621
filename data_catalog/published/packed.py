"""Datasets whose files hold many images each: pixels are given as PNG, one an image."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from data_catalog.png import stored_png
from data_catalog.published.form import RULE, Reading, Row
from data_catalog.published.splitting import DRAWN, fifth_for_val

_MARK = "#"  # between a file and the place of an image in it


class Pack(NamedTuple):
    """A file of n images.

    Attributes:
        path: Of the file.
        labels: (n,) label of each image.
        pixels: Reads (n, h, w) grey or (n, h, w, 3) RGB values, uint8.
    """

    path: str
    labels: np.ndarray
    pixels: Callable[[], np.ndarray]


def unpacked(train: Sequence[Pack], test: Sequence[Pack], classes: Sequence[str]) -> Reading:
    """The images of packs, with a fifth of each class of train as val.

    Args:
        train: Packs of the official train images.
        test: Of the official test images.
        classes: Names in label order.
    """
    rows = fifth_for_val(_rows(train, classes), _rows(test, classes))
    packs = {pack.path: pack.pixels for pack in (*train, *test)}
    note = "images are stored as PNG, since the files hold pixels"
    return Reading(rows, RULE, DRAWN, lambda: _contents(rows, packs), (note,))


def _rows(packs: Sequence[Pack], classes: Sequence[str]) -> list[Row]:
    return [
        Row(f"{pack.path}{_MARK}{place}", label, classes[label], None)
        for pack in packs
        for place, label in enumerate(map(int, pack.labels))
    ]


def _contents(
    rows: Sequence[Row], packs: Mapping[str, Callable[[], np.ndarray]]
) -> Iterator[bytes]:
    """Each image as PNG; a pack is read when its first image is asked for."""
    held: dict[str, np.ndarray] = {}
    for row in rows:
        path, _, place = row.path.rpartition(_MARK)
        if path not in held:
            held[path] = packs[path]()
        yield stored_png(held[path][int(place)])
