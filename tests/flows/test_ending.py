"""The sentence that a flow run ends with, as the message of its state."""

import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock
from prefect.exceptions import TerminationSignal

from flows.ending import in_a_sentence
from flows.naming import command_of
from tasks.computing.worker_pool import PoolClosed
from tasks.environment import MachineError
from tasks.ingestion.ingest import ingest_dataset
from tasks.planning.resolve import RequestError
from tasks.stopped import RunStopped, until_stopped
from tasks.storage import locks
from tasks.storage.store import Store


def raising(error, **options):
    def flow(suite, fresh=False):
        raise error

    return in_a_sentence(**options)(flow)


@pytest.mark.parametrize("kind", [RequestError, MachineError, ConnectionError])
def test_what_is_written_for_people_is_the_message_of_the_state(kind):
    error = kind("no dataset is\ncalled x.")
    state = raising(error)("zoo")
    assert state.is_failed()
    assert state.message == "no dataset is called x."
    assert state.data is error  # raised for whoever calls the flow in Python


def test_a_fault_of_ours_is_raised_as_it_is():
    with pytest.raises(KeyError):
        raising(KeyError("x"))("zoo")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TerminationSignal(signal=15)])
def test_a_run_that_is_stopped_is_cancelled_and_says_what_was_kept(error):
    asked = {}

    def stopped(**given):
        asked.update(given)
        return "stopped: 3 of 5 trials are kept."

    state = raising(error, stopped=stopped)("zoo")
    assert state.is_cancelled()
    assert state.message == "stopped: 3 of 5 trials are kept."
    assert asked == {"suite": "zoo", "fresh": False}


def test_a_flow_that_keeps_nothing_apart_is_stopped_as_prefect_stops_it():
    with pytest.raises(KeyboardInterrupt):
        raising(KeyboardInterrupt())("zoo")


def test_a_task_of_a_run_that_is_stopped_is_cancelled():
    @until_stopped
    def task():
        raise PoolClosed

    assert task().is_cancelled()


def test_the_command_that_goes_on_asks_for_the_same(monkeypatch, tmp_path):
    monkeypatch.setenv("SHOTBOARD_HOME", str(tmp_path / "a"))
    asked = {
        "methods": ["coop", "maple"],
        "seeds": [1],
        "datasets": None,
        "hyperparameters": {"coop": {"epochs": 20}},
        "home": str(tmp_path / "a"),
    }
    command = "shotboard run zoo --methods coop,maple --seeds 1 --set coop.epochs=20"
    assert command_of("zoo", asked) == command
    asked["home"] = str(tmp_path / "b")
    assert command_of("zoo", asked) == f"{command} --home {tmp_path / 'b'}"


def test_a_run_that_is_stopped_waits_for_nobody_who_ingests(tmp_path, monkeypatch):
    """Ctrl-C while another command has the dataset under way."""
    from flows import ingesting

    store = Store(tmp_path)
    waits, ended = threading.Event(), []

    class Told:
        def say(self, text):
            assert text == "another command ingests digits: waiting for it."
            waits.set()

    def submit(name, place, look):
        def work():
            try:
                ingest_dataset(name, Store(Path(place)), look)
            except Exception as error:
                ended.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    def wait(threads):
        assert waits.wait(60)
        assert ended == []
        raise KeyboardInterrupt

    monkeypatch.setattr(locks, "reporter", Told)
    monkeypatch.setattr(ingesting.ingest, "submit", submit)
    monkeypatch.setattr(ingesting, "wait", wait)
    lock = store.data / "digits" / ".lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        with pytest.raises(KeyboardInterrupt):
            ingesting.ingest_each(store.place, ["digits"])
        deadline = time.monotonic() + 60
        while not ended and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [type(error) for error in ended] == [RunStopped]
