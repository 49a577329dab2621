"""TaskRes: a learned residual on the class vectors of the hand-written prompts.

Source: Yu et al., "Task Residual for Tuning Vision-Language Models", CVPR 2023,
https://arxiv.org/abs/2211.10277, section 4.2, and the authors' code with `train_regular.sh`.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.blocks.class_text import ChosenTemplates, mean_vectors, templates_of
from operators.blocks.free_vectors import FreeVectors
from operators.bounds import Bounds
from operators.episodes.episode import Classes
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float
from operators.tuning import Tuning


class TaskRes(StaticClassifier):
    """Compares an image to t + alpha * x, where t is the text feature of a class and x is learned.

    Neither has length 1, so how far a step turns a class vector depends on how long t is.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Not used: x starts from zeros.
        alpha: Weight of the residual.
        templates: Sentences of t: those of the dataset's card, the seven that were selected on
            ImageNet, or both.
    """

    card = MethodCard(
        title="TaskRes",
        family="feature_heads",
        tower_steps=False,
        tunes="one residual a class on the text features, as wide as a feature",
        source="Yu et al., CVPR 2023, https://arxiv.org/abs/2211.10277",
        cost="a step takes a product with the class vectors there and back on kept features, and "
        "no tower",
        new_classes=False,
        views="fresh",
        views_source="TaskRes code, configs/trainers/TaskRes: random_resized_crop and random_flip",
        departures=("the enhanced base, a text projection that is tuned beforehand, is left out",),
    )
    tuning = Tuning(optimizer="adam", lr=0.002, epochs=200, batch_size=256)
    repeats = True
    block = "head"

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        alpha: Annotated[float, Bounds(0, 100, above=True)] = 0.5,
        templates: ChosenTemplates = "card",
    ) -> None:
        super().__init__(backbone, classes)
        texts = mean_vectors(backbone, classes, templates_of(classes, templates))
        self.head = FreeVectors(texts, residual=alpha)

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """Half of the epochs for up to 4 shots; what ImageNet and Flowers have of their own.

        See `Method.recipe`.
        """
        own = {
            "imagenet": {"lr": 2e-4, "templates": "imagenet+card"},
            "flowers102": {"alpha": 1.0},
        }
        return {**({"epochs": 100} if shots <= 4 else {}), **own.get(dataset, {})}

    def class_features(self) -> Float[Tensor, "k d"]:
        """The text feature of each class and its residual."""
        return self.head()
