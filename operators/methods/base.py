"""What a method is: a module that adapts a frozen backbone to an episode and classifies."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder, unit
from operators.blocks.class_text import class_vectors
from operators.episodes.episode import Batch, Classes, FewShot, ImageSource
from operators.shapes import Float
from operators.tuning import FitReport, Tuning, tune

# Constructor arguments that say on what, not how.
EPISODE = ("backbone", "classes", "generator", "teacher")


@dataclass(frozen=True, kw_only=True)
class MethodCard:
    """What a user should know of a method before running it.

    Attributes:
        title: Name in the paper.
        tunes: What is learned, in one sentence.
        cost: What a step and a test image take, in one sentence.
        source: Paper, year and address.
        needs: What it asks of the backbone, as in `BackboneCard.capabilities`.
        learns: Whether it reads labelled images at all.
        new_classes: Whether what it learned carries over to classes it has not seen.
        transductive: It sees unlabelled test images or new class names while it learns.
        test_time: It adapts to every test image.
        external_knowledge: It reads texts that are not in the dataset; a teacher's are not its own.
        descriptions: Those texts are sentences about each class, which the dataset must come with.
        teacher: It learns from another tuned model; it has a `Teaching` and takes a `Teacher`.
        unlabelled: It learns from all images of the train split, without their labels.
        seconds_per_image: Far more than it takes for one image, learned from or classified, on a
            slow core; the time limit of a trial follows from it.
        departures: Where it differs from the published code, one sentence each.
    """

    title: str
    tunes: str
    source: str
    cost: str = ""
    needs: frozenset[str] = field(default_factory=frozenset)
    learns: bool = True
    new_classes: bool = True
    transductive: bool = False
    test_time: bool = False
    external_knowledge: bool = False
    descriptions: bool = False
    teacher: bool = False
    unlabelled: bool = False
    seconds_per_image: float = 5.0
    departures: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """Which tuned model a method learns from: a trial of its own on the same draw.

    Attributes:
        teacher: Id in `METHODS`.
        teacher_backbone: Name, folder or hub id; empty for the student's own.
        teacher_hyperparameters: What differs from the teacher's published settings, by name.
    """

    teacher: str
    teacher_backbone: str = ""
    teacher_hyperparameters: dict | None = None


class Method(nn.Module, ABC):
    """Adapts a backbone to the classes of an episode.

    A subclass declares its hyperparameters as keyword-only arguments with the published
    defaults, and makes what it learns a parameter. Most write `logits`, and `loss` where it
    is not cross-entropy; what learns without gradient steps writes `fit`.

    Dimensions: b images, k classes, d width of a feature.

    Attributes:
        card: What it is.
        revision: Moves when its numbers do.
        tuning: Published settings of the tuning loop; None where it takes no gradient steps.
        teaching: The published teacher; None where it learns from no other tuned model.
        backbone: Frozen; its parameters are not this module's.
        classes: What the logits choose from.
    """

    card: ClassVar[MethodCard]
    revision: ClassVar[int] = 1
    tuning: ClassVar[Tuning | None] = None
    teaching: ClassVar[Teaching | None] = None

    def __new__(cls, *_: Any, **keywords: Any):
        """Remembers what `with_classes` builds a twin with."""
        self = super().__new__(cls)
        given = {name: value for name, value in keywords.items() if name not in EPISODE}
        self.hyperparameters = given
        self.taught = {"teacher": keywords["teacher"]} if "teacher" in keywords else {}
        return self

    hyperparameters: dict[str, Any]
    taught: dict[str, "Teacher"]

    def __init__(self, backbone: DualEncoder, classes: Classes) -> None:
        """Holds the backbone and the classes.

        Raises:
            ValueError: The backbone or the classes lack something that the method needs.
        """
        super().__init__()
        lacking = self.card.needs - backbone.card.capabilities
        if lacking:
            raise ValueError(
                f"{self.card.title} needs {', '.join(sorted(lacking))}, which "
                f"{backbone.card.name} does not have: use a CLIP with a ViT."
            )
        if self.card.descriptions and not classes.descriptions:
            raise ValueError(
                f"{self.card.title} reads sentences about each class, and there are none: give "
                "`Classes` their descriptions."
            )
        self.backbone = backbone
        self.classes = classes

    @cached_property
    def hand_written(self) -> Float[Tensor, "k d"]:
        """Unit-norm features of the prompts of the dataset's card, made when first asked for."""
        return class_vectors(self.backbone, self.classes, self.classes.templates)

    @classmethod
    def recipe(cls, *, protocol: str, shots: int, dataset: str) -> Mapping[str, Any]:
        """Published hyperparameters that depend on the protocol, the shots or the dataset.

        Args:
            protocol: Key of `PROTOCOLS`.
            shots: Labelled images a class.
            dataset: Its name; one that nobody has published settings for has those of all.
        """
        return {}

    @classmethod
    def check(cls, hyperparameters: Mapping[str, Any], *, protocol: str) -> None:
        """Refuses values that cannot work, before anything starts.

        The types of the constructor's arguments refuse numbers out of bounds; here stand rules
        about text, and about several values together.

        Raises:
            ValueError: Names the value and the rule.
        """

    @classmethod
    def idle(cls, hyperparameters: Mapping[str, Any]) -> Mapping[str, str]:
        """Hyperparameters that change nothing beside the others, and how to make them count.

        A trial with another value of one would have the same number under another id, so what a
        user asks for in vain is refused.
        """
        return {}

    @classmethod
    def check_teacher(cls, teacher: "type[Method]") -> None:
        """Refuses a method that it cannot learn from, before anything starts.

        Raises:
            ValueError: Says why not.
        """

    @classmethod
    def view_epochs(cls, hyperparameters: Mapping[str, Any]) -> int:
        """Epochs in which it sees training images as the suite's view policy shows them.

        0 where it reads the centre crop alone: its trials are then the same under any policy.
        """
        return 0 if cls.tuning is None else hyperparameters["epochs"]

    @classmethod
    def whole_validation(cls, hyperparameters: Mapping[str, Any]) -> bool:
        """Whether it chooses on the whole val split, where others have as few images as they learn.

        True where that is how it was published, and then its numbers have seen more labels.
        """
        return False

    def fit(
        self, shots: FewShot, *, tuning: Tuning | None, generator: torch.Generator
    ) -> FitReport:
        """Learns from the episode, in place.

        Args:
            shots: Labelled images; test rows are not reachable from here.
            tuning: Settings of the loop.
            generator: Source of all randomness, on the CPU.
        """
        if tuning is None:
            return FitReport()
        return tune(self, shots, tuning, generator)

    @abstractmethod
    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """One score a class for each image."""

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """What a step minimises: cross-entropy unless the method says otherwise."""
        return F.cross_entropy(self.logits(batch), batch.labels)

    def with_classes(self, classes: Classes) -> "Method":
        """The same learned parameters over other class names, ready to classify.

        Raises:
            ValueError: What was learned belongs to the classes it was learned on.
        """
        if not self.card.new_classes:
            raise ValueError(
                f"{self.card.title} learns something of its own for each class, so it cannot "
                "classify others."
            )
        build: Any = type(self)
        given = {**self.taught, **self.hyperparameters}
        twin = build(self.backbone, classes, generator=torch.Generator(), **given)
        twin.load_state_dict(self.state_dict())
        return twin.eval()

    def learned(self) -> dict[str, Tensor]:
        """Everything that fitting left behind, and nothing frozen: the prompt file."""
        return {name: value.detach().cpu() for name, value in self.state_dict().items()}


class KeepsTexts(Method):
    """Has features of the classes that no image changes.

    Outside of training they are computed once and kept.
    """

    def __init__(self, backbone: DualEncoder, classes: Classes) -> None:
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
        """Scaled cosine similarity of each image to some unit-norm vectors."""
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
