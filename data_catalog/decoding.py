"""Images from encoded bytes, by their content; what a suffix says does not matter."""

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from data_catalog.deep_pixels import KEPT, is_deep, to_eight_bits
from data_catalog.png import stored_png
from data_catalog.reasons import DAMAGED, EMPTY, UNKNOWN_SCALE
from data_catalog.sources import Example

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

WORKERS = min(4, os.cpu_count() or 1)
AHEAD = 16  # images in flight for each worker
JPEG = b"\xff\xd8\xff"  # what such a file starts with


class Checked(NamedTuple):
    """An example, and what decoding it gave.

    Attributes:
        example: As the source gave it, but for a grey image of more than 8 bits: that is a PNG
            of 8 bits from here on.
        width: Pixels, as stored (before any EXIF rotation); 0 if corrupt.
        height: Pixels, likewise.
        sha256: Digest of the encoded bytes, in hex.
        error: Why it cannot be used; empty when it can. It begins with one of the words of
            `data_catalog.reasons`.
        rescaled: How values of more than 8 bits were brought to 8; empty where there are none.
        constant: Whether all pixels are equal, so that there is nothing to see.
    """

    example: Example
    width: int
    height: int
    sha256: str
    error: str
    rescaled: str = ""
    constant: bool = False


def check_images(examples: Iterable[Example]) -> Iterator[Checked]:
    """Decodes every image fully, in a few threads, and yields in the order given.

    At most `WORKERS * AHEAD` images are in memory.
    """
    waiting: deque[Future[Checked]] = deque()
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="decode") as pool:
        try:
            for example in examples:
                waiting.append(pool.submit(check_image, example))
                if len(waiting) >= WORKERS * AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def check_image(example: Example) -> Checked:
    """Decodes one image fully, as `decode` would; for an animation, its first frame."""
    from PIL import Image

    digest = hashlib.sha256(example.image).hexdigest()
    if example.error:
        return Checked(example, 0, 0, digest, example.error)
    if not example.image:
        return Checked(example, 0, 0, digest, f"{EMPTY}: no byte is in it")
    try:
        with Image.open(BytesIO(example.image)) as image:
            image.load()
            width, height = image.size
            brought, rescaled, seen = None, "", image
            if is_deep(image):
                rescaled = KEPT
                try:
                    brought = to_eight_bits(image)
                except ValueError as error:
                    return Checked(example, 0, 0, digest, f"{UNKNOWN_SCALE}: {error}")
            if brought is not None:
                seen = Image.fromarray(brought.pixels)
            constant = _is_constant(seen if seen.mode in ("L", "RGB") else _rgb(seen))
    except MemoryError:  # says something of the machine, not of the image
        raise
    except Exception as error:  # Pillow's readers raise a dozen kinds on damaged data
        reason = str(error).partition(" <_io")[0] or "cannot be decoded"
        return Checked(example, 0, 0, digest, f"{DAMAGED}: {type(error).__name__}: {reason}")
    if brought is None:
        return Checked(example, width, height, digest, "", rescaled, constant)
    example = example._replace(image=stored_png(brought.pixels))
    digest = hashlib.sha256(example.image).hexdigest()
    return Checked(example, width, height, digest, "", brought.rule, constant)


def needs_eight_bits(image: bytes) -> bool:
    """Whether `check_image` would bring an image that decodes to 8 bits, or set it aside."""
    from PIL import Image

    if image.startswith(JPEG):
        return False
    with Image.open(BytesIO(image)) as opened:
        if not is_deep(opened):
            return False
    checked = check_image(Example(image, ""))
    return bool(checked.error) or checked.rescaled not in ("", KEPT)


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
