"""Whole runs over a bucket: two at once in working copies of their own, and what a third sees."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from tasks.environment import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.served, pytest.mark.timeout(1500)]
SUITE = {
    "name": "small",
    "datasets": ["digits"],
    "backbones": ["mini-clip"],
    "methods": ["zero-shot", "tip-adapter", {"coop": {"epochs": 2}}],
    "shots": [1],
    "seeds": [1, 2, 3],
    "test_rows_per_class": 5,
}
TRIALS = 7


@pytest.fixture
def run(tmp_path, s3):
    """Starts a command as a node by some name; gives the process."""
    started = []

    def start(node, *arguments):
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW"))},
            **s3.environment,
            "SHOTBOARD_CACHE": str(tmp_path / "nodes" / node),
            "SHOTBOARD_HOME": s3.url,
        }
        code = "from flows.cli import main; main()"
        command = [sys.executable, "-c", code, *map(str, arguments)]
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(300)


def finished(process):
    out, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err
    return out


def test_two_runs_at_once_over_a_bucket_leave_each_trial_once_and_one_board(run, s3, tmp_path):
    suite = tmp_path / "small.yaml"
    suite.write_text(yaml.safe_dump(SUITE))
    s3.faults.plan("busy", "PUT", "/blobs/", times=3)
    s3.faults.plan("lost", "PUT", "/trials/", times=2)
    s3.faults.plan("cut", "GET", "/files/", times=1)
    both = [run(name, "run", suite, "--workers", 1, "--json") for name in ("a", "b")]
    boards = [json.loads(finished(process))["board"] for process in both]
    assert boards[0] == boards[1]

    count = "SELECT count(*) AS n, count(DISTINCT trial_id) AS ids FROM trials"
    (row,) = json.loads(finished(run("reader", "sql", count, "--json")))
    assert row == {"n": TRIALS, "ids": TRIALS}
    plan = json.loads(finished(run("c", "plan", suite, "--json")))
    assert [trial["done"] for trial in plan["trials"]] == [True] * TRIALS
    runs = json.loads(finished(run("c", "runs", "--json")))
    assert [each["status"] for each in runs] == ["completed"] * 2
