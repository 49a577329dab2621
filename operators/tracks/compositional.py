"""Composition of attributes and objects: the track of CSP, and of all that names new classes.

The classes are pairs of an attribute and an object, called `attribute object`. What has one vector
a class, the same for every image, and can name new ones serves as it is: CoOp as much as zero-shot.
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.divergence import refuse_nonsense
from operators.episodes.episode import Batch, Classes, Episode, Evaluation, Vocabulary
from operators.episodes.splits import OPEN
from operators.methods import Method, StaticClassifier
from operators.methods.classifier import logits_of
from operators.methods.image_classification.base import ImageClassifier
from operators.metrics import COMPOSITIONAL
from operators.metrics.compositional import area
from operators.metrics.predictions import COMPOSITIONAL as PREDICTIONS
from operators.shapes import Bool, Float, Int
from operators.tracks.base import Data
from operators.tracks.feasibility import feasibility, word_similarity
from operators.tracks.image_classification import ImageClassification

THRESHOLDS = 50  # of feasibility that are tried (CSP, evaluate.py, `threshold_trials`)
SCORES = 2**24  # that are held at a time


class World(NamedTuple):
    """All p pairs that an image may show.

    Attributes:
        vocabulary: What they are composed of.
        labels: (p,) of the dataset; pairs that it has no class for are numbered behind its own.
        seen: (p,) whether a pair is learned.
        feasible: (p,) score of each pair; empty in the closed world.
    """

    vocabulary: Vocabulary
    labels: Int[np.ndarray, "p"]  # noqa: F821
    seen: Bool[Tensor, "p"]  # noqa: F821
    feasible: Float[Tensor, "..."]


class Best(NamedTuple):
    """Of each image the best seen and the best unseen pair, as places in a world, and their scores.

    Where several thresholds are asked about, what is unseen has one row for each.
    """

    seen: Tensor
    seen_score: Tensor
    unseen: Tensor
    unseen_score: Tensor
    confidence: Tensor


class Compositional(ImageClassification):
    """Images of pairs of an attribute and an object, some of which are not learned."""

    name = "compositional"
    title = "composition of attributes and objects with a dual encoder"
    contract = StaticClassifier
    predictions = PREDICTIONS
    metrics = (*COMPOSITIONAL, "accuracy")
    primary = "auc"

    def misfit(self, method: type[Method]) -> str:
        """See `Track.misfit`; methods of other tracks fit that compare images to class vectors."""
        if not issubclass(method, ImageClassifier):
            return super().misfit(method)
        if not issubclass(method, self.contract):
            return (
                "it has no class vectors that are the same for every image, and there are too many "
                "pairs to ask about each with each image."
            )
        if method.card.descriptions:
            return "it reads sentences about each class, and a new composition has none."
        if method.card.unlabelled:
            return "it learns from images without labels, which may show the pairs that are unseen."
        if method.card.stream or method.teaching is not None:
            return "it leans on more than an image and a name."
        return ""

    def known(self, data: Data) -> Classes:
        """See `Track.known`; with what they are composed of, and named by that."""
        return _named(data.all_classes, Vocabulary.of(data.table.pairs))

    def evaluate(
        self, method: Any, data: Data, source: Any, episode: Episode, evaluation: Evaluation
    ) -> pa.Table:
        """See `Track.evaluate`; in the open world infeasible pairs are left out.

        How feasible a pair has to be is chosen on the validation rows: the first of evenly spaced
        thresholds with the largest area below the curve.
        """
        device = method.backbone.device
        known = self.known(data)
        world = _world(known, episode.classes, evaluation, method.backbone)
        asked = method.with_classes(_named(known, world.vocabulary))
        threshold = None
        if evaluation.split == OPEN and episode.validation is not None:
            threshold = _threshold(asked, world, data, source, episode.validation.rows)
        batch = Batch(source, evaluation.rows, None, device=device)
        levels = None if threshold is None else torch.tensor([threshold], device=device)
        best = _best(asked, world, batch, levels, evaluation.split)
        labels = data.table.labels[evaluation.rows]
        answers = _answers(world, best, labels, known)
        n = len(labels)
        answers |= {
            "split": [evaluation.split] * n,
            "row_id": evaluation.rows,
            "label": labels,
            "threshold": [threshold] * n,
        }
        return pa.table({name: answers[name] for name in PREDICTIONS.names}).cast(PREDICTIONS)


def _named(classes: Classes, vocabulary: Vocabulary) -> Classes:
    """The templates of some classes with the names of a vocabulary."""
    return Classes(vocabulary.names(), classes.templates, classes.ensemble, vocabulary=vocabulary)


def _world(
    known: Classes, learned: tuple[int, ...], evaluation: Evaluation, backbone: DualEncoder
) -> World:
    vocabulary = known.vocabulary
    assert vocabulary is not None
    device, seen_pairs = backbone.device, {vocabulary.pairs[label] for label in learned}
    if evaluation.split != OPEN:
        own = vocabulary._replace(pairs=tuple(vocabulary.pairs[x] for x in evaluation.classes))
        seen = torch.tensor([pair in seen_pairs for pair in own.pairs], device=device)
        return World(own, np.array(evaluation.classes), seen, torch.empty(0, device=device))
    attributes, objects = len(vocabulary.attributes), len(vocabulary.objects)
    every = tuple((a, o) for a in range(attributes) for o in range(objects))
    label_of = {pair: label for label, pair in enumerate(vocabulary.pairs)}
    beyond = len(known)
    labels = [label_of.get((a, o), beyond + a * objects + o) for a, o in every]
    seen = torch.tensor([pair in seen_pairs for pair in every], device=device)
    scores = feasibility(
        seen.view(attributes, objects),
        word_similarity(backbone, vocabulary.attributes).float(),
        word_similarity(backbone, vocabulary.objects).float(),
    )
    return World(vocabulary._replace(pairs=every), np.array(labels), seen, scores.reshape(-1))


def _threshold(
    method: StaticClassifier, world: World, data: Data, source: Any, rows: np.ndarray
) -> float:
    """How feasible an unseen pair has to be, chosen on validation rows.

    Source: CSP, evaluate.py, where the threshold is not given.
    """
    device = method.backbone.device
    scores = world.feasible[~world.seen]
    if not len(scores):
        return -1.0
    levels = torch.linspace(float(scores.min()), float(scores.max()), THRESHOLDS, device=device)
    levels[-1] = scores.max()  # of which at least one pair is left, whatever the rounding
    batch = Batch(source, rows, None, device=device)
    best = _best(method, world, batch, levels, "val")
    label = data.table.labels[rows]
    shared = {
        "label": label,
        "seen": np.isin(label, world.labels[world.seen.cpu().numpy()]),
        "seen_predicted": world.labels[best.seen.cpu().numpy()],
        "seen_score": best.seen_score.cpu().numpy(),
    }
    areas = [
        area(
            shared
            | {
                "unseen_predicted": world.labels[best.unseen[level].cpu().numpy()],
                "unseen_score": best.unseen_score[level].cpu().numpy(),
            }
        )
        for level in range(len(levels))
    ]
    return float(levels[int(np.argmax(areas))])


def _best(
    method: StaticClassifier, world: World, batch: Batch, levels: Tensor | None, split: str
) -> Best:
    """The best pairs of each image, at each threshold where there are some.

    Unseen pairs are sorted by how feasible they are, so what a threshold leaves is a beginning of
    them, and one pass over the scores serves all thresholds.

    Args:
        method: Over the pairs of the world, in their order.
        world: The pairs.
        batch: The images.
        levels: (t,) thresholds; None where all pairs are feasible.
        split: Of the images, for messages.
    """
    seen, unseen = (torch.nonzero(mask)[:, 0] for mask in (world.seen, ~world.seen))
    ends = torch.tensor([len(unseen) - 1], device=unseen.device)
    if levels is not None and len(unseen):
        unseen = unseen[world.feasible[unseen].argsort(descending=True, stable=True)]
        ends = (world.feasible[unseen] >= levels[:, None]).sum(dim=1) - 1
    parts: list[Best] = []
    index = torch.arange(len(batch))
    for part in index.split(max(1, SCORES // len(world.labels))):
        scores = logits_of(method, batch.select(part)).double()
        refuse_nonsense(f"split {split!r}", scores)
        seen_score, seen_place = scores[:, seen].max(dim=1)
        top, place = scores[:, unseen].cummax(dim=1)
        unseen_score, unseen_place = top[:, ends].T, place[:, ends].T
        left = scores[:, torch.cat([seen, unseen[: int(ends[0]) + 1]])]
        confidence = (left.amax(dim=1) - left.logsumexp(dim=1)).exp()
        parts.append(
            Best(seen[seen_place], seen_score, unseen[unseen_place], unseen_score, confidence)
        )
    return Best(*(torch.cat(each, dim=-1) for each in zip(*parts, strict=True)))


def _answers(world: World, best: Best, labels: np.ndarray, known: Classes) -> dict[str, Any]:
    """Columns of the predictions."""
    vocabulary = known.vocabulary
    assert vocabulary is not None
    unseen, unseen_score = best.unseen[0], best.unseen_score[0]
    predicted = torch.where(unseen_score > best.seen_score, unseen, best.seen).cpu().numpy()
    composed, said = np.array(vocabulary.pairs), np.array(world.vocabulary.pairs)
    seen_labels = world.labels[world.seen.cpu().numpy()]
    return {
        "predicted": world.labels[predicted],
        "confidence": best.confidence.float().cpu().numpy(),
        "seen": np.isin(labels, seen_labels).astype(np.int32),
        "seen_predicted": world.labels[best.seen.cpu().numpy()],
        "seen_score": best.seen_score.float().cpu().numpy(),
        "unseen_predicted": world.labels[unseen.cpu().numpy()],
        "unseen_score": unseen_score.float().cpu().numpy(),
        "attribute": composed[labels, 0],
        "object": composed[labels, 1],
        "predicted_attribute": said[predicted, 0],
        "predicted_object": said[predicted, 1],
    }
