"""A contract of methods that change another one's prompts, which are a hyperparameter of theirs."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from operators.backbones import DualEncoder, unit
from operators.blocks.parts import PAIRS, in_parts
from operators.episodes.episode import Batch, Classes
from operators.methods.image_classification.base import KeepsTexts
from operators.shapes import Float


@dataclass(frozen=True)
class Host:
    """Prompts of a published form.

    Attributes:
        prompts: Makes the block that holds them, of a backbone, class names, a generator, and what
            a method says beyond that.
        reads_images: Whether the block reads images in its own way, with prompts of their tower.
        own_texts: Whether each image has class texts of its own.
        anchored: Whether texts are held to hand-written prompts.
    """

    prompts: Callable[..., Any]
    reads_images: bool = False
    own_texts: bool = False
    anchored: bool = False


class HostedClassifier(KeepsTexts):
    """Classifies by cosine similarity to class texts, the same for all images or each one's own.

    A subclass has a hyperparameter `host`, a key of its `hosts`.

    Dimensions: b images, k classes, d width of a feature.

    Args:
        backbone: Frozen image and text encoders.
        classes: The k classes.
        host: Key of `hosts`.

    Attributes:
        hosts: What there is to choose from.
        host: The one that it was built with.
        prompt: The block that holds the host's prompts.
    """

    form: ClassVar[str] = "host"
    hosts: ClassVar[Mapping[str, Host]]
    prompt: Any

    def __init__(self, backbone: DualEncoder, classes: Classes, host: str) -> None:
        super().__init__(backbone, classes)
        self.host = self.hosts[host]

    @classmethod
    def needs_of(cls, hyperparameters: Mapping[str, Any]) -> frozenset[str]:
        """See `Method.needs_of`; a host that reads images in its own way prompts their tower."""
        reads_images = cls.hosts[hyperparameters["host"]].reads_images
        return cls.card.needs | ({"visual-prompts"} if reads_images else set())

    @abstractmethod
    def own_class_features(self, batch: Batch) -> Float[Tensor, "b k d"]:
        """The class vectors that each image has of its own, of any length."""

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """The images as the host reads them, of any length."""
        return self.prompt.image_features(batch) if self.host.reads_images else batch.features

    def class_texts(self, batch: Batch) -> Float[Tensor, "*b k d"]:
        """The class vectors of all images, or of each, of any length, as they are now."""
        return self.own_class_features(batch) if self.host.own_texts else self.class_features()

    def compare(
        self, images: Float[Tensor, "b d"], texts: Float[Tensor, "*b k d"]
    ) -> Float[Tensor, "b k"]:
        """Scaled cosine similarity of images to class vectors.

        Args:
            images: Of any length.
            texts: Of unit norm; the same for all images, or each image's own.
        """
        images = self.backbone.logit_scale * unit(images)
        return images @ texts.T if texts.ndim == 2 else torch.einsum("bd,bkd->bk", images, texts)

    def host_logits(self, batch: Batch, images: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """The cosine head alone.

        Args:
            batch: b images.
            images: Their `image_features`.
        """
        if not self.host.own_texts:
            return self.compare(images, self.weights())

        def read(part: Batch) -> Tensor:
            return self.compare(self.image_features(part), unit(self.own_class_features(part)))

        return in_parts(read, batch, PAIRS // len(self.classes))

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """See `host_logits`."""
        return self.host_logits(batch, self.image_features(batch))
