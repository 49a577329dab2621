"""TFUP: zero-shot logits plus the votes of images without labels that stand for their class.

Source: Long et al., "Training-Free Unsupervised Prompt for Vision-Language Models", 2024,
https://arxiv.org/abs/2404.16339, and the authors' code (TFUP). Of the paper the summary was read;
equations and settings are those of the code. Its domains other than DomainNet are cached and tested
on the very same images, which here is the protocol `transductive`; on DomainNet the images of the
train split are cached, which is `unsupervised`.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from operators.backbones import DualEncoder, unit
from operators.blocks.cache_head import CacheHead, CacheWeights, Scalar
from operators.blocks.central_images import fill_central
from operators.blocks.class_text import plain_sentence_vectors, sentences_of
from operators.bounds import Bounds, Share
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import ImageClassifier
from operators.shapes import Float
from operators.tuning import FitReport, Tuning


class TFUP(ImageClassifier):
    """Training-free and without labels: the cache holds the most central images of each class.

    Dimensions: b images, k classes, r cached images, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes, with descriptions.
        generator: Not used.
        alpha: Weight of the votes.
        beta: Sharpness of the votes.
        cache_share: Of the images of a class that are cached, between 9 and 16.
        sharpness: What cosines are multiplied by where classes are only to be told roughly apart.
    """

    card = MethodCard(
        title="TFUP (Training-Free Unsupervised Prompts)",
        family="feature_heads",
        tunes="nothing by gradient; features of images without labels are cached",
        source="Long et al., 2024, https://arxiv.org/abs/2404.16339",
        cost="no step; one comparison of all images without labels, then of each image to the "
        "cached ones",
        learns=False,
        new_classes=False,
        transductive=True,
        external_knowledge=True,
        descriptions=True,
        unlabelled=True,
        unsupervised=True,
        departures=(
            "whatever sentences the dataset comes with; the authors' are GPT-3.5's, and on VisDA "
            "one prompt",
            "divergences in float32, not float16",
            "cached images that texts tell the same of are all as alike, where theirs is 0 / 0",
        ),
    )
    block = "cache"

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        alpha: Scalar = 0.3,
        beta: Scalar = 1.0,
        cache_share: Share = 0.3,
        sharpness: Annotated[float, Bounds(0, 1000, above=True)] = 10.0,
    ) -> None:
        super().__init__(backbone, classes)
        self.cache_share, self.sharpness = cache_share, sharpness
        self.cache = CacheHead(
            unit(plain_sentence_vectors(backbone, sentences_of(classes))),
            scale=backbone.logit_scale,
            start=CacheWeights(alpha, beta),
            semantic=sharpness,
        )

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        if hyperparameters["alpha"]:
            return {}
        idle = "the votes do not count. Ask for alpha=0.3 as well."
        return dict.fromkeys(("beta", "cache_share", "sharpness"), idle)

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Fills the cache from the images without labels. See `Method.fit`.

        Raises:
            ValueError: There are none.
        """
        fill_central(self.cache, shots.without_labels().train, self.cache_share, self.sharpness)
        return FitReport()

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Zero-shot logits plus alpha times the votes."""
        return self.cache.in_blocks(batch.features)
