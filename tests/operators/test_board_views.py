import math
import random
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pytest
from scipy import stats

from operators.board import (
    TABLES,
    VIEWS,
    audit,
    completed_rows,
    failed_row,
    fill,
    run_row,
)
from operators.board.variants import Chosen
from operators.metrics import METRICS, Score

SEEDS = (1, 2, 3)


def test_an_empty_board_has_every_table_and_view(connection, rows):
    fill(connection)
    for name in (*TABLES, *VIEWS):
        assert isinstance(rows(name), list)
    assert not rows("leaderboard")
    assert len(rows("reference_results")) == 3429
    assert audit(connection) == []


def test_every_column_of_every_table_and_view_has_a_comment(connection):
    bare = connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() "
        "WHERE NOT internal AND comment IS NULL"
    ).fetchall()
    assert bare == []


def test_promised_columns_come_first(connection):
    promised = {
        "trials": "trial_id suite method method_revision backbone backbone_fingerprint dataset "
        "dataset_fingerprint protocol shots seed setting selection template_set "
        "transform_version views precision hyperparameters status error started_at tune_seconds "
        "evaluate_seconds peak_memory_bytes trainable_parameters device torch_version git_commit "
        "episode_fingerprint mlflow_run_id flow_run_id",
        "metrics": "trial_id split metric value n",
        "predictions": "trial_id split row_id label predicted confidence",
        "leaderboard": "protocol dataset shots backbone method split metric mean std n ci95_low "
        "ci95_high rank",
    }
    for table, names in promised.items():
        found = connection.execute(f"SELECT * FROM {table}").description
        assert [column[0] for column in found][: len(names.split())] == names.split()


def test_t_values_are_students(connection):
    for df, t in connection.execute("SELECT df, t FROM t_values").fetchall():
        assert t == pytest.approx(stats.t.ppf(0.975, df), rel=1e-12)


def test_leaderboard_has_mean_deviation_and_interval_of_the_seeds(connection, rows, cell):
    values = [0.61, 0.64, 0.72]
    fill(connection, results=cell(values))
    (row,) = rows("leaderboard")
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (row["mean"], row["std"], row["n"]) == pytest.approx(
        (np.mean(values), np.std(values, ddof=1), 3)
    )
    assert (row["ci95_low"], row["ci95_high"]) == pytest.approx((low, high))


def test_no_digit_follows_from_the_order_in_which_trials_ended(trial, empty_board, tmp_path):
    chance = random.Random(1)
    scores = {number: {s: chance.random() for s in ("all", "base", "new")} for number in range(9)}
    seen = set()
    for number in range(5):
        order = [*scores]
        chance.shuffle(order)
        with duckdb.connect(shutil.copyfile(empty_board, tmp_path / f"{number}.duckdb")) as board:
            fill(board, results=[trial(scores[seed], seed=seed) for seed in order])
            views = ("leaderboard", "base_to_new", "averages", "few_shot_curves")
            asked = [f"SELECT * FROM {view} ORDER BY ALL" for view in views]
            told = [board.execute(query).fetchall() for query in asked]
        assert told[0]
        seen.add(repr(told))
    assert len(seen) == 1


def test_a_trial_has_its_losses_by_epoch(connection, rows, trial, trial_file):
    fill(connection, results=[trial({"all": 0.5}, losses=(2.5, 1.25, 1.0))])
    (row,) = rows("trials")
    assert row["losses"] == [2.5, 1.25, 1.0]
    edited = trial_file({"all": 0.5}) | {"losses": ["much"]}
    with pytest.raises(ValueError, match="much"):
        completed_rows(edited, trial_id=edited["trial_id"])


def test_what_trains_nothing_has_no_losses(connection, rows, trial):
    fill(connection, results=[trial({"all": 0.5})])
    (row,) = rows("trials")
    assert row["losses"] is None


def test_one_seed_has_no_deviation_and_no_interval(connection, rows, cell):
    fill(connection, results=cell([0.5]))
    (row,) = rows("leaderboard")
    assert (row["mean"], row["n"]) == (0.5, 1)
    assert row["std"] is row["ci95_low"] is row["ci95_high"] is None


def test_seeds_that_agree_are_no_certainty(connection, rows, cell):
    fill(connection, results=cell([0.9, 0.9, 0.9]))
    (row,) = rows("leaderboard")
    wilson = stats.binomtest(9, 10).proportion_ci(method="wilson")
    assert row["std"] == 0
    assert row["ci95_low"] is row["ci95_high"] is None
    assert (row["images_ci95_low"], row["images_ci95_high"]) == pytest.approx(
        (wilson.low, wilson.high)
    )


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_interval_over_test_images_is_wilsons_and_not_of_other_metrics(
    connection, rows, trial, share
):
    results = [trial({"all": share}, n=40, extra=(Score("all", "ece", 0.1, 40),))]
    fill(connection, results=results)
    found = {row["metric"]: row for row in rows("leaderboard")}
    wilson = stats.binomtest(round(40 * share), 40).proportion_ci(method="wilson")
    ends = found["accuracy"]["images_ci95_low"], found["accuracy"]["images_ci95_high"]
    assert ends == pytest.approx((wilson.low, wilson.high), abs=1e-12)
    assert ends[0] < ends[1]
    assert found["ece"]["images_ci95_low"] is None


def test_a_share_that_is_not_known_has_no_interval(connection, rows, trial):
    fill(connection, results=[trial({"all": 0.5}, extra=(Score("all", "top5_accuracy", None, 9),))])
    found = {row["metric"]: row for row in rows("leaderboard")}
    unknown = found["top5_accuracy"]
    assert unknown["mean"] is unknown["images_ci95_low"] is unknown["images_ci95_high"] is None


def test_no_interval_reaches_beyond_0_and_1(connection, rows, trial):
    values = [(0.98, 0.02), (1.0, 0.0), (0.9, 0.1)]
    results = [
        trial({"base": b, "new": n}, protocol="base_to_new", seed=s)
        for s, (b, n) in enumerate(values)
    ]
    results += [trial({"all": b}, seed=s) for s, (b, _) in enumerate(values)]
    results += [
        trial({"all": b, "pets": n}, protocol="cross_dataset", seed=s)
        for s, (b, n) in enumerate(values)
    ]
    fill(connection, results=results)
    ends = [
        (row[f"{head}ci95_low"], row[f"{head}ci95_high"])
        for view, head in (
            ("leaderboard", ""),
            ("leaderboard", "images_"),
            ("few_shot_curves", ""),
            ("cross_dataset", ""),
            ("base_to_new", "h_"),
        )
        for row in rows(view)
    ]
    assert len(ends) > 10
    assert all(0 <= low < high <= 1 for low, high in ends)


@pytest.mark.parametrize(
    ("view", "changes"),
    [
        ("few_shot_curves", {}),
        ("cross_dataset", {"protocol": "cross_dataset"}),
        ("base_to_new", {"protocol": "base_to_new"}),
    ],
)
def test_no_view_has_an_interval_without_width(connection, rows, trial, view, changes):
    splits = {"base_to_new": ("base", "new"), "cross_dataset": ("all", "pets")}
    there = splits.get(changes.get("protocol"), ("all",))
    fill(connection, results=[trial(dict.fromkeys(there, 0.8), seed=s, **changes) for s in SEEDS])
    head = "h_" if view == "base_to_new" else ""
    found = rows(view)
    assert found
    assert {(row[f"{head}ci95_low"], row[f"{head}ci95_high"]) for row in found} == {(None, None)}


def test_trials_that_differ_in_more_than_the_seed_are_not_averaged(connection, rows, cell):
    results = cell([0.5, 0.6]) + cell([0.8, 0.9], hyperparameters={"n_context": 16})

    def chosen(spec):
        return Chosen(marks=f"ctx{spec.hyperparameters['n_context']}")

    fill(connection, results=results, chosen=chosen)
    assert [(r["variant"], round(r["mean"], 6), r["rank"]) for r in rows("leaderboard")] == [
        ("ctx16", 0.85, 1),
        ("ctx4", 0.55, 2),
    ]


def test_a_variant_leaves_with_what_told_it(connection, rows, cell):
    fill(connection, results=cell([0.5]), chosen=lambda _: Chosen(marks="plain"))
    assert rows("leaderboard")[0]["variant"] == "plain"
    fill(connection)
    assert rows("trials")[0]["variant"] == ""


def test_equal_means_share_a_rank(connection, rows, cell):
    fill(connection, results=cell([0.5]) + cell([0.5], method="b") + cell([0.4], method="c"))
    assert [r["rank"] for r in rows("leaderboard")] == [1, 1, 3]


def test_a_low_calibration_error_ranks_first(connection, rows, trial):
    results = [
        trial({"all": 0.5}, method=m, extra=(Score("all", "ece", e, 10),))
        for m, e in (("sure", 0.3), ("humble", 0.1))
    ]
    fill(connection, results=results)
    assert [r["method"] for r in rows("leaderboard", "metric = 'ece'")] == ["humble", "sure"]


def test_scores_on_a_part_of_the_test_rows_are_ranked_apart(connection, rows, cell):
    fill(connection, results=cell([0.5]) + cell([0.9], method="b", test_rows_per_class=5))
    assert [r["rank"] for r in rows("leaderboard")] == [1, 1]


def test_a_number_that_is_none_leaves_its_cell_without_a_mean_and_a_rank(
    connection, rows, trial, cell
):
    results = [
        trial({"all": 0.5}, seed=s, extra=(Score("all", "ece", v, 10),))
        for s, v in ((1, 0.2), (2, math.nan))
    ]
    fill(connection, results=results + cell([0.4], method="b"))
    other = trial({"all": 0.4}, method="c", extra=(Score("all", "ece", 0.3, 10),))
    (row,) = rows("leaderboard", "metric = 'ece'")
    assert row["mean"] is row["std"] is row["rank"] is None
    fill(connection, results=[other])
    found = {row["method"]: row["rank"] for row in rows("leaderboard", "metric = 'ece'")}
    assert found == {"coop": None, "c": 1}


def test_harmonic_means_come_in_both_conventions(connection, rows, trial):
    pairs = {"dtd": [(0.8, 0.6), (0.7, 0.5)], "eurosat": [(0.9, 0.4), (0.95, 0.7)]}
    fill(
        connection,
        results=[
            trial({"base": b, "new": n}, protocol="base_to_new", dataset=d, seed=s)
            for d, values in pairs.items()
            for s, (b, n) in enumerate(values)
        ],
    )

    def h(b, n):
        return 2 * b * n / (b + n)

    dtd, eurosat, average = rows("base_to_new")
    values = np.array([pairs["dtd"], pairs["eurosat"]])  # dataset, seed, side
    each = h(values[..., 0], values[..., 1])
    base, new = values.mean(axis=1).mean(axis=0)
    assert (dtd["h"], dtd["h_of_means"]) == pytest.approx((each[0].mean(), h(0.75, 0.55)))
    assert dtd["h_std"] == pytest.approx(each[0].std(ddof=1))
    assert eurosat["n"] == 2
    assert (average["dataset"], average["datasets"], average["covers"], average["n"]) == (
        "AVERAGE",
        2,
        "dtd, eurosat",
        2,
    )
    assert (average["base"], average["new"]) == pytest.approx((base, new))
    assert (average["h"], average["h_of_means"]) == pytest.approx((each.mean(), h(base, new)))
    assert average["h_std"] == pytest.approx(each.mean(axis=0).std(ddof=1))


def test_the_head_for_unseen_classes_stands_beside_rows_of_such_alone(connection, rows, trial):
    card = {"method": "coop", "track": "image-classification", "card": {"unseen_head": "the other"}}
    same = {"method": "kgcoop", "track": "image-classification", "card": {"unseen_head": ""}}
    splits = {"few_shot": ["all"], "base_to_new": ["base", "new"], "cross_dataset": ["all", "pets"]}
    trials = [
        trial(dict.fromkeys(names, 0.5), protocol=protocol, method=method)
        for protocol, names in splits.items()
        for method in ("coop", "kgcoop", "gone")
    ]
    fill(connection, results=trials, methods=[card, same])
    for view in ("scores", "leaderboard"):
        found = {row["split"] for row in rows(view, "unseen_head = 'the other'")}
        assert found == {"new", "pets"}
        assert {row["method"] for row in rows(view, "unseen_head IS NOT NULL")} == {"coop"}
    assert {row["method"] for row in rows("base_to_new", "unseen_head IS NOT NULL")} == {"coop"}
    targets = {row["target"] for row in rows("cross_dataset", "unseen_head IS NOT NULL")}
    assert targets == {"pets", "AVERAGE"}


def test_an_unknown_half_leaves_no_harmonic_mean(connection, rows, trial):
    """It is no 0: classes of which nothing is known are not all wrong."""
    pairs = {"dtd": (0.8, None), "pets": (0.0, 0.0)}
    fill(
        connection,
        results=[
            trial({"base": b, "new": n}, protocol="base_to_new", dataset=name)
            for name, (b, n) in pairs.items()
        ],
    )
    found = {row["dataset"]: (row["h"], row["h_of_means"]) for row in rows("base_to_new")}
    assert found == {"dtd": (None, None), "pets": (0, 0), "AVERAGE": (None, None)}


def test_an_average_takes_the_latest_of_two_revisions(connection, rows, trial):
    old, new = (
        trial(
            {"base": v, "new": v},
            protocol="base_to_new",
            method_revision=revision,
            started_at=f"2026-01-0{revision}T00:00:00",
        )
        for revision, v in ((1, 0.4), (2, 0.6))
    )
    fill(connection, results=[old, new])
    (average,) = rows("base_to_new", "dataset = 'AVERAGE'")
    assert (average["base"], average["datasets"]) == (0.6, 1)
    assert len(rows("base_to_new")) == 3


def test_an_average_says_how_many_seeds_all_its_datasets_have(connection, rows, cell):
    fill(connection, results=cell([0.5, 0.6, 0.7]) + cell([0.3], dataset="eurosat"))
    (average,) = rows("few_shot_curves", "dataset = 'AVERAGE'")
    assert (average["n"], average["std"], average["datasets"]) == (1, None, 2)
    assert average["mean"] == pytest.approx((0.6 + 0.3) / 2)


def test_a_method_that_reads_no_images_starts_the_curve_at_shots_zero(connection, rows, cell):
    results = cell([0.4], method="zero_shot", shots=0) + cell([0.5]) + cell([0.6], shots=8)
    fill(connection, results=results)
    curve = rows("few_shot_curves", "dataset = 'dtd'")
    assert [(r["method"], r["shots"], r["mean"]) for r in curve] == [
        ("coop", 4, 0.5),
        ("coop", 8, 0.6),
        ("zero_shot", 0, 0.4),
    ]


def nll(*values, split="all", extra=(), **changes):
    """Arguments of `trial` for a track of which less is better and that predicts no label."""
    scores = (*(Score(split, "nll", value, 10) for value in values), *extra)
    return {"accuracies": {}, "extra": scores, "protocol": "next_word", **changes}


def test_where_less_is_better_the_least_ranks_first_in_every_view(connection, rows, trial):
    fill(
        connection,
        results=[
            trial(**nll(value, method=method, seed=seed))
            for method, values in (("good", (1.5, 1.7)), ("bad", (2.5, 2.9)))
            for seed, value in enumerate(values)
        ],
    )
    ranked = [(row["method"], row["rank"], row["better"]) for row in rows("leaderboard")]
    assert ranked == [("good", 1, "lower"), ("bad", 2, "lower")]
    costs = [(row["method"], row["metric"], row["mean"], row["accuracy"]) for row in rows("cost")]
    assert costs == [("good", "nll", pytest.approx(1.6), None), ("bad", "nll", 2.7, None)]
    curve = {row["method"]: (row["metric"], row["mean"]) for row in rows("few_shot_curves")}
    assert curve == {"good": ("nll", pytest.approx(1.6)), "bad": ("nll", pytest.approx(2.7))}
    (pair,) = rows("significance", "method_a = 'good'")
    p = stats.ttest_rel((1.5, 1.7), (2.5, 2.9)).pvalue
    assert (pair["metric"], pair["difference"]) == ("nll", pytest.approx(-1.1))
    assert pair["p"] == pytest.approx(p)
    assert pair["p_images"] is None  # no row is right or wrong
    assert rows("base_to_new") == rows("reproduction") == []


def test_an_interval_keeps_the_bounds_of_its_metric(connection, rows, trial):
    """Of likelihoods above 1 there is no upper bound, and none is below 0."""
    fill(connection, results=[trial(**nll(v, seed=s)) for s, v in enumerate((0.2, 4.0, 5.0))])
    (row,) = rows("leaderboard")
    mean, half = np.mean([0.2, 4, 5]), 4.302653 * np.std([0.2, 4, 5], ddof=1) / np.sqrt(3)
    assert half > mean
    assert (row["ci95_low"], row["ci95_high"]) == (0, pytest.approx(mean + half, rel=1e-6))


def test_transfer_of_less_is_better_is_averaged_too(connection, rows, trial):
    extra = tuple(Score(target, "nll", value, 10) for target, value in (("a", 1.0), ("b", 3.0)))
    fill(connection, results=[trial(**nll(2.0, extra=extra, protocol="next_word_elsewhere"))])
    found = {row["target"]: (row["mean"], row["metric"]) for row in rows("transfer")}
    assert found["AVERAGE"] == (2.0, "nll")


def test_a_metric_that_is_not_known_disturbs_no_view(connection, rows, trial):
    """Its cell has no mean; averages over datasets or targets name none that lacks a part."""
    known = [trial({"all": 0.5}, dataset="pets"), trial({"all": 0.7}, dataset="dtd", seed=2)]
    unknown = trial({"all": None}, dataset="dtd", seed=1)
    fill(connection, results=[*known, unknown])
    means = {row["dataset"]: row["mean"] for row in rows("few_shot_curves")}
    assert means == {"pets": 0.5, "dtd": None, "AVERAGE": None}
    board = {row["dataset"]: (row["mean"], row["n"]) for row in rows("leaderboard")}
    assert board == {"pets": (0.5, 1), "dtd": (None, 2)}
    targets = {"a": 0.5, "b": None}
    fill(connection, results=[trial(targets, protocol="cross_dataset")], present=[])
    means = {row["target"]: row["mean"] for row in rows("cross_dataset")}
    assert means == {"a": 0.5, "b": None, "AVERAGE": None}


def test_predictions_of_a_track_without_labels_are_not_in_the_table(connection, rows, trial):
    one = trial(**nll(1.0))
    fill(connection, results=[one], predictions=[Path("absent", one.trial_id, "p.parquet")])
    assert (rows("predictions"), len(rows("metrics"))) == ([], 1)


def test_the_board_says_what_a_metric_is(connection, rows):
    known = {row["metric"]: row for row in rows("metric_definitions")}
    assert list(known) == list(METRICS)
    assert (known["nll"]["better"], known["nll"]["high"], known["nll"]["unit"]) == (
        *("lower", None, "nats"),
    )
    assert [name for name, row in known.items() if row["proportion"]] == [
        *("accuracy", "top5_accuracy", "attribute_accuracy", "object_accuracy"),
    ]


@pytest.mark.parametrize("protocol", ["cross_dataset", "domain_generalization"])
def test_transfer_is_averaged_over_targets_without_the_source(connection, rows, protocol, trial):
    fill(
        connection,
        results=[
            trial({"all": 0.7, "dtd": d, "pets": p}, protocol=protocol, dataset="imagenet", seed=s)
            for s, (d, p) in enumerate([(0.4, 0.8), (0.5, 0.9)])
        ],
    )
    found = {r["target"]: r for r in rows(protocol)}
    assert list(found) == ["imagenet", "dtd", "pets", "AVERAGE"]
    assert found["imagenet"]["is_source"]
    assert found["dtd"]["mean"] == pytest.approx(0.45)
    average = found["AVERAGE"]
    assert (average["mean"], average["targets"], average["n"]) == (pytest.approx(0.65), 2, 2)
    assert average["std"] == pytest.approx(np.std([0.6, 0.7], ddof=1))
    assert (average["ci95_low"], average["ci95_high"]) == (  # t(1) is 12.706: 0.65 +- 0.635
        pytest.approx(0.014690, abs=1e-6),
        1,
    )
    assert found["imagenet"]["ci95_low"] is None  # seeds that do not vary


def test_domains_that_are_left_out_in_turn_are_averaged_beside_each_other(connection, rows, trial):
    """By hand: seed 1 has 0.4, 0.6, 0.8 and seed 2 has 0.5, 0.7, 0.9; seed 3 lacks a domain."""
    place = {"protocol": "domain_generalization", "dataset": "pacs"}
    values = {"art": (0.4, 0.5, 0.3), "photo": (0.6, 0.7, 0.5), "sketch": (0.8, 0.9)}
    results = [
        trial({domain: value}, held_out=domain, seed=seed, **place)
        for domain, of_domain in values.items()
        for seed, value in enumerate(of_domain, start=1)
    ]
    older = trial({"art": 0.1}, held_out="art", started_at="2020-01-01T00:00:00+00:00",
                  method_revision=2, **place)  # fmt: skip
    fill(connection, results=[*results, older])
    found = [r for r in rows("domain_generalization") if r["cell_id"] != older.trial["cell_id"]]
    assert [r["target"] for r in found] == ["art", "photo", "sketch", "AVERAGE"]
    assert [r["mean"] for r in found[:3]] == [pytest.approx(v) for v in (0.4, 0.6, 0.85)]
    assert not any(r["is_source"] for r in found)
    average = found[3]
    assert average["mean"] == pytest.approx((0.4 + 0.6 + 0.85) / 3)
    assert (average["targets"], average["covers"]) == (3, "art, photo, sketch")
    assert (average["n"], average["cell_id"]) == (2, None)
    assert average["std"] == pytest.approx(np.std([0.6, 0.7], ddof=1))
    half = 12.706204736174705 * average["std"] / math.sqrt(2)  # t of one degree of freedom
    assert average["ci95_low"] == pytest.approx(max(0, average["mean"] - half))
    assert average["ci95_high"] == pytest.approx(min(1, average["mean"] + half))


def test_cost_is_averaged_over_seeds(connection, rows, trial):
    fill(connection, results=[trial({"all": 0.5}, seed=s, cost=float(s)) for s in SEEDS])
    (row,) = rows("cost")
    assert (row["accuracy"], row["tune_seconds"], row["evaluate_seconds"]) == (0.5, 2.0, 1.0)
    assert (row["peak_memory_bytes"], row["trainable_parameters"], row["steps"]) == (100, 8, 5)


def test_operations_are_averaged_beside_how_many_were_saved(connection, rows, trial):
    counts = [(10**12, 9 * 10**12), (3 * 10**12, 11 * 10**12)]
    results = [trial({"all": 0.5}, seed=s, flops=c) for s, c in enumerate(counts)]
    results.append(trial({"all": 0.5}, method="linear-probe", flops=(0, 0)))
    fill(connection, results=results)
    written = {(row["tune_flops"], row["plain_tune_flops"]) for row in rows("trials")}
    assert written == {*counts, (0, 0)}
    coop, probe = sorted(rows("cost"), key=lambda row: row["method"])
    assert (coop["tune_flops"], coop["plain_tune_flops"]) == (2e12, 10e12)
    assert coop["times_fewer_flops"] == 5
    assert (probe["tune_flops"], probe["times_fewer_flops"]) == (0, None)


def test_a_trial_from_before_operations_were_counted_is_read(connection, rows, trial_file):
    values = trial_file({"all": 0.5})
    del values["cost"]["tune_flops"], values["cost"]["plain_tune_flops"]
    fill(connection, results=[completed_rows(values, trial_id=values["trial_id"])])
    (row,) = rows("trials")
    assert (row["tune_seconds"], row["tune_flops"], row["plain_tune_flops"]) == (1, None, None)
    (row,) = rows("cost")
    assert row["tune_flops"] is row["times_fewer_flops"] is None


def test_operations_that_are_no_whole_number_are_refused(trial_file):
    values = trial_file({"all": 0.5})
    values["cost"]["tune_flops"] = "many"
    with pytest.raises(ValueError, match="many"):
        completed_rows(values, trial_id=values["trial_id"])


def test_a_failed_trial_shows_its_error_until_it_completes(connection, rows, cell, board_spec):
    failure = {
        "spec": board_spec().to_json(),
        "error": "out of memory",
        "failed_at": "2026-01-01T00:00",
    }
    row = failed_row(failure, trial_id=board_spec().trial_id)
    fill(connection, failures=[row])
    (failed,) = rows("trials")
    assert (failed["status"], failed["error"]) == ("failed", "out of memory")
    assert failed["tune_seconds"] is failed["peak_memory_bytes"] is None
    assert rows("leaderboard") == []
    fill(connection, results=cell([0.5]), failures=[row])
    (completed,) = rows("trials")
    assert (completed["status"], completed["error"]) == ("completed", None)
    assert rows("failures") == []


def test_failures_name_the_run_that_met_them(connection, rows, board_spec):
    trial_id = board_spec().trial_id
    failure = {
        "spec": board_spec().to_json(),
        "error": "out of memory",
        "failed_at": "2026-01-02T12:00",
        "suite": "mini",
        "flow_run_id": "flow-1",
    }
    asked = {"suite": "mini", "trial_ids": [trial_id]}
    runs = [
        run_row({**asked, "run_id": "first", "started_at": "2026-01-01T00:00"}),
        run_row(
            {**asked, "run_id": "own", "started_at": "2026-01-02T00:00", "flow_run_id": "flow-1"}
        ),
        run_row({**asked, "run_id": "beside", "started_at": "2026-01-02T06:00"}),
        run_row({**asked, "run_id": "later", "started_at": "2026-01-03T00:00"}),
    ]
    fill(connection, failures=[failed_row(failure, trial_id=trial_id)], runs=runs)
    (row,) = rows("failures")
    assert (row["trial_id"], row["error"], row["suite"]) == (trial_id, "out of memory", "mini")
    assert row["run_id"] == "own"
    fill(connection, failures=[failed_row(failure, trial_id=trial_id)])
    assert [row["run_id"] for row in rows("failures")] == [None]


def test_filling_twice_changes_nothing(connection, rows, cell):
    fill(connection, results=cell([0.5, 0.6]))
    once = rows("trials"), rows("metrics")
    fill(connection, results=cell([0.5, 0.6]))
    assert (rows("trials"), rows("metrics")) == once


def test_a_failing_fill_changes_nothing(connection, rows, tmp_path, cell):
    fill(connection, results=cell([0.5]))
    with pytest.raises(duckdb.Error):
        fill(connection, results=cell([0.7]), predictions=[tmp_path / "x" / "predictions.parquet"])
    assert rows("leaderboard")[0]["mean"] == 0.5


def test_cards_accept_missing_keys_and_refuse_unknown_ones(connection, rows):
    fill(connection, methods=[{"method": "coop", "trains": True, "needs": ["labels"]}])
    (row,) = rows("methods")
    assert (row["trains"], row["needs"], row["title"]) == (True, '["labels"]', None)
    with pytest.raises(ValueError, match="table methods has no column titel"):
        fill(connection, methods=[{"method": "coop", "titel": "CoOp"}])


def test_a_receipt_names_the_mlflow_run_of_its_trials(connection, rows, cell):
    (one,) = cell([0.5])
    receipts = [{"mlflow_run_id": "m1", "trial_ids": [one.trial_id]}]
    fill(connection, results=[one], published=receipts)
    assert rows("trials")[0]["mlflow_run_id"] == "m1"
    fill(connection)
    assert rows("trials")[0]["mlflow_run_id"] is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"suite": 3}, "suite=3 is not of type string"),
        ({"run_id": None}, "run_id=None is not of type string"),
        ({"run_id": "\ud800"}, "surrogates not allowed"),
        ({"started_at": "yesterday"}, "yesterday"),
        ({"trial_ids": None}, "it is not a run"),
    ],
)
def test_a_value_that_does_not_fit_its_column_is_refused(changes, reason):
    values = {"run_id": "r", "started_at": "2026-01-01T00:00:00", "trial_ids": []}
    with pytest.raises(ValueError, match=reason):
        run_row({**values, **changes})


def test_an_error_of_any_text_can_be_shown(connection, rows, board_spec):
    failure = {"spec": board_spec().to_json(), "error": "no file \udce9.jpg"}
    fill(connection, failures=[failed_row(failure, trial_id=board_spec().trial_id)])
    assert rows("trials")[0]["error"] == "no file ?.jpg"


def test_a_metric_that_is_there_twice_is_refused(trial):
    with pytest.raises(ValueError, match="accuracy of all is there more than once"):
        trial({"all": 0.5}, extra=(Score("all", "accuracy", 0.6, 10),))
