import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

from tasks.environment import MachineError
from tasks.progress import reporting_to
from tasks.services import server
from tasks.services.children import descendants, free_port
from tasks.services.server import prefect_api, reachable, schema_is_current
from tasks.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(900)  # servers start slowly on a busy machine
FLOWS = """
from prefect import flow, task

@task
def one(number):
    return number

@flow
def thirty():
    return sum(one(number) for number in range(30))
"""


@pytest.fixture(autouse=True)
def no_server_of_the_user(monkeypatch, tmp_path_factory):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A store whose private server ran a flow of 30 tasks here and in a thread, and stopped."""
    store = Store(tmp_path_factory.mktemp("server"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        scope: dict = {}
        with prefect_api(store) as url:
            assert url.started_by_us
            assert reachable(url) is None
            exec(FLOWS, scope)
            scope["thirty"]()
            thread = threading.Thread(target=scope["thirty"])
            thread.start()
            thread.join()
        assert reachable(url) is not None
        assert "PREFECT_API_URL" not in os.environ
    return store


def rows(store, query):
    with closing(sqlite3.connect(store.prefect / "prefect.db")) as database:
        return database.execute(query).fetchall()


@pytest.mark.slow
def test_every_task_run_is_recorded_when_the_server_has_stopped(recorded):
    counts = rows(recorded, "SELECT state_name, count(*) FROM task_run GROUP BY 1")
    assert counts == [("Completed", 60)]


@pytest.mark.slow
def test_a_flow_of_a_thread_is_recorded_too(recorded):
    counts = rows(recorded, "SELECT state_name, count(*) FROM flow_run GROUP BY 1")
    assert counts == [("Completed", 2)]


@pytest.mark.slow
def test_the_log_lies_in_the_store(recorded):
    assert (recorded.prefect / "server.log").is_file()


@pytest.mark.slow
def test_a_second_start_migrates_nothing_unless_the_database_went_away(recorded):
    database = recorded.prefect / "prefect.db"
    assert schema_is_current(recorded.prefect)
    aside = database.rename(database.with_suffix(".aside"))
    assert not schema_is_current(recorded.prefect)
    aside.rename(database)


@pytest.mark.slow
def test_the_server_dies_with_a_parent_that_is_killed(recorded):
    script = (
        "import sys, time; from tasks.services.server import prefect_api\n"
        "from tasks.storage.store import Store\n"
        f"with prefect_api(Store.at({str(recorded.home)!r})) as url:\n"
        "    print(url, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    assert reachable(url) is None
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 300
    while reachable(url) is None and time.monotonic() < deadline:
        time.sleep(0.2)
    assert reachable(url) is not None


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_text("not a database, " * 100), "is not a SQLite database"),
        (Path.mkdir, "is a folder"),
    ],
)
def test_a_database_that_is_none_is_refused_before_a_server_starts(tmp_path, damage, reason):
    database = tmp_path / "prefect" / "prefect.db"
    database.parent.mkdir()
    damage(database)
    with (
        pytest.raises(MachineError, match=f"{reason}.*`mv {database} .*makes a new one"),
        prefect_api(Store(tmp_path)),
    ):
        pass
    assert not (tmp_path / "prefect" / "server.log").exists()


@pytest.mark.slow
def test_a_database_of_another_version_is_a_sentence_and_not_the_log_of_a_server(tmp_path):
    database = tmp_path / "prefect" / "prefect.db"
    database.parent.mkdir()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('ffffffffffff')")
        connection.commit()
    with (
        pytest.raises(MachineError, match=f"{database}: .*locate revision.*`mv ") as refused,
        prefect_api(Store(tmp_path)),
    ):
        pass
    assert "\n" not in str(refused.value)


def test_a_configured_server_that_does_not_answer_is_named(monkeypatch, tmp_path):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    url = f"http://127.0.0.1:{free_port()}/api"
    with (
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(ConnectionError, match=rf"PREFECT_API_URL is {url}.*unset PREFECT_API_URL"),
        prefect_api(Store(tmp_path)),
    ):
        pass
    assert not list(tmp_path.iterdir())


def of_the_server():
    """The process of the private server; its socket is ours as well, so that tells nothing."""
    (found,) = (
        pid
        for pid in descendants(os.getpid())
        if b"tasks.services.guarded" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    return found


class Said:
    """A reporter that keeps what is said."""

    def __init__(self):
        self.texts = []

    def say(self, text):
        self.texts.append(text)


@pytest.mark.slow
@pytest.mark.served
def test_a_private_server_that_is_killed_is_started_again_and_the_flow_ends_as_it_does(recorded):
    scope: dict = {}
    before = rows(recorded, "SELECT count(*) FROM task_run")[0][0]
    said = Said()
    another = FileLock(recorded.prefect / "start.lock")  # as of one that sets up a database
    with reporting_to(said), another, prefect_api(recorded):
        exec(FLOWS, scope)
        scope["thirty"]()
        os.kill(of_the_server(), signal.SIGKILL)
        scope["thirty"]()
    assert ["started again" in text for text in said.texts] == [True]
    assert rows(recorded, "SELECT DISTINCT state_name FROM flow_run") == [("Completed",)]
    assert rows(recorded, "SELECT count(*) FROM task_run")[0][0] == before + 60


def test_servers_of_a_database_that_is_not_set_up_start_one_after_the_other(monkeypatch, tmp_path):
    """Each looks at the database when it is its turn."""
    said, turns = Said(), []
    monkeypatch.setattr(server, "schema_is_current", lambda _: len(turns))

    def start():
        with reporting_to(said), server._alone_unless_set_up(tmp_path):
            turns.append(server.schema_is_current(tmp_path))

    with FileLock(tmp_path / "start.lock"):
        thread = threading.Thread(target=start)
        thread.start()
        while not said.texts:
            time.sleep(0.01)
        assert turns == []
    thread.join()
    assert said.texts == [f"another command sets up {tmp_path / 'prefect.db'}: waiting for it."]
    assert turns == [0]
    with FileLock(tmp_path / "start.lock"):
        start()  # there is one by now: nobody is waited for
    assert turns == [0, 1]


def test_a_server_that_went_away_while_it_was_used_is_a_sentence(monkeypatch, tmp_path):
    import httpx

    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    monkeypatch.setenv("PREFECT_API_URL", url)
    monkeypatch.setattr(server, "configured_api", lambda: url)
    for name in ("_check_reachable", "_tell_crashed"):
        monkeypatch.setattr(server, name, lambda _: None)
    with (
        pytest.raises(MachineError, match=f"server at {url} does not answer any more .*unset"),
        prefect_api(Store(tmp_path)),
    ):
        httpx.get(url)
    monkeypatch.setattr(server, "reachable", lambda _: None)  # then it is none of its own
    with pytest.raises(httpx.ConnectError), prefect_api(Store(tmp_path)):
        httpx.get(url)
