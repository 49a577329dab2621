"""The whole pipeline as a user runs it: Prefect, Ray, MLflow and DuckDB, on a real dataset.

One store serves all tests, in order: a start from nothing, a repetition, a kill, a failure. The
wheel is installed, and run from a folder and an environment as unkind as those of users may be.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tasks.storage import wholeness
from tasks.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 400  # of one command; some 20 s where nothing else runs
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]  # of a test and its fixtures: three commands

MINI = """
name: mini
datasets: [digits]
views: none
methods: [zero-shot, tip-adapter, coop: {epochs: 2, n_context: 4}]
shots: [1]
seeds: [1, 2]
test_rows_per_class: 5
"""
LONG = """
name: long
datasets: [digits]
views: none
methods: [coop: {epochs: 40, n_context: 4}, tip-adapter-f: {epochs: 60, lr: 100}]
shots: [1]
seeds: [1, 2, 3, 4]
test_rows_per_class: 5
"""


DEADLY = """
name: deadly
datasets: [digits]
views: none
methods: [zero-shot, exits, hangs, quits]
shots: [1]
seeds: [1]
test_rows_per_class: 5
time_limit: 30
"""
# Methods that the installed package has beside its own: each does a thing to its worker.
METHODS = """

def _method(does):
    class Deadly(METHODS["zero-shot"]):
        def logits(self, batch):
            does()

    return Deadly


import os, sys, time
METHODS = {
    **METHODS,
    "exits": _method(lambda: os._exit(3)),
    "hangs": _method(lambda: time.sleep(3600)),
    "quits": _method(lambda: sys.exit("enough")),
}
"""
NOWHERE = "http://127.0.0.1:9"
UNKIND = {
    **{name: NOWHERE for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY")},
    "RAY_ADDRESS": "127.0.0.1:9",
    "MLFLOW_RUN_ID": "0" * 32,
    "MLFLOW_EXPERIMENT_NAME": "another",
    "PYTHONSTARTUP": "/there/is/no/such.py",
}
THEIRS = ("tasks.py", "flows.py", "operators/__init__.py", "data_catalog/__init__.py", "torch.py")


def install(folder):
    """Builds the wheel and installs it; returns where."""
    source, wheels, site = (folder / name for name in ("source", "wheels", "site"))
    for name in ("shotboard", "flows", "tasks", "operators", "data_catalog"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-deps", "--no-index"]
    build = [*pip, "wheel", *alone, "--no-build-isolation", "--wheel-dir", wheels, source]
    subprocess.run(build, check=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "install", *alone, "--no-compile", "--target", site, wheel], check=True)
    return site


def project(folder):
    """A working folder that has modules of our names, and of a library."""
    for name in THEIRS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"raise SystemExit('{name} of the user was imported')\n")
    return folder


class Finished:
    """What a command said, and its exit code."""

    def __init__(self, done):
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr


class Killed(NamedTuple):
    """What a run that was killed left behind."""

    there: set[str]
    times: dict[Path, int]
    failures: dict[str, str]
    processes: dict[int, str]


class Place:
    """A store, two suites, and a command line that uses them."""

    def __init__(self, folder):
        self.store = Store(folder / "store")
        self.suites = {}
        for name, text in (("mini", MINI), ("long", LONG), ("deadly", DEADLY)):
            self.suites[name] = folder / f"{name}.yaml"
            self.suites[name].write_text(text)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT_", "MLFLOW_")) and name.upper() != "NO_PROXY"
        }
        self.site, self.folder = install(folder), project(folder / "project")
        with (self.site / "operators" / "methods" / "__init__.py").open("a") as package:
            package.write(METHODS)
        deep = folder / "a-folder-for-temporary-files-with-a-name-as-long-as-those-of-clusters"
        deep.mkdir()
        self.env = {
            **kept,
            **UNKIND,
            "TMPDIR": str(deep),
            "PYTHONPATH": str(self.site),
            "SHOTBOARD_HOME": str(self.store.home),
        }

    def start(self, suite, workers):
        return subprocess.Popen(
            [
                *(sys.executable, self.site / "bin" / "shotboard"),
                *("run", str(self.suites[suite]), "--json", "--workers", str(workers)),
            ],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, suite, workers=2):
        process = self.start(suite, workers)
        try:
            out, err = process.communicate(timeout=SECONDS)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
        return Finished(subprocess.CompletedProcess([], process.returncode, out, err))

    def processes(self):
        """Ids and names of the processes of this store, found by their environment.

        Ray's two agents are left out: idle, they wait a minute for the head that was killed.
        """
        mark = f"SHOTBOARD_HOME={self.store.home}\0".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has just ended, or is somebody else's
                if mark in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "comm").read_text().strip()
        agents = ("ray::DashboardA", "ray::RuntimeEnv")
        return {process: name for process, name in found.items() if name not in agents}

    def sql(self, query):
        from tasks.pages.asking import rows

        return rows(self.store, query)

    def failures(self):
        """When each trial that has failed did so last."""
        files = self.store.failures.glob("*.json")
        return {path.stem: json.loads(path.read_text())["failed_at"] for path in files}

    def times(self):
        """When each file of each trial was written."""
        return {
            path.relative_to(self.store.trials): path.stat().st_mtime_ns
            for trial in self.store.done()
            for path in (self.store.trial(trial), *self.store.trial(trial).iterdir())
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("benchmark"))


@pytest.fixture(scope="module")
def first(place):
    return place.run("mini")


@pytest.fixture(scope="module")
def second(place, first):
    """The same again, after the board was lost."""
    before = place.times(), place.sql(BOARD)
    for path in place.store.home.glob("*leaderboard*"):
        path.unlink()
    return place.run("mini"), *before


BOARD = "SELECT * EXCLUDE (rank) FROM leaderboard ORDER BY ALL"


def test_a_run_ends_with_a_board(place, first):
    assert first.code == 0, first.err
    said = json.loads(first.out)
    assert said["summary"] == "5 trials: 5 computed."
    assert {(row["method"], row["shots"], row["n"]) for row in said["board"]} == {
        ("zero-shot", 0, 1),
        ("tip-adapter", 1, 2),
        ("coop", 1, 2),
    }
    counted = "SELECT status, count(*) AS n, count(DISTINCT trial_id) AS ids FROM trials GROUP BY 1"
    assert place.sql(counted) == [{"status": "completed", "n": 5, "ids": 5}]


def test_a_run_says_what_it_does_and_no_library_speaks(first):
    lines = first.err.splitlines()
    assert lines[0].startswith("suite mini: digits x zero-shot, tip-adapter, coop x effnet-minilm")
    assert [line for line in lines[1:] if not line.startswith("  ")] == []


def test_the_board_equals_a_recomputation_from_the_predictions(place, first):
    import duckdb

    from operators.board import audit

    with duckdb.connect(place.store.board, read_only=True) as connection:
        assert audit(connection) == []


def test_the_board_equals_the_trial_folders(place, first):
    written = {
        (result["trial_id"], metric["split"], metric["metric"], metric["value"], metric["n"])
        for result in place.store.results()
        for metric in result["metrics"]
    }
    shown = {tuple(row.values()) for row in place.sql("FROM metrics")}
    assert shown == written
    assert len({trial for trial, *_ in written}) == 5


@pytest.mark.filterwarnings("ignore::FutureWarning:mlflow")
@pytest.mark.filterwarnings("ignore::UserWarning:mlflow")
def test_mlflow_holds_the_same_numbers(place, first, monkeypatch):
    from tasks.publishing.publish import verify

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert len(list(place.store.published.glob("*.json"))) >= 3
    assert verify(place.store) == []


def test_trials_know_where_they_come_from(place, first):
    (row,) = place.sql("SELECT DISTINCT suite, flow_run_id, device FROM trials")
    assert row["suite"] == "mini"
    assert row["flow_run_id"]
    assert row["device"] == "cpu"


def test_a_repetition_computes_nothing(place, second):
    again, times, _ = second
    assert again.code == 0, again.err
    assert json.loads(again.out)["summary"] == "5 trials: 0 computed, 5 there already."
    assert place.times() == times


def test_a_board_that_was_lost_comes_back_row_for_row(place, second):
    _, _, rows = second
    assert len(rows) > 3
    assert place.sql(BOARD) == rows


@pytest.fixture(scope="module")
def killed(place, second):
    """Kills the driver of a long run once trials are there and others failed; what is left."""
    before = place.store.done()
    process = place.start("long", workers=2)
    try:
        deadline = time.monotonic() + SECONDS
        while not place.store.done() - before or not place.failures():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline, "no trial within the time"
            time.sleep(0.02)
        assert len(place.processes()) > 3 or sys.platform != "linux"
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 180
        while place.processes() and time.monotonic() < deadline:
            time.sleep(0.2)
        there = place.store.done() - before
        return Killed(there, place.times(), place.failures(), place.processes())
    finally:
        for left in place.processes():
            with suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)
        process.stdout.close()
        process.stderr.close()


@pytest.fixture(scope="module")
def resumed(place, killed):
    return place.run("long", workers=1)


def test_a_killed_run_leaves_no_process_behind(killed):
    assert killed.processes == {}


def test_what_a_killed_run_had_committed_is_not_computed_again(place, killed, resumed):
    there = len(killed.there)  # all four where their seeds were tuned together
    assert 1 <= there <= 4
    now = place.times()
    assert {path: now.get(path) for path in killed.times} == killed.times
    said = json.loads(resumed.out)["summary"]
    assert said == f"8 trials: {4 - there} computed, {there} there already, 4 failed."


def test_every_trial_is_on_the_board_once(place, resumed):
    query = "SELECT seed, count(*) AS n FROM trials WHERE suite = 'long' AND status = 'completed'"
    rows = place.sql(f"{query} GROUP BY seed ORDER BY seed")
    assert rows == [{"seed": seed, "n": 1} for seed in (1, 2, 3, 4)]
    (count,) = place.sql("SELECT count(*) AS n FROM trials WHERE status = 'completed'")
    assert count["n"] == len(place.store.done()) == 9


def test_a_trial_that_fails_costs_itself_alone_and_the_exit_code(place, resumed):
    assert resumed.code == 1, resumed.err
    failed = [line for line in resumed.err.splitlines() if line.startswith("failed ")]
    assert len(failed) == 4
    assert "Traceback" not in resumed.err
    rows = place.sql("SELECT method, error FROM trials WHERE status = 'failed'")
    assert [row["method"] for row in rows] == ["tip-adapter-f"] * 4
    assert all("try a smaller lr" in row["error"] for row in rows)


def test_a_failed_trial_is_tried_again(place, killed, resumed):
    assert killed.failures
    now = place.failures()
    assert len(now) == 4
    assert [trial for trial, at in killed.failures.items() if now[trial] == at] == []


@pytest.fixture(scope="module")
def torn(place, resumed):
    """A trial that was there, of which the end is lost, and when the files of all were written."""
    query = "SELECT trial_id FROM trials WHERE suite = 'mini' AND method = 'zero-shot'"
    trial = place.sql(query)[0]["trial_id"]
    times = place.times()
    path = place.store.trial(trial) / "predictions.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    return trial, times


@pytest.fixture(scope="module")
def deadly(place, torn):
    """A run of methods that cost their worker, which needs the torn trial too."""
    return place.run("deadly", workers=2)


def test_a_torn_trial_is_moved_aside_and_computed_again(place, torn, deadly):
    trial, before = torn
    assert f"computed again, since damaged on disk (1 in all): {trial}: " in deadly.err
    (aside,) = place.store.home.glob(f"replaced/*/{trial}")
    assert (aside / "trial.json").is_file()
    assert wholeness.torn(place.store, [trial], every=True) == {}
    now = place.times()
    others = {path: at for path, at in before.items() if path.parts[0] != trial}
    assert {path: now[path] for path in others} == others


def test_trials_that_cost_their_worker_fail_alone_with_the_reason(place, deadly):
    assert deadly.code == 1, deadly.err
    said = json.loads(deadly.out)
    assert said["summary"] == "4 trials: 1 computed, 3 failed."
    assert [row["method"] for row in said["board"]] == ["zero-shot"]
    assert "Traceback" not in deadly.err
    query = "SELECT method, error FROM trials WHERE status = 'failed' AND suite = 'deadly'"
    errors = place.sql(query)
    died, late, quit_ = (row["error"] for row in sorted(errors, key=lambda row: row["method"]))
    assert died.startswith("its worker died in all of 3 tries: its process ended without a word")
    assert late.startswith("it took longer than its time limit of 30 s")
    assert quit_ == "SystemExit: enough"
    assert all(f": {error}" in deadly.err for error in (died, late, quit_))
