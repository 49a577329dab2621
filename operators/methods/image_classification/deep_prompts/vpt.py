"""VPT: learned tokens in the image tower; the class texts stay as they are.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119,
equations 4 to 7, in the form that CLIP is tuned in: the linear head of the paper is the
frozen text side (the VPT trainer of Khattak et al., "MaPLe: Multi-modal Prompt Learning",
CVPR 2023, whose configuration gives the defaults). `depth=1` is VPT-shallow, a depth of all
layers VPT-deep.

Departures from the authors' code: the tokens start from N(0, 0.02^2) as in MaPLe's code, not
from a uniform Xavier draw as in that of Jia et al., and stand after the patches, not before
them, which is the same function of the image (deep_tokens.py). A tower with fewer layers than
`depth` is prompted in all it has.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from operators.backbones import DualEncoder
from operators.blocks.class_text import class_vectors, refuse_no_place
from operators.blocks.deep_tokens import (
    prompted_images,
    started_image_tokens,
)
from operators.bounds import Deviation, Layers, Tokens
from operators.episodes.episode import Batch, Classes
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float
from operators.tuning import Tuning


class VPT(StaticClassifier):
    """Classifies prompted images by the features of hand-written class prompts.

    Dimensions: k classes, n learned tokens, v width of the image tower, d of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Draws the initial prompts.
        image_tokens: n.
        depth: Layers that are prompted, the input included.
        template: Sentence with one `{}` that class names are put into; empty for that of the
            dataset's card.
        init_std: Standard deviation of the initial prompts.
    """

    card = MethodCard(
        title="VPT (Visual Prompt Tuning)",
        family="deep_prompts",
        tunes="tokens in several layers of the image tower",
        source="Jia et al., ECCV 2022, https://arxiv.org/abs/2203.12119",
        cost="a step takes its images through the image tower and back",
        needs=frozenset({"visual-prompts"}),
        views="fresh",
        views_source="MaPLe code, configs/trainers/VPT: random_resized_crop and random_flip",
        departures=(
            "frozen class texts in the place of a linear head, as in MaPLe's code",
            "normal instead of Xavier uniform start, as in MaPLe's code",
            "depth 12 means every layer of a tower that has fewer",
        ),
    )
    tuning = Tuning(lr=0.0025, epochs=5, batch_size=4)
    repeats = True

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        image_tokens: Tokens = 8,
        depth: Layers = 12,
        template: str = "a photo of a {}.",
        init_std: Deviation = 0.02,
    ) -> None:
        super().__init__(backbone, classes)
        templates = (template,) if template else classes.templates
        self.register_buffer("texts", class_vectors(backbone, classes, templates), persistent=False)
        self.image = nn.Parameter(
            started_image_tokens(backbone, image_tokens, depth, init_std, generator)
        )

    texts: Tensor

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """See `Method.check`."""
        refuse_no_place(hyperparameters["template"])

    def class_features(self) -> Float[Tensor, "k d"]:
        """The frozen class vectors."""
        return self.texts

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the prompted tower reads them."""
        return prompted_images(self.backbone, batch, self.image)
