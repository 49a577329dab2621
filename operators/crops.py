"""Parts of images, before anything is decoded or resized: names that cost no tensors to import."""

from collections.abc import Callable
from typing import NamedTuple


class Crop(NamedTuple):
    """A part of an image, in pixels, and whether it is then mirrored left to right."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool


CropRule = Callable[[int, int], Crop]  # from the height and width of a decoded image
