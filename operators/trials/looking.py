"""What a tuned method looks at, as a picture: for methods that say so themselves."""

import io
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from operators.episodes.episode import Batch, Evaluation
from operators.images import Preprocessing
from operators.shapes import Float

CLASSES = 8  # of which one test image each is shown
SIDE = 96  # pixels of a square
GAP = 4  # pixels between squares
# From what is not looked at to what is looked at most, as parts of red, green and blue.
_HEAT = np.array([[0, 0, 0.2], [0.35, 0.05, 0.45], [0.8, 0.25, 0.3], [1, 0.65, 0.1], [1, 1, 0.7]])


@runtime_checkable
class Looks(Protocol):
    """A method that can say which patches made the score of a class."""

    def attention(self, batch: Batch, classes: Tensor) -> Float[Tensor, "b h p"]:
        """By head, how much each patch of an image counts for one class of it.

        Args:
            batch: b images.
            classes: (b,) positions of the classes.
        """
        ...


def looked_at(method: Any, source: Any, labels: np.ndarray, evaluation: Evaluation) -> bytes | None:
    """A WebP of one test image of each of the first classes; None where the method does not say.

    A line has the image, then what the token of its right class attends to: the mean over the
    heads, and each head. A map goes from its own smallest to its own largest value. There is none
    where another dataset is tested than the one that is learned.

    Args:
        method: Tuned, in evaluation mode.
        source: Reads the images.
        labels: Of every row of the dataset.
        evaluation: Rows that are tested, among the classes of the method.
    """
    if evaluation.dataset or not isinstance(method, Looks):
        return None
    answers = [int(labels[row]) for row in evaluation.rows]
    first = [answers.index(c) for c in evaluation.classes if c in answers][:CLASSES]
    batch = Batch(source, evaluation.rows[first], None, device=method.backbone.device)  # pyright: ignore[reportAttributeAccessIssue]
    places = [evaluation.classes.index(answers[place]) for place in first]
    maps = method.attention(batch, torch.tensor(places, device=batch.device)).cpu()
    maps = torch.cat([maps.mean(dim=1, keepdim=True), maps], dim=1)
    preprocess = method.backbone.preprocess  # pyright: ignore[reportAttributeAccessIssue]
    return drawn(restored(batch.pixels.cpu(), preprocess), maps)


def restored(
    pixels: Float[Tensor, "b 3 s s"], preprocess: Preprocessing
) -> Float[Tensor, "b 3 s s"]:
    """Pixels from 0 to 1, of standardised ones.

    Args:
        pixels: As a backbone reads them.
        preprocess: Of the backbone.
    """
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in (preprocess.mean, preprocess.std))
    return (pixels.float() * std + mean).clamp(0, 1)


def drawn(images: Float[Tensor, "b 3 s s"], maps: Float[Tensor, "b h p"]) -> bytes:
    """Images with maps laid over them, a line an image, as a WebP.

    Args:
        images: From 0 to 1.
        maps: One number a patch, row by row of a square of patches.
    """
    from PIL import Image

    b, h, p = maps.shape
    grid = int(p**0.5)
    low, high = maps.amin(dim=2, keepdim=True), maps.amax(dim=2, keepdim=True)
    level = ((maps - low) / (high - low).clamp(min=1e-12)).view(b, h, grid, grid)
    level = F.interpolate(level, (SIDE, SIDE), mode="bicubic").clamp(0, 1).numpy()
    shown = F.interpolate(images, (SIDE, SIDE), mode="bilinear").permute(0, 2, 3, 1).numpy()
    grey = shown.mean(axis=3, keepdims=True)
    stops = np.linspace(0, 1, len(_HEAT))
    heat = np.stack([np.interp(level, stops, colour) for colour in _HEAT.T], axis=-1)
    laid = 0.4 * grey[:, None] + 0.6 * heat
    step = SIDE + GAP
    sheet = np.ones((b * step - GAP, (1 + h) * step - GAP, 3))
    for row in range(b):
        for column, square in enumerate([shown[row], *laid[row]]):
            top, left = row * step, column * step
            sheet[top : top + SIDE, left : left + SIDE] = square
    file = io.BytesIO()
    Image.fromarray((255 * sheet).astype(np.uint8)).save(file, "WEBP", quality=80)
    return file.getvalue()
