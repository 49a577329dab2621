"""Bounds of prompts on the board: what a trial found, beside what test images say."""

import json

from operators.board.filling import fill
from operators.board.rows import completed_rows

FOUND = {
    "template": "a nice {}.",
    "prior": "uniform",
    "delta": 0.05,
    "train_error": 0.125,
    "train_examples": 160.0,
    "complexity_nats": 42.5,
    "error_bound": 0.6,
    "tried": [{"template": "a {}.", "accuracy": 0.5}],
}


def of(values):
    return completed_rows(values, trial_id=values["trial_id"])


def test_a_bound_stands_beside_the_test_error_of_the_classes_that_were_learned(
    connection, rows, trial_file
):
    told = trial_file({"all": 0.75}) | {"found": FOUND}
    base = trial_file({"base": 0.8, "new": 0.6}, protocol="base_to_new") | {"found": FOUND}
    without = trial_file({"all": 0.9}, seed=2)
    fill(connection, results=[of(told), of(base), of(without)])
    few, learned = sorted(rows("bounds"), key=lambda row: row["protocol"], reverse=True)
    assert (few["split"], learned["split"]) == ("all", "base")
    assert few["test_error"] == 0.25
    assert few["slack"] == 0.6 - 0.25
    assert (few["template"], few["prior"], few["delta"]) == ("a nice {}.", "uniform", 0.05)
    assert (few["train_error"], few["train_examples"]) == (0.125, 160)
    assert (few["complexity_nats"], few["error_bound"]) == (42.5, 0.6)
    assert abs(learned["test_error"] - 0.2) < 1e-12


def test_the_board_has_what_was_found_and_the_trial_all_that_was_tried(
    connection, rows, trial_file
):
    fill(connection, results=[of(trial_file({"all": 0.75}) | {"found": FOUND})])
    (row,) = rows("trials")
    kept = json.loads(row["found"])
    assert "tried" not in kept
    assert kept == {name: value for name, value in FOUND.items() if name != "tried"}


def test_a_trial_that_found_nothing_has_no_bound(connection, rows, trial_file):
    fill(connection, results=[of(trial_file({"all": 0.75}))])
    assert rows("bounds") == []
    assert rows("trials")[0]["found"] is None
