"""Two methods over data sets and seeds, and how evenly a method treats the classes."""

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats
from sklearn.metrics import recall_score

from operators.board import fill
from operators.metrics import Score
from operators.metrics.predictions import PREDICTIONS

DATASETS = ("dtd", "food", "pets", "sun", "ucf")


@pytest.fixture
def drawn(cell):
    """Scores of (methods, data sets, seeds), and the trials that have them."""
    values = np.random.default_rng(8).uniform(0.5, 0.9, (3, len(DATASETS), 3)).round(3)
    trials = [
        result
        for (m, method), (d, dataset) in itertools.product(
            enumerate(("coop", "kgcoop", "maple")), enumerate(DATASETS)
        )
        for result in cell(values[m, d].tolist(), method=method, dataset=dataset)
    ]
    return values, trials


def of(rows, a="coop", b="maple", **where):
    found = rows("significance_over_datasets", f"method_a = '{a}' AND method_b = '{b}'")
    return next(r for r in found if all(r[name] == value for name, value in where.items()))


def test_two_methods_over_data_sets_and_over_seeds(connection, rows, drawn):
    values, trials = drawn
    fill(connection, results=trials)
    row, gains = of(rows), values[0] - values[2]
    assert row["difference"] == pytest.approx(gains.mean())
    assert row["p"] == pytest.approx(stats.wilcoxon(gains.mean(axis=1)).pvalue)
    assert (row["wins"], row["losses"]) == ((gains.mean(1) > 0).sum(), (gains.mean(1) < 0).sum())
    test = stats.ttest_rel(values[0].mean(axis=0), values[2].mean(axis=0))
    interval = test.confidence_interval()
    assert row["p_seeds"] == pytest.approx(test.pvalue)
    assert (row["ci95_low"], row["ci95_high"]) == pytest.approx((interval.low, interval.high))
    assert (row["n"], row["datasets"], row["covers"]) == (3, 5, ", ".join(DATASETS))
    mirror = of(rows, "maple", "coop")
    for name in ("difference", "seeds_difference", "effect_datasets", "effect_seeds"):
        assert mirror[name] == pytest.approx(-row[name])
    assert (mirror["wins"], mirror["p"], mirror["p_seeds"]) == (
        row["losses"],
        row["p"],
        row["p_seeds"],
    )
    assert {r["pairs"] for r in rows("significance_over_datasets")} == {3}


def test_gaps_are_named_and_seeds_that_a_data_set_lacks_do_not_count(connection, rows, drawn):
    values, trials = drawn

    def there(result):
        place = tuple(result.trial[name] for name in ("method", "dataset", "seed"))
        return place[:2] != ("maple", "food") and place != ("coop", "pets", 2)

    fill(connection, results=[result for result in trials if there(result)])
    row, kept = of(rows), [0, 2, 3, 4]
    assert (row["covers"], row["missing"]) == ("dtd, pets, sun, ucf", "food")
    gains = values[0] - values[2]
    means = [gains[d].mean() if d != 2 else gains[d, [0, 2]].mean() for d in kept]
    assert row["p"] == pytest.approx(stats.wilcoxon(means).pvalue)
    assert row["difference"] == pytest.approx(np.mean(means))
    assert row["n"] == 2
    a, b = (values[m][kept][:, [0, 2]].mean(axis=0) for m in (0, 2))
    assert row["p_seeds"] == pytest.approx(stats.ttest_rel(a, b).pvalue)


def test_a_method_without_draws_stands_beside_all_shots(connection, rows, drawn, cell):
    values, trials = drawn
    zero = [
        t
        for d, dataset in enumerate(DATASETS)
        for t in cell([0.6 + d / 100], method="zero-shot", shots=0, dataset=dataset)
    ]
    zero += [t for name in DATASETS for t in cell([0.5], method="cupl", shots=0, dataset=name)]
    fill(connection, results=trials + zero)
    row = of(rows, "coop", "zero-shot")
    still = 0.6 + np.arange(5) / 100
    assert (row["shots"], row["n"]) == (4, 3)
    assert row["p"] == pytest.approx(stats.wilcoxon(values[0].mean(axis=1) - still).pvalue)
    test = stats.ttest_1samp(values[0].mean(axis=0) - still.mean(), 0)
    assert row["p_seeds"] == pytest.approx(test.pvalue)
    fixed = of(rows, "cupl", "zero-shot")
    assert (fixed["shots"], fixed["n"], fixed["p_seeds"], fixed["losses"]) == (0, 1, None, 5)


def test_one_data_set_is_no_sample(connection, rows, cell):
    fill(connection, results=cell([0.5, 0.6]) + cell([0.4, 0.7], method="maple"))
    assert rows("significance_over_datasets") == []


def test_less_wins_where_less_is_better(connection, rows, trial):
    results = [
        trial({}, extra=(Score("all", "nll", v, 9),), protocol="next_word", method=m, dataset=d)
        for d in "xy"
        for m, v in (("coop", 2.5), ("maple", 1.5))
    ]
    fill(connection, results=results)
    row = of(rows)
    assert (row["difference"], row["wins"], row["losses"]) == (1.0, 0, 2)
    assert row["effect_datasets"] == 1


@pytest.mark.parametrize("classes", [1, 4])
def test_accuracies_of_classes_are_recalls(connection, rows, trial, tmp_path, classes):
    generator, every = np.random.default_rng(classes), []
    results, paths = [], []
    labels = generator.integers(0, classes, 40)
    for seed in (1, 2, 3):
        predicted = np.where(generator.random(40) < 0.7, labels, generator.integers(0, 5, 40))
        one = trial({"all": float((labels == predicted).mean())}, n=40, seed=seed)
        path = tmp_path / one.trial_id / "predictions.parquet"
        path.parent.mkdir()
        columns = {"split": ["all"] * 40, "row_id": range(40), "label": labels}
        columns |= {"predicted": predicted, "confidence": [0.5] * 40}
        pq.write_table(pa.table(columns, schema=PREDICTIONS), path)
        results.append(one)
        paths.append(path)
        there = np.unique(labels)
        every.append(recall_score(labels, predicted, labels=there, average=None))
    fill(connection, results=results, predictions=paths)
    found = sorted(rows("class_accuracies"), key=lambda row: row["label"])
    assert [row["label"] for row in found] == np.unique(labels).tolist()
    np.testing.assert_allclose([row["mean"] for row in found], np.mean(every, axis=0))
    np.testing.assert_allclose([row["std"] for row in found], np.std(every, axis=0, ddof=1))
    means = np.mean(every, axis=0)
    (spread,) = rows("class_spreads")
    assert spread["classes"] == len(means)
    assert spread["std"] == pytest.approx(means.std())
    quartiles = [spread[name] for name in ("worst", "quartile1", "median", "quartile3", "best")]
    assert quartiles == pytest.approx(np.quantile(means, [0, 0.25, 0.5, 0.75, 1]))
    assert spread["worst_label"] == np.unique(labels)[means.argmin()]
    assert spread["mean"] == pytest.approx(np.mean([e.mean() for e in every]))
