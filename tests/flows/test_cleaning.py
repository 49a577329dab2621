"""`shotboard clean` as a user types it."""

import logging
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
OLD = time.time() - 40 * 86_400


@pytest.fixture
def store(tmp_path):
    """A store with old features, an old plan and a trial."""
    home = tmp_path / "store"
    for place in (
        "features/clip/pets/01/full/features.npy",
        "plans/a.json",
        "trials/0f/trial.json",
    ):
        file = home / place
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(2000))
        os.utime(file, (OLD, OLD))
        os.utime(file.parent, (OLD, OLD))
    return home


@pytest.fixture
def clean(shotboard, store, monkeypatch):
    monkeypatch.setattr("tasks.cleaning.sessions._folders", set)
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    return lambda *words: shotboard("clean", *words, "--home", store)


def test_a_dry_run_tells_by_kind_what_would_be_freed_and_touches_nothing(clean, store):
    answer = clean("--dry-run")
    assert answer.code == 0
    assert "would free" in answer.out
    assert "the next run that needs them encodes them" in answer.out
    assert "would be freed in" in answer.out
    assert "trials" not in [line.split()[0] for line in answer.out.splitlines() if line.split()]
    assert (store / "features/clip/pets/01/full/features.npy").is_file()


def test_it_frees_and_says_so_for_machines_too(clean, store):
    rows = {row["kind"]: row for row in clean("--json", "--keep", "plans").json}
    assert rows["features"]["count"] == 1
    assert rows["features"]["bytes"] >= 2000
    assert rows["features"]["places"] == [str(store / "features/clip/pets/01/full")]
    assert not (store / "features/clip/pets/01/full").exists()
    assert (store / "plans/a.json").is_file()
    assert (store / "trials/0f/trial.json").is_file()
    assert clean("--keep", "plans").out.startswith("nothing to free in ")


def test_trials_go_where_it_is_asked_for(clean, store):
    assert clean("--trials").code == 0
    assert not (store / "trials/0f").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--older-than", "soon"], "'soon' is no age: give a number with m, h, d or w"),
        (["--keep", "feature"], "no kind of things to keep is called 'feature'. Did you mean"),
    ],
)
def test_a_wrong_request_is_a_sentence(clean, words, sentence):
    answer = clean(*words)
    assert answer.code == 2
    assert answer.sentence.startswith(sentence)


def test_histories_of_servers_elsewhere_are_named_and_stay(clean, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@mlflow.lan:5000")
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.lan:4200/api")
    last = clean("--dry-run").out.splitlines()[-1]
    assert last.startswith("The histories of Prefect at http://prefect.lan:4200/api and MLflow at ")
    assert "mlflow.lan:5000 stay" in last
    assert "hunter2" not in last


def test_what_cannot_be_removed_is_an_error_and_exit_code_1(clean, store, monkeypatch):
    def refuses(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.rename", refuses)
    answer = clean()
    assert answer.code == 1
    assert "cannot be removed: Read-only file system" in answer.err
    assert not (store / "plans/a.json").exists()


@pytest.fixture
def flow(store, monkeypatch):
    """The flow, without a server; what it leaves as an artifact is printed."""
    from flows import cleaning

    monkeypatch.setattr("tasks.cleaning.sessions._folders", set)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(cleaning, "create_table_artifact", lambda key, table, description: None)
    monkeypatch.setattr(cleaning, "get_run_logger", lambda: logging.getLogger("flow"))
    monkeypatch.setattr("flows.ending.flow_run", SimpleNamespace(get_id=lambda: None))
    return lambda **asked: cleaning.clean.fn(home=str(store), **asked)


def test_the_deployment_keeps_trials_and_frees_the_rest(flow, store):
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    (ours,) = (each for each in deployments if each["name"] == "clean")
    assert ours["entrypoint"] == "flows/cleaning.py:clean"
    (schedule,) = ours["schedules"]
    assert (schedule["cron"], schedule["active"]) == ("30 5 * * *", True)
    freed = {row["kind"]: row["count"] for row in flow(**ours["parameters"])}
    assert (freed["features"], freed["plans"]) == (1, 1)
    assert (store / "trials/0f/trial.json").is_file()


def test_a_flow_that_is_asked_for_what_is_not_there_or_meets_a_refusal_fails_in_a_sentence(
    flow, store, monkeypatch
):
    for asked in ({"older_than": "soon"}, {"keep": ["feature"]}):
        state = flow(**asked)
        assert state.is_failed()
        assert str(next(iter(asked.values()))).strip("[]'") in state.message
    assert (store / "plans/a.json").is_file()

    def refuses(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.rename", refuses)
    state = flow()
    assert state.is_failed()
    assert "cannot be removed: Read-only file system" in state.message
    assert not (store / "plans/a.json").exists()
