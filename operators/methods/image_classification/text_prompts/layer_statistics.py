"""What the layers of a frozen image tower make of an image, as a mean and a deviation each."""

from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.blocks.deep_tokens import image_tower
from operators.blocks.kept_readings import KeptReadings
from operators.episodes.episode import Batch
from operators.shapes import Float

STATISTICS_KEPT = 1 << 30  # bytes; 14,000 images of ViT-B/16
ROWS = 16  # images whose tokens of all layers are in memory at a time
SMALL = 2.3e-8  # of GOPro's code, beside the sum of squares


class LayerStatistics(NamedTuple):
    """Of some images.

    Attributes:
        features: (b, d) of any length.
        means: (b, L, v) over all tokens after each of L layers.
        deviations: (b, L, v), with the divisor n.
    """

    features: Float[Tensor, "b d"]
    means: Float[Tensor, "b L v"]
    deviations: Float[Tensor, "b L v"]


class StatisticsReader:
    """Reads them; while `keeping`, of each image and view once.

    Args:
        backbone: With the capability `layer-states`.
        budget: Bytes that are kept; what comes after is read every time.
    """

    def __init__(self, backbone: DualEncoder, budget: int = STATISTICS_KEPT) -> None:
        self.backbone = backbone
        self.tower = image_tower(backbone)
        self._readings = KeptReadings(self._encoded, budget=budget, at_once=ROWS)

    def keeping(self) -> AbstractContextManager[None]:
        """Keeps what is read of one dataset until the block ends."""
        return self._readings.keeping()

    def read(self, batch: Batch) -> LayerStatistics:
        """Features and statistics of a batch."""
        found = self._readings.read(batch)
        d = self.backbone.feature_width
        both = found[:, d:].view(len(found), 2, self.tower.layers, self.tower.width)
        return LayerStatistics(found[:, :d], both[:, 0], both[:, 1])

    def _encoded(self, batch: Batch) -> Float[Tensor, "b n"]:
        """All numbers of each image in one row: the feature, the means, the deviations."""
        layers = range(self.tower.layers)
        tokens = self.backbone.embed_images(batch.pixels)
        reading = self.backbone.read_images(tokens, layers=layers)
        means = [reading.states[layer].mean(dim=1) for layer in layers]
        deviations = [
            deviation_of(reading.states[layer], mean)
            for layer, mean in zip(layers, means, strict=True)
        ]
        return torch.cat([reading.features, *means, *deviations], dim=1)


def deviation_of(
    states: Float[Tensor, "b n v"], mean: Float[Tensor, "b v"]
) -> Float[Tensor, "b v"]:
    """Standard deviation over the tokens of each image.

    Args:
        states: n tokens an image.
        mean: Theirs.
    """
    squares = (states - mean[:, None]).square().sum(dim=1)
    return ((squares + SMALL) / states.shape[1]).sqrt()
