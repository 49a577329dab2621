"""Two whole runs over one store at once, as processes: what each computes, and what both leave."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tasks.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 600  # of both runs; less than a minute where nothing else runs
pytestmark = [pytest.mark.slow, pytest.mark.served, pytest.mark.timeout(1500)]
SUITE = """
name: {name}
datasets: [digits]
views: none
backbones: [mini-clip]
methods: [zero-shot, tip-adapter, coop: {{epochs: 20, n_context: 4}}]
shots: {shots}
seeds: [1, 2, 3, 4, 5, 6]
test_rows_per_class: 5
"""


class Place:
    """A store that two runs of suites use at once."""

    def __init__(self, folder):
        self.store = Store(folder / "store")
        self.suites = []
        for name, shots in (("one", "[1, 2, 4]"), ("one", "[1, 2, 4]"), ("other", "[2, 4, 8]")):
            self.suites.append(folder / f"{name}.yaml")
            self.suites[-1].write_text(SUITE.format(name=name, shots=shots))
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
        self.env = {**kept, "SHOTBOARD_HOME": str(self.store.home)}

    def start(self, suite):
        command = [sys.executable, "-c", "from flows.cli import main; main()", "run", str(suite)]
        return subprocess.Popen(
            [*command, "--workers", "1", "--json"],
            cwd=ROOT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def ended(place):
    """Three runs at once, two of them of the same suite: code, answer and what was said of each."""
    running = [place.start(suite) for suite in place.suites]
    try:
        said = [process.communicate(timeout=SECONDS) for process in running]
    finally:
        for process in running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return [(p.returncode, o and json.loads(o), e) for p, (o, e) in zip(running, said, strict=True)]


def test_all_end_well_and_say_nothing_of_each_other_but_that_they_wait(ended):
    for code, _, said in ended:
        assert code == 0, said
        assert not re.search("Traceback|locked|error", said), said


def test_each_trial_is_computed_by_one_of_them(place, ended):
    counted = [
        re.match(r"(\d+) trials: (\d+) computed", answer["summary"]) for _, answer, _ in ended
    ]
    assert len({match[1] for match in counted}) == 1
    done = place.store.done()
    assert len(done) == 1 + 4 * 2 * 6
    assert sum(int(match[2]) for match in counted) == len(done)
    results = [place.store.result(trial) for trial in done]
    by_run = Counter(result["provenance"]["flow_run_id"] for result in results)
    assert sorted(by_run.values()) == sorted(n for m in counted if (n := int(m[2])))
    shared = [answer["summary"] for _, answer, _ in ended if "by another run" in answer["summary"]]
    assert shared
    assert not list(place.store.failures.glob("*.json"))


def test_the_board_has_all_and_says_who_did_what(place, ended):
    from tasks.pages.asking import rows

    (counted,) = rows(place.store, "SELECT count(*) AS n FROM trials WHERE status = 'completed'")
    assert counted["n"] == len(place.store.done())
    runs = rows(place.store, "SELECT planned, reused, computed, elsewhere, status FROM runs")
    assert [run["status"] for run in runs] == ["completed"] * 3
    for run in runs:
        assert run["reused"] + run["computed"] + run["elsewhere"] == run["planned"]


def test_mlflow_has_one_run_a_cell_in_each_experiment_and_none_that_runs(place, ended):
    query = """
        SELECT experiments.name, runs.status, tags.value FROM runs
        JOIN experiments USING (experiment_id)
        LEFT JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = 'cell_id'
        WHERE runs.lifecycle_stage = 'active'
    """
    with closing(sqlite3.connect(place.store.home / "mlflow.db")) as database:
        found = database.execute(query).fetchall()
    assert {status for _, status, _ in found} == {"FINISHED"}
    cells = Counter((name, cell) for name, _, cell in found if cell)
    assert set(cells.values()) == {1}
    assert Counter(name for name, _ in cells) == {"one": 7, "other": 7}


def test_nothing_of_their_sharing_is_left(place, ended):
    assert list(place.store.leases.iterdir()) == []
    assert not list(place.store.published.glob("unfinished-*"))
    for folder in (place.store.home, place.store.trials, place.store.runs):
        assert not [path for path in folder.iterdir() if re.search(r"[.-][0-9a-f]{32}$", path.name)]
