"""Parts of images, before anything is decoded or resized: names that cost no tensors to import."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np

Filter = Literal["bicubic", "bilinear"]  # Pillow's, antialiased


class Crop(NamedTuple):
    """A part of an image, and what is made of it once it is a square.

    Attributes:
        top: First row, in pixels.
        left: First column.
        height: Rows.
        width: Columns.
        mirrored: Whether it is turned left to right.
        filter: Of the resize; None for the backbone's own.
        repaint: From the (s, s, 3) RGB square of bytes to another, of bytes or of numbers from 0
            to 255; None leaves it.
        tested: Whether the square is the one that a test image has, whatever part is said.
    """

    top: int
    left: int
    height: int
    width: int
    mirrored: bool
    filter: Filter | None = None
    repaint: "Callable[[np.ndarray], np.ndarray] | None" = None
    tested: bool = False


CropRule = Callable[[int, int], Crop]  # from the height and width of a decoded image
