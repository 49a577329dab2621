"""KgCoOp: CoOp whose class features are held near those of hand-written prompts.

Source: Yao et al., "Visual-Language Prompt Tuning with Knowledge-guided Context
Optimization", CVPR 2023, https://arxiv.org/abs/2303.13283, section 3.2. Departures from the
authors' code: the context is kept in float32; the hand-written prompt is the one on the
dataset's card, which for DTD is CoOp's "{} texture." where theirs is "a photo of a {}, a type
of texture.". As in their code, the distance is 1 - cos, half of the squared distance that the
paper writes.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from operators.backbones import DualEncoder
from operators.blocks.anchor_loss import cosine_distance
from operators.blocks.learned_context import LearnedContext
from operators.blocks.prompt_tokens import idle_start, refuse_other_length
from operators.bounds import Deviation, Tokens, Weight
from operators.episodes.episode import Batch, Classes
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float
from operators.tuning import Tuning


class KgCoOp(StaticClassifier):
    """Tunes CoOp's context by cross-entropy + weight * mean over classes i of 1 - cos(t_i, a_i).

    t_i is the feature of the learned prompt of a class, a_i that of the hand-written one.

    Dimensions: k classes, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes, with the card's template.
        generator: Source of a random initial context.
        n_context: Context tokens; the length of `context_init` where that is given.
        context_init: Words to start from; empty for N(0, init_std^2).
        init_std: Standard deviation of a random start.
        weight: Of the distance to the hand-written prompts (lambda).
    """

    card = MethodCard(
        title="KgCoOp (Knowledge-guided Context Optimization)",
        family="text_prompts",
        tunes="4 context vectors at the input of the text tower, held to hand-written prompts",
        source="Yao et al., CVPR 2023, https://arxiv.org/abs/2303.13283",
        cost="a step takes all class prompts through the text tower and back",
        views="fresh",
        views_source="KgCoOp code, configs/trainers/KgCoOp: random_resized_crop and random_flip",
        departures=(
            "context in float32, not float16",
            "the hand-written prompt is that of the dataset's card, which differs on DTD",
        ),
    )
    tuning = Tuning(lr=0.002, epochs=100, batch_size=128)
    repeats = True

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        n_context: Tokens = 4,
        context_init: str = "a photo of a",
        init_std: Deviation = 0.02,
        weight: Weight = 8.0,
    ) -> None:
        super().__init__(backbone, classes)
        self.prompt = LearnedContext(
            backbone,
            classes.names,
            generator=generator,
            n_context=n_context,
            words=context_init,
            std=init_std,
        )
        self.weight = weight

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        return idle_start(hyperparameters)

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_other_length(hyperparameters["n_context"], hyperparameters["context_init"])

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the current context gives."""
        return self.prompt.class_features()

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy plus the weighted distance to the hand-written prompts."""
        features = self.weights()
        cross_entropy = F.cross_entropy(self.compare(batch, features), batch.labels)
        return cross_entropy + self.weight * cosine_distance(features, self.hand_written)
