"""Averages and ranks over data sets: the same data sets for all, gaps named, tests as in scipy."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from operators.board import fill
from operators.board.ranking import friedman
from operators.metrics import Score

METHODS = ("coop", "kgcoop", "maple")
DATASETS = ("dtd", "food", "pets", "sun")


@pytest.fixture
def whole(cell):
    """Three methods on four data sets, two seeds each; drawn, with ties."""
    generator = np.random.default_rng(7)
    return [
        result
        for method, dataset in itertools.product(METHODS, DATASETS)
        for result in cell(
            generator.integers(5, 9, 2) / 10,
            method=method,
            dataset=dataset,
            dataset_fingerprint=dataset,
        )
    ]


def frame(rows, view="dataset_scores"):
    return pd.DataFrame(rows(view))


def one(rows, view, **where):
    found = [r for r in rows(view) if all(r[name] == value for name, value in where.items())]
    assert len(found) == 1
    return found[0]


def test_an_average_is_that_of_the_data_sets_and_its_spread_that_of_the_seeds(
    connection, rows, cell
):
    results = cell([0.2, 0.4], dataset="dtd") + cell([0.5, 0.9], dataset="pets")
    fill(connection, results=results)
    row = one(rows, "averages")
    by_seed = [0.35, 0.65]
    low, high = stats.t.interval(0.95, 1, np.mean(by_seed), stats.sem(by_seed))
    assert (row["mean"], row["std"], row["n"]) == pytest.approx((0.5, np.std(by_seed, ddof=1), 2))
    assert row["ci95_low"] == max(0, low)
    assert row["ci95_high"] == min(1, high)
    assert (row["covers"], row["datasets"]) == ("dtd, pets", 2)
    assert row["missing"] is row["left_out"] is None


def test_seeds_that_one_data_set_lacks_do_not_make_the_spread(connection, rows, cell, trial):
    results = cell([0.2, 0.4, 0.6], dataset="dtd") + cell([0.5, 0.9], dataset="pets")
    fill(connection, results=results)
    row = one(rows, "averages")
    assert row["mean"] == pytest.approx((0.4 + 0.7) / 2)
    assert (row["n"], row["std"]) == (2, pytest.approx(np.std([0.35, 0.65], ddof=1)))


def test_a_method_that_lacks_a_data_set_has_neither_average_nor_rank_and_says_which(
    connection, rows, whole
):
    there = [r for r in whole if (r.trial["method"], r.trial["dataset"]) != ("maple", "food")]
    fill(connection, results=there)
    for view, value in (("averages", "mean"), ("ranks", "mean_rank")):
        gap = one(rows, view, method="maple")
        assert (gap[value], gap["missing"]) == (None, "food")
        assert gap["covers"] == "dtd, pets, sun"
        for method in ("coop", "kgcoop"):
            row = one(rows, view, method=method)
            assert row[value] is not None
            assert (row["covers"], row["missing"]) == ("dtd, food, pets, sun", None)
    assert {row["methods"] for row in rows("ranks")} == {2}


def test_a_data_set_that_few_methods_have_is_left_out_for_all_and_named(
    connection, rows, whole, cell
):
    fill(connection, results=whole + cell([1.0, 1.0], method="coop", dataset="flowers"))
    before = {m: np.mean(_means(whole, m)) for m in METHODS}
    for row in rows("averages"):
        assert row["mean"] == pytest.approx(before[row["method"]])
        assert (row["left_out"], row["datasets"]) == ("flowers", 4)


def test_of_two_methods_the_one_that_lacks_a_data_set_is_the_one_without_an_average(
    connection, rows, cell
):
    results = cell([0.2], dataset="dtd") + cell([0.4], dataset="pets")
    fill(connection, results=results + cell([0.9], dataset="dtd", method="maple"))
    assert one(rows, "averages", method="coop")["mean"] == pytest.approx(0.3)
    assert one(rows, "averages", method="maple")["missing"] == "pets"


def test_a_seed_without_a_number_is_a_gap(connection, rows, cell):
    results = cell([0.2, 0.3], dataset="dtd") + cell([0.4, float("nan")], dataset="pets")
    results += cell([0.5, 0.6], dataset="dtd", method="maple")
    results += cell([0.5, 0.6], dataset="pets", method="maple")
    fill(connection, results=results)
    assert one(rows, "averages", method="coop")["missing"] == "pets"
    assert one(rows, "ranks", method="coop")["mean_rank"] is None


def test_only_the_latest_version_of_a_data_set_is_compared(connection, rows, cell):
    old = {"dataset_fingerprint": "old", "started_at": "2026-01-01T00:00:00+00:00"}
    new = {"dataset_fingerprint": "new", "started_at": "2026-02-01T00:00:00+00:00"}
    results = cell([0.1], **old) + cell([0.9], **new) + cell([0.8], method="maple", **old)
    fill(connection, results=results)
    assert one(rows, "averages", method="coop")["mean"] == 0.9
    assert not [row for row in rows("averages") if row["method"] == "maple"]


def test_averages_and_ranks_are_those_of_pandas(connection, rows, whole):
    fill(connection, results=whole)
    scores = frame(rows)
    means = scores.groupby(["method", "dataset"])["value"].mean().unstack()
    seeds = scores.groupby(["method", "seed"])["value"].mean().unstack()
    ranks = means.rank(ascending=False).mean(axis=1)
    for method in METHODS:
        average, rank = (one(rows, view, method=method) for view in ("averages", "ranks"))
        assert average["mean"] == pytest.approx(means.loc[method].mean())
        assert average["std"] == pytest.approx(seeds.loc[method].std())
        assert rank["mean_rank"] == pytest.approx(ranks[method])


def test_friedman_and_the_critical_difference_are_those_of_scipy(connection, rows, whole):
    fill(connection, results=whole)
    means = frame(rows).groupby(["method", "dataset"])["value"].mean().unstack()
    statistic, p = stats.friedmanchisquare(*(means.loc[method] for method in METHODS))
    far = stats.studentized_range.ppf(0.95, 3, np.inf) / np.sqrt(2) * np.sqrt(3 * 4 / (6 * 4))
    for row in rows("ranks"):
        assert row["friedman"] == pytest.approx(statistic)
        assert row["friedman_p"] == pytest.approx(p)
        assert row["critical_difference"] == pytest.approx(far, rel=1e-7)


def test_friedman_by_hand():
    """12 / (3 * 3 * 4) * (16 + 25 + 81) - 3 * 3 * 4, of sums of ranks 4, 5 and 9."""
    ranks = np.array([[1, 2, 3], [1, 2, 3], [2, 1, 3]])
    assert friedman(ranks).statistic == pytest.approx(122 / 3 - 36)


def test_the_critical_difference_of_demsars_example(connection, rows, cell):
    """Four methods on fourteen data sets: 1.25 (section 3.2.4 of the paper)."""
    results = [
        result
        for method, value in zip("abcd", (0.1, 0.2, 0.3, 0.4), strict=True)
        for number in range(14)
        for result in cell([value], method=method, dataset=f"set{number}")
    ]
    fill(connection, results=results)
    assert {round(row["critical_difference"], 2) for row in rows("ranks")} == {1.25}


def test_friedman_says_nothing_of_one_data_set_one_method_or_ties_alone():
    for ranks in (np.array([[1.0, 2.0]]), np.ones((4, 1)), np.full((3, 2), 1.5)):
        assert friedman(ranks)[:2] == (None, None)


def test_friedman_is_scipys_on_drawn_ranks():
    generator = np.random.default_rng(0)
    for datasets, methods in ((2, 3), (5, 4), (12, 9)):
        scores = generator.integers(0, 6, (datasets, methods))
        ranks = stats.rankdata(-scores, axis=1)
        assert friedman(ranks)[:2] == pytest.approx(tuple(stats.friedmanchisquare(*scores.T)))


def test_studentized_ranges_are_scipys(connection):
    table = connection.execute("SELECT methods, q FROM studentized_ranges").fetchall()
    assert [methods for methods, _ in table] == list(range(2, 201))
    for methods, q in table[::33]:
        assert q == pytest.approx(stats.studentized_range.ppf(0.95, methods, np.inf), rel=1e-6)
    # Table 5 of Demsar's paper, which is over the square root of 2.
    printed = {2: 1.960, 3: 2.343, 5: 2.728, 10: 3.164}
    for methods, q in printed.items():
        assert dict(table)[methods] / np.sqrt(2) == pytest.approx(q, abs=1e-3)


def test_ties_share_the_mean_of_their_places_also_where_rounding_tells_them_apart(
    connection, rows, cell
):
    fill(
        connection,
        results=[
            *cell([0.1 + 0.2], method="coop"),
            *cell([0.3], method="kgcoop"),
            *cell([0.9], method="maple"),
        ],
    )
    assert {r["method"]: r["mean_rank"] for r in rows("ranks")} == {
        "maple": 1,
        "coop": 2.5,
        "kgcoop": 2.5,
    }


def test_less_is_better_where_the_metric_says_so(connection, rows, trial):
    def result(method, value):
        score = Score("all", "nll", value, 10)
        return trial({}, extra=(score,), protocol="next_word", method=method)

    fill(connection, results=[result("coop", 2.5), result("maple", 1.5)])
    assert {r["method"]: r["rank"] for r in rows("averages")} == {"maple": 1, "coop": 2}
    assert {r["method"]: r["mean_rank"] for r in rows("ranks")} == {"maple": 1, "coop": 2}
    assert {r["metric"] for r in rows("averages")} == {"nll"}


def test_base_to_new_has_h_of_each_seed_as_a_split(connection, rows, trial):
    pairs = [(0.8, 0.4), (0.6, 0.6)]
    fill(
        connection,
        results=[
            trial({"base": b, "new": n}, protocol="base_to_new", seed=seed)
            for seed, (b, n) in enumerate(pairs)
        ],
    )
    h = [2 * b * n / (b + n) for b, n in pairs]
    found = {row["split"]: row["mean"] for row in rows("averages")}
    assert found == pytest.approx({"base": 0.7, "new": 0.5, "H": np.mean(h)})


def test_targets_are_the_data_sets_of_what_was_tuned_on_a_source(connection, rows, trial):
    results = [
        trial({"all": 0.9, "food": food, "pets": pets}, protocol="cross_dataset", method=method)
        for method, food, pets in (("coop", 0.2, 0.4), ("maple", 0.3, 0.5))
    ]
    fill(connection, results=results)
    row = one(rows, "averages", method="maple")
    assert (row["mean"], row["source"], row["split"]) == (pytest.approx(0.4), "dtd", "targets")
    assert row["covers"] == "food, pets"
    assert one(rows, "ranks", method="maple")["mean_rank"] == 1


def test_scores_on_a_part_of_the_test_rows_do_not_compete_with_scores_on_all(
    connection, rows, cell
):
    fill(connection, results=cell([0.5]) + cell([0.9], method="maple", test_rows_per_class=5))
    assert {r["method"]: r["rank"] for r in rows("averages")} == {"coop": 1, "maple": 1}


def _means(results, method):
    by_dataset = {}
    for result in results:
        if result.trial["method"] == method:
            (metric,) = result.metrics
            by_dataset.setdefault(result.trial["dataset"], []).append(metric["value"])
    return [np.mean(values) for values in by_dataset.values()]
