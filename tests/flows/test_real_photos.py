"""Real photographs through the whole pipeline, from a user's own file: new classes, new domains."""

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
views: none
methods: [zero-shot]
"""
DOMAINS = """
datasets: [pacs-part]
views: none
protocols: [domain_generalization]
shots: [1]
seeds: [1, 2]
methods:
  - zero-shot
  - tip-adapter
  - coop: {epochs: 5}
"""
ROWS = {"train": 1, "test": 3}  # of each class


@pytest.fixture
def caltech(tmp_path, real_data):
    """Four photos of each class: decoding all of them takes longer than the rest of the test."""
    return some_of(real_data / "caltech101" / "data.parquet", tmp_path, "split", "label")


@pytest.fixture
def pacs(tmp_path, real_data):
    """Four pictures of each class in each domain."""
    return some_of(real_data / "pacs" / "data.parquet", tmp_path, "split", "label", "domain")


def some_of(path, folder, *columns):
    """A file of the first rows of each place that the columns say."""
    if not path.is_file():
        pytest.skip(f"no data at {path}; SHOTBOARD_DATA names another folder")
    table, kept, seen = pq.read_table(path), [], Counter()
    places = zip(*(table[column].to_pylist() for column in columns), strict=True)
    for row, place in enumerate(places):
        if seen[place] < ROWS.get(place[0], 0):
            kept.append(row)
        seen[place] += 1
    pq.write_table(table.take(kept), folder / "photos.parquet")
    return folder / "photos.parquet"


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


def test_each_domain_of_pacs_is_recognised_by_what_learned_from_the_others(
    shotboard, pacs, tmp_path
):
    suite = tmp_path / "domains.yaml"
    suite.write_text(DOMAINS)
    shotboard("datasets", "add", "pacs-part", "--path", str(pacs))
    shotboard("run", str(suite), "--workers", "1")
    rows = json.loads(shotboard("sql", "SELECT * FROM domain_generalization", "--format", "json"))
    targets = {(row["method"], row["target"]): row for row in rows}
    domains = ["art_painting", "cartoon", "photo", "sketch"]
    assert len(targets) == len(rows) == 3 * 5
    for method, seeds in (("zero-shot", 1), ("tip-adapter", 2), ("coop", 2)):
        average = targets[method, "AVERAGE"]
        means = [targets[method, domain]["mean"] for domain in domains]
        assert average["mean"] == pytest.approx(sum(means) / 4)
        assert (average["n"], average["covers"]) == (seeds, ", ".join(domains))
        assert average["mean"] >= 0.3  # chance is a seventh
