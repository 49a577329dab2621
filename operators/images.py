"""From encoded bytes to the pixels that an image tower reads: CLIP's preprocessing.

Short side to the tower's resolution with Pillow's antialiased bicubic filter, centre crop, or
any other part of the image resized to a square (`operators/episodes/views.py` says which), then
per-channel standardisation (Radford et al., "Learning Transferable Visual Models From
Natural Language Supervision", ICML 2021, released `clip.load` transform). The arithmetic
is that of transformers' CLIP image processor; torchvision, which the CoOp code bases use,
rounds the corner of an odd margin the other way, so a crop may start one pixel off there.
Transparency is dropped, as CLIP's released transform and CoOp do; transformers lays such an
image on white.

JPEGs are decoded and all images resized without Pillow, to its results in less than half its
time (benchmarks/image_input.py). Decoded pixels are the same to the last bit. The filter is
torch's, with weights of 16 bits where Pillow has 22: a pass is off by one level at most, which
the other pass can enlarge by a quarter, so a resized pixel is off by 2 of 255 at most, and
fewer than one in a hundred is off at all. Rows are resized before columns, as by the Pillow
that CLIP was trained with; Pillow 13 begins with the columns where an image shrinks that is
more than twice as tall as wide.
"""

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from operators.crops import Crop, CropRule, Filter
from operators.shapes import Float, UInt8

# Moves when the pixels that come out for the same bytes do, of the centre crop or of a view: it is
# part of a trial's identity.
TRANSFORM_VERSION = 2

JPEG = b"\xff\xd8\xff"  # what such a file starts with


@dataclass(frozen=True)
class Preprocessing:
    """How pixels are standardised: `(x / 255 - mean) / std` of a square.

    Attributes:
        size: Side of the square in pixels.
        short_side: Length that the short side is resized to before a centre crop.
        mean: Of each channel, in 0..1.
        std: Of each channel, in 0..1.
        squeeze: All of the image becomes the square, whatever its shape, as SigLIP has it; then
            `short_side` is `size`.
        filter: Of every resize.
    """

    size: int
    short_side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    squeeze: bool = False
    filter: Filter = "bicubic"

    def __call__(
        self, images: Sequence[bytes | np.ndarray], crops: Sequence[CropRule] | None = None
    ) -> Float[Tensor, "b 3 s s"]:
        """Decodes, crops and standardises images.

        Args:
            images: Files of any kind, or what `decode` made of them.
            crops: Which part of each is resized to the square; None cuts the centre, or
                takes all where images are squeezed.

        Raises:
            OSError: An image cannot be decoded; ingestion has checked every one, so its
                file has changed since.
        """
        mean = torch.tensor(self.mean).view(3, 1, 1)
        std = torch.tensor(self.std).view(3, 1, 1)
        pixels = torch.empty(len(images), 3, self.size, self.size)
        for place, image, rule in zip(pixels, images, crops or [None] * len(images), strict=True):
            whole = image if isinstance(image, np.ndarray) else decode(image)
            crop = None if rule is None else rule(*whole.shape[:2])
            square = self._tested(whole) if crop is None else self._seen(whole, crop)
            place.copy_(torch.from_numpy(square)).div_(255).sub_(mean).div_(std)
        return pixels

    def _tested(self, image: UInt8[np.ndarray, "h w 3"]) -> np.ndarray:
        """The (3, s, s) square that a test image is shown as."""
        if not self.squeeze:
            return centre_crop(image, self.short_side, self.size, self.filter)
        everything = Crop(0, 0, *image.shape[:2], mirrored=False)
        return resized_crop(image, everything, self.size, self.filter)

    def _seen(self, image: UInt8[np.ndarray, "h w 3"], crop: Crop) -> np.ndarray:
        """The (3, s, s) square that a crop gives, repainted where it asks for that."""
        if crop.tested:
            square = self._tested(image)
            square = np.ascontiguousarray(square[:, :, ::-1]) if crop.mirrored else square
        else:
            square = resized_crop(image, crop, self.size, crop.filter or self.filter)
        if crop.repaint is None:
            return square
        # A copy: the square may be the decoded image itself, and a generator may paint it over.
        painted = crop.repaint(np.array(square.transpose(1, 2, 0), order="C"))
        return np.array(painted.transpose(2, 0, 1), order="C")


def decode(image: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes an image by its content, whatever its name says, as RGB: Pillow's pixels.

    Raises:
        OSError: It cannot be decoded.
    """
    if image.startswith(JPEG):
        with suppress(ValueError):  # damaged or unusual: Pillow decides what can be had of it
            if simplejpeg.decode_jpeg_header(image)[2] not in ("CMYK", "YCCK"):
                return simplejpeg.decode_jpeg(image)
    opened = Image.open(io.BytesIO(image))
    if opened.mode == "P" and "transparency" in opened.info:
        opened = opened.convert("RGBA")  # the same colours, without Pillow's warning
    return np.array(opened.convert("RGB"))


def centre_crop(
    image: UInt8[np.ndarray, "h w 3"], short_side: int, size: int, filter: Filter = "bicubic"
) -> UInt8[np.ndarray, "3 s s"]:
    """Resizes the short side to `short_side` and cuts the central square of `size` pixels.

    Args:
        image: RGB.
        short_side: At least `size`.
        size: Side of the result.
        filter: Of the resize.
    """
    height, width = image.shape[:2]
    if width <= height:
        resized = (int(short_side * height / width), short_side)
    else:
        resized = (short_side, int(short_side * width / height))
    pixels = _resized(image, *resized, filter)
    top, left = (resized[0] - size) // 2, (resized[1] - size) // 2
    return pixels[:, top : top + size, left : left + size].numpy()


def resized_crop(
    image: UInt8[np.ndarray, "h w 3"], crop: Crop, size: int, filter: Filter = "bicubic"
) -> UInt8[np.ndarray, "3 s s"]:
    """Cuts a part out, resizes it to a square of `size` pixels, and mirrors it where asked.

    The filter sees the part alone, as torchvision's `resized_crop` does.

    Args:
        image: RGB.
        crop: Lies within the image.
        size: Side of the result.
        filter: Of the resize.
    """
    part = image[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    pixels = _resized(part, size, size, filter)
    return (pixels.flip(2) if crop.mirrored else pixels).numpy()


def _resized(
    image: UInt8[np.ndarray, "h w 3"], height: int, width: int, filter: Filter
) -> UInt8[Tensor, "3 height width"]:
    """All of an image in another size."""
    # Torch's fast filter reads pixels in the order of the file, and warns of read-only memory.
    pixels = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)
    if (height, width) != image.shape[:2]:
        pixels = F.interpolate(pixels[None], (height, width), mode=filter, antialias=True)[0]
    return pixels
