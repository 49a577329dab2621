"""Nights of a suite, and what each is told to have made worse."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.metrics import Score
from operators.metrics.predictions import PREDICTIONS
from operators.trials.results import Cost, Provenance, TrialResult
from tasks.pages.board import rebuild
from tasks.pages.regressions import SENT, Moves, line, markdown, moves_of, tell_prefect
from tasks.storage import runs
from tasks.storage.store import Store

ROWS = 200


@pytest.fixture(scope="module")
def private_file(tmp_path_factory):
    """That of an empty board: making one takes most of a second."""
    empty = Store(tmp_path_factory.mktemp("empty"))
    rebuild(empty)
    return empty.home / ".leaderboard.private.duckdb"


@pytest.fixture
def night(tmp_path, private_file, spec):
    """A night: commits trials that answer so many of 200 rows right, gives what is told of it."""
    store = Store(tmp_path / "store")
    store.home.mkdir()
    shutil.copyfile(private_file, store.home / private_file.name)

    def commit(correct, **fields):
        one = spec(**fields)
        folder = store.trial(one.trial_id)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        columns = {
            "split": ["all"] * ROWS,
            "row_id": range(ROWS),
            "label": [0] * ROWS,
            "predicted": [int(row >= correct) for row in range(ROWS)],
            "confidence": [0.5] * ROWS,
        }
        pq.write_table(pa.table(columns, schema=PREDICTIONS), folder / "predictions.parquet")
        result = TrialResult(
            spec=one,
            metrics=(Score("all", "accuracy", correct / ROWS, ROWS),),
            cost=Cost(
                tune_seconds=1.0,
                evaluate_seconds=0.5,
                peak_memory_bytes=100,
                trainable_parameters=8,
                steps=5,
            ),
            provenance=Provenance(
                started_at="2026-01-01T00:00:00+00:00", device="cpu", torch_version="2.13.0"
            ),
            episode_fingerprint=f"{one.dataset}-{one.seed}",
        )
        (folder / "prompt.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
        (folder / "trial.json").write_text(json.dumps(result.to_json()))
        return one.trial_id

    def make(*trials, suite="nights", partial=False):
        ids = [commit(correct, **fields) for correct, fields in trials]
        begun = runs.begin(store, suite=suite, trial_ids=ids, flow_run_id=None, partial=partial)
        runs.finish(store, begun)
        rebuild(store)
        return moves_of(store, begun.run_id)

    return make


def scores(*correct, **fields):
    """Trials of a cell, one a seed."""
    return [(one, {"seed": seed, **fields}) for seed, one in enumerate(correct, start=1)]


COOP = {"method": "coop", "hyperparameters": {"lr": 0.002}}
OTHER = {"method": "tip-adapter", "hyperparameters": {"beta": 1.0}}
WORSE = {**COOP, "hyperparameters": {"lr": 9.0}}


def test_three_nights_name_exactly_what_each_made_worse(night):
    good = scores(150, 152, 154, **COOP)
    other = scores(120, 122, 124, **OTHER)
    assert not night(*good, *other)
    assert not night(*good, *other)  # nothing has changed

    bad = scores(100, 102, 104, **WORSE)
    moves = night(*bad, *other)
    (row,) = moves.rows
    assert (row["method"], row["cause"]) == ("coop", "hyperparameters lr 0.002 to 9.0")
    assert (row["previous_mean"], row["current_mean"]) == (pytest.approx(0.76), pytest.approx(0.51))
    assert (moves.mark, moves.title) == ("Regressed", "1 cell regressed")

    by_itself = scores(80, 82, 84, **OTHER)
    moves = night(*bad, *by_itself)
    (row,) = moves.rows
    assert (row["method"], row["cause"], row["moved_trials"]) == ("tip-adapter", "by itself", 3)
    assert (moves.mark, moves.title) == ("Regressed", "1 cell regressed, 1 moved by itself")

    assert not night(*bad, *by_itself)


def test_what_moves_by_itself_is_told_also_where_it_is_no_regression(night):
    night(*scores(100, 120, 140, **OTHER))
    moves = night(*scores(101, 120, 140, **OTHER))
    assert (moves.mark, moves.title) == ("Moved", "1 moved by itself")
    assert moves.text.splitlines()[1].startswith("moved: tip-adapter on pets, few_shot, 4 shots")
    assert moves.text.endswith(": accuracy 60.0 % to 60.2 %; by itself")


@pytest.mark.parametrize("correct", [(151, 152, 154), (190, 192, 194)])
def test_what_is_within_its_interval_or_better_is_no_news(night, correct):
    night(*scores(150, 152, 154, **COOP))
    assert not night(*scores(*correct, **COOP, method_revision=2))


def test_a_run_of_a_part_of_a_suite_is_compared_with_none(night):
    night(*scores(150, 152, 154, **COOP))
    assert not night(*scores(100, 102, 104, **WORSE), partial=True)
    assert night(*scores(100, 102, 104, **WORSE)).mark == "Regressed"


def row_of(number=0, **changes):
    values = {
        **{"suite": "nights", "protocol": "few_shot", "dataset": "a|b", "backbone": "clip"},
        **{"method": "coop", "variant": "", "shots": 4, "split": "all", "metric": "accuracy"},
        **{"unit": "share", "verdict": "regressed", "cause": "method revision 1 to 2"},
        **{"previous_mean": 0.7125, "current_mean": 0.6, "p_images": 0.012, "moved_trials": 0},
        **{"previous_ci95_low": 0.7, "previous_ci95_high": 0.725, "cell_id": f"c{number}"},
        **{"previous_run_id": "r1", "current_run_id": "r2"},
    }
    return values | changes


def test_the_page_names_cell_numbers_and_cause(monkeypatch):
    monkeypatch.setenv("SHOTBOARD_BOARD_URL", "http://127.0.0.1:4280")
    rest = {"unit": "nats", "metric": "nll", "previous_mean": None, "previous_ci95_low": None}
    said = markdown(Moves((row_of(), row_of(verdict="unknown", moved_trials=1, **rest))))
    first, second = said.split("### ")[1:]
    assert said.startswith("# 1 cell regressed, 1 moved by itself\n\n### ")
    assert first.splitlines() == [
        "regressed: coop on a\\|b",
        "",
        "- accuracy 71.2 % to **60.0 %**",
        "- cause: method revision 1 to 2",
        "- all, few\\_shot, 4 shots, clip",
        "- 95 % before: 70.0 % to 72.5 %; the same test images: p = 0.012",
        "",
    ]
    assert "- nll none to **0.600 nats**" in second
    assert "95 %" not in second
    assert second.endswith("[The board](http://127.0.0.1:4280/)")


def test_a_sentence_has_the_first_few_and_how_many_more():
    moves = Moves(tuple(row_of(number) for number in range(5)))
    lines = moves.text.splitlines()
    assert lines[0] == "5 cells regressed:"
    assert lines[-1] == "and 2 more"
    assert lines[1] == line(moves.rows[0])
    assert len(lines) == 5


def test_a_cell_counts_once_however_many_of_its_splits_are_worse():
    splits = [row_of(split=split, moved_trials=1) for split in ("base", "new")]
    assert Moves((*splits, row_of(1))).title == "2 cells regressed, 1 moved by itself"


def test_prefect_gets_an_artifact_and_an_event_that_automations_can_match(monkeypatch):
    import prefect.artifacts
    import prefect.events

    left, sent = [], []
    monkeypatch.setenv("SHOTBOARD_BOARD_URL", "http://127.0.0.1:4280")
    monkeypatch.setattr(prefect.artifacts, "create_markdown_artifact", lambda **a: left.append(a))
    monkeypatch.setattr(prefect.events, "emit_event", lambda event, **a: sent.append((event, a)))
    tell_prefect(Moves())
    assert (left, sent) == ([], [])
    tell_prefect(Moves(tuple(row_of(number) for number in range(SENT + 1))))
    tell_prefect(Moves((row_of(verdict="within", moved_trials=1),)))
    assert [artifact["key"] for artifact in left] == ["regressions"] * 2
    assert [event for event, _ in sent] == ["shotboard.regression", "shotboard.moved"]
    _, event = sent[0]
    assert event["resource"]["prefect.resource.id"] == "shotboard.suite.nights"
    assert len(event["related"]) == len(event["payload"]["cells"]) == SENT
    assert event["related"][0]["prefect.resource.id"] == "shotboard.cell.c0"
    assert event["payload"]["title"] == "Shotboard, suite nights: 41 cells regressed"
    assert event["payload"]["board"] == "http://127.0.0.1:4280/"
    assert event["payload"]["text"].endswith("and 38 more\nhttp://127.0.0.1:4280/")
    json.dumps(event["payload"])
