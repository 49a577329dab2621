"""Zero-shot classification: hand-written prompts, nothing learned.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision", ICML 2021, https://arxiv.org/abs/2103.00020, section 3.1. Which template a
dataset uses is on its card; the ensemble is that of CoOp's `ZeroshotCLIP2`, the seven
templates that the CLIP authors selected on ImageNet and, but on ImageNet itself, the dataset's own.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.blocks.class_text import class_vectors
from operators.blocks.imagenet_templates import SELECTED_7
from operators.bounds import LATER
from operators.episodes.episode import Classes
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float


class ZeroShot(StaticClassifier):
    """Classifies with the prompt of the dataset's card.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes, with the card's template.
        generator: Not used.
    """

    card = MethodCard(
        title="Zero-shot CLIP",
        family="hand_written",
        tunes="nothing",
        source="Radford et al., ICML 2021, https://arxiv.org/abs/2103.00020",
        cost="no step; one pass of the class prompts, then a comparison an image",
        learns=False,
    )

    def __init__(
        self, backbone: DualEncoder, classes: Classes, *, generator: torch.Generator
    ) -> None:
        super().__init__(backbone, classes)

    def class_features(self) -> Float[Tensor, "k d"]:
        """The hand-written prompts."""
        return self.hand_written


class ZeroShotEnsemble(StaticClassifier):
    """Classifies with the mean of many prompts a class.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes, with the card's template and, where it has one, its ensemble.
        generator: Not used.
        with_card: Whether the card's template joins the seven, where it has no ensemble.
    """

    card = MethodCard(
        title="Zero-shot CLIP, template ensemble",
        family="hand_written",
        tunes="nothing",
        source="Radford et al., ICML 2021, section 3.1.4; CoOp code, ZeroshotCLIP2",
        cost="no step; a pass of the class prompts a template, then a comparison an image",
        learns=False,
    )

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        with_card: Annotated[bool, LATER] = True,
    ) -> None:
        super().__init__(backbone, classes)
        self.with_card = with_card

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """The seven alone on ImageNet. See `Method.recipe`."""
        return {"with_card": False} if dataset == "imagenet" else {}

    def templates(self) -> tuple[str, ...]:
        """The card's own ensemble, else the selected ImageNet templates and the card's."""
        own = self.classes.templates if self.with_card else ()
        return self.classes.ensemble or (*SELECTED_7, *own)

    def class_features(self) -> Float[Tensor, "k d"]:
        """The mean of the prompts of each class, of unit norm."""
        return class_vectors(self.backbone, self.classes, self.templates())
