"""Images from encoded bytes, by their content; what a suffix says does not matter."""

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from data_catalog.sources import Example

if TYPE_CHECKING:
    import numpy as np

WORKERS = min(4, os.cpu_count() or 1)
AHEAD = 16  # images in flight for each worker
JPEG = b"\xff\xd8\xff"  # what such a file starts with


class Checked(NamedTuple):
    """An example, and what decoding it gave.

    Attributes:
        example: As the source gave it.
        width: Pixels, as stored (before any EXIF rotation); 0 if corrupt.
        height: Pixels, likewise.
        sha256: Digest of the encoded bytes, in hex.
        error: Why it could not be decoded; empty when it could.
    """

    example: Example
    width: int
    height: int
    sha256: str
    error: str


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
    """Decodes one image fully; for an animation, its first frame."""
    from PIL import Image

    digest = hashlib.sha256(example.image).hexdigest()
    if example.error:
        return Checked(example, 0, 0, digest, example.error)
    try:
        with Image.open(BytesIO(example.image)) as image:
            image.load()
            width, height = image.size
    except MemoryError:  # says something of the machine, not of the image
        raise
    except Exception as error:  # Pillow's readers raise a dozen kinds on damaged data
        reason = str(error).partition(" <_io")[0] or "cannot be decoded"
        return Checked(example, 0, 0, digest, f"{type(error).__name__}: {reason}")
    return Checked(example, width, height, digest, "")


def decode(image: bytes) -> "np.ndarray":
    """Decodes an image as RGB, uint8 of shape (h, w, 3), with Pillow's pixels.

    The same lines are in `operators/images.py`, which does not know this package.

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
    if opened.mode == "P" and "transparency" in opened.info:
        opened = opened.convert("RGBA")  # the same colours, without Pillow's warning
    return np.array(opened.convert("RGB"))
