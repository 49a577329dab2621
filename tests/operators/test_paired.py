"""Paired tests against scipy and statsmodels, also where samples are odd."""

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.anova import AnovaRM
from statsmodels.stats.contingency_tables import SquareTable, mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from operators.board.paired import bootstrap, holm, over_datasets, over_images, over_seeds
from operators.board.ranking import friedman

ALL = np.ones((1, 1), dtype=bool)


def seeds(a, b):
    a, b = np.array(a, float), np.array([b], float)
    found = over_seeds(a, b, ~np.isnan(a) & ~np.isnan(b))
    return {name: column[0] for name, column in found.items()}


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_over_seeds_is_students_paired_t(n):
    generator = np.random.default_rng(n)
    a, b = generator.normal(0.7, 0.02, (2, n))
    found, known = seeds(a, b), DescrStatsW(a - b)
    _, p, df = known.ttest_mean()
    assert found["p"] == pytest.approx(p)
    assert df == n - 1
    assert found["std"] == pytest.approx(known.std * np.sqrt(n / (n - 1)))


def test_three_seeds_are_held_to_4_303_deviations(connection):
    t = dict(connection.execute("SELECT df, t FROM t_values").fetchall())
    assert t[2] == pytest.approx(4.303, abs=5e-4)
    for df, value in t.items():
        assert value == pytest.approx(stats.t.ppf(0.975, df), rel=1e-9)


def test_seeds_that_one_lacks_do_not_count():
    a, b = [0.5, 0.6, np.nan, 0.9], [0.4, np.nan, 0.3, 0.7]
    found = seeds(a, b)
    assert found["n"] == 2
    assert found["p"] == pytest.approx(stats.ttest_rel([0.5, 0.9], [0.4, 0.7]).pvalue)


@pytest.mark.parametrize(
    ("a", "b", "p"),
    [
        ([0.5], [0.4], None),  # one seed
        ([0.5], [0.5], None),
        ([0.5, 0.6], [0.5, 0.6], 1),  # perfect agreement
        ([0.5, 0.6, 0.7], [0.4, 0.5, 0.6], None),  # no variance, and a difference
    ],
)
def test_seeds_without_spread_say_nothing_unless_they_agree(a, b, p):
    found = seeds(a, b)["p"]
    assert np.isnan(found) if p is None else found == p


def images(a, b):
    a, b = np.array(a, np.float32), np.array([b], np.float32)
    found = over_images(a, b, np.ones((1, len(a)), bool))
    return {name: column[0] for name, column in found.items()}


@pytest.mark.parametrize("shares", [(0.8, 0.7), (0.5, 0.5), (1, 0.9), (1, 1), (0, 1)])
def test_of_one_seed_it_is_mcnemars_exact_test(shares):
    generator = np.random.default_rng(3)
    a, b = (generator.random(80) < share for share in shares)
    found = images([a], [b])
    table = [[np.sum(a & b), np.sum(a & ~b)], [np.sum(b & ~a), np.sum(~a & ~b)]]
    assert found["p_images"] == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert (found["only_a"], found["only_b"]) == (table[0][1], table[1][0])
    symmetry = SquareTable(np.array(table, float), shift_zeros=False)
    if found["only_a"] + found["only_b"]:
        off = found["only_a"] - found["only_b"]
        chi2 = off**2 / (found["only_a"] + found["only_b"])
        assert symmetry.symmetry().statistic == pytest.approx(chi2)


def test_of_many_images_it_agrees_with_the_chi_square_form():
    generator = np.random.default_rng(4)
    a, b = generator.random(20_000) < 0.8, generator.random(20_000) < 0.79
    table = [[np.sum(a & b), np.sum(a & ~b)], [np.sum(b & ~a), np.sum(~a & ~b)]]
    wanted = mcnemar(table, exact=False, correction=True).pvalue
    assert images([a], [b])["p_images"] == pytest.approx(wanted, rel=0.01)


def enumerated(gains):
    """Ends of the interval from every one of the n^n ways to resample."""
    means = np.array([np.mean(s) for s in itertools.product(gains, repeat=len(gains))])
    values = np.unique(means.round(12))
    low = max(v for v in values if np.mean(means < v - 1e-9) <= 0.025)
    high = min(v for v in values if np.mean(means > v + 1e-9) <= 0.025)
    return low, high


@pytest.mark.parametrize(
    "gains",
    [
        [1, -1],
        [0, 1, 0, 0],
        [0, 0, 0],  # all equal
        [1, 1, 1, 1],
        [1, 0, -1, 0, 1, 0],
        [1 / 3, -2 / 3, 0, 1, 2 / 3],  # of three seeds
    ],
)
def test_the_bootstrap_is_that_of_every_way_to_resample(gains):
    parts = np.array([3 if any(g % 1 for g in gains) else 1])
    low, high = bootstrap(np.array([gains], np.float32), parts)
    assert (low[0], high[0]) == pytest.approx(enumerated(gains), abs=1e-9)
    low, high = bootstrap(-np.array([gains], np.float32), parts)
    assert (-high[0], -low[0]) == pytest.approx(enumerated(gains), abs=1e-9)  # from either side


@pytest.mark.parametrize(("n", "parts"), [(60, 1), (500, 3), (3000, 5)])
def test_the_bootstrap_is_that_of_scipy(n, parts):
    generator = np.random.default_rng(n)
    gains = generator.integers(-parts, parts + 1, n) * (generator.random(n) < 0.3) / parts
    low, high = bootstrap(gains[None], np.array([parts]))
    wanted = stats.bootstrap(
        (gains,), np.mean, n_resamples=4000, method="percentile", rng=generator, batch=500
    ).confidence_interval
    near = 0.1 * stats.sem(gains)  # the error of 4,000 draws
    assert low[0] == pytest.approx(wanted.low, abs=near)
    assert high[0] == pytest.approx(wanted.high, abs=near)
    half = 1.96 * stats.sem(gains)
    assert (high[0] - low[0]) / 2 == pytest.approx(half, rel=0.08)


def test_the_bootstrap_of_a_test_set_as_large_as_imagenets_takes_no_more_room():
    gains = np.random.default_rng(0).integers(-3, 4, (4, 50_000)) / 3
    low, high = bootstrap(gains, np.full(4, 3))
    half = 1.96 * stats.sem(gains, axis=1)
    np.testing.assert_allclose((high - low) / 2, half, rtol=0.01)
    np.testing.assert_allclose((high + low) / 2, gains.mean(axis=1), atol=2e-5)


def test_gains_that_are_shares_of_no_small_number_have_no_bootstrap():
    low, high = bootstrap(np.array([[0.123, -0.457, 0.3], [1, 0, 0]]), np.array([1, 1]))
    assert np.isnan([low[0], high[0]]).all()
    assert not np.isnan([low[1], high[1]]).any()


def wilcoxon(differences):
    return {name: column[0] for name, column in over_datasets(np.array([differences])).items()}


def exact(differences):
    """scipy's permutation form, which goes through every choice of signs."""
    kept = np.array([d for d in differences if d])
    method = stats.PermutationMethod(n_resamples=2 ** len(kept))
    return stats.wilcoxon(kept, method=method).pvalue


@pytest.mark.parametrize("n", [2, 3, 6, 8, 11])
def test_over_data_sets_is_wilcoxons_exact_test(n):
    differences = np.random.default_rng(n).normal(0.02, 0.05, n)
    found = wilcoxon(differences)
    assert found["p"] == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)
    assert found["datasets"] == n
    assert (found["above"], found["below"]) == ((differences > 0).sum(), (differences < 0).sum())
    ranks = stats.rankdata(np.abs(differences))
    signed = (ranks * np.sign(differences)).sum() / ranks.sum()
    assert found["effect"] == pytest.approx(signed)


@pytest.mark.parametrize(
    "differences",
    [
        [0.1, -0.1, 0.2, 0.2, 0.2],  # ties
        [0.1, 0.1, 0.1, 0.1],  # all equal: no variance
        [0.0, 0.1, 0.0, -0.3, 0.2],  # some agree
        [0.1 + 0.2, 0.3, -0.3, 0.5],  # tied but for rounding
        [0.1, -0.1],
    ],
)
def test_ties_are_exact_too(differences):
    rounded = [round(d, 12) for d in differences]
    assert wilcoxon(differences)["p"] == pytest.approx(exact(rounded))


def test_many_data_sets_are_tested_by_the_normal_distribution():
    differences = np.round(np.random.default_rng(1).normal(0.01, 0.05, 70), 2)  # with ties
    kept = differences[differences != 0]
    assert len(kept) > 50
    wanted = stats.wilcoxon(kept, method="asymptotic", correction=False).pvalue
    assert wilcoxon(differences)["p"] == pytest.approx(wanted)


def test_one_data_set_says_nothing_and_equal_scores_are_all_alike():
    assert np.isnan(wilcoxon([0.2])["p"])
    assert np.isnan(wilcoxon([np.nan, 0.2, np.nan])["p"])
    alike = wilcoxon([0.0, 0.0, 0.0])
    assert (alike["p"], alike["equal"], alike["datasets"]) == (1, 3, 3)
    assert np.isnan(alike["effect"])


def test_gaps_are_left_out():
    found = wilcoxon([0.1, np.nan, 0.3, -0.2, np.nan, 0.4])
    assert found["datasets"] == 4
    assert found["p"] == pytest.approx(exact([0.1, 0.3, -0.2, 0.4]))


def test_many_pairs_are_what_each_is_alone():
    differences = np.random.default_rng(2).integers(-3, 4, (200, 7)) / 10
    together = over_datasets(differences)
    alone = [wilcoxon(each) for each in differences]
    for name, column in together.items():
        np.testing.assert_array_equal(column, [each[name] for each in alone])


@pytest.mark.parametrize("p", [[0.04], [0.01, 0.04, 0.03], [0.02] * 4, [1, 1], [0, 1e-9, 0.5, 0.5]])
def test_holm_is_that_of_statsmodels(p, connection):
    wanted = multipletests(p, method="holm")[1]
    np.testing.assert_allclose(holm(np.array(p, float)), wanted)
    values = ", ".join(f"({value}::DOUBLE)" for value in [*p, "NULL"])
    found = connection.execute(
        f"SELECT holm(p, list(p) OVER ()) FROM (VALUES {values}) AS tests(p) ORDER BY p NULLS LAST"
    ).fetchall()
    assert [value for (value,) in found[:-1]] == pytest.approx(sorted(wanted))
    assert found[-1] == (None,)


def test_tests_that_were_not_made_do_not_weigh():
    found = holm(np.array([np.nan, 0.01, np.nan, 0.04]))
    np.testing.assert_allclose(found[[1, 3]], multipletests([0.01, 0.04], method="holm")[1])
    assert np.isnan(found[[0, 2]]).all()
    assert len(holm(np.array([]))) == 0


@pytest.mark.parametrize("ties", [False, True])
def test_iman_davenport_is_the_analysis_of_variance_of_the_ranks(ties):
    pandas = pytest.importorskip("pandas")
    generator = np.random.default_rng(5)
    scores = generator.integers(0, 5, (9, 4)) if ties else generator.random((9, 4))
    ranks = stats.rankdata(-scores, axis=1)
    rows = [
        {"dataset": d, "method": m, "rank": ranks[d, m]}
        for d, m in itertools.product(range(9), range(4))
    ]
    table = AnovaRM(pandas.DataFrame(rows), "rank", "dataset", within=["method"]).fit().anova_table
    found = friedman(ranks)
    assert found.iman_davenport == pytest.approx(table["F Value"].iloc[0])
    assert found.iman_davenport_p == pytest.approx(table["Pr > F"].iloc[0])


def test_ranks_that_agree_perfectly_or_tie_everywhere_have_no_f():
    agree = friedman(np.tile([1.0, 2.0, 3.0], (5, 1)))
    assert agree.statistic == pytest.approx(10)
    assert agree.iman_davenport is agree.iman_davenport_p is None
    assert friedman(np.full((4, 3), 2.0)) == (None, None, None, None)
    assert friedman(np.array([[1.0, 2.0]])) == (None, None, None, None)
