"""MaPLe: deep prompts in the text tower, and in the image tower linear maps of the same.

Source: Khattak et al., "MaPLe: Multi-modal Prompt Learning", CVPR 2023,
https://arxiv.org/abs/2210.03117, section 3.2. As in the authors' code, two tokens are
learned of the four of "a photo of a", and the last two words stay where they are. Departures
from that code: prompts and maps are kept in float32, and towers of which one has fewer layers
than `depth` are prompted in as many as that one has.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.blocks.deep_prompts import CoupledPrompts
from operators.blocks.prompt_tokens import refuse_few_words
from operators.bounds import Deviation, Layers, Tokens
from operators.episodes.episode import Batch, Classes
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float
from operators.tuning import Tuning


class MaPLe(StaticClassifier):
    """Classifies prompted images by prompted class texts; the text prompts drive both.

    Dimensions: b images, k classes, m learned tokens a layer, J prompted layers, d width of a
    feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws the initial prompts and maps.
        n_context: m.
        depth: J, the input included.
        context_init: Words whose first m tokens the prompt of the text input starts from;
            empty for N(0, init_std^2).
        init_std: Standard deviation of all other prompts.
    """

    card = MethodCard(
        title="MaPLe (Multi-modal Prompt Learning)",
        family="deep_prompts",
        tunes="tokens in several layers of the text tower, and a linear map of each to the other",
        source="Khattak et al., CVPR 2023, https://arxiv.org/abs/2210.03117",
        cost="a step takes images and class prompts through both towers and back",
        needs=frozenset({"visual-prompts"}),
        views="fresh",
        views_source="MaPLe code, configs/trainers/MaPLe: random_resized_crop and random_flip",
        departures=(
            "prompts and maps in float32, not float16",
            "depth 9 means every layer of towers that have fewer",
        ),
    )
    tuning = Tuning(lr=0.0035, epochs=5, batch_size=4)

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        n_context: Tokens = 2,
        depth: Layers = 9,
        context_init: str = "a photo of a",
        init_std: Deviation = 0.02,
    ) -> None:
        super().__init__(backbone, classes)
        self.prompt = CoupledPrompts(
            backbone,
            classes.names,
            generator=generator,
            n_context=n_context,
            depth=depth,
            words=context_init,
            std=init_std,
        )

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """Shallower and shorter where other datasets are asked about. See `Method.recipe`."""
        if protocol in ("cross_dataset", "domain_generalization"):
            return {"lr": 0.0026, "epochs": 2, "depth": 3}
        return {}

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_few_words(hyperparameters["n_context"], hyperparameters["context_init"])

    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors that the current text prompts give."""
        return self.prompt.class_features()

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the tower reads them beside the mapped text prompts."""
        return self.prompt.image_features(batch)
