import importlib.metadata
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
import torch
from safetensors.torch import save

from tasks import doctor
from tasks.children import free_port
from tasks.doctor import diagnose
from tasks.store import Store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Store(tmp_path / "store")


def found(store, name):
    return next(check for check in diagnose(store) if check.name == name)


def write_trial(store, trial_id, content=None):
    folder = store.trial(trial_id)
    folder.mkdir(parents=True)
    (folder / "trial.json").write_text(content or json.dumps({"trial_id": trial_id}))
    (folder / "predictions.parquet").write_bytes(b"PAR1....PAR1")
    (folder / "prompt.safetensors").write_bytes(save({"context": torch.ones(2, 3)}, {"a": "b"}))


def test_a_store_that_is_not_there_yet_is_in_order(store):
    names = ("store", "trials", "board", "prefect server", "loopback", "tracking")
    assert {found(store, name).status for name in names} == {"ok"}
    assert not store.home.exists()


def test_it_takes_seconds_and_imports_nothing_heavy(store):
    script = (
        "import sys; from tasks.doctor import diagnose; from tasks.store import Store\n"
        f"diagnose(Store.at({str(store.home)!r}))\n"
        "print({'torch', 'ray', 'mlflow', 'prefect', 'transformers'} & set(sys.modules))"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()", done.stderr
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(("package", "version"), [("fastapi", "0.155.0"), ("sqlalchemy", "2.1.9")])
def test_a_package_that_breaks_prefect_fails_with_the_pin_that_helps(
    store, monkeypatch, package, version
):
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: version if name == package else real(name)
    )
    check = found(store, package)
    assert check.status == "fail"
    assert version in check.detail
    assert f"pip install '{package}>=" in check.remedy


def test_a_trial_that_cannot_be_read_is_named(store):
    write_trial(store, "a" * 16)
    write_trial(store, "b" * 16, "{half")
    check = found(store, "trials")
    assert check.status == "fail"
    assert check.detail == f"1 of 2 unreadable: {'b' * 16}"
    assert f"rm -r {store.trial('b' * 16)}" in check.remedy


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("trial.json", None),
        ("trial.json", 5),
        ("predictions.parquet", None),
        ("predictions.parquet", 8),
        ("prompt.safetensors", None),
        ("prompt.safetensors", 0),
        ("prompt.safetensors", 60),
        ("prompt.safetensors", -1),
    ],
)
def test_a_trial_of_which_a_part_is_gone_is_named(store, name, left):
    write_trial(store, "a" * 16)
    write_trial(store, "b" * 16)
    path = store.trial("b" * 16) / name
    whole = path.read_bytes()
    path.unlink() if left is None else path.write_bytes(whole[:left])
    assert store.torn(store.done()) == ["b" * 16]
    assert found(store, "trials").detail == f"1 of 2 unreadable: {'b' * 16}"


def test_only_an_old_draft_is_reported(store):
    fresh, old = store.trials / ".x.1", store.trials / ".x.2"
    fresh.mkdir(parents=True)
    old.mkdir()
    os.utime(old, (0, 0))
    check = found(store, "drafts")
    assert check.status == "warn"
    assert str(old) in check.remedy
    assert str(fresh) not in check.remedy


def test_a_board_that_is_no_database_fails(store):
    store.home.mkdir()
    store.board.write_text("no database" * 1000)
    check = found(store, "board")
    assert check.status == "fail"
    assert f"rm {store.board}" in check.remedy


def test_the_board_is_counted(store):
    store.home.mkdir()
    with duckdb.connect(str(store.board)) as connection:
        connection.execute("CREATE TABLE trials AS SELECT 1 AS trial_id")
    assert found(store, "board").detail.startswith("1 trials")


def test_a_server_that_does_not_answer_fails(store, monkeypatch):
    url = f"http://127.0.0.1:{free_port()}/api"
    monkeypatch.setenv("PREFECT_API_URL", url)
    check = found(store, "prefect server")
    assert check.status == "fail"
    assert url in check.detail


def test_a_store_that_is_a_file_fails(store):
    store.home.write_text("")
    assert found(store, "store").status == "fail"


def test_a_full_disk_fails(store, monkeypatch):
    monkeypatch.setattr(doctor, "DISK_NEEDED", 2**80)
    assert found(store, "disk").status == "fail"


def test_a_tracking_database_that_is_none_fails(store):
    store.home.mkdir()
    (store.home / "mlflow.db").write_text("no database")
    assert found(store, "tracking").status == "fail"
