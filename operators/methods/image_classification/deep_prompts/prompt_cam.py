"""Prompt-CAM: each class has tokens of its own in the image tower, and its token scores it.

Source: Chowdhury et al., "Prompt-CAM: Making Vision Transformers Interpretable for Fine-Grained
Analysis", CVPR 2025, https://arxiv.org/abs/2501.09333, section 3, and the authors' code, which has
the image tower of DINO.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder
from operators.blocks.deep_tokens import uniform_image_tokens
from operators.blocks.linear_maps import draw_uniform
from operators.blocks.parts import IMAGE_ROWS, in_parts
from operators.bounds import Bounds, Brief, Layers
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import ImageClassifier
from operators.methods.image_classification.deep_prompts.class_tokens import (
    ClassTokenAttention,
    class_states,
    patch_attention,
)
from operators.shapes import Float
from operators.tuning import FitReport, Tuning


class PromptCAM(ImageClassifier):
    """Scores a class by what the last layer makes of its own token: one head for all of them.

    What a token attends to there says what its score is of; `attention` has it.

    Dimensions: b images, k classes, j layers, v width of the image tower, h heads, p patches.

    Args:
        backbone: Frozen encoders; only the image tower is used.
        classes: The k classes; their names are not read.
        generator: Draws tokens and head, then what is dropped in each step.
        depth: Layers of the tower that have tokens; all that there are, if fewer.
        dropout: Share of the numbers of all tokens that a step leaves out.
    """

    card = MethodCard(
        title="Prompt-CAM",
        family="deep_prompts",
        tunes="a token a class in every layer of the image tower, and one head for all",
        source="Chowdhury et al., CVPR 2025, https://arxiv.org/abs/2501.09333",
        cost="a step takes its images and a token a class through the image tower and back",
        needs=frozenset({"visual-prompts", "layer-states"}),
        new_classes=False,
        features=False,
        views="fresh:crop-0.5",
        views_source="nearest to Prompt-CAM code, data/dataset/utils.py: all of the image in 240 "
        "pixels, RandomCrop of 224, and flip",
        departures=(
            "the image tower of a CLIP in the place of DINO",
            "no drop path of 0.1 over the layers",
            "the intercept of the head is left out: it is the same for all classes",
            "the rate rises from the first epoch on, and the cosine begins after the warm-up",
            "the last step instead of the epoch that is best on the test set",
            "crops of 50 to 100 %, where theirs are 224 of 240 pixels",
        ),
    )
    tuning = Tuning(
        lr=0.005, weight_decay=0.001, epochs=100, batch_size=16, warmup_epochs=20, schedule="ramp"
    )

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        depth: Layers = 128,
        dropout: Annotated[float, Bounds(0, 1, below=True), Brief(0.0)] = 0.1,
    ) -> None:
        super().__init__(backbone, classes)
        self.dropout, self.generator = dropout, generator
        self.tokens = nn.Parameter(uniform_image_tokens(backbone, len(classes), depth, generator))
        width = self.tokens.shape[2]
        head = draw_uniform(torch.empty(width), width, generator)
        self.head = nn.Parameter(head.to(self.tokens))

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """The rate of cars. See `Method.recipe`."""
        return {"lr": 0.01} if dataset == "stanford_cars" else {}

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Drops numbers of the tokens by the generator of the trial. See `Method.fit`."""
        self.generator = generator
        return super().fit(shots, tuning=tuning, generator=generator)

    def shown_tokens(self) -> Float[Tensor, "j k v"]:
        """The tokens, in a step with some of their numbers dropped and the others raised."""
        if not self.training or not self.dropout:
            return self.tokens
        drawn = torch.rand(self.tokens.shape, generator=self.generator).to(self.tokens)
        return self.tokens * (drawn >= self.dropout) / (1 - self.dropout)

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """What the head makes of the token of each class."""

        def scored(part: Batch) -> Tensor:
            return F.linear(class_states(self.backbone, part.pixels, tokens), self.head)

        tokens = self.shown_tokens()
        return in_parts(scored, batch, IMAGE_ROWS)

    @torch.no_grad()
    def attention(self, batch: Batch, classes: Tensor) -> Float[Tensor, "b h p"]:
        """What the token of one class an image attends to of its patches in the last layer.

        Args:
            batch: The images.
            classes: (b,) positions of the classes.
        """
        watch = ClassTokenAttention(len(self.classes))
        class_states(self.backbone, batch.pixels, self.tokens, watch)
        assert watch.weights is not None
        return patch_attention(self.backbone, watch.weights, classes).float()
