"""`shotboard board --reference`: ours beside published numbers, or why nothing is."""

import csv
import io
import json

import duckdb
import pytest

from operators.board import completed_rows, create, fill
from operators.metrics import Score
from operators.spec import TrialSpec
from operators.trials.results import Cost, Provenance, TrialResult
from tasks.pages.known import protocol_rows, track_rows


def results(values, **changes):
    """A trial a seed with accuracy on base and on new classes."""
    for seed, (base, new) in enumerate(values, start=1):
        known = {
            **{"method": "coop", "method_revision": 1, "hyperparameters": {}, "shots": 16},
            **{"backbone": "clip-vit-b16", "backbone_fingerprint": "b", "dataset": "eurosat"},
            **{"dataset_fingerprint": "d", "protocol": "base_to_new", "seed": seed},
        }
        result = TrialResult(
            spec=TrialSpec(**{**known, **changes}),
            metrics=(Score("base", "accuracy", base, 4200), Score("new", "accuracy", new, 3900)),
            cost=Cost(
                tune_seconds=1.0,
                evaluate_seconds=1.0,
                peak_memory_bytes=1,
                trainable_parameters=1,
                steps=1,
                tune_flops=1,
                plain_tune_flops=1,
            ),
            provenance=Provenance(
                started_at="2026-01-01T00:00:00+00:00", device="cpu", torch_version="2"
            ),
            episode_fingerprint=f"e{seed}",
        )
        said = json.loads(json.dumps(result.to_json()))
        yield completed_rows(said, trial_id=said["trial_id"])


@pytest.fixture
def board(tmp_path, shotboard):
    """A board of some trials, asked for what stands beside published numbers."""

    def ask(trials, *arguments):
        with duckdb.connect(tmp_path / "leaderboard.duckdb") as connection:
            create(connection, tracks=track_rows(), protocols=protocol_rows())
            fill(connection, results=list(trials))
        return lambda *more: shotboard(
            "board", "--reference", "--home", tmp_path, *arguments, *more
        )

    return ask


TWO = [(0.91, 0.55), (0.93, 0.57)]


def test_ours_stands_beside_published_numbers_in_every_format(board):
    ask = board(results(TWO))
    found = ask("--json").json
    base = [r for r in found["rows"] if r["split"] == "base" and r["published_method"] == "CoOp"]
    assert base
    for row in base:
        assert (row["mean"], row["published"]) == pytest.approx((0.92, 0.9219))
        assert row["difference_ci95_low"] == pytest.approx(row["ci95_low"] - row["published"])
    assert found["why_none"] is None
    rows = list(csv.DictReader(io.StringIO(ask("--format", "csv").out)))
    assert [float(r["published"]) for r in rows] == [r["published"] for r in found["rows"]]
    for format, line in (("markdown", "| base |"), ("latex", r"\toprule"), ("table", "92.2")):
        said = ask("--format", format)
        assert said.code == 0, said.err
        assert line in said.out
    assert "papers disagree about these numbers" in ask().out


def test_it_names_which_source_disagrees_with_which(board):
    conflicts = board(results(TWO))("--json").json["conflicts"]
    assert conflicts
    assert {(row["method"], row["dataset"]) for row in conflicts} == {("coop", "EuroSAT")}
    spread = next(r for r in conflicts if r["kind"] == "between sources" and r["split"] == "new")
    assert "CoOp (DePT rerun)" in spread["said"]
    assert "PromptKD images" in spread["said"]


def test_it_keeps_to_what_is_asked_for_and_refuses_what_is_not_there(board, tmp_path):
    ask = board([*results(TWO), *results(TWO, dataset="dtd")])
    assert {row["dataset"] for row in ask("--json", "--dataset", "dtd").json["rows"]} == {"dtd"}
    said = ask("--dataset", "food101")
    assert (said.code, said.out) == (2, "")
    assert "beside dataset 'food101' here: there is dtd, eurosat" in said.err
    assert "leave out --html" in ask("--html", tmp_path / "page.html").err
    assert ask("--format", "markdown", "-o", tmp_path / "table.md").code == 0
    assert (tmp_path / "table.md").read_text().startswith("Ours beside published")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"backbone": "mini-clip"},
            "of backbones it has mini-clip, and papers report clip-vit-b16",
        ),
        ({"dataset": "digits"}, "of data sets it has digits, and papers report caltech101"),
        ({"method": "pre"}, "clip-vit-b16 on eurosat by other methods, protocols or shots"),
    ],
)
def test_a_board_beside_which_nothing_was_published_says_why(board, changes, why):
    ask = board(results(TWO, **changes))
    for said in (ask().out, ask("--json").json["why_none"], ask("--format", "csv").err):
        assert why in " ".join(said.split())
    assert ask("--json").json["rows"] == []
