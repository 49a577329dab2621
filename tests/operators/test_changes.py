"""What moved between two runs of a suite, and what it is said to come from."""

import pyarrow.parquet as pq
import pytest

from operators.board import failed_row, fill, last_runs, numbers_of, run_row
from operators.metrics import Score


def run(run_id, trials, day, **changes):
    moment = f"2026-01-{day:02}T00:00:00"
    values = {"run_id": run_id, "suite": "s", "started_at": moment, "finished_at": moment}
    return run_row(values | {"trial_ids": [one.trial_id for one in trials]} | changes)


@pytest.fixture
def nights(connection, rows, tmp_path):
    """Changes between two nights with some trials each; the first keeps what it saw."""

    def compare(first, second, **others):
        runs = [run("r1", first, 1)]
        fill(connection, results=first, runs=runs)
        file = tmp_path / "r1.numbers.parquet"
        pq.write_table(numbers_of(connection, "r1"), file)
        runs.append(run("r2", second, 2))
        fill(connection, results=second, runs=runs, numbers={"r1": file}, **others)
        return rows("nightly_changes")

    return compare


def test_nightly_changes_say_what_moved_came_and_went(connection, rows, trial):
    same, gone, come = (trial({"all": 0.5}, method=m) for m in ("same", "gone", "come"))
    before = trial({"all": 0.5}, method="moved")
    after = trial({"all": 0.6}, method="moved", method_revision=2)
    runs = [
        {"run_id": "r0", "started_at": "2026-01-01T00:00:00", "trials": [gone]},
        {"run_id": "r1", "started_at": "2026-01-02T00:00:00", "trials": [same, gone, before]},
        {"run_id": "r2", "started_at": "2026-01-03T00:00:00", "trials": [same, come, after]},
        {"run_id": "r3", "started_at": "2026-01-04T00:00:00", "trials": [], "finished_at": None},
    ]
    fill(
        connection,
        results=[same, gone, come, before, after],
        runs=[
            run_row(
                {"suite": "nightly", "finished_at": run["started_at"]}
                | {"trial_ids": [t.trial_id for t in run["trials"]]}
                | run
            )
            for run in runs
        ],
    )
    found = {r["method"]: r for r in rows("nightly_changes")}
    assert {name: r["change"] for name, r in found.items()} == {
        "same": "same",
        "gone": "vanished",
        "come": "new",
        "moved": "moved",
    }
    assert found["moved"]["difference"] == pytest.approx(0.1)
    assert found["moved"]["cause"] == "method revision 1 to 2"
    assert found["same"]["cause"] is None


def test_a_suite_that_ran_once_has_no_changes(connection, rows, trial):
    one = trial({"all": 0.5})
    moment = "2026-01-01T00:00:00"
    values = {"run_id": "r", "suite": "s", "started_at": moment, "finished_at": moment}
    fill(connection, results=[one], runs=[run_row({**values, "trial_ids": [one.trial_id]})])
    assert rows("nightly_changes") == []


def test_a_run_of_a_part_of_a_suite_makes_nothing_vanish(connection, rows, trial):
    one, other = trial({"all": 0.5}, method="one"), trial({"all": 0.5}, method="other")
    whole = [one.trial_id, other.trial_id]
    runs = [("r1", whole, False), ("r2", whole, False), ("r3", [one.trial_id], True)]
    fill(
        connection,
        results=[one, other],
        runs=[
            run_row(
                {
                    "run_id": run_id,
                    "suite": "s",
                    "started_at": f"2026-01-0{day}T00:00:00",
                    "finished_at": f"2026-01-0{day}T01:00:00",
                    "trial_ids": trial_ids,
                    "partial": partial,
                }
            )
            for day, (run_id, trial_ids, partial) in enumerate(runs, start=1)
        ],
    )
    assert {row["change"] for row in rows("nightly_changes")} == {"same"}


def test_numbers_that_moved_by_themselves_are_shown(nights, cell):
    """Eighteen trials whose numbers are ten points lower under the same ids."""
    datasets = [f"d{i}" for i in range(6)]
    before = [t for name in datasets for t in cell([0.6, 0.7, 0.8], dataset=name)]
    still = cell([0.5], method="still")
    after = [t for name in datasets for t in cell([0.5, 0.6, 0.7], dataset=name)]
    assert [t.trial_id for t in before] == [t.trial_id for t in after]
    found = nights(before + still, after + still)
    lower = [row for row in found if row["method"] == "coop"]
    assert len(lower) == 6
    for row in lower:
        assert (row["change"], row["cause"], row["moved_trials"]) == ("moved", "by itself", 3)
        assert row["difference"] == pytest.approx(-0.1)
        assert row["previous_mean"] == pytest.approx(0.7)
    (same,) = (row for row in found if row["method"] == "still")
    assert (same["change"], same["cause"], same["moved_trials"]) == ("same", None, 0)


def test_trials_that_moved_against_each_other_have_moved(nights, cell):
    (row,) = nights(cell([0.5, 0.7]), cell([0.6, 0.6]))
    assert (row["change"], row["cause"], row["moved_trials"]) == ("moved", "by itself", 2)
    assert row["difference"] == pytest.approx(0)


def test_one_metric_may_move_and_another_stay(nights, trial):
    first, second = (
        trial({"all": 0.5}, extra=(Score("all", "ece", ece, 10),)) for ece in (0.1, 0.2)
    )
    found = {row["metric"]: row for row in nights([first], [second])}
    assert (found["accuracy"]["change"], found["ece"]["change"]) == ("same", "moved")
    assert (found["accuracy"]["cause"], found["ece"]["cause"]) == (None, "by itself")


def test_a_metric_that_is_new_on_the_board_is_no_change_of_a_cell(nights, trial):
    extra = (Score("all", "ece", 0.1, 10),)
    before = [trial({"all": 0.5})]
    (row,) = nights(before, [trial({"all": 0.5}, extra=extra)])
    assert (row["metric"], row["change"]) == ("accuracy", "same")
    found = nights(before, [trial({"all": 0.5}, extra=extra), trial({"all": 0.6}, method="new")])
    assert {(row["method"], row["metric"], row["change"]) for row in found} == {
        *(("coop", "accuracy", "same"), ("new", "accuracy", "new")),
    }


def test_a_metric_that_stays_unknown_has_not_moved(nights, trial):
    extra = (Score("all", "nll", None, 10),)
    found = nights([trial({"all": 0.5}, extra=extra)], [trial({"all": 0.6}, extra=extra)])
    assert {row["metric"]: row["change"] for row in found} == {"accuracy": "moved", "nll": "same"}


def test_rounding_moves_nothing(nights, cell):
    (row,) = nights(cell([0.5]), cell([0.5 + 1e-13]))
    assert (row["change"], row["cause"]) == ("same", None)


def test_a_number_that_became_none_has_moved(nights, trial):
    first, second = (
        trial({"all": 0.5}, extra=(Score("all", "ece", ece, 10),)) for ece in (0.1, float("nan"))
    )
    (row,) = (row for row in nights([first], [second]) if row["metric"] == "ece")
    assert (row["change"], row["cause"], row["current_mean"]) == ("moved", "by itself", None)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"hyperparameters": {"n_context": 16}}, "hyperparameters n_context 4 to 16"),
        (
            {"hyperparameters": {"n_context": 4, "lr": 0.1}},
            "hyperparameters lr none to 0.1",
        ),
        ({"method_revision": 2}, "method revision 1 to 2"),
        ({"dataset_fingerprint": "d1"}, "dataset fingerprint d0 to d1"),
        ({"backbone_fingerprint": "b1"}, "backbone fingerprint b0 to b1"),
        ({"protocol_revision": 2}, "protocol revision 1 to 2"),
        ({"template_set": "card-2"}, "template set card to card-2"),
        ({"transform_version": 2}, "transform version 1 to 2"),
        ({"views": "bank:4"}, "views none to bank:4"),
        ({"precision": "bf16"}, "precision fp32 to bf16"),
        ({"setting": "clean"}, "setting paper to clean"),
        ({"selection": "val"}, "selection last to val"),
        ({"test_rows_per_class": 50}, "test rows per class none to 50"),
        (
            {"hyperparameters": {"n_context": 16}, "precision": "bf16"},
            "hyperparameters n_context 4 to 16, precision fp32 to bf16",
        ),
    ],
)
def test_a_changed_setting_is_one_row_that_names_it(nights, cell, changes, cause):
    (row,) = nights(cell([0.5, 0.6]), cell([0.4, 0.5], **changes))
    assert (row["change"], row["cause"]) == ("moved", cause)
    assert row["difference"] == pytest.approx(-0.1)
    assert row["previous_cell_id"] != row["current_cell_id"]


def test_every_field_of_a_specification_can_be_a_cause(board_spec):
    """One that is added later is named as well: fields are read off the specification."""
    from operators.board.causes import differences
    from operators.board.changes import _COMPARED

    old = {name: 1 for name in board_spec().__dataclass_fields__} | {
        "cell_id": "a",
        "aids": {},
        "targets": "{}",
    }
    old["hyperparameters"] = "{}"
    for name in old.keys() - {*_COMPARED, "seed", "hyperparameters", "aids", "targets", "cell_id"}:
        (told,) = differences(old, old | {name: 2, "cell_id": "b"})
        assert told == f"{name.replace('_', ' ')} 1 to 2"


def test_a_target_that_comes_or_changes_is_told(board_spec):
    from operators.board.causes import differences
    from operators.board.identity import identity_row
    from operators.spec import Target

    one, other = Target("f1", "card-1"), Target("f2", "card-1")
    cells = [
        identity_row(board_spec(targets=targets)) | {"aids": {}}
        for targets in ({"digits": one}, {"digits": other, "pets": one})
    ]
    assert differences(*cells) == [
        "target digits f1 card-1 to f2 card-1",
        "target pets none to f1 card-1",
    ]


def test_a_setting_that_moved_no_number_is_named_all_the_same(nights, cell):
    (row,) = nights(cell([0.5]), cell([0.5], method_revision=2))
    assert (row["change"], row["cause"]) == ("same", "method revision 1 to 2")


def test_a_teacher_of_another_setting_is_the_cause(nights, board_spec, trial):
    def taught(**changes):
        teacher = board_spec(method="promptsrc", **changes)
        return [
            trial({"all": 0.7}, method="promptsrc", **changes),
            trial({"all": 0.6 - 0.1 * bool(changes)}, method="promptkd", aids={"teacher": teacher}),
        ]

    found = {r["method"]: r for r in nights(taught(), taught(method_revision=2))}
    assert found["promptkd"]["cause"] == "teacher (method revision 1 to 2)"
    assert found["promptkd"]["change"] == "moved"
    assert found["promptsrc"]["cause"] == "method revision 1 to 2"


def test_a_teacher_that_is_not_on_the_board_is_told_by_its_trial(nights, board_spec, trial):
    teachers = [board_spec(method="promptsrc", method_revision=revision) for revision in (1, 2)]
    first, second = (trial({"all": 0.6}, method="promptkd", aids={"teacher": t}) for t in teachers)
    (row,) = nights([first], [second])
    assert row["cause"] == f"teacher {teachers[0].trial_id} to {teachers[1].trial_id}"


def test_seeds_that_come_or_go_are_a_cause(nights, cell):
    (row,) = nights(cell([0.5, 0.6, 0.7]), cell([0.5, 0.6]))
    assert (row["change"], row["cause"]) == ("moved", "seeds 1 2 3 to 1 2")
    assert (row["previous_n"], row["current_n"]) == (3, 2)


def test_seeds_and_numbers_may_both_have_moved(nights, cell):
    (row,) = nights(cell([0.5, 0.6, 0.7]), cell([0.4, 0.6]))
    assert (row["cause"], row["moved_trials"]) == ("seeds 1 2 3 to 1 2, by itself", 1)


def test_trials_that_failed_are_the_cause_of_what_is_missing(
    connection, rows, cell, board_spec, tmp_path
):
    trials = cell([0.5, 0.6]) + cell([0.4], method="gone")
    runs = [run("r1", trials, 1), run("r2", trials, 2)]
    fill(connection, results=trials, runs=runs[:1])
    pq.write_table(numbers_of(connection, "r1"), tmp_path / "numbers.parquet")
    lost = [board_spec(seed=2), board_spec(method="gone")]
    failures = [
        failed_row({"spec": one.to_json(), "error": "no memory"}, trial_id=one.trial_id)
        for one in lost
    ]
    fill(
        connection,
        present={trials[0].trial_id},
        failures=failures,
        runs=runs,
        numbers={"r1": tmp_path / "numbers.parquet"},
    )
    found = {row["method"]: row for row in rows("nightly_changes")}
    assert (found["gone"]["change"], found["gone"]["cause"]) == (
        "vanished",
        "trials that failed: 1",
    )
    assert found["coop"]["cause"] == "seeds 1 2 to 1, trials that failed: 1"


def test_each_of_several_settings_is_compared_with_its_nearest(nights, cell):
    def setting(n_context, lr, value):
        return cell([value], hyperparameters={"n_context": n_context, "lr": lr})

    first = setting(4, 0.1, 0.5) + setting(16, 0.1, 0.6)
    second = setting(16, 0.1, 0.6) + setting(4, 0.2, 0.7) + setting(8, 0.9, 0.8)
    found = {row["current_mean"]: row for row in nights(first, second)}
    assert found[0.6]["change"] == "same"
    assert found[0.7]["cause"] == "hyperparameters lr 0.1 to 0.2"
    assert found[0.8]["change"] == "new"


@pytest.mark.parametrize(
    "changes",
    [
        {"shots": 8},
        {"dataset": "eurosat"},
        {"backbone": "other"},
        {"method": "maple"},
        {"protocol": "zero_shot"},
    ],
)
def test_what_a_reader_compares_apart_is_apart(nights, cell, changes):
    found = nights(cell([0.5]), cell([0.6], **changes))
    assert sorted(row["change"] for row in found) == ["new", "vanished"]
    assert {row["cause"] for row in found} == {None}


def test_a_run_that_kept_nothing_saw_what_is_on_the_board(connection, rows, cell):
    """Manifests from before numbers were kept are read as they always were."""
    one = cell([0.5])
    fill(connection, results=one, runs=[run("r1", one, 1), run("r2", one, 2)])
    (row,) = rows("nightly_changes")
    assert (row["change"], row["cause"]) == ("same", None)


def test_runs_are_compared_by_suite_and_only_whole_ones_that_ended():
    runs = [
        run("a1", [], 1, suite="a"),
        run("b1", [], 2, suite="b"),
        run("a2", [], 3, suite="a"),
        run("a3", [], 4, suite="a"),
        run("a4", [], 5, suite="a", finished_at=None),
        run("a5", [], 6, suite="a", partial=True),
        run("x", [], 7, suite=None),
    ]
    assert last_runs(reversed(runs)) == {"a": ["a2", "a3"], "b": ["b1"]}


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        ([0.67, 0.69, 0.71], "within"),  # the interval of 0.70, 0.72, 0.74 is 0.670 to 0.770
        ([0.60, 0.62, 0.64], "regressed"),
        ([0.80, 0.82, 0.84], "improved"),
        ([0.70, 0.72, 0.74], None),
    ],
)
def test_a_mean_outside_the_interval_of_the_run_before_is_a_verdict(nights, cell, after, verdict):
    (row,) = nights(cell([0.70, 0.72, 0.74]), cell(after))
    assert row["verdict"] == verdict
    half = 4.302652729749 * 0.02 / 3**0.5
    assert row["previous_ci95_low"] == pytest.approx(0.72 - half)
    assert row["previous_ci95_high"] == pytest.approx(0.72 + half)


def less_is_better(values):
    return [
        {
            "accuracies": {},
            "extra": (Score("all", "nll", value, 10),),
            "protocol": "next_word",
            "seed": seed,
        }
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("after", "verdict"), [([2.5, 2.6], "regressed"), ([0.5, 0.6], "improved")]
)
def test_where_less_is_better_more_is_a_regression(nights, trial, after, verdict):
    first, second = (
        [trial(**one) for one in less_is_better(values)] for values in ([1.50, 1.51], after)
    )
    (row,) = nights(first, second)
    assert (row["metric"], row["verdict"]) == ("nll", verdict)


def test_one_seed_is_judged_by_test_images_where_its_metric_is_a_share_of_them(nights, trial):
    def verdict(before, after, n):
        (row,) = nights([trial({"all": before}, n=n)], [trial({"all": after}, n=n)])
        return row["verdict"]

    assert verdict(0.5, 0.4, n=1000) == "regressed"  # Wilson: 0.469 to 0.531
    assert verdict(0.5, 0.4, n=10) == "within"


def test_what_has_no_interval_is_not_judged(nights, trial):
    first, second = ([trial(**one) for one in less_is_better([v])] for v in (1.5, 2.5))
    (row,) = nights(first, second)
    assert (row["change"], row["cause"], row["verdict"]) == ("moved", "by itself", "unknown")
