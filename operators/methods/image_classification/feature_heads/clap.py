"""CLAP: a linear probe from the text vectors that is held to them, class by class.

Source: Silva-Rodriguez et al., "A Closer Look at the Few-Shot Adaptation of Large Vision-Language
Models", CVPR 2024, https://arxiv.org/abs/2312.12730, section 4.2, and the authors' code, which has
one setting for all datasets and shots and chooses nothing on validation images.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from operators.backbones import DualEncoder, unit
from operators.blocks.class_text import ChosenTemplates, mean_vectors, templates_of
from operators.blocks.free_vectors import FreeVectors
from operators.blocks.support_pool import Passes, SupportPool
from operators.bounds import Weight
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods.base import MethodCard
from operators.methods.image_classification.base import StaticClassifier
from operators.shapes import Float, Int
from operators.tuning import FitReport, Tuning, tune


class CLAP(StaticClassifier):
    """Compares an image to one learned vector a class by their cosine.

    To the cross-entropy comes the mean over classes of m_c |w_c - t_c|^2, where w_c is learned from
    the text feature t_c, neither of length 1. The multiplier m_c is how probable the texts make the
    right class to the labelled images of c, on average: what is classified well is held fast.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        generator: Not used: the start is that of the texts.
        penalty: What the mean is multiplied by.
        multipliers: `class` as above; `corrected` divides them by their mean; `constant` has their
            mean for all, `balanced` 1.
        view_passes: Views of each image that are learned from together.
        templates: Sentences of the start: those of the dataset's card, the seven that were selected
            on ImageNet, or both.
    """

    card = MethodCard(
        title="CLAP",
        family="feature_heads",
        tower_steps=False,
        tunes="one vector a class, as wide as a feature, held to the texts that it starts from",
        source="Silva-Rodriguez et al., CVPR 2024, https://arxiv.org/abs/2312.12730",
        cost="a step takes a product with the class vectors there and back on kept features, and "
        "no tower",
        new_classes=False,
        views="bank:20",
        views_source="CLAP code, trainers/adapters.py: 20 passes of random_resized_crop and "
        "random_flip are encoded once, and batches are drawn from all of them",
        departures=(
            "the 20 views of an image are the same for all seeds",
            "the multipliers stay as they start, as in the published commands; the code can also "
            "raise them after each epoch, which no command asks for",
        ),
    )
    tuning = Tuning(lr=0.1, weight_decay=0.0, epochs=300, batch_size=256)
    block = "head"

    def __init__(
        self,
        backbone: DualEncoder,
        classes: Classes,
        *,
        generator: torch.Generator,
        penalty: Weight = 1.0,
        multipliers: Literal["class", "corrected", "constant", "balanced"] = "class",
        view_passes: Passes = 20,
        templates: ChosenTemplates = "card",
    ) -> None:
        super().__init__(backbone, classes)
        self.penalty, self.kind, self.view_passes = penalty, multipliers, view_passes
        texts = mean_vectors(backbone, classes, templates_of(classes, templates))
        self.head = FreeVectors(texts)
        self.register_buffer("multipliers", texts.new_ones(len(classes)), persistent=False)

    multipliers: Tensor

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """The sentences of ImageNet. See `Method.recipe`."""
        return {"templates": "imagenet+card"} if dataset == "imagenet" else {}

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """See `Method.idle`."""
        if hyperparameters["penalty"]:
            return {}
        return {"multipliers": "the penalty is 0. Ask for penalty=1 as well."}

    @classmethod
    def view_epochs(cls, hyperparameters: Mapping[str, Any]) -> int:
        """See `Method.view_epochs`."""
        return hyperparameters["view_passes"]

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Learns from all views of the images together. See `Method.fit`."""
        if tuning is None:
            return FitReport()
        pool = SupportPool(shots, self.view_passes)
        self.multipliers = self.multipliers_of(pool.train)
        return tune(self, pool.shots, tuning, generator, draw=pool.draw)

    def multipliers_of(self, images: Batch) -> Float[Tensor, "k"]:  # noqa: F821
        """How fast each class is held to its text."""
        ones = torch.ones_like(self.multipliers)
        if self.kind == "balanced":
            return ones
        scale = self.backbone.logit_scale
        probable = class_probabilities(images.features, images.labels, self.head.start, scale)
        if self.kind == "corrected":
            return probable / probable.mean()
        return ones * probable.mean() if self.kind == "constant" else probable

    def class_features(self) -> Float[Tensor, "k d"]:
        """The learned vectors."""
        return self.head()

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Cross-entropy, and what holds the vectors to the texts (equation 5)."""
        error = F.cross_entropy(self.logits(batch), batch.labels)
        return error + self.penalty * self.head.drift(self.multipliers)


def class_probabilities(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, "n"],  # noqa: F821
    vectors: Float[Tensor, "k d"],
    scale: float,
) -> Float[Tensor, "k"]:  # noqa: F821
    """How probable its own class is to an example of each class, on average; 0 without examples.

    Args:
        features: Of the examples, of any length.
        labels: Positions in the k classes.
        vectors: Compared to the features by their cosine.
        scale: Of the logits.

    Source: CLAP's code, `trainers/adapters.py`, `init_lagrangian_multipliers`.
    """
    probable = (scale * unit(features) @ unit(vectors).T).softmax(dim=1)
    members = F.one_hot(labels, len(vectors)).to(probable.dtype)
    return (members * probable).sum(dim=0) / members.sum(dim=0).clamp(min=1)
