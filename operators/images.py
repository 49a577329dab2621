"""From encoded bytes to the pixels that an image tower reads: CLIP's preprocessing.

Short side to the tower's resolution with Pillow's antialiased bicubic filter, centre crop,
then per-channel standardisation (Radford et al., "Learning Transferable Visual Models From
Natural Language Supervision", ICML 2021, released `clip.load` transform). The arithmetic
is that of transformers' CLIP image processor; torchvision, which the CoOp code bases use,
rounds the corner of an odd margin the other way, so a crop may start one pixel off there.
Transparency is dropped, as CLIP's released transform and CoOp do; transformers lays such an
image on white.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from operators.shapes import Float, UInt8

# Moves when the pixels that come out for the same bytes do: it is part of a trial's identity.
TRANSFORM_VERSION = 1


@dataclass(frozen=True)
class Preprocessing:
    """How pixels are standardised: `(x / 255 - mean) / std` of a square centre crop.

    Attributes:
        size: Side of the crop in pixels; the short side is resized to `short_side` first.
        short_side: Length that the short side is resized to.
        mean: Of each channel, in 0..1.
        std: Of each channel, in 0..1.
    """

    size: int
    short_side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, images: Sequence[bytes]) -> Float[Tensor, "b 3 s s"]:
        """Decodes, crops and standardises encoded images.

        Raises:
            OSError: An image cannot be decoded; ingestion has checked every one, so its
                file has changed since.
        """
        crops = np.stack(
            [centre_crop(decode(image), self.short_side, self.size) for image in images]
        )
        pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
        mean = torch.tensor(self.mean).view(3, 1, 1)
        std = torch.tensor(self.std).view(3, 1, 1)
        return (pixels - mean) / std


def decode(image: bytes) -> Image.Image:
    """Decodes an image by its content, whatever its name says, as RGB."""
    opened = Image.open(io.BytesIO(image))
    if opened.mode == "P" and "transparency" in opened.info:
        opened = opened.convert("RGBA")  # the same colours, without Pillow's warning
    return opened.convert("RGB")


def centre_crop(image: Image.Image, short_side: int, size: int) -> UInt8[np.ndarray, "s s 3"]:
    """Resizes the short side to `short_side` and cuts the central square of `size` pixels.

    Args:
        image: RGB.
        short_side: At least `size`.
        size: Side of the result.
    """
    width, height = image.size
    if width <= height:
        resized = (short_side, int(short_side * height / width))
    else:
        resized = (int(short_side * width / height), short_side)
    if resized != image.size:
        image = image.resize(resized, Image.Resampling.BICUBIC)
    left, top = (resized[0] - size) // 2, (resized[1] - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))
