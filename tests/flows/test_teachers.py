"""Teachers and students in a real run: who comes first, what is on the board, what a failure costs.

One run serves all tests: two students of each seed, and the teacher of one of them cannot be tuned.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
SHOTBOARD = [sys.executable, "-c", "from flows.cli import main; main()"]
SECONDS = 400  # of the run; some 25 s where nothing else runs
pytestmark = [pytest.mark.slow, pytest.mark.served, pytest.mark.timeout(900)]

SUITE = """
name: taught
datasets: [pets]
backbones: [{backbone}]
protocols: [base_to_new]
shots: [1]
seeds: [1, 2]
methods:
  - zero-shot
  - promptkd: {{epochs: 2, kd_weight: 1.0, teacher_backbone: {teacher},
      teacher_hyperparameters: {{epochs: 2}}}}
  - promptkd: {{epochs: 2, kd_weight: 1.0, teacher_backbone: {teacher},
      teacher_hyperparameters: {{epochs: 8, lr: 100, weight_decay: 10, batch_size: 1}}}}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("teachers") / "store")


@pytest.fixture(scope="module")
def run(store, clip_folder, pictures, shotboard):
    folder = store.home.parent
    shutil.copytree(clip_folder, folder / "larger")
    suite = folder / "taught.yaml"
    suite.write_text(SUITE.format(backbone=clip_folder, teacher=folder / "larger"))
    added = shotboard("datasets", "add", "pets", "--path", pictures, "--home", store.home)
    assert added.code == 0, added.err
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    return subprocess.run(
        [*SHOTBOARD, "run", str(suite), "--json", "--workers", "1"],
        cwd=ROOT,
        env={**kept, "SHOTBOARD_HOME": str(store.home)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def results(store, method):
    return [each for each in store.results() if each["spec"]["method"] == method]


def test_teachers_nobody_asked_for_are_shown_as_what_they_are(run):
    assert "promptkd learns from a teacher: 4 trials of promptsrc on larger added." in run.stderr
    said = json.loads(run.stdout)
    assert said["summary"].startswith("9 trials: 5 computed, 4 failed.")
    rows = {(row["method"], row["backbone"], row["n"]) for row in said["board"]}
    assert rows == {
        ("zero-shot", "tiny-clip", 1),
        ("promptsrc", "larger", 2),
        ("promptkd", "tiny-clip", 2),
    }


def test_students_learn_from_the_teacher_of_their_seed_when_it_is_done(run, store):
    teachers = results(store, "promptsrc")
    students = results(store, "promptkd")
    assert len(students) == len(teachers) == 2
    for student in students:
        own = student["spec"]["teacher"]
        (teacher,) = [each for each in teachers if each["spec"] == own]
        assert own["seed"] == student["spec"]["seed"]
        assert teacher["provenance"]["started_at"] < student["provenance"]["started_at"]


def test_a_teacher_that_fails_fails_its_students_and_nobody_else(run, store):
    assert run.returncode == 1
    errors = [json.loads(file.read_text()) for file in store.failures.glob("*.json")]
    assert sorted(each["spec"]["method"] for each in errors) == ["promptkd"] * 2 + ["promptsrc"] * 2
    found = {each["spec"]["method"]: each["error"] for each in errors}
    assert "try a smaller lr" in found["promptsrc"]
    assert "its teacher, promptsrc on larger" in found["promptkd"]
    assert "try a smaller lr" in found["promptkd"]
