"""What `shotboard up` checks before it starts anything; what it starts is in flows/test_up.py."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing

import pytest

from tasks.environment import MachineError
from tasks.pages.links import Pages
from tasks.services import page_servers
from tasks.services.children import Child, ChildError, free_port
from tasks.services.guard import Guard
from tasks.services.pool import NoAnswer, _end_process, make_pool, trouble_with_worker
from tasks.services.ports import Ports
from tasks.services.server import PrefectUrl, settings
from tasks.services.serving import _alone, _asked, _environment, _hide, project_folder
from tasks.storage.store import Store

DATABASE = "postgresql://anna:s3cret@host/mlflow"
RUN = "0d4f7a52-4f0c-4c0e-9d5a-0f3f1c9a2b11"


def test_a_folder_without_prefect_yaml_is_refused(monkeypatch, tmp_path):
    monkeypatch.delenv("SHOTBOARD_PROJECT", raising=False)
    with pytest.raises(FileNotFoundError, match=rf"no prefect\.yaml in {tmp_path}.*Set SHOTBOARD"):
        project_folder(tmp_path)


def test_the_variable_names_the_folder_of_prefect_yaml(monkeypatch, tmp_path):
    (tmp_path / "prefect.yaml").touch()
    monkeypatch.setenv("SHOTBOARD_PROJECT", str(tmp_path))
    assert project_folder(tmp_path / "elsewhere") == tmp_path


def test_a_store_is_served_once_at_a_time(tmp_path):
    store = Store(tmp_path)
    with _alone(store, Ports(4200)):
        with (
            pytest.raises(ValueError, match=r"already \(http://127\.0\.0\.1:4200, process \d+\)"),
            _alone(store, Ports(4300)),
        ):
            pass
        assert (store.up / "running").is_file()
    with _alone(store, Ports(4300)):
        pass


@pytest.fixture
def sleeping():
    """A process that looks like a flow run."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        env={**os.environ, "PREFECT__FLOW_RUN_ID": RUN},
        start_new_session=True,
    )
    yield process
    process.kill()
    process.wait()


def test_a_flow_run_that_was_left_behind_is_ended(sleeping):
    _end_process(str(sleeping.pid), RUN)
    assert sleeping.wait(120) == -signal.SIGTERM


def test_a_process_whose_number_was_that_of_a_flow_run_is_left_alone(sleeping):
    _end_process(str(sleeping.pid), "another")
    assert sleeping.poll() is None


@pytest.mark.parametrize("pid", [None, "", "vm:12", "0"])
def test_a_flow_run_without_a_process_here_needs_no_ending(pid):
    _end_process(pid, RUN)


@pytest.mark.parametrize(
    ("named", "used"),
    [
        ("sqlite:///mlflow.db", "sqlite:///{here}/mlflow.db"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("mlruns", "{here}/mlruns"),
        ("file:mlruns", "file://{here}/mlruns"),
        ("file:///data/mlruns", "file:///data/mlruns"),
        (DATABASE, DATABASE),
        ("http://mlflow:5000", "http://mlflow:5000"),
        ("databricks", "databricks"),
    ],
)
def test_the_worker_has_the_mlflow_that_we_have(named, used, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", named)
    store = Store(tmp_path / "store")
    environment = _environment(store, tmp_path / "project", PrefectUrl("http://127.0.0.1:1/api"))
    assert store.mlflow_uri == environment["MLFLOW_TRACKING_URI"] == used.format(here=tmp_path)


def test_a_worker_leaves_mlflow_to_the_stores_where_it_has_no_uri(monkeypatch, tmp_path):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    api = PrefectUrl("http://127.0.0.1:1/api")
    assert "MLFLOW_TRACKING_URI" not in _environment(Store(tmp_path), tmp_path, api)


def test_the_address_of_notifications_and_the_token_are_for_no_child(monkeypatch, tmp_path):
    monkeypatch.setenv("SHOTBOARD_NOTIFY", "mailto://anna:s3cret@example.org")
    monkeypatch.setenv("SHOTBOARD_TOKEN", "s3cret-s3cret-s3cret")
    environment = _environment(Store(tmp_path), tmp_path, PrefectUrl("http://127.0.0.1:1/api"))
    assert "s3cret" not in str(environment)


def test_the_worker_logs_in_at_a_server_that_asks_for_it(tmp_path):
    api = PrefectUrl("http://127.0.0.1:1/api")
    assert "PREFECT_API_AUTH_STRING" not in _environment(Store(tmp_path), tmp_path, api)
    environment = _environment(Store(tmp_path), tmp_path, api, "shotboard:t0ken")
    assert environment["PREFECT_API_AUTH_STRING"] == "shotboard:t0ken"


def test_a_database_with_a_secret_is_read_by_its_owner_alone(tmp_path):
    store = Store(tmp_path)
    store.prefect.mkdir()
    _hide(store)
    files = [store.prefect / name for name in ("prefect.db", "prefect.db-wal")]
    files[1].touch(0o644)
    _hide(store)
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 2


def test_an_installation_without_our_app_of_mlflow_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(page_servers, "entry_points", lambda group: [])
    with pytest.raises(MachineError, match="make install"):
        page_servers.start_mlflow(Store(tmp_path), Ports(), Pages(), Guard())


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (DATABASE, "postgresql://anna:***@host/mlflow"),
        ("mysql+pymysql://anna:a/b@host/db", "mysql+pymysql://anna:***@host/db"),
        ("postgresql:///db?password=s3&x=1", "postgresql:///db?password=***&x=1"),
        ("http://mlflow:5000", "http://mlflow:5000"),
        ("sqlite:////data/a:b@c.db", "sqlite:////data/a:b@c.db"),
    ],
)
def test_a_password_of_mlflow_is_not_shown(uri, shown, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert Store(tmp_path).mlflow_uri_to_show == shown


def test_the_mlflow_ui_gets_its_database_out_of_sight(monkeypatch, tmp_path):
    started = {}

    def child(name, *command, environment, **_):
        started.update(command=command, environment=environment)

    monkeypatch.setattr(page_servers, "Child", child)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DATABASE)
    page_servers.start_mlflow(Store(tmp_path), Ports(), Pages(), Guard())
    assert "s3cret" not in " ".join(started["command"])
    assert started["environment"]["MLFLOW_BACKEND_STORE_URI"] == DATABASE


def test_the_mlflow_ui_of_a_moved_store_shows_what_is_in_it_now(monkeypatch, tmp_path):
    monkeypatch.setattr(page_servers, "Child", lambda *_, **__: None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("CREATE TABLE experiments (artifact_location TEXT)")
        database.execute("INSERT INTO experiments VALUES ('file:///old/place/mlartifacts/quick')")
        database.commit()
        page_servers.start_mlflow(Store(tmp_path), Ports(), Pages(), Guard())
        ((place,),) = database.execute("SELECT artifact_location FROM experiments")
    assert place == (tmp_path / "mlartifacts" / "quick").as_uri()


def test_a_server_that_cannot_be_asked_is_trouble(tmp_path):
    with settings(f"http://127.0.0.1:{free_port()}/api", tmp_path):
        assert "refused" in str(trouble_with_worker("worker", 0))
        with pytest.raises(NoAnswer, match="refused"):
            make_pool()


def test_a_server_that_does_not_answer_is_a_sentence_or_its_end(tmp_path):
    server = Child(
        "the server",
        *("http.server", str(free_port()), "--bind", "127.0.0.1"),
        log=tmp_path / "log",
        folder=tmp_path,
        environment=os.environ,
    )
    try:
        with (
            pytest.raises(ChildError, match=r"the server does not answer \(refused\)"),
            _asked(server),
        ):
            raise NoAnswer("refused")
    finally:
        server.stop()
    with pytest.raises(ChildError, match="the server ended with code"), _asked(server):
        raise NoAnswer("refused")
