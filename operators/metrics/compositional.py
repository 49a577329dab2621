"""Metrics of compositions: seen and unseen pairs against each other, under a bias for the unseen.

A model that learned some pairs prefers them. So a bias is added to the scores of all unseen pairs,
and the accuracy on images of seen pairs is drawn against that on images of unseen ones as the bias
grows. With it grows nothing but the best unseen pair's score against the best seen one's: these two
pairs of each image, with their scores, hold all that the curve needs.

Source: Chao et al., "An Empirical Study and Analysis of Generalized Zero-Shot Learning", ECCV 2016,
section 4.1; for compositions Purushwalkam et al., ICCV 2019, section 4.1; as CSP's evaluate.py has
it, which takes at most some twenty biases, and ends with one that no seen pair outweighs.
"""

from typing import NamedTuple

import numpy as np

from operators.metrics.base import Answers, Metric

BIASES = 20  # about as many steps as the curve has
MARGIN = 1e-4  # a bias is less by that than what makes an unseen pair win

_SWEPT = frozenset(
    {"label", "seen", "seen_predicted", "seen_score", "unseen_predicted", "unseen_score"}
)


class Curve(NamedTuple):
    """Accuracy on images of seen and of unseen pairs, by growing bias for the unseen ones."""

    seen: np.ndarray
    unseen: np.ndarray


def bias_curve(answers: Answers) -> Curve:
    """The accuracies at each bias; the last one is that at which unseen pairs always win.

    Biases are the margins by which a seen pair outweighs the right one in an image of an unseen
    pair that is right among the unseen ones, in ascending order, every n-th so that there are some
    twenty.

    Args:
        answers: Columns as in `COMPOSITIONAL`.
    """
    seen = answers["seen"].astype(bool)
    label = answers["label"]
    lead = answers["seen_score"].astype(np.float64) - answers["unseen_score"].astype(np.float64)
    right_seen = answers["seen_predicted"][seen] == label[seen]
    right_unseen = answers["unseen_predicted"][~seen] == label[~seen]
    margins = np.sort(lead[~seen][right_unseen] - MARGIN)
    biases = margins[:: max(len(margins) // BIASES, 1)]
    # A seen pair wins where both are equal: in the authors' arrays pairs have no order.
    kept = [np.mean(right_seen & (lead[seen] >= bias)) for bias in biases]
    won = [np.mean(right_unseen & (lead[~seen] < bias)) for bias in biases]
    return Curve(np.array([*kept, 0.0]), np.array([*won, np.mean(right_unseen)]))


def area(answers: Answers) -> float:
    """Area below seen against unseen accuracy, by trapezes."""
    seen, unseen = bias_curve(answers)
    return float(np.sum((seen[1:] + seen[:-1]) / 2 * np.diff(unseen)))


def best_harmonic_mean(answers: Answers) -> float:
    """The largest harmonic mean of both accuracies that a bias gives."""
    seen, unseen = bias_curve(answers)
    both = seen + unseen
    return float(np.max(2 * seen * unseen / np.where(both > 0, both, 1.0)))


def best_seen(answers: Answers) -> float:
    """Accuracy on images of seen pairs at the least bias."""
    return float(np.max(bias_curve(answers).seen))


def best_unseen(answers: Answers) -> float:
    """Accuracy on images of unseen pairs where unseen ones always win."""
    return float(np.max(bias_curve(answers).unseen))


def attribute_accuracy(answers: Answers) -> float:
    """Share of rows whose attribute is right, whatever the object, without a bias."""
    return float(np.mean(answers["attribute"] == answers["predicted_attribute"]))


def object_accuracy(answers: Answers) -> float:
    """Share of rows whose object is right, whatever the attribute, without a bias."""
    return float(np.mean(answers["object"] == answers["predicted_object"]))


_SOURCE = "Purushwalkam et al., ICCV 2019, section 4.1; CSP, evaluate.py"
COMPOSITIONAL: dict[str, Metric] = {
    "auc": Metric(
        title="area below seen against unseen accuracy over biases",
        of=area,
        columns=_SWEPT,
        source=_SOURCE,
    ),
    "best_harmonic_mean": Metric(
        title="best harmonic mean of seen and unseen accuracy over biases",
        of=best_harmonic_mean,
        columns=_SWEPT,
        source=_SOURCE,
    ),
    "best_seen": Metric(
        title="best accuracy on seen pairs over biases",
        of=best_seen,
        columns=_SWEPT,
        source=_SOURCE,
    ),
    "best_unseen": Metric(
        title="best accuracy on unseen pairs over biases",
        of=best_unseen,
        columns=_SWEPT,
        source=_SOURCE,
    ),
    "attribute_accuracy": Metric(
        title="share of rows whose attribute is right",
        of=attribute_accuracy,
        columns=frozenset({"attribute", "predicted_attribute"}),
        proportion=True,
    ),
    "object_accuracy": Metric(
        title="share of rows whose object is right",
        of=object_accuracy,
        columns=frozenset({"object", "predicted_object"}),
        proportion=True,
    ),
}
