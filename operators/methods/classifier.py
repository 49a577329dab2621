"""Methods that choose one of some classes, whatever they are shown."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from operators.backbones import Backbone
from operators.engine.room import in_room
from operators.episodes.episode import Batch, Classes
from operators.methods.base import Method
from operators.shapes import Float

EVALUATION_ROWS = 4096


class Classifier(Method):
    """Gives each example of a batch a score for each class.

    Most write `logits`, and `loss` where it is not cross-entropy.

    Dimensions: b examples, k classes.

    Attributes:
        classes: What the logits choose from.
    """

    selects_by: ClassVar[str] = "accuracy"

    def __init__(self, backbone: Backbone, classes: Classes) -> None:
        """Holds the backbone and the classes.

        Args:
            backbone: Frozen.
            classes: The k classes to choose from.

        Raises:
            ValueError: The backbone or the classes lack something that the method needs.
        """
        super().__init__(backbone)
        if self.card.descriptions and not classes.descriptions:
            raise ValueError(
                f"{self.card.title} reads sentences about each class, and there are none: give "
                "`Classes` their descriptions."
            )
        self.classes = classes

    @abstractmethod
    def logits(self, batch: Batch) -> Float[Tensor, "b k"]:
        """One score a class for each example."""

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """What a step minimises: cross-entropy unless the method says otherwise."""
        return F.cross_entropy(self.logits(batch), batch.labels)

    def validation_score(self, batch: Batch) -> float:
        """Share of a batch that it classifies right."""
        return accuracy_on(self, batch)

    def with_classes(self, classes: Classes) -> "Classifier":
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
        given = {**self.teacher_argument, **self.hyperparameters}
        twin = build(self.backbone, classes, generator=torch.Generator(), **given)
        twin.load_state_dict(self.state_dict())
        return twin.eval()


@torch.no_grad()
def logits_of(method: Classifier, batch: Batch, rows: int = EVALUATION_ROWS) -> Tensor:
    """(b, k) logits of a whole batch.

    Args:
        method: Put into evaluation mode.
        batch: Of any length b.
        rows: Examples that are computed at a time; fewer where a GPU has no memory for them,
            unless what the method has seen of them already would count twice.
    """
    method.train(False)

    def some(start: int, stop: int) -> Tensor:
        return method.logits(batch.select(torch.arange(start, stop))).float()

    if method.card.stream:
        return torch.cat([some(i, min(i + rows, len(batch))) for i in range(0, len(batch), rows)])
    return torch.cat(in_room(some, len(batch), rows, "examples"))


def accuracy_on(method: Classifier, batch: Batch) -> float:
    """Share of a batch that a method classifies right.

    Args:
        method: Left in training mode.
        batch: With labels.
    """
    right = logits_of(method, batch).argmax(dim=1) == batch.labels
    method.train()
    return float(right.float().mean())
