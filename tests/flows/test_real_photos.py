"""Zero-shot on real photographs through the whole pipeline, from a user's own file."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOTBOARD = [sys.executable, "-c", "from flows.cli import main; main()"]
pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(1200)]

SUITE = """
datasets: [caltech]
methods: [zero-shot]
"""
ROWS = {"train": 1, "test": 3}  # of each class


@pytest.fixture
def caltech(tmp_path):
    """Four photos of each class: decoding all of them takes longer than the rest of the test."""
    data = Path(os.environ.get("SHOTBOARD_DATA") or ROOT.parent / "shared" / "data")
    path = data / "caltech101" / "data.parquet"
    if not path.is_file():
        pytest.skip(f"no Caltech-101 at {path}; SHOTBOARD_DATA names another folder")
    table, kept, seen = pq.read_table(path), [], Counter()
    places = zip(table["split"].to_pylist(), table["label"].to_pylist(), strict=True)
    for row, place in enumerate(places):
        if seen[place] < ROWS.get(place[0], 0):
            kept.append(row)
        seen[place] += 1
    pq.write_table(table.take(kept), tmp_path / "photos.parquet")
    return tmp_path / "photos.parquet"


@pytest.fixture
def shotboard(tmp_path):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    env = {**kept, "SHOTBOARD_HOME": str(tmp_path / "store")}

    def call(*arguments):
        done = subprocess.run(
            [*SHOTBOARD, *arguments],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=1000,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_zero_shot_knows_a_third_of_the_photos_of_caltech(shotboard, caltech, tmp_path):
    suite = tmp_path / "photos.yaml"
    suite.write_text(SUITE)
    shotboard("datasets", "add", "caltech", "--path", str(caltech))
    (row,) = json.loads(shotboard("run", str(suite), "--json", "--workers", "1"))["board"]
    assert (row["dataset"], row["method"], row["shots"]) == ("caltech", "zero-shot", 0)
    assert row["mean"] >= 0.35
