"""The tables and pictures that a flow run leaves in Prefect."""

import pytest

from tasks.pages.artifacts import MOST_ROWS, board_markdown, failures_markdown
from tasks.pages.links import BOARD_URL

ROW = {
    "protocol": "few_shot",
    "dataset": "digits",
    "backbone": "mini-clip",
    "shots": 16,
    "method": "coop",
    "variant": None,
    "split": "all",
    "metric": "accuracy",
    "unit": "share",
    "better": "higher",
    "mean": 0.912,
    "std": 0.0123,
    "n": 3,
    "ci95_low": 0.881,
    "ci95_high": 0.943,
}


@pytest.fixture(autouse=True)
def nobody_serves(monkeypatch):
    monkeypatch.delenv(BOARD_URL, raising=False)


def test_a_protocol_and_split_is_a_table_with_the_method_first_and_the_best_in_bold():
    worse = {**ROW, "method": "zero-shot", "mean": 0.743, "std": None, "n": 1}
    worse |= {"ci95_low": None, "ci95_high": None}
    assert board_markdown([ROW, worse]).splitlines() == [
        "## few\\_shot, all",
        "",
        "digits, mini-clip, 16 shots",
        "",
        "| method | accuracy in % | 95 % over seeds | seeds |",
        "|---|---:|---:|---:|",
        "| **coop** | **91.2 ± 1.2** | 88.1 to 94.3 | 3 |",
        "| zero-shot | 74.3 |  | 1 |",
    ]


def test_what_differs_within_a_table_is_a_column_and_settings_stand_below():
    rows = [ROW, {**ROW, "dataset": "textiles"}, {**ROW, "dataset": "textiles", "method": "maple"}]
    text = board_markdown(rows)
    assert "| method | dataset | accuracy in % | 95 % over seeds | seeds |" in text
    assert "\nmini-clip, 16 shots\n" in text
    assert "| coop | digits | 91.2 ± 1.2 | 88.1 to 94.3 | 3 |" in text  # nothing competes with it
    assert "| **coop** | textiles | **91.2 ± 1.2** | 88.1 to 94.3 | 3 |" in text
    set_two = [{**ROW, "variant": "lr=0.1"}, {**ROW, "variant": "lr=0.2"}]
    text = board_markdown([*set_two, {**ROW, "method": "maple", "variant": "epochs=5"}])
    assert "| **coop (1)** | **91.2" in text and "| coop (2) | 91.2" in text
    assert "- coop (1): lr=0.1\n- coop (2): lr=0.2\n- maple: epochs=5\n" in text


def test_splits_and_protocols_have_tables_of_their_own_in_the_units_of_their_metric():
    other = {**ROW, "protocol": "rank", "metric": "nll", "unit": "nats", "better": "lower"}
    text = board_markdown([ROW, {**ROW, "split": "H"}, {**ROW, "split": "base"}, other])
    assert text.count("\n|---|") == 4
    assert "| coop | 0.912 ± 0.012 | 0.881 to 0.943 | 3 |" in text.split("nll in nats")[1]


def test_a_long_table_is_cut_and_says_so():
    rows = [{**ROW, "method": f"m{n}"} for n in range(MOST_ROWS + 2)]
    assert "2 more rows are on the board." in board_markdown(rows)
    assert board_markdown([]) == "No trial has completed yet."


def test_trials_that_failed_are_named_with_their_reason_and_lead_to_their_page(monkeypatch):
    from types import SimpleNamespace

    place = {"dataset": "digits", "protocol": "few_shot", "shots": 1, "seed": 2}
    spec = SimpleNamespace(trial_id="ab12", method="coop", backbone="mini-clip", **place)
    plan = SimpleNamespace(specs=[spec])
    row = "| ab12 | coop | digits, few\\_shot, 1 shot, seed 2, mini-clip | the loss is no number |"
    failed = [("ab12", "the loss is no number")]
    assert row in failures_markdown(plan, failed)  # pyright: ignore[reportArgumentType]
    monkeypatch.setenv(BOARD_URL, "http://127.0.0.1:1/")
    linked = failures_markdown(plan, failed)  # pyright: ignore[reportArgumentType]
    assert "| [ab12](http://127.0.0.1:1/#/trial/ab12) |" in linked
