"""Images that are read in every epoch, decoded once."""

import numpy as np
import torch
from torch import Tensor

from operators.episode import ImageSource
from operators.shapes import Float
from operators.views import View

PIXELS_KEPT = 512 << 20  # bytes; 16 shots of 50 classes at 224 x 224 pixels are 480 million


class KeptPixels:
    """A source that keeps the pixels it has read, while there is room for them.

    Fresh views are not kept: nobody asks for them again.

    Args:
        source: Where images come from.
        budget: Bytes of pixels that are kept; what comes after is read every time.
    """

    def __init__(self, source: ImageSource, budget: int = PIXELS_KEPT) -> None:
        self.source = source
        self.left = budget
        self.kept: dict[View | None, dict[int, Tensor]] = {}

    def features(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b d"]:
        """See `ImageSource`."""
        return self.source.features(rows, view)

    def pixels(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b 3 s s"]:
        """See `ImageSource`."""
        if view is not None and not view.kept:
            return self.source.pixels(rows, view)
        kept = self.kept.setdefault(view, {})
        missing = np.array([row for row in rows.tolist() if row not in kept], dtype=rows.dtype)
        read: dict[int, Tensor] = {}
        if len(missing):
            read = dict(zip(missing.tolist(), self.source.pixels(missing, view), strict=True))
        for row, image in read.items():
            if image.nbytes <= self.left:
                self.left -= image.nbytes
                kept[row] = image.clone()  # a part of what was read would keep the whole
        return torch.stack([read[row] if row in read else kept[row] for row in rows.tolist()])
