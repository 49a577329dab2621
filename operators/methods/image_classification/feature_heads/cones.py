"""ConES: the embedding of each class is searched for by itself, with no text encoder.

Source: Yi et al., "ConES: Concept Embedding Search for Parameter Efficient Tuning Large Vision
Language Models", 2023, https://arxiv.org/abs/2305.18993, of which no code is public. It learns what
would come out of the text encoder, under the loss of the task. What that is in CLIP's
classification is inferred here: one vector a class, compared to images by CLIP's own rule. Settings
are inferred too, those of the linear probe with a random start in the code of CLAP.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.blocks.free_vectors import FreeVectors
from operators.blocks.support_pool import Passes, SupportPool
from operators.episodes.episode import Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune


class ConES(StaticClassifier):
    """Compares an image to one learned vector a class by their cosine; no text is ever read.

    Args:
        backbone: Frozen encoders; only image features and the logit scale are used.
        classes: The k classes; their names are not read.
        generator: Draws the start, N(0, 1/d) for features d wide.
        view_passes: Views of each image that are learned from together.
    """

    card = MethodCard(
        title="ConES",
        family="feature_heads",
        tower_steps=False,
        tunes="one vector a class, as wide as a feature, from a random start",
        source="Yi et al., 2023, https://arxiv.org/abs/2305.18993",
        cost="a step takes a product with the class vectors there and back on kept features, and "
        "no tower",
        new_classes=False,
        views="bank:20",
        views_source="inferred: as CLAP's code sees images in its probe with a random start",
        departures=(
            "no code is public: the classifier is inferred from the abstract, one free vector a "
            "class under CLIP's rule",
            "start, optimiser, rate and epochs are inferred: those of CLAP's probe with a random "
            "start, but for the length of the start; from the texts it would be ZS-LP",
        ),
    )
    tuning = Tuning(lr=0.1, weight_decay=0.0, epochs=300, batch_size=256)
    block = "head"

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        view_passes: Passes = 20,
    ) -> None:
        super().__init__(backbone, classes)
        self.view_passes = view_passes
        start = drawn_vectors(len(classes), backbone.feature_width, generator)
        self.head = FreeVectors(start.to(backbone.device))

    @classmethod
    def view_epochs(cls, hyperparameters: Mapping[str, Any]) -> int:
        """See `Method.view_epochs`."""
        return hyperparameters["view_passes"]

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Learns from all views of the images together. See `Method.fit`."""
        if tuning is None:
            return FitReport()
        pool = SupportPool(shots, self.view_passes)
        return tune(self, pool.shots, tuning, generator, draw=pool.draw)

    def class_features(self) -> Float[Tensor, "k d"]:
        """The learned vectors."""
        return self.head()


def drawn_vectors(classes: int, width: int, generator: torch.Generator) -> Float[Tensor, "k d"]:
    """Vectors from N(0, 1/d), whose length is about 1.

    Args:
        classes: k.
        width: d.
        generator: Draws them, on the CPU.
    """
    return torch.randn(width, classes, generator=generator).T / width**0.5
