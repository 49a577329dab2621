"""Whole runs while the clock of their machine jumps, as all of their processes see it.

The time of day of the driver, of Ray, its workers, Prefect's server and whatever else is started is
that of a small library (`jumping_clock.c`), which adds the seconds that a file holds.
"""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tasks.pages.asking import rows
from tasks.storage.store import Store

COMPILER = shutil.which("cc")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.served,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not COMPILER or sys.platform != "linux", reason="needs cc, on Linux"),
]
ROOT = Path(__file__).resolve().parents[2]
SHOTBOARD = [sys.executable, "-c", "from flows.cli import main; main()"]
SECONDS = 900
DAY, HOUR = 86_400, 3_600
SUITE = """
name: tiny
datasets: [digits]
views: none
backbones: [mini-clip]
methods: [clip-adapter: {epochs: 20}, tip-adapter-f: {epochs: 20}]
shots: [1, 2]
seeds: SEEDS
test_rows_per_class: 5
"""
SEEDS = ([1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7])  # of the first run, and of the next
FILES = ("predictions.parquet", "prompt.safetensors")


class Clock:
    """The seconds by which it is off.

    Args:
        folder: Gets the library, and the file that it looks at.
    """

    def __init__(self, folder):
        self.file, library = folder / "clock", folder / "clock.so"
        source = Path(__file__).with_name("jumping_clock.c")
        built = [COMPILER, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"]
        subprocess.run(built, check=True)
        self.file.write_bytes(struct.pack("q", 0))
        self.env = {"LD_PRELOAD": str(library), "TESTS_CLOCK": str(self.file)}

    def set(self, seconds):
        with self.file.open("r+b") as file:  # the same file, which processes have mapped
            file.write(struct.pack("q", seconds))


class Place:
    """A store, and runs of the suite in it."""

    def __init__(self, folder, clock=None):
        folder.mkdir()
        self.store = Store(folder / "store")
        self.folder, self.clock, self.running = folder, clock, []
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
        self.env = {**kept, **(clock.env if clock else {})}

    def start(self, seeds):
        suite = self.folder / "tiny.yaml"
        suite.write_text(SUITE.replace("SEEDS", str(seeds)))
        command = [*SHOTBOARD, "run", suite, "--home", self.store.home, "--workers", "1", "--json"]
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def until(self, count, process):
        """Returns once so many trials are there."""
        deadline = time.monotonic() + SECONDS
        while len(self.store.done()) < count:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "no trial within the time"
            time.sleep(0.05)

    def end(self, process):
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, err
        assert "Traceback" not in err
        return json.loads(out)

    def trials(self):
        """The bytes of what each trial computed."""
        return {
            folder.name: [(folder / name).read_bytes() for name in FILES]
            for folder in self.store.trials.iterdir()
        }

    def stop(self):
        for process in self.running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def jumped(tmp_path_factory):
    """On by a day and back by an hour while two runs share trials; back by a day in a third."""
    folder = tmp_path_factory.mktemp("clock")
    place = Place(folder / "jumps", Clock(folder))
    try:
        one, other = place.start(SEEDS[0]), place.start(SEEDS[0])
        place.until(3, one)
        place.clock.set(DAY)
        place.until(8, one)
        place.clock.set(DAY - HOUR)
        answers = [place.end(one), place.end(other)]
        last = place.start(SEEDS[1])
        place.until(len(SEEDS[0]) * 4 + 2, last)
        place.clock.set(0)
        answers.append(place.end(last))
        answers.append(place.end(place.start(SEEDS[1])))
        yield place, answers
    finally:
        place.stop()


@pytest.fixture(scope="module")
def peaceful(tmp_path_factory):
    """The same trials by a clock that does not jump."""
    place = Place(tmp_path_factory.mktemp("peace") / "peace")
    try:
        yield place, place.end(place.start(SEEDS[1]))
    finally:
        place.stop()


def test_every_trial_is_computed_once_and_is_what_it_is_in_peace(jumped, peaceful):
    place, answers = jumped
    expected = peaceful[0].trials()
    assert len(expected) == 28
    assert place.trials() == expected
    assert not list(place.store.failures.glob("*.json"))
    asked = "SELECT status, reused, computed, elsewhere, failed FROM runs ORDER BY run_id"
    runs = rows(place.store, asked)
    assert sum(run["computed"] for run in runs) == 28
    assert {run["status"] for run in runs} == {"completed"}
    assert answers[-1]["summary"].startswith("28 trials: 0 computed, 28 there already")


def test_the_board_is_the_same(jumped, peaceful):
    (_, (*_, last)), (_, alone) = jumped, peaceful
    assert last["board"] == alone["board"] != []


def test_no_lease_is_held_on_and_no_run_goes_on(jumped):
    place, _ = jumped
    assert not place.store.leases.is_dir() or list(place.store.leases.iterdir()) == []
    assert [draft for draft in place.store.trials.iterdir() if draft.name[0] == "."] == []


def test_nothing_took_less_than_no_time(jumped, monkeypatch):
    from mlflow import MlflowClient

    from tasks.pages.run_list import run_rows

    place, _ = jumped
    for trial in place.store.done():
        cost = place.store.result(trial)["cost"]
        assert 0 <= cost["tune_seconds"] < HOUR
        assert 0 <= cost["evaluate_seconds"] < HOUR
    assert all(run["seconds"] >= 0 for run in run_rows(place.store))
    ends = "SELECT count(*) AS wrong FROM runs WHERE ended_at < started_at"
    assert rows(place.store, ends) == [{"wrong": 0}]
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = MlflowClient(place.store.mlflow_uri)
    for run in client.search_runs([e.experiment_id for e in client.search_experiments()]):
        assert run.info.status == "FINISHED"
        assert run.info.end_time >= run.info.start_time
