"""What is made of images that are read in every epoch: made once."""

import threading
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from operators.episodes.episode import ImageSource
from operators.episodes.views import View
from operators.shapes import Float

PIXELS_KEPT = 512 << 20  # bytes; 16 shots of 50 classes at 224 x 224 pixels are 480 million


class KeptRows:
    """Keeps a tensor for each image and view, while there is room for them.

    Those of fresh views are not kept: nobody asks for them again.

    Args:
        budget: Bytes that are kept; what comes after is made every time.
    """

    def __init__(self, budget: int) -> None:
        self.left = budget
        self.values: dict[View | None, dict[int, Tensor]] = {}
        self._lock = threading.RLock()  # images are decoded ahead of the step, by another thread

    def read(
        self, rows: np.ndarray, view: View | None, make: Callable[[np.ndarray], Tensor]
    ) -> Float[Tensor, "b ..."]:
        """The tensors of some images.

        Args:
            rows: Row ids.
            view: What the images are seen under.
            make: Gives those at some positions in `rows`.
        """
        everywhere = np.arange(len(rows))
        if view is not None and not view.kept:
            return make(everywhere)
        with self._lock:
            return self._read(rows, everywhere, view, make)

    def _read(
        self,
        rows: np.ndarray,
        everywhere: np.ndarray,
        view: View | None,
        make: Callable[[np.ndarray], Tensor],
    ) -> Tensor:
        kept = self.values.setdefault(view, {})
        missing = everywhere[[row not in kept for row in rows.tolist()]]
        made: dict[int, Tensor] = {}
        if len(missing):
            made = dict(zip(rows[missing].tolist(), make(missing), strict=True))
        for row, value in made.items():
            if value.nbytes <= self.left:
                self.left -= value.nbytes
                kept[row] = value.clone()  # a part of what was made would keep the whole
        return torch.stack([made[row] if row in made else kept[row] for row in rows.tolist()])


class KeptPixels:
    """A source that decodes an image once, as far as `KeptRows` has room.

    Args:
        source: Where images come from.
        budget: Bytes of pixels that are kept.
    """

    def __init__(self, source: ImageSource, budget: int = PIXELS_KEPT) -> None:
        self.source = source
        self.kept = KeptRows(budget)

    def features(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b d"]:
        """See `ImageSource.features`."""
        return self.source.features(rows, view)

    def pixels(self, rows: np.ndarray, view: View | None = None) -> Float[Tensor, "b 3 s s"]:
        """See `ImageSource.pixels`."""
        return self.kept.read(rows, view, lambda at: self.source.pixels(rows[at], view))
