"""IVLP: independent vision-language prompting, deep prompts in both towers.

Source: Khattak et al., "Self-regulating Prompts: Foundational Model Adaptation without
Forgetting", ICCV 2023, https://arxiv.org/abs/2307.06948, section 3.1, where it is the
baseline; it comes from Khattak et al., "MaPLe: Multi-modal Prompt Learning", CVPR 2023,
section 4.2. The defaults are the configuration of the PromptSRC code; that of the MaPLe code
(2 tokens in 12 layers, lr 0.0035, 5 epochs) can be asked for. Departures from the authors'
code: the prompts are kept in float32, and a tower with fewer layers than `text_depth` or
`image_depth` is prompted in all it has.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.blocks.deep_prompts import IndependentPrompts
from operators.blocks.prompt_tokens import refuse_few_words
from operators.bounds import Deviation, Layers, Tokens
from operators.episodes.episode import Batch, Classes
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float
from operators.tuning import Tuning


class IVLP(StaticClassifier):
    """Classifies prompted images by prompted class texts; each tower has prompts of its own.

    Dimensions: b images, k classes, m learned text tokens, n learned image tokens, d width of a
    feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws the initial prompts.
        text_tokens: m.
        image_tokens: n.
        text_depth: Text layers that are prompted, the input included.
        image_depth: The same of the image tower.
        context_init: Words whose first m tokens the prompt of the text input starts from;
            empty for N(0, init_std^2).
        init_std: Standard deviation of all other prompts.
    """

    card = MethodCard(
        title="IVLP (Independent Vision-Language Prompting)",
        family="deep_prompts",
        tunes="tokens in several layers of both towers, independent of each other",
        source="Khattak et al., ICCV 2023, https://arxiv.org/abs/2307.06948, section 3.1",
        cost="a step takes images and class prompts through both towers and back",
        needs=frozenset({"visual-prompts"}),
        views="fresh",
        views_source="MaPLe and PromptSRC code, configs/trainers/IVLP: random_resized_crop and "
        "random_flip",
        departures=(
            "prompts in float32, not float16",
            "depth 9 means every layer of a tower that has fewer",
        ),
    )
    tuning = Tuning(lr=0.0025, epochs=20, batch_size=4)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        text_tokens: Tokens = 4,
        image_tokens: Tokens = 4,
        text_depth: Layers = 9,
        image_depth: Layers = 9,
        context_init: str = "a photo of a",
        init_std: Deviation = 0.02,
    ) -> None:
        super().__init__(backbone, classes)
        self.prompt = IndependentPrompts(
            backbone,
            classes.names,
            generator=generator,
            text_tokens=text_tokens,
            image_tokens=image_tokens,
            text_depth=text_depth,
            image_depth=image_depth,
            words=context_init,
            std=init_std,
        )

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """Fewer and deeper tokens where other data are asked about, as MaPLe's authors have it.

        See `Method.recipe`.
        """
        if protocol not in ("cross_dataset", "domain_generalization"):
            return {}
        tokens = {"text_tokens": 2, "image_tokens": 2, "text_depth": 12, "image_depth": 12}
        return {**tokens, "lr": 0.0035, "epochs": 5}

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        words = hyperparameters["context_init"]
        refuse_few_words(hyperparameters["text_tokens"], words, called="text_tokens")

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the current text prompts give."""
        return self.prompt.class_features()

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the prompted tower reads them."""
        return self.prompt.image_features(batch)
