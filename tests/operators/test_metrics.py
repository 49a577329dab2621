"""Metrics against scikit-learn and against examples worked by hand."""

import math
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats
from sklearn import metrics as theirs

from operators.metrics import CLASSIFICATION, scores_of
from operators.metrics.classification import expected_calibration_error
from operators.metrics.predictions import CLASSIFICATION as SCHEMA
from operators.metrics.predictions import PARQUET, PREDICTIONS

CLASSES = 7


@pytest.fixture(params=range(3))
def drawn(request):
    """Labels of seven classes, some of which may never occur, and probabilities of each."""
    generator = np.random.default_rng(request.param)
    labels = generator.choice(5, 60, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    scores = generator.normal(size=(60, CLASSES))
    scores[np.arange(60), labels] += 1.5
    return labels, np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def predictions(labels, probabilities, split="all"):
    order = np.argsort(-probabilities, axis=1)[:, :5]
    return pa.table(
        {
            "split": [split] * len(labels),
            "row_id": np.arange(len(labels)),
            "label": labels,
            "predicted": order[:, 0],
            "confidence": probabilities.max(axis=1),
            "log_probability": np.log(probabilities[np.arange(len(labels)), labels]),
            "squared_probability": (probabilities**2).sum(axis=1),
            "top": list(order),
            "top_probability": list(np.take_along_axis(probabilities, order, axis=1)),
        }
    ).cast(SCHEMA)


def values(*drawn, names=CLASSIFICATION):
    return {score.metric: score.value for score in scores_of(predictions(*drawn), names)}


def test_a_row_of_predictions_takes_few_bytes_however_many_classes_there_are():
    generator = np.random.default_rng(0)
    labels = np.arange(2000) % 1000
    scores = np.exp(generator.normal(size=(2000, 1000)))
    table = predictions(labels, scores / scores.sum(axis=1, keepdims=True))
    file = pa.BufferOutputStream()
    pq.write_table(table, file, **PARQUET)
    content = file.getvalue()
    assert content.size / len(table) < 45
    assert pq.read_table(content).equals(table)


def test_hits_are_those_of_scikit_learn(drawn):
    labels, predicted = drawn[0], drawn[1].argmax(axis=1)
    found = values(*drawn)
    assert found["accuracy"] == pytest.approx(theirs.accuracy_score(labels, predicted), abs=1e-12)
    wanted = theirs.f1_score(labels, predicted, labels=np.unique(labels), average="macro")
    assert found["macro_f1"] == pytest.approx(wanted, abs=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a predicted class that never occurs
        wanted = theirs.balanced_accuracy_score(labels, predicted)
    assert found["per_class_mean"] == pytest.approx(wanted, abs=1e-12)


def test_probabilities_are_scored_as_scikit_learn_scores_them(drawn):
    labels, chances = drawn
    found, every = values(*drawn), range(CLASSES)
    assert found["nll"] == pytest.approx(theirs.log_loss(labels, chances, labels=every), abs=1e-6)
    wanted = theirs.top_k_accuracy_score(labels, chances, k=5, labels=every)
    assert found["top5_accuracy"] == pytest.approx(wanted, abs=1e-12)
    right = np.eye(CLASSES)[labels]
    assert found["brier"] == pytest.approx(((chances - right) ** 2).sum(axis=1).mean(), abs=1e-6)


def test_likelihood_and_brier_of_a_worked_example():
    chances = np.array([[0.5, 0.25, 0.25], [0.125, 0.375, 0.5]])
    found = values(np.array([0, 1]), chances)
    assert found["nll"] == pytest.approx((math.log(2) - math.log(0.375)) / 2)
    first, second = 0.25 + 2 / 16, 1 / 64 + 25 / 64 + 1 / 4
    assert found["brier"] == pytest.approx((first + second) / 2)
    assert found["top5_accuracy"] == 1  # three classes


def test_sure_and_right_answers_keep_the_bounds_of_their_metrics():
    """No -0.0 in a file, and no Brier score below 0 for the rounding of its parts."""
    sure = predictions(np.array([0, 1]), np.eye(2)[[0, 1]] * (1 - 1e-300) + 1e-300)
    right = np.float32(np.log(1 - 2**-25))  # the square of its exponential rounds down
    hair = {"log_probability": [right] * 2, "squared_probability": [np.float32(1 - 2**-23)] * 2}
    for name, values_of in hair.items():
        place = sure.column_names.index(name)
        off = sure.set_column(place, name, pa.array(values_of, pa.float32()))
        assert all(
            score.value >= CLASSIFICATION[score.metric].low
            for score in scores_of(off, CLASSIFICATION)
        )
    found = {score.metric: score.value for score in scores_of(sure, CLASSIFICATION)}
    assert math.copysign(1, found["nll"]) == 1


def answers(correct, confidence):
    correct = np.array(correct)
    return {
        "label": np.zeros(len(correct)),
        "predicted": 1 - correct,
        "confidence": np.array(confidence),
    }


def test_calibration_error_of_a_worked_example():
    # Bins of 0.25: (0.5, 0.75] holds 0.6 right and 0.7 wrong, (0.75, 1] holds 0.8 and 1.0 right.
    said = answers([1.0, 0.0, 1.0, 1.0], [0.6, 0.7, 0.8, 1.0])
    wanted = (abs(0.5 - 0.65) * 2 + abs(1.0 - 0.9) * 2) / 4
    assert expected_calibration_error(said, bins=4) == pytest.approx(wanted)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    # 0.5 shares its bin with 0.3: (0.2 + 0.5 - 1) / 2 would be split into two gaps otherwise.
    said = answers([1.0, 0.0], [0.5, 0.3])
    assert expected_calibration_error(said, bins=2) == pytest.approx(0.1)


def test_calibration_error_is_that_of_scipys_bins(drawn):
    labels, chances = drawn
    sure, right = chances.max(axis=1), chances.argmax(axis=1) == labels
    edges = dict(bins=15, range=(0, 1))
    gaps, _, _ = stats.binned_statistic(sure, right - sure, "sum", **edges)
    assert values(*drawn)["ece"] == pytest.approx(np.abs(gaps).sum() / len(sure), abs=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_of_one_row_and_of_one_class_are_scikit_learns(classes):
    chances = np.full((2, classes), 1 / classes)
    for labels in (
        np.array([1]),
        np.array([0, 0]),
    ):
        found, there = values(labels, chances[: len(labels)]), chances[: len(labels)]
        every = {"labels": range(classes)}
        assert found["nll"] == pytest.approx(theirs.log_loss(labels, there, **every))
        brier = theirs.brier_score_loss(labels, there, **every, scale_by_half=False)
        assert found["brier"] == pytest.approx(brier)
        predicted = there.argmax(axis=1)
        wanted = theirs.f1_score(labels, predicted, labels=np.unique(labels), average="macro")
        assert found["macro_f1"] == pytest.approx(wanted)


def test_sure_and_right_has_no_calibration_error():
    assert expected_calibration_error(answers([1.0] * 3, [1.0] * 3)) == 0


def test_every_metric_says_its_split_and_how_many_rows_and_keeps_its_bounds(drawn):
    table = pa.concat_tables([predictions(*drawn, split="new"), predictions(*drawn, split="base")])
    found = scores_of(table, CLASSIFICATION)
    wanted = [(split, name) for split in ("new", "base") for name in CLASSIFICATION]
    assert [(score.split, score.metric) for score in found] == wanted
    assert {score.n for score in found} == {60}
    for score in found:
        metric = CLASSIFICATION[score.metric]
        assert metric.low <= score.value <= (math.inf if metric.high is None else metric.high)


def test_of_trials_that_kept_too_little_a_metric_is_unknown_and_the_others_stay(drawn):
    whole = predictions(*drawn)
    before = scores_of(whole.select(PREDICTIONS.names), CLASSIFICATION)
    nothing = [pa.nulls(60, SCHEMA.field(name).type) for name in SCHEMA.names[5:]]
    as_nulls = pa.table([*whole.select(PREDICTIONS.names).columns, *nothing], schema=SCHEMA)
    assert scores_of(as_nulls, CLASSIFICATION) == before
    known = {score.metric for score in before if score.value is not None}
    assert known == {"accuracy", "macro_f1", "per_class_mean", "ece"}
    assert [s for s in scores_of(whole, CLASSIFICATION) if s.metric in known] == [
        s for s in before if s.metric in known
    ]


def test_splits_of_few_classes_beside_those_of_many(drawn):
    few = predictions(np.array([1, 0]), np.array([[0.4, 0.6], [0.3, 0.7]]), split="base")
    found = scores_of(pa.concat_tables([few, predictions(*drawn, split="new")]), ["top5_accuracy"])
    assert found[0].value == 1
    assert found[1].value == values(*drawn)["top5_accuracy"]
