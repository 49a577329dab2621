"""Contracts of image classification: a dual encoder, and what its classifiers have in common."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from operators.backbones import DualEncoder, unit
from operators.blocks.class_text import class_vectors
from operators.episodes.episode import Batch, Classes, ImageSource
from operators.methods.classifier import Classifier
from operators.shapes import Float


class ImageClassifier(Classifier):
    """Classifies images with a dual encoder.

    Dimensions: b images, k classes, d width of a feature.

    Attributes:
        backbone: Frozen; its parameters are not this module's.
    """

    track: ClassVar[str] = "image-classification"
    other_backbone: ClassVar[str] = "a CLIP with a ViT"
    backbone: DualEncoder

    def __init__(self, backbone: DualEncoder, classes: Classes) -> None:
        """See `Classifier`."""
        super().__init__(backbone, classes)

    @cached_property
    def hand_written(self) -> Float[Tensor, "k d"]:
        """Unit-norm features of the prompts of the dataset's card, made when first asked for."""
        return class_vectors(self.backbone, self.classes, self.classes.templates)


class KeepsTexts(ImageClassifier):
    """Has features of the classes that no image changes.

    Outside of training they are computed once and kept.
    """

    def __init__(self, backbone: DualEncoder, classes: Classes) -> None:
        """See `Classifier`."""
        super().__init__(backbone, classes)
        self._kept: Tensor | None = None

    @abstractmethod
    def class_features(self) -> Float[Tensor, "... k d"]:
        """The features, of any length."""

    def train(self, mode: bool = True) -> "KeepsTexts":
        """Forgets the kept features, since their parameters may move."""
        self._kept = None
        return super().train(mode)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Loads learned parameters and forgets features computed from others."""
        self._kept = None
        return super().load_state_dict(*args, **kwargs)

    def weights(self) -> Float[Tensor, "... k d"]:
        """The features with length 1."""
        if self.training:
            return unit(self.class_features())
        if self._kept is None:
            with torch.no_grad():
                self._kept = unit(self.class_features())
        return self._kept


class StaticClassifier(KeepsTexts):
    """Classifies by cosine similarity to one vector a class, the same for every image.

    That is CLIP's own rule; what differs between methods is where the vectors come from, and
    whether the images are read as the frozen tower reads them.
    """

    @abstractmethod
    def class_features(self) -> Float[Tensor, "k d"]:
        """The class vectors; any length."""

    def weights(self) -> Float[Tensor, "k d"]:
        """Unit-norm class vectors."""
        return super().weights()

    def image_features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """What is compared to the class vectors; any length."""
        return batch.features

    def compare(self, batch: Batch, weights: Float[Tensor, "k d"]) -> Float[Tensor, "b k"]:
        """Scaled cosine similarity of each image to some unit-norm vectors.

        Args:
            batch: b images.
            weights: One vector of unit norm for each of k classes.
        """
        return self.backbone.logit_scale * unit(self.image_features(batch)) @ weights.T

    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Scaled cosine similarity of each image to each class vector."""
        return self.compare(batch, self.weights())


@dataclass(frozen=True)
class Teacher:
    """A tuned method that another one learns from.

    Attributes:
        method: Tuned, on a backbone of its own or that of its student.
        images: The student's dataset as the teacher's backbone reads it; None where that is the
            student's own backbone.
        known: Classes as the teacher reads them, which may be with descriptions where its student
            reads none.
    """

    method: StaticClassifier
    images: ImageSource | None = None
    known: Classes | None = None

    def over(self, classes: Classes) -> "Teacher":
        """The same teacher of other classes.

        Raises:
            ValueError: What it learned belongs to the classes it was learned on.
        """
        if self.known is not None:
            place = {name: position for position, name in enumerate(self.known.names)}
            if all(name in place for name in classes.names):
                classes = self.known.subset([place[name] for name in classes.names])
        if classes == self.method.classes:
            return self
        return replace(self, method=self.method.with_classes(classes))

    @property
    def class_vectors(self) -> Float[Tensor, "k t"]:
        """Its unit-norm class vectors, t numbers wide."""
        return self.method.weights()

    @torch.no_grad()
    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Its logits of its student's images."""
        return self.method.logits(batch if self.images is None else batch.through(self.images))
