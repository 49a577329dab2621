"""An MLflow database that cannot be used: before a run, and from the middle of one on."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.pages.asking import rows
from tasks.storage.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.served, pytest.mark.timeout(1500)]
ROOT = Path(__file__).resolve().parents[2]
SHOTBOARD = [sys.executable, "-c", "from flows.cli import main; main()"]
SUITE = """
name: tiny
datasets: [digits]
views: none
backbones: [mini-clip]
methods: [./damaging.py:Damaging, zero-shot, tip-adapter]
shots: [1]
seeds: [1]
test_rows_per_class: 5
"""
DAMAGING = """
from pathlib import Path

from operators.methods import METHODS


class Damaging(METHODS["zero-shot"]):
    def logits(self, batch):
        Path({place!r}).write_bytes(b"noise" * 1000)
        return super().logits(batch)
"""


@pytest.fixture
def run(tmp_path):
    """Runs the suite, in whose middle the database is filled with noise."""
    store = Store(tmp_path / "store")
    place = str(store.home / "mlflow.db")
    (tmp_path / "damaging.py").write_text(DAMAGING.format(place=place))
    (tmp_path / "tiny.yaml").write_text(SUITE)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}

    def ask():
        command = [*SHOTBOARD, "run", str(tmp_path / "tiny.yaml"), "--home", str(store.home)]
        return subprocess.run(
            [*command, "--workers", "1", "--json"],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=900,
        )

    return ask, store


def test_damage_costs_no_trial_is_told_at_the_end_and_at_the_next_start_with_the_way_out(run):
    ask, store = run
    broken = ask()
    assert broken.returncode == 1, broken.stderr
    assert "Traceback" not in broken.stderr
    (told,) = re.findall("^error: (.*)$", broken.stderr, re.M)
    assert told.startswith(f"MLflow cannot be written: {store.home / 'mlflow.db'} ")
    assert "What was computed stays" in broken.stderr
    done = store.done()
    assert len(done) == 3
    assert len(rows(store, "FROM trials WHERE status = 'completed'")) == 3

    manifests = sorted(store.runs.iterdir())
    refused = ask()
    assert refused.returncode == 2
    assert refused.stderr == f"error: {told}\n"
    assert sorted(store.runs.iterdir()) == manifests  # nothing was begun

    (way_out,) = re.findall("`(mv .*?)`", told)
    subprocess.run(shlex.split(way_out), check=True)
    again = ask()
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["summary"].startswith("3 trials: 0 computed, 3 there already")
    assert "3 cells to MLflow" in again.stderr
    assert store.done() == done
