"""Metrics against scikit-learn and against an example worked by hand."""

import warnings

import numpy as np
import pytest
from sklearn import metrics as theirs

from operators.metrics import (
    accuracy,
    expected_calibration_error,
    macro_f1,
    metrics_of,
    per_class_mean,
)


@pytest.fixture(params=range(3))
def answers(request):
    """Labels of five classes, the last of which never occurs, and noisy predictions."""
    generator = np.random.default_rng(request.param)
    labels = generator.choice(4, 60, p=[0.6, 0.2, 0.15, 0.05])
    noise = generator.integers(0, 5, 60)
    return labels, np.where(generator.random(60) < 0.6, labels, noise)


def test_accuracy_is_that_of_scikit_learn(answers):
    assert accuracy(*answers) == pytest.approx(theirs.accuracy_score(*answers), abs=1e-12)


def test_macro_f1_is_that_of_scikit_learn_over_the_classes_that_occur(answers):
    wanted = theirs.f1_score(*answers, labels=np.unique(answers[0]), average="macro")
    assert macro_f1(*answers) == pytest.approx(wanted, abs=1e-12)


def test_per_class_mean_is_the_balanced_accuracy_of_scikit_learn(answers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a predicted class that never occurs
        wanted = theirs.balanced_accuracy_score(*answers)
    assert per_class_mean(*answers) == pytest.approx(wanted, abs=1e-12)


def test_calibration_error_of_a_worked_example():
    # Bins of 0.25: (0.5, 0.75] holds 0.6 right and 0.7 wrong, (0.75, 1] holds 0.8 and 1.0 right.
    confidence = np.array([0.6, 0.7, 0.8, 1.0])
    correct = np.array([1.0, 0.0, 1.0, 1.0])
    wanted = (abs(0.5 - 0.65) * 2 + abs(1.0 - 0.9) * 2) / 4
    assert expected_calibration_error(correct, confidence, bins=4) == pytest.approx(wanted)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    # 0.5 shares its bin with 0.3: (0.2 + 0.5 - 1) / 2 would be split into two gaps otherwise.
    confidence, correct = np.array([0.5, 0.3]), np.array([1.0, 0.0])
    assert expected_calibration_error(correct, confidence, bins=2) == pytest.approx(0.1)


def test_sure_and_right_has_no_calibration_error():
    assert expected_calibration_error(np.ones(3), np.ones(3)) == 0


def test_every_metric_says_its_split_and_how_many_rows(answers):
    found = metrics_of("base", *answers, np.full(60, 0.5))
    assert [metric.metric for metric in found] == ["accuracy", "macro_f1", "per_class_mean", "ece"]
    assert {(metric.split, metric.n) for metric in found} == {("base", 60)}
    assert all(0 <= metric.value <= 1 for metric in found)
