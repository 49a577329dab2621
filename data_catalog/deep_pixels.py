"""Grey images of more than 8 bits, brought to the 0..255 that image towers read.

Pillow cuts such values off at 255, so a 16-bit radiograph comes out white and a float image of
0..1 black. The rule depends on the image alone, never on those beside it:

- whole numbers up to 255, and floats of which one is above 1 and none above 255, are what they
  say, as Pillow reads them;
- other whole numbers up to 65535 are 16-bit values and divided by 257, so that 65535 is white;
- floats of 0..1 are multiplied by 255;
- anything else, such as negative numbers or NaN, has no scale that could be known, and is refused.

Colour images of 16 bits need none of this: Pillow gives their upper 8 bits.
"""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SIXTEEN_BITS = "16-bit values divided by 257"
UNIT_FLOATS = "floats of 0..1 multiplied by 255"
KEPT = "values up to 255 kept"
_MODES = ("I", "F")  # and those of 16 bits, which begin with I;16


class Brought(NamedTuple):
    """An image after its values were brought to 8 bits.

    Attributes:
        pixels: Grey, uint8 of shape (h, w).
        rule: What was done, as a phrase.
    """

    pixels: "np.ndarray"
    rule: str


def is_deep(image: "Image.Image") -> bool:
    """Whether the values of an opened image have more than 8 bits; reads its header alone."""
    return image.mode in _MODES or image.mode.startswith("I;16")


def to_eight_bits(image: "Image.Image") -> Brought | None:
    """Brings a deep image to 8 bits; None where it needs nothing.

    Raises:
        ValueError: Its values have no scale that could be known.
    """
    import numpy as np

    if not is_deep(image):
        return None
    values = np.asarray(image)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("some of its values are NaN or infinite")
    low, high = values.min(), values.max()
    whole = values.dtype.kind != "f"
    if low < 0 or high > (65535 if whole else 255):
        raise ValueError(
            f"its values go from {low:g} to {high:g}; known are whole numbers up to 65535, and "
            "floats of 0..1 or 0..255"
        )
    if whole:
        return Brought(_rounded(values / 257), SIXTEEN_BITS) if high > 255 else None
    # An image of zeros alone is black under either rule, so it stays as it is.
    return Brought(_rounded(values * 255.0), UNIT_FLOATS) if 0 < high <= 1 else None


def _rounded(values: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return np.rint(values).astype(np.uint8)
