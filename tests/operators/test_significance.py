"""Comparisons of two methods on the same episodes: over seeds, and over test images."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from operators.board import fill, run_row
from operators.metrics.predictions import PREDICTIONS
from operators.spec import Target


@pytest.fixture
def tested(trial, tmp_path):
    """A trial with its answers: its rows, and the file of its predictions."""

    def make(right, *, split="all", first_row=0, **changes):
        right = np.asarray(right, dtype=bool)
        one = trial({split: float(right.mean())}, n=len(right), **changes)
        path = tmp_path / one.trial_id / "predictions.parquet"
        path.parent.mkdir()
        columns = {
            "split": [split] * len(right),
            "row_id": range(first_row, first_row + len(right)),
            "label": [1] * len(right),
            "predicted": right.astype(int),
            "confidence": [0.5] * len(right),
        }
        shuffled = pa.table(columns, schema=PREDICTIONS).take(
            np.random.default_rng(len(changes)).permutation(len(right))
        )
        pq.write_table(shuffled, path)
        return one, path

    return make


def put(connection, tested, **others):
    results, predictions = zip(*tested, strict=True)
    fill(connection, results=results, predictions=predictions, **others)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 10, 31])
def test_significance_is_the_paired_t_test(connection, rows, n, cell):
    generator = np.random.default_rng(n)
    a = generator.uniform(0.5, 0.8, n)
    b = a - generator.uniform(-0.02, 0.06, n)
    fill(connection, results=cell(a.tolist()) + cell(b.tolist(), method="maple"))
    (row,) = rows("significance", "method_a = 'coop'")
    test = stats.ttest_rel(a, b)
    interval = test.confidence_interval()
    assert row["n"] == n
    assert row["difference"] == pytest.approx((a - b).mean())
    assert row["p"] == pytest.approx(test.pvalue, abs=1e-12)
    assert (row["ci95_low"], row["ci95_high"]) == pytest.approx((interval.low, interval.high))
    (mirror,) = rows("significance", "method_a = 'maple'")
    assert (mirror["difference"], mirror["p"]) == pytest.approx((-row["difference"], row["p"]))


def test_significance_pairs_only_the_same_episodes(connection, rows, cell):
    fill(connection, results=cell([0.5, 0.6, 0.7]) + cell([0.4, 0.3], method="maple"))
    assert {r["n"] for r in rows("significance")} == {2}
    fill(connection, results=cell([0.9], method="other", dataset_fingerprint="d1"))
    assert not rows("significance", "method_a = 'other'")


def test_a_zero_shot_cell_is_compared_with_every_seed(connection, rows, cell):
    values = [0.5, 0.6, 0.7]
    fill(connection, results=cell(values) + cell([0.4], method="zero_shot", shots=0))
    (row,) = rows("significance", "method_a = 'coop'")
    test = stats.ttest_1samp(np.array(values) - 0.4, 0)
    assert (row["method_b"], row["shots"], row["n"]) == ("zero_shot", 4, 3)
    assert (row["difference"], row["p"]) == pytest.approx((0.2, test.pvalue))


@pytest.mark.parametrize(
    "others",
    [
        {"targets": {"photo": Target("newer")}},
        {"held_out": "photo"},
    ],
)
def test_what_no_draw_tells_apart_is_paired_on_the_same_rows_alone(connection, rows, cell, others):
    """A cell without draws: a newer version of a target, and a domain that has its name."""
    place = {"protocol": "domain_generalization", "split": "photo"}
    then = {**place, "targets": {"photo": Target("older")}}
    results = [
        *cell([0.5, 0.7], **then),
        *cell([0.4], method="zero_shot", shots=0, **then),
        *cell([0.9], method="zero_shot", shots=0, **place, **others),
    ]
    fill(connection, results=results)
    found = rows("significance", "method_a = 'coop'")
    assert [(row["method_b"], row["mean_b"]) for row in found] == [("zero_shot", 0.4)]
    assert not rows("significance", "method_a = 'zero_shot' AND method_b = 'zero_shot'")


def test_differences_without_spread_have_no_p_unless_they_are_zero(connection, rows, cell):
    results = cell([0.5, 0.6]) + cell([0.5, 0.6], method="same") + cell([0.4, 0.5], method="lower")
    fill(connection, results=results)
    found = {r["method_b"]: r["p"] for r in rows("significance", "method_a = 'coop'")}
    assert found == {"same": 1.0, "lower": None}


def answers(seed, share, images):
    return np.random.default_rng(seed).random(images) < share


def test_over_one_seed_images_are_compared_by_mcnemars_exact_test(connection, rows, tested):
    a, b = answers(0, 0.8, 200), answers(1, 0.7, 200)
    put(connection, [tested(a, method="a"), tested(b, method="b")])
    (row,) = rows("significance", "method_a = 'a'")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    assert (row["images"], row["only_a"], row["only_b"]) == (200, only_a, only_b)
    test = stats.binomtest(only_a, only_a + only_b)
    assert row["p_images"] == pytest.approx(test.pvalue)
    assert row["effect_images"] == pytest.approx(only_a / (only_a + only_b) - 0.5)
    half = stats.norm.ppf(0.975) * stats.sem(a.astype(float) - b)
    assert row["images_ci95_high"] - row["difference"] == pytest.approx(half)
    assert row["difference"] - row["images_ci95_low"] == pytest.approx(half)
    assert row["p"] is row["effect_seeds"] is None  # one seed says nothing of the next
    (mirror,) = rows("significance", "method_a = 'b'")
    assert (mirror["only_a"], mirror["only_b"]) == (only_b, only_a)
    assert mirror["p_images"] == row["p_images"]
    assert mirror["effect_images"] == pytest.approx(-row["effect_images"])
    assert mirror["images_ci95_low"] == pytest.approx(-row["images_ci95_high"])


def test_an_image_counts_once_however_many_seeds_ask_about_it(connection, rows, tested):
    """Three seeds with the same answers are no more images than one: pooled, p would be tiny."""
    a, b = answers(0, 0.8, 60), answers(1, 0.7, 60)
    trials = [tested(x, method=m, seed=s) for s in (1, 2, 3) for m, x in (("a", a), ("b", b))]
    put(connection, trials)
    (row,) = rows("significance", "method_a = 'a'")
    only_a, only_b = (a & ~b).sum(), (b & ~a).sum()
    assert row["p_images"] == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue)
    assert (row["n"], row["images"]) == (3, 60)


def test_over_several_seeds_an_image_is_won_by_who_is_right_more_often(connection, rows, tested):
    generator = np.random.default_rng(5)
    a, b = generator.random((3, 80)) < 0.75, generator.random((3, 80)) < 0.6
    trials = [tested(x[s], method=m, seed=s + 1) for s in range(3) for m, x in (("a", a), ("b", b))]
    put(connection, trials)
    (row,) = rows("significance", "method_a = 'a'")
    gains = a.mean(axis=0) - b.mean(axis=0)
    assert (row["only_a"], row["only_b"]) == ((gains > 1e-9).sum(), (gains < -1e-9).sum())
    test = stats.binomtest(row["only_a"], row["only_a"] + row["only_b"])
    assert row["p_images"] == pytest.approx(test.pvalue)
    half = stats.norm.ppf(0.975) * stats.sem(gains)
    assert row["images_ci95_high"] == pytest.approx(gains.mean() + half)
    seeds = stats.ttest_rel(a.mean(axis=1), b.mean(axis=1))
    assert row["p"] == pytest.approx(seeds.pvalue)
    differences = a.mean(axis=1) - b.mean(axis=1)
    assert row["effect_seeds"] == pytest.approx(differences.mean() / differences.std(ddof=1))


def test_a_difference_may_be_clear_over_images_and_not_over_two_seeds(connection, rows, tested):
    trials = []
    for seed, gap in ((1, 0.02), (2, 0.2)):
        b = np.arange(500) < 300
        trials += [tested(np.arange(500) < 300 + 500 * gap, method="a", seed=seed)]
        trials += [tested(b, method="b", seed=seed)]
    put(connection, trials)
    (row,) = rows("significance", "method_a = 'a'")
    assert row["p"] > 0.3
    assert row["p_images"] < 1e-8


def test_a_method_without_draws_is_compared_image_by_image_with_every_seed(
    connection, rows, tested
):
    still, moving = answers(2, 0.6, 50), [answers(s, 0.8, 50) for s in (3, 4)]
    trials = [tested(x, method="coop", seed=s) for s, x in enumerate(moving, start=1)]
    trials += [tested(still, method="zero-shot", shots=0)]
    put(connection, trials)
    (row,) = rows("significance", "method_a = 'coop'")
    gains = np.mean(moving, axis=0) - still
    assert (row["n"], row["only_a"], row["only_b"]) == (2, (gains > 0).sum(), (gains < 0).sum())


def test_equal_answers_differ_in_nothing(connection, rows, tested):
    same = answers(0, 0.8, 30)
    put(connection, [tested(same, method=m, seed=s) for m in "ab" for s in (1, 2)])
    (row,) = rows("significance", "method_a = 'a'")
    assert (row["only_a"], row["only_b"], row["p_images"], row["p"]) == (0, 0, 1, 1)
    assert row["effect_images"] is row["effect_seeds"] is None
    assert row["ci95_low"] is row["ci95_high"] is None


def test_cells_that_saw_other_images_are_compared_over_seeds_alone(connection, rows, tested):
    a = [tested(answers(s, 0.8, 30), method="a", seed=s) for s in (1, 2)]
    b = [tested(answers(s, 0.5, 30), method="b", seed=s, first_row=30) for s in (1, 2)]
    put(connection, a + b)
    (row,) = rows("significance", "method_a = 'a'")
    assert row["p"] is not None
    assert row["images"] is row["p_images"] is row["only_a"] is row["images_ci95_low"] is None


def test_base_and_new_are_apart(connection, rows, tested):
    trials = [
        tested(answers(m == "a", 0.7, 40), method=m, split=split, protocol="base_to_new", seed=s)
        for m in "ab"
        for s, split in ((1, "base"), (2, "new"))
    ]
    put(connection, trials)
    assert {(r["split"], r["n"], r["images"]) for r in rows("significance")} == {
        ("base", 1, 40),
        ("new", 1, 40),
    }


def holm(p):
    """Holm 1979, from its definition: the least level at which each would be rejected."""
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    worst = 0.0
    for place, at in enumerate(order):
        worst = max(worst, (len(p) - place) * p[at])
        adjusted[at] = min(1, worst)
    return adjusted


def test_holms_correction_is_over_the_pairs_of_one_table(connection, rows, cell):
    generator = np.random.default_rng(0)
    results = []
    for place, dataset in enumerate(("dtd", "eurosat")):
        for shift, method in enumerate("abcd"):
            values = 0.5 + place * 0.1 + shift * 0.01 + generator.normal(0, 0.01, 4)
            results += cell(values.tolist(), method=method, dataset=dataset)
    fill(connection, results=results)
    for dataset in ("dtd", "eurosat"):
        found = rows("significance", f"dataset = '{dataset}' AND method_a < method_b")
        assert {row["pairs"] for row in found} == {6}
        assert [row["p_holm"] for row in found] == pytest.approx(holm([r["p"] for r in found]))
        assert len({row["p_holm"] for row in found}) > 2
    mirrored = {
        frozenset((r["method_a"], r["method_b"], r["dataset"])): set() for r in rows("significance")
    }
    for row in rows("significance"):
        mirrored[frozenset((row["method_a"], row["method_b"], row["dataset"]))].add(row["p_holm"])
    assert {len(values) for values in mirrored.values()} == {1}


def test_pairs_without_a_p_do_not_weigh_in_the_correction(connection, rows, cell):
    results = cell([0.5, 0.6, 0.71], method="a") + cell([0.4, 0.52, 0.6], method="b")
    results += cell([0.3], method="c")
    fill(connection, results=results)
    found = {(r["method_a"], r["method_b"]): r for r in rows("significance")}
    assert found["a", "b"]["p_holm"] == found["a", "b"]["p"] < 1
    assert found["a", "c"]["p_holm"] is found["a", "c"]["p"] is None


def test_images_are_corrected_apart_from_seeds(connection, rows, tested):
    trials = [tested(answers(i, 0.5 + i / 8, 90), method=m) for i, m in enumerate("abc")]
    put(connection, trials)
    found = rows("significance", "method_a < method_b")
    expected = holm([row["p_images"] for row in found])
    assert [row["p_images_holm"] for row in found] == pytest.approx(expected)


def test_a_trial_that_comes_or_goes_moves_the_comparisons_of_its_ground_alone(
    connection, rows, tested
):
    first = [tested(answers(i, 0.6, 40), method=m) for i, m in enumerate("ab")]
    other = [tested(answers(i, 0.6, 40), method=m, dataset="pets") for i, m in enumerate("ab")]
    put(connection, first + other)
    before = rows("comparisons", "dataset = 'pets'")
    third = tested(answers(9, 0.9, 40), method="c")
    put(connection, [third])
    assert len(rows("comparisons", "dataset = 'dtd'")) == 3
    assert rows("comparisons", "dataset = 'pets'") == before
    kept = {one.trial_id for one, _ in (*first[1:], third, *other)}
    fill(connection, present=kept)
    (row,) = rows("comparisons", "dataset = 'dtd'")
    assert {row["cell_a"], row["cell_b"]} == {
        first[1][0].trial["cell_id"],
        third[0].trial["cell_id"],
    }
    assert rows("comparisons", "dataset = 'pets'") == before


def test_filling_step_by_step_gives_what_filling_at_once_gives(connection, rows, tested):
    trials = [
        tested(answers(10 * i + s, 0.6, 25), method=m, seed=s)
        for i, m in enumerate("abc")
        for s in (1, 2)
    ]
    for one in trials:
        put(connection, [one])
    step_by_step = rows("comparisons")
    fill(connection, present=[])
    assert rows("comparisons") == []
    put(connection, trials)
    assert rows("comparisons") == step_by_step


@pytest.mark.parametrize(("wrong", "verdict"), [(12, "regressed"), (3, "within")])
def test_a_changed_setting_is_a_regression_where_the_test_images_say_so(
    connection, rows, tested, wrong, verdict
):
    """Seeds are far apart and say nothing; images that only the run before had right do."""

    def night(revision):
        right = [np.arange(200) % 10 < tenths for tenths in (4, 9)]
        if revision == 2:
            right = [each & ~(np.cumsum(each) <= wrong) for each in right]
        return [tested(each, seed=s, method_revision=revision) for s, each in enumerate(right)]

    nights = night(1), night(2)
    runs = [
        run_row(
            {"run_id": f"r{day}", "suite": "s", "trial_ids": [one.trial_id for one, _ in there]}
            | {"started_at": f"2026-01-0{day}", "finished_at": f"2026-01-0{day}"}
        )
        for day, there in enumerate(nights, start=1)
    ]
    put(connection, [*nights[0], *nights[1]], runs=runs)
    (row,) = rows("nightly_changes")
    assert row["cause"] == "method revision 1 to 2"
    assert row["previous_ci95_low"] < row["current_mean"] < row["previous_mean"]
    assert (row["p_images"] < 0.05) == (verdict == "regressed")
    assert row["verdict"] == verdict
