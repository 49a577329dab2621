"""Images from encoded bytes, by their content; what a suffix says does not matter."""

import hashlib
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING

from data_catalog.deep_pixels import KEPT, is_deep, to_eight_bits
from data_catalog.kinds.base import Checked
from data_catalog.kinds.looks import look_of
from data_catalog.png import stored_png
from data_catalog.reasons import DAMAGED, EMPTY, UNKNOWN_SCALE
from data_catalog.sources.base import Example

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

JPEG = b"\xff\xd8\xff"  # what such a file starts with
RESCALED, CONSTANT = "rescaled", "constant"  # findings: the rule, and that all pixels are equal


def check_image(example: Example) -> Checked:
    """Decodes one image fully, as `decode` would; for an animation, its first frame.

    A grey image of more than 8 bits is a PNG of 8 bits from here on. Width and height are in
    pixels, as stored, before any EXIF rotation.
    """
    from PIL import Image

    digest = hashlib.sha256(example.content).hexdigest()
    if example.error:
        return Checked(example, digest, example.error)
    if not example.content:
        return Checked(example, digest, f"{EMPTY}: no byte is in it")
    try:
        with Image.open(BytesIO(example.content)) as image:
            image.load()
            width, height = image.size
            brought, rescaled, pixels = None, "", image
            if is_deep(image):
                rescaled = KEPT
                try:
                    brought = to_eight_bits(image)
                except ValueError as error:
                    return Checked(example, digest, f"{UNKNOWN_SCALE}: {error}")
            if brought is not None:
                pixels = Image.fromarray(brought.pixels)
            pixels = pixels if pixels.mode in ("L", "RGB") else _rgb(pixels)
            constant = _is_constant(pixels)
            look = b"" if constant else look_of(pixels)
    except MemoryError:  # says something of the machine, not of the image
        raise
    except Exception as error:  # Pillow's readers raise a dozen kinds on damaged data
        reason = str(error).partition(" <_io")[0] or "cannot be decoded"
        return Checked(example, digest, f"{DAMAGED}: {type(error).__name__}: {reason}")
    if brought is not None:
        rescaled = brought.rule
        example = example._replace(content=stored_png(brought.pixels))
        digest = hashlib.sha256(example.content).hexdigest()
    checked = Checked(example, digest, "", (width, height), look=look)
    if not (rescaled or constant):  # as most: they share one empty mapping
        return checked
    seen = {RESCALED: rescaled, CONSTANT: constant}
    return checked._replace(findings={name: found for name, found in seen.items() if found})


def needs_eight_bits(image: bytes) -> bool:
    """Whether `check_image` would bring an image that decodes to 8 bits, or set it aside."""
    from PIL import Image

    if image.startswith(JPEG):
        return False
    with Image.open(BytesIO(image)) as opened:
        if not is_deep(opened):
            return False
    checked = check_image(Example(image, ""))
    return bool(checked.error) or checked.findings.get(RESCALED, KEPT) != KEPT


def decode(image: bytes) -> "np.ndarray":
    """Decodes an image as RGB, uint8 of shape (h, w, 3), with Pillow's pixels.

    Most of it is in `operators/images.py` too, which does not know this package, and reads what
    ingestion has brought to 8 bits.

    Raises:
        Exception: It cannot be decoded; Pillow's readers raise a dozen kinds on damaged data.
    """
    import numpy as np
    import simplejpeg
    from PIL import Image

    if image.startswith(JPEG):
        with suppress(ValueError):  # damaged or unusual: Pillow decides what can be had of it
            if simplejpeg.decode_jpeg_header(image)[2] not in ("CMYK", "YCCK"):
                return simplejpeg.decode_jpeg(image)
    opened = Image.open(BytesIO(image))
    brought = to_eight_bits(opened)
    if brought is not None:
        opened = Image.fromarray(brought.pixels)
    return np.array(_rgb(opened))


def _rgb(image: "Image.Image") -> "Image.Image":
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # the same colours, without Pillow's warning
    return image.convert("RGB")


def _is_constant(image: "Image.Image") -> bool:
    """Whether all pixels of a grey or RGB image are equal."""
    right, bottom = image.width - 1, image.height - 1
    corners = {image.getpixel(place) for place in ((0, 0), (right, bottom), (right, 0))}
    if len(corners) > 1:
        return False  # so for most images; the rest would cost a pass over all pixels
    bands = image.getextrema()
    return all(low == high for low, high in (bands if image.mode == "RGB" else [bands]))  # pyright: ignore
