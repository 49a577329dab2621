"""ZS-LP: a linear probe on directions that starts from the class vectors of the prompts.

Source: Silva-Rodriguez et al., "A Closer Look at the Few-Shot Adaptation of Large Vision-Language
Models", CVPR 2024, https://arxiv.org/abs/2312.12730, section 4.1, and the authors' code, which has
one setting for all datasets and shots and chooses nothing on validation images.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.blocks.class_text import ChosenTemplates, mean_vectors, templates_of
from operators.blocks.free_vectors import FreeVectors
from operators.blocks.support_pool import Passes, SupportPool
from operators.episodes.episode import Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune


class ZSLP(StaticClassifier):
    """Compares an image to one learned vector a class by their cosine.

    The vectors start as text features of their own length, so how far a step turns one depends on
    how long it is.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Not used: the start is that of the texts.
        view_passes: Views of each image that are learned from together.
        templates: Sentences of the start: those of the dataset's card, the seven that were selected
            on ImageNet, or both.
    """

    card = MethodCard(
        title="ZS-LP",
        family="feature_heads",
        tower_steps=False,
        tunes="one vector a class, as wide as a feature, started from the texts",
        source="Silva-Rodriguez et al., CVPR 2024, https://arxiv.org/abs/2312.12730",
        cost="a step takes a product with the class vectors there and back on kept features, and "
        "no tower",
        new_classes=False,
        views="bank:20",
        views_source="CLAP code, trainers/adapters.py: 20 passes of random_resized_crop and "
        "random_flip are encoded once, and batches are drawn from all of them",
        departures=("the 20 views of an image are the same for all seeds",),
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
        templates: ChosenTemplates = "card",
    ) -> None:
        super().__init__(backbone, classes)
        self.view_passes = view_passes
        texts = mean_vectors(backbone, classes, templates_of(classes, templates))
        self.head = FreeVectors(texts)

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """The sentences of ImageNet. See `Method.recipe`."""
        return {"templates": "imagenet+card"} if dataset == "imagenet" else {}

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
