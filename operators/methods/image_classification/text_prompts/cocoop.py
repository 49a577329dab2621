"""CoCoOp: context words that each image shifts by a small network of its feature.

Source: Zhou et al., "Conditional Prompt Learning for Vision-Language Models", CVPR 2022,
https://arxiv.org/abs/2203.05557, section 3.2. Departures from the authors' code: context and
network are kept in float32. Where the code encodes the texts of one image after the other, those
of many pass the tower together here, in bounded memory.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from operators.backbones import DualEncoder, unit
from operators.blocks.learned_context import ConditionalContext
from operators.blocks.parts import PAIRS, in_parts
from operators.blocks.prompt_tokens import idle_start, refuse_few_words
from operators.bounds import Deviation, Reduction, Tokens
from operators.episodes.episode import Batch, Classes
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import ImageClassifier
from operators.shapes import Float
from operators.tuning import Tuning


class CoCoOp(ImageClassifier):
    """Classifies an image x with the prompts `[v_1 + h(x)] ... [v_m + h(x)] <class name>.`.

    h is a network of two layers that reads the image's unit-norm feature.

    Dimensions: b images, k classes, m context tokens, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws the network, and the context where it starts at random.
        n_context: m.
        context_init: Words whose first m tokens the context starts from; empty for
            N(0, init_std^2).
        init_std: Standard deviation of a random start.
        reduction: The network's inner layer is d / reduction wide, at least 1.
    """

    card = MethodCard(
        title="CoCoOp (Conditional Context Optimization)",
        family="text_prompts",
        tunes="m context vectors, and a network of two layers that shifts them for each image",
        source="Zhou et al., CVPR 2022, https://arxiv.org/abs/2203.05557",
        cost="a step takes all class prompts through the text tower and back for each image, and a "
        "test image takes them through it once more",
        seconds_per_image=60.0,
        views="fresh",
        views_source="CoOp code, configs/trainers/CoCoOp: random_resized_crop and random_flip",
        departures=("context and network in float32, not float16",),
    )
    tuning = Tuning(lr=0.002, epochs=10, batch_size=1)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        n_context: Tokens = 4,
        context_init: str = "a photo of a",
        init_std: Deviation = 0.02,
        reduction: Reduction = 16,
    ) -> None:
        super().__init__(backbone, classes)
        self.prompt = ConditionalContext(
            backbone,
            classes.names,
            generator=generator,
            n_context=n_context,
            words=context_init,
            std=init_std,
            reduction=reduction,
        )

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        return idle_start(hyperparameters)

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_few_words(hyperparameters["n_context"], hyperparameters["context_init"])

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Scaled cosine similarity of each image to the class vectors of its own context."""
        return in_parts(self.own_logits, batch, PAIRS // len(self.classes))

    def own_logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """The logits of images at once."""
        images = unit(batch.features)
        texts = unit(self.prompt.class_features(images[:, None]))
        return self.backbone.logit_scale * torch.einsum("bd,bkd->bk", images, texts)
