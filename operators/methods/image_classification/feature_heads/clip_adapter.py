"""CLIP-Adapter: a small network on top of the image features, mixed into them.

Source: Gao et al., "CLIP-Adapter: Better Vision-Language Models with Feature Adapters", IJCV
2024, https://arxiv.org/abs/2110.04544, section 3.2, and the authors' code, which has the image
adapter alone and ends it with a ReLU. It is trained by CoOp's commands there, so the settings of
the loop are CoOp's. Departures: the residual ratio is that of the code on every dataset, where
the paper searches one for each.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.blocks.feature_head import Adapter, mixed
from operators.blocks.training_length import coop_epochs
from operators.bounds import Reduction, Share
from operators.episodes.episode import Batch, Classes
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float
from operators.tuning import Tuning


class ClipAdapter(StaticClassifier):
    """Compares ratio * A(f) + (1 - ratio) * f to the hand-written class prompts.

    A is a bottleneck network and f the image feature as the tower gives it, not normalised.

    Dimensions: b images, k classes, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes, with the card's template.
        generator: Draws the network.
        reduction: Its inner layer is d / reduction wide, at least 1.
        ratio: Share of what the network gives, 0..1.
    """

    card = MethodCard(
        title="CLIP-Adapter",
        family="feature_heads",
        tower_steps=False,
        tunes="a network of two layers on the image features",
        source="Gao et al., IJCV 2024, https://arxiv.org/abs/2110.04544",
        cost="a step takes the network there and back on kept features, and no tower",
        views="fresh",
        views_source="CLIP-Adapter's README points to CoOp's commands: random_resized_crop and "
        "random_flip; RESTORE's copy has the same",
        departures=("residual ratio 0.2 on every dataset",),
    )
    tuning = Tuning(lr=0.002, epochs=200, batch_size=32)
    repeats = True

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        reduction: Reduction = 4,
        ratio: Share = 0.2,
    ) -> None:
        super().__init__(backbone, classes)
        self.ratio = ratio
        self.adapter = Adapter(
            backbone.feature_width, reduction, generator=generator, device=backbone.device
        )

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """The epochs of CoOp, whose commands the authors point to. See `Method.recipe`."""
        return {"epochs": coop_epochs(shots, dataset)}

    def class_features(self) -> Float[Tensor, "k d"]:
        """The hand-written prompts."""
        return self.hand_written

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The adapted features."""
        return mixed(self.adapter, batch.features, self.ratio)
