"""Numbers from predictions. All are in 0..1."""

from dataclasses import dataclass

import numpy as np

from operators.shapes import Float, Int

ECE_BINS = 15


@dataclass(frozen=True)
class Metric:
    """One number of one split. `value` is in 0..1, `n` the test rows behind it."""

    split: str
    metric: str
    value: float
    n: int


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Share of rows whose class is right."""
    return float(np.mean(labels == predicted))


def per_class_mean(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over the classes that occur of the share of their rows that is right."""
    return float(np.mean([np.mean(predicted[labels == c] == c) for c in np.unique(labels)]))


def macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean F1 over the classes that occur in `labels` (Dassl's `Classification`)."""
    scores = []
    for c in np.unique(labels):
        hits = np.sum((labels == c) & (predicted == c))
        scores.append(2 * hits / (np.sum(labels == c) + np.sum(predicted == c)))
    return float(np.mean(scores))


def expected_calibration_error(
    correct: np.ndarray,
    confidence: Float[np.ndarray, "n"],  # noqa: F821
    bins: int = ECE_BINS,
) -> float:
    """Mean gap between confidence and accuracy over bins of equal width, weighted by rows.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    confidence = confidence.astype(np.float64)
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(index, correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(correct))


def metrics_of(
    split: str,
    labels: Int[np.ndarray, "n"],  # noqa: F821
    predicted: Int[np.ndarray, "n"],  # noqa: F821
    confidence: Float[np.ndarray, "n"],  # noqa: F821
) -> list[Metric]:
    """Every metric of one split."""
    correct = (labels == predicted).astype(np.float64)
    values = {
        "accuracy": accuracy(labels, predicted),
        "macro_f1": macro_f1(labels, predicted),
        "per_class_mean": per_class_mean(labels, predicted),
        "ece": expected_calibration_error(correct, confidence),
    }
    return [Metric(split, name, value, len(labels)) for name, value in values.items()]
