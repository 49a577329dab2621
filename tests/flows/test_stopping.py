"""Runs that are stopped or killed, as processes: what is kept, and what the server says of them."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tasks.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 400
SEEDS = ",".join(map(str, range(1, 61)))
pytestmark = [pytest.mark.slow, pytest.mark.served, pytest.mark.timeout(1500)]
SUITE = """
name: long
datasets: [digits]
views: none
backbones: [mini-clip]
methods: [coop: {epochs: 40, n_context: 4}]
shots: [1]
test_rows_per_class: 5
"""


class Place:
    """A store, and a long run over it."""

    def __init__(self, folder):
        self.store = Store(folder / "store")
        self.suite = folder / "long.yaml"
        self.suite.write_text(SUITE)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
        self.env = {**kept, "SHOTBOARD_HOME": str(self.store.home)}

    def start(self):
        """Starts the run; returns once one more of its trials is there."""
        before = len(self.store.done())
        command = [sys.executable, "-c", "from flows.cli import main; main()", "run"]
        process = subprocess.Popen(
            [*command, str(self.suite), "--seeds", SEEDS, "--workers", "1"],
            cwd=ROOT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        deadline = time.monotonic() + SECONDS
        while len(self.store.done()) == before:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline, "no trial within the time"
            time.sleep(0.02)
        return process

    def states(self):
        """Name, state and message of each flow run, the first one first."""
        query = """
            SELECT flow_run.name, state_type, flow_run_state.message FROM flow_run
            JOIN flow_run_state ON flow_run_state.id = flow_run.state_id ORDER BY flow_run.created
        """
        with closing(sqlite3.connect(self.store.prefect / "prefect.db")) as database:
            return database.execute(query).fetchall()

    def processes(self):
        """Ids of the processes of this store; Ray's agents wait a moment for who was killed."""
        mark = f"SHOTBOARD_HOME={self.store.home}\0".encode()
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                agent = (folder / "comm").read_text().startswith(("ray::Dash", "ray::Runtime"))
                if mark in (folder / "environ").read_bytes() and not agent:
                    found.add(int(folder.name))
        return found

    def gone(self):
        deadline = time.monotonic() + 300
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return not left


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("stopping"))
    yield place
    for left in place.processes():
        with suppress(ProcessLookupError):
            os.kill(left, signal.SIGKILL)


@pytest.fixture(scope="module")
def stopped(place):
    """A run that SIGTERM has stopped: its exit code and what it said last."""
    process = place.start()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=SECONDS)
    return process.returncode, said.splitlines()[-1]


def test_a_run_that_is_stopped_says_what_is_kept_and_how_to_go_on(place, stopped):
    code, said = stopped
    assert code == 130
    kept = len(place.store.done())
    assert said.startswith(
        f"stopped: {kept} of 60 trials are kept and on the board; `shotboard run"
    )
    assert said.endswith(f"long.yaml --seeds {SEEDS}` goes on.")


def test_the_server_knows_it_as_cancelled_with_the_same_words(place, stopped):
    name, state, message = place.states()[0]
    assert name == "long: seeds 1, 2, 3, 4 and 56 more"
    assert (state, message) == ("CANCELLED", stopped[1])


def test_what_it_had_computed_is_on_the_board(place, stopped):
    from tasks.pages.asking import rows

    (counted,) = rows(place.store, "SELECT count(*) AS n FROM trials WHERE status = 'completed'")
    assert counted["n"] == len(place.store.done()) > 0
    assert not list(place.store.failures.glob("*.json"))  # nobody is blamed for it


def test_it_leaves_no_process_behind(place, stopped):
    assert place.gone()


@pytest.fixture(scope="module")
def killed(place, stopped):
    """A run that SIGKILL has ended, and what the next one tells the server before it does more."""
    from tasks.services.server import prefect_api

    process = place.start()
    process.kill()
    process.communicate()
    assert place.gone()
    before = place.states()[-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        with prefect_api(place.store):
            pass
    return before, place.states()[-1]


def test_a_run_that_was_killed_is_told_as_crashed_by_the_next_command(place, killed):
    before, after = killed
    assert before[1] == "RUNNING"
    assert after[1] == "CRASHED"
    kept = len(place.store.done())
    assert after[2].startswith("its process ended without a word, as by SIGKILL")
    assert f"{kept} of 60 trials are kept" in after[2]
    assert place.states()[0][1] == "CANCELLED"  # what had ended stays as it was
