"""Pseudo-labels: which images are taken for examples of which class, and how many.

Source: Menghini et al., "Enhancing CLIP with CLIP: Exploring Pseudolabeling for Limited-Label
Prompt Tuning", NeurIPS 2023, https://arxiv.org/abs/2306.01669, section 3.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from operators.engine.transfer import onto
from operators.episodes.episode import FewShot, Unlabelled
from operators.shapes import Float
from operators.tuning import FitReport


class PseudoLabels(NamedTuple):
    """Images and the classes that they are taken for.

    Attributes:
        images: (m,) which ones, sorted by class.
        labels: (m,) their classes.
    """

    images: Tensor
    labels: Tensor


def confident_by_class(scores: Float[Tensor, "n k"], count: int) -> PseudoLabels:
    """The `count` images that are surest of each class, no image in two of them.

    Where two classes claim an image, it goes to the one that it is surer of, and the other has the
    next image in its place: pairs of image and class are taken in the order of their scores, as
    long as the image is free and the class has room. So the order of the images makes no
    difference, and with count = n / k every image has a label.

    Args:
        scores: Of n images for each of k classes; the greater, the surer.
        count: At most so many images a class.
    """
    # Every image asks its best class that has not refused it, and a class refuses all but its best;
    # both go by the same score, so what is left when nobody is refused is that order's result.
    wishes = scores.clone()
    n, k = scores.shape
    places = torch.arange(n, device=scores.device)
    while True:
        score, wanted = wishes.max(dim=1)
        asking = score.isfinite()
        order = score.argsort(descending=True, stable=True)
        order = order[asking[order]]
        order = order[wanted[order].argsort(stable=True)]  # by class, the surest first
        sizes = torch.bincount(wanted[order], minlength=k)
        first = sizes.cumsum(0) - sizes
        rank = places[: len(order)] - first[wanted[order]]
        refused = order[rank >= count]
        if not len(refused):
            return PseudoLabels(order, wanted[order])
        wishes[refused, wanted[refused]] = float("-inf")


def on_boards(scores: Float[Tensor, "n k"], count: int) -> PseudoLabels:
    """What the boards of the authors' code hold at the end; the order of the images counts.

    An image that loses on the board of its best class is offered to all others, and may enter
    several. What decides is the last entry of a board, which is the worst only once the board was
    sorted, at the first image that came too late.

    Args:
        scores: Of n images for each of k classes, in the order in which the code reads them.
        count: Places of a board.

    Source: Menghini et al., NeurIPS 2023, in the authors' code, utils/clip_pseudolabels.py.
    """
    boards: list[list[tuple[float, int]]] = [[] for _ in range(scores.shape[1])]

    def offer(board: list[tuple[float, int]], score: float, image: int) -> bool:
        if len(board) < count:
            board.append((score, image))
        elif board[-1][0] < score:
            board[:] = sorted([*board, (score, image)], reverse=True)[:count]
        else:
            return False
        return True

    for image, row in enumerate(scores.tolist()):
        best, *others = sorted(range(len(row)), key=row.__getitem__, reverse=True)
        if not offer(boards[best], row[best], image):
            for other in others:
                offer(boards[other], row[other], image)
    found = [(image, label) for label, board in enumerate(boards) for _, image in board]
    both = onto(torch.tensor(found, dtype=torch.long), scores.device)  # maybe none at all
    index, labels = both.view(-1, 2).unbind(dim=1)
    return PseudoLabels(index, labels)


def growing_count(round_: int, rounds: int, images: int, classes: int) -> int:
    """Pseudo-labels of a class in a round of GRIP: a share of the images that grows to all.

    Args:
        round_: From 1.
        rounds: How many there are.
        images: Without labels.
        classes: That they may show.
    """
    grown = round_ * (images // rounds) // classes
    return max(1, min(grown, images // classes))


def kept_apart(found: PseudoLabels, share: float, generator: torch.Generator) -> PseudoLabels:
    """A random part of pseudo-labels, rounded down; the rest is learned from by nobody.

    Args:
        found: m of them.
        share: 0..1, how many are kept.
        generator: Draws them, on the CPU.
    """
    m = len(found.images)
    kept = torch.randperm(m, generator=generator)[: max(1, int(m * share))]
    kept = kept.to(found.images.device)
    return PseudoLabels(found.images[kept], found.labels[kept])


class TwoPartLoss(NamedTuple):
    """The means over labelled and over pseudo-labelled images of a batch, each with its weight.

    A batch that has none of one kind has nothing of it to sum.

    Attributes:
        rows: Row ids of the labelled images.
        labelled: Weight of the mean over these.
        pseudo: Weight of the mean over the others.

    Source: Menghini et al., NeurIPS 2023, section 3, the unified objective.
    """

    rows: np.ndarray
    labelled: float
    pseudo: float

    @classmethod
    def of(cls, labelled: np.ndarray, pseudo: int, *, apart: bool, power: float) -> "TwoPartLoss":
        """Weighed by how many there are: what few images say counts as much as what many do.

        Args:
            labelled: Row ids of images with known labels, maybe none.
            pseudo: How many images have pseudo-labels, maybe none.
            apart: Whether the two are of different classes; then the mean over the latter has the
                weight labelled / pseudo, else that over the former pseudo / labelled.
            power: Of that weight.
        """
        known = len(labelled)
        if not known or not pseudo:
            return cls(labelled, float(known > 0), float(pseudo > 0))
        if apart:
            return cls(labelled, 1.0, (known / pseudo) ** power)
        return cls(labelled, (pseudo / known) ** power, 1.0)

    def __call__(self, each: Float[Tensor, "b"], rows: np.ndarray) -> Float[Tensor, ""]:  # noqa: F821
        """The loss of a batch.

        Args:
            each: That of each of b images.
            rows: Their row ids.
        """
        known = onto(torch.from_numpy(np.isin(rows, self.rows)).to(each.dtype), each.device)
        return self.labelled * _mean(each, known) + self.pseudo * _mean(each, 1 - known)


def _mean(each: Tensor, among: Tensor) -> Tensor:
    return (each * among).sum() / among.sum().clamp(min=1)


def not_labelled(shots: FewShot) -> Unlabelled:
    """The unlabelled images that are not among the labelled ones, and what they may show.

    Raises:
        ValueError: There is no image at all, or there are no unlabelled images to choose from.
    """
    if shots.unlabelled is None:
        raise ValueError(
            "there are no unlabelled images: they are handed to methods whose card says "
            "`unlabelled=True`."
        )
    images, classes = shots.unlabelled.images, shots.unlabelled.classes
    rest = np.flatnonzero(~np.isin(images.rows, shots.train.rows))
    if not len(rest) and not len(shots.train):
        raise ValueError(
            "there is no image to learn from, labelled or not: choose a dataset with a train split."
        )
    return Unlabelled(images.select(torch.from_numpy(rest)), classes)


def joined(rounds: Sequence[FitReport]) -> FitReport:
    """One report of several rounds of tuning, of which each began anew and the last one counts."""
    *before, last = rounds
    selected = last.selected
    if selected is not None:
        selected = {**selected, "epoch": selected["epoch"] + sum(len(r.losses) for r in before)}
    return FitReport(
        tuple(loss for report in rounds for loss in report.losses),
        sum(report.steps for report in rounds),
        selected,
        tuple(score for report in rounds for score in report.validation),
    )
