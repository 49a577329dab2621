"""Metrics of classification: from labels, predicted labels and what was said of the classes."""

import numpy as np

from operators.metrics.base import Answers, Metric

ECE_BINS = 15


def accuracy(answers: Answers) -> float:
    """Share of rows whose class is right."""
    return float(np.mean(answers["label"] == answers["predicted"]))


def per_class_mean(answers: Answers) -> float:
    """Mean over the classes that occur of the share of their rows that is right."""
    labels, predicted = answers["label"], answers["predicted"]
    return float(np.mean([np.mean(predicted[labels == c] == c) for c in np.unique(labels)]))


def macro_f1(answers: Answers) -> float:
    """Mean F1 over the classes that occur in `label` (Dassl's `Classification`)."""
    labels, predicted = answers["label"], answers["predicted"]
    scores = []
    for c in np.unique(labels):
        hits = np.sum((labels == c) & (predicted == c))
        scores.append(2 * hits / (np.sum(labels == c) + np.sum(predicted == c)))
    return float(np.mean(scores))


def expected_calibration_error(answers: Answers, bins: int = ECE_BINS) -> float:
    """Mean gap between confidence and accuracy over bins of equal width, weighted by rows.

    Args:
        answers: Columns `label`, `predicted` and `confidence`.
        bins: How many.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    correct = (answers["label"] == answers["predicted"]).astype(np.float64)
    confidence = answers["confidence"].astype(np.float64)
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(index, correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(correct))


def top5_accuracy(answers: Answers) -> float:
    """Share of rows whose class is among the five most probable; of fewer classes, among all."""
    return float(np.mean((answers["top"] == answers["label"][:, None]).any(axis=1)))


def negative_log_likelihood(answers: Answers) -> float:
    """Mean of minus the natural logarithm of the probability of the right class."""
    return float(0.0 - np.mean(answers["log_probability"].astype(np.float64)))  # no -0.0


def brier_score(answers: Answers) -> float:
    """Mean squared distance of the probabilities from the right class, all classes summed.

    With p the probabilities and y the right class that is sum_c p_c^2 - 2 p_y + 1.

    Source: Brier, "Verification of forecasts expressed in terms of probability", 1950, equation 2.
    """
    right = np.exp(answers["log_probability"].astype(np.float64))
    # Single precision may be a hair below the bound.
    return max(0.0, float(np.mean(answers["squared_probability"] - 2 * right + 1)))


_HIT = frozenset({"label", "predicted"})

CLASSIFICATION: dict[str, Metric] = {
    "accuracy": Metric(
        title="share of rows whose class is right", of=accuracy, columns=_HIT, proportion=True
    ),
    "macro_f1": Metric(title="mean F1 over classes", of=macro_f1, columns=_HIT),
    "per_class_mean": Metric(title="mean accuracy over classes", of=per_class_mean, columns=_HIT),
    "ece": Metric(
        title="expected calibration error, 15 bins",
        of=expected_calibration_error,
        columns=_HIT | {"confidence"},
        better="lower",
        source="Guo et al., ICML 2017, equation 3",
    ),
    "top5_accuracy": Metric(
        title="share of rows whose class is among the five most probable",
        of=top5_accuracy,
        columns=frozenset({"label", "top"}),
        proportion=True,
    ),
    "nll": Metric(
        title="negative log-likelihood of the right class",
        of=negative_log_likelihood,
        columns=frozenset({"log_probability"}),
        better="lower",
        high=None,
        unit="nats",
    ),
    "brier": Metric(
        title="Brier score, all classes summed",
        of=brier_score,
        columns=frozenset({"log_probability", "squared_probability"}),
        better="lower",
        high=2.0,
        source="Brier 1950, equation 2",
    ),
}
