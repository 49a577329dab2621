"""Zero-shot classification: hand-written prompts, nothing learned.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision", ICML 2021, https://arxiv.org/abs/2103.00020, section 3.1. Which template a
dataset uses is on its card; the ensemble is that of CoOp's `ZeroshotCLIP2`, the seven
templates that the CLIP authors selected on ImageNet and the dataset's own.
"""

import torch
from torch import Tensor

from operators.backbones import Backbone
from operators.episode import Classes
from operators.methods.base import MethodCard, StaticClassifier
from operators.methods.class_text import class_vectors
from operators.shapes import Float

SELECTED_TEMPLATES = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)


class ZeroShot(StaticClassifier):
    """Classifies with the prompt of the dataset's card.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes, with the card's template.
        generator: Not used.
    """

    card = MethodCard(
        title="Zero-shot CLIP",
        tunes="nothing",
        source="Radford et al., ICML 2021, https://arxiv.org/abs/2103.00020",
        cost="no step; one pass of the class prompts, then a comparison an image",
        learns=False,
    )

    def __init__(self, backbone: Backbone, classes: Classes, *, generator: torch.Generator) -> None:
        super().__init__(backbone, classes)

    def templates(self) -> tuple[str, ...]:
        """The templates that are averaged over."""
        return self.classes.templates

    def class_features(self) -> Float[Tensor, "k d"]:
        """Unit-norm class vectors."""
        return class_vectors(self.backbone, self.classes, self.templates())


class ZeroShotEnsemble(ZeroShot):
    """Classifies with the mean of many prompts a class."""

    card = MethodCard(
        title="Zero-shot CLIP, template ensemble",
        tunes="nothing",
        source="Radford et al., ICML 2021, section 3.1.4; CoOp code, ZeroshotCLIP2",
        cost="no step; a pass of the class prompts a template, then a comparison an image",
        learns=False,
    )

    def templates(self) -> tuple[str, ...]:
        """The card's own ensemble, else the selected ImageNet templates and the card's."""
        return self.classes.ensemble or (*SELECTED_TEMPLATES, *self.classes.templates)
