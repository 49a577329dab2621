"""An empty board, and trials to put on it, for the tests of its views."""

import itertools
import json
import shutil

import duckdb
import pytest

from operators.board import completed_rows, create
from operators.metrics import Score
from operators.spec import TrialSpec
from operators.trials.results import Cost, Provenance, TrialResult

PREDICTED = ["split", "row_id", "label", "predicted", "confidence"]


def a_track(track, primary_metric, metrics, columns=PREDICTED):
    return {
        **{"track": track, "title": f"{track} of drawn rows", "kind": "image"},
        **{"primary_metric": primary_metric, "metrics": metrics, "columns": columns},
    }


def a_protocol(protocol, tests, track="image-classification", primary_metric="accuracy"):
    return {
        **{"protocol": protocol, "track": track, "title": protocol, "tests": tests},
        **{"primary_metric": primary_metric, "learns": protocol != "zero_shot"},
        **{"new_classes": tests != "all", "revision": 1},
        "lead": "all" if tests == "targets" else tests.split()[0],
    }


# Beside the track of the code one of which less is better, and whose predictions are no labels.
TRACKS = [
    a_track("image-classification", "accuracy", ["accuracy"]),
    a_track("compositional", "auc", ["auc", "best_seen"]),
    a_track("language-modelling", "nll", ["nll"], ["split", "row_id", "log_probability"]),
]
PROTOCOLS = [
    a_protocol("zero_shot", "all"),
    a_protocol("few_shot", "all"),
    a_protocol("base_to_new", "base and new"),
    a_protocol("cross_dataset", "targets"),
    a_protocol("domain_generalization", "targets"),
    a_protocol("compositional", "closed and open", "compositional", "auc"),
    a_protocol("next_word", "all", "language-modelling", "nll"),
    a_protocol("next_word_elsewhere", "targets", "language-modelling", "nll"),
]


@pytest.fixture(scope="session")
def empty_board(tmp_path_factory):
    path = tmp_path_factory.mktemp("board") / "empty.duckdb"
    with duckdb.connect(path) as opened:
        create(opened, tracks=TRACKS, protocols=PROTOCOLS)
    return path


@pytest.fixture
def connection(empty_board, tmp_path):
    with duckdb.connect(shutil.copyfile(empty_board, tmp_path / "board.duckdb")) as opened:
        yield opened


@pytest.fixture
def rows(connection):
    def read(view, where="true"):
        cursor = connection.execute(f"SELECT * FROM {view} WHERE {where}")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    return read


@pytest.fixture(scope="session")
def board_spec():
    def make(**changes):
        values = {
            "method": "coop",
            "method_revision": 1,
            "hyperparameters": {"n_context": 4},
            "backbone": "openai/clip-vit-base-patch16",
            "backbone_fingerprint": "b0",
            "dataset": "dtd",
            "dataset_fingerprint": "d0",
            "protocol": "few_shot",
            "shots": 4,
            "seed": 1,
        }
        return TrialSpec(**{**values, **changes})

    return make


@pytest.fixture(scope="session")
def trial_file(board_spec):
    """What the `trial.json` of a trial holds."""

    def make(
        accuracies,
        *,
        started_at="2026-01-01T00:00:00+00:00",
        cost=1.0,
        flops=(10, 90),
        extra=(),
        n=10,
        losses=(),
        **changes,
    ):
        one = board_spec(**changes)
        result = TrialResult(
            spec=one,
            metrics=(*(Score(s, "accuracy", a, n) for s, a in accuracies.items()), *extra),
            cost=Cost(
                tune_seconds=cost,
                evaluate_seconds=cost / 2,
                peak_memory_bytes=100,
                trainable_parameters=8,
                steps=5,
                tune_flops=flops[0],
                plain_tune_flops=flops[1],
            ),
            provenance=Provenance(started_at=started_at, device="cpu", torch_version="2.13.0"),
            episode_fingerprint=f"{one.dataset}-{one.shots}-{one.seed}",
            losses=losses,
        )
        return json.loads(json.dumps(result.to_json()))

    return make


@pytest.fixture(scope="session")
def trial(trial_file):
    """The rows of one trial on the board; `n` test rows."""

    def make(accuracies, **changes):
        values = trial_file(accuracies, **changes)
        return completed_rows(values, trial_id=values["trial_id"])

    return make


@pytest.fixture(scope="session")
def cell(trial):
    """The trials of one cell, one for each accuracy; seeds from 1."""

    def make(values, *, split="all", **changes):
        return [
            trial({split: value}, seed=seed, **changes)
            for seed, value in zip(itertools.count(1), values, strict=False)
        ]

    return make
