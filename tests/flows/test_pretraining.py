"""`shotboard pretrain` and `shotboard backbones verify`, as a user runs them."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SHOTBOARD = [sys.executable, "-c", "from flows.cli import main; main()"]
SECONDS = 400  # of one command; some 15 s where nothing else runs
pytestmark = pytest.mark.timeout(1500)  # the first test waits for three commands

RECIPE = {
    "name": "tiny",
    "description": "Grey squares and how bright they are.",
    "model": {
        "image_size": 16,
        "patch_size": 8,
        "vision_width": 16,
        "vision_layers": 1,
        "vision_heads": 2,
        "text_width": 16,
        "text_layers": 1,
        "text_heads": 2,
        "projection": 8,
        "context_length": 24,
        "vocabulary": 540,
    },
    "training": {"steps": 300, "batch_size": 4, "warmup_steps": 10},
    "evaluate": ["pets"],
    "evaluate_every": 100,
    "checkpoint_every": 20,
}


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """Parquet of twelve grey squares that say how bright they are."""
    images, texts = [], []
    for number in range(12):
        buffer = io.BytesIO()
        Image.fromarray(np.full((16, 16, 3), number * 20, np.uint8)).save(buffer, "PNG")
        images.append(buffer.getvalue())
        texts.append(f"a square of brightness {number}")
    path = tmp_path_factory.mktemp("pairs") / "squares.parquet"
    pq.write_table(pa.table({"image": images, "text": texts}), path)
    return path


def write_recipe(folder, squares, **changes):
    values = {**RECIPE, "data": {"parquet": str(squares)}, **changes}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def refused(shotboard, tmp_path, monkeypatch):
    """Calls the command line in an empty store, and returns the sentence of its refusal."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)

    def call(*arguments):
        answer = shotboard(*arguments, "--home", tmp_path / "store")
        assert answer.code == 2, (answer.out, answer.err, answer.trouble)
        assert answer.out == ""
        assert not (tmp_path / "store").exists()
        return answer.sentence

    return call


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"evaluat": ["digits"]}, "no key of a recipe is called 'evaluat'. Did you mean evaluate"),
        ({"training": {"stepz": 3}}, "is called 'stepz'. Did you mean steps"),
        ({"evaluate": ["digit"]}, "no dataset is called 'digit'. Did you mean digits?"),
    ],
)
def test_a_wrong_recipe_is_one_sentence(refused, tmp_path, squares, changes, said):
    assert said in refused("pretrain", write_recipe(tmp_path, squares, **changes))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--steps", "0"], "--steps 0: give 1 or more."),
        (["--workers", "-1"], "--workers -1: give 0 or more."),
        (["--device", "tpu"], "device 'tpu' is none"),
        (["--data", "absent.parquet"], "no file or folder at"),
    ],
)
def test_a_wrong_option_is_one_sentence(refused, tmp_path, squares, options, said):
    path = write_recipe(tmp_path, squares, evaluate=[])
    assert said in refused("pretrain", path, *options)


def test_a_missing_column_is_one_sentence(refused, tmp_path, squares):
    data = {"parquet": str(squares), "text": "caption"}
    path = write_recipe(tmp_path, squares, evaluate=[], data=data)
    assert "has no column 'caption', chosen as text." in refused("pretrain", path)


def test_an_output_that_is_something_else_is_refused_before_training(refused, tmp_path, squares):
    path = write_recipe(tmp_path, squares, evaluate=[])
    said = refused("pretrain", path, "-o", tmp_path)
    assert "is there already and is not this model" in said


def test_a_backbone_without_figures_cannot_be_verified(refused, clip_folder):
    assert "no figures to verify" in refused("backbones", "verify", clip_folder)
    assert "is of family effnet-minilm" in refused("backbones", "verify", "effnet-minilm")
    assert "no backbone is called 'clap'" in refused("backbones", "verify", "clap")


def test_the_flow_is_deployed():
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    (ours,) = (d for d in deployments if d["name"] == "pretrain")
    assert ours["entrypoint"] == "flows/pretraining.py:pretrain"


class Place:
    """A store with a dataset, a recipe, and a command line that uses them."""

    def __init__(self, folder, squares):
        self.folder = folder
        self.home = folder / "store"
        self.recipe = write_recipe(folder, squares)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
        self.env = {**kept, "SHOTBOARD_HOME": str(self.home)}

    def start(self, *arguments):
        return subprocess.Popen(
            [*SHOTBOARD, *map(str, arguments)],
            cwd=ROOT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def pretrain(self, *arguments):
        more = ("--workers", 0, "--threads", 1, "--json")
        process = self.start("pretrain", self.recipe, *more, *arguments)
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, f"{out}\n{err}"
        return json.loads(out)

    @property
    def run(self):
        (folder,) = (self.home / "pretraining").iterdir()
        return folder

    def step(self):
        try:
            return json.loads((self.run / "state.json").read_text())["step"]
        except (OSError, ValueError):
            return 0


@pytest.fixture(scope="module")
def place(tmp_path_factory, squares, pictures, shotboard):
    place = Place(tmp_path_factory.mktemp("place"), squares)
    added = shotboard("datasets", "add", "pets", "--path", pictures, "--home", place.home)
    assert added.code == 0
    return place


@pytest.fixture(scope="module")
def killed(place):
    """The store after a training that was killed with SIGKILL between two checkpoints."""
    process = place.start("pretrain", place.recipe, "--workers", 0, "--threads", 1)
    deadline = time.monotonic() + SECONDS
    while place.step() < 60 if (place.home / "pretraining").is_dir() else True:
        assert time.monotonic() < deadline
        if process.poll() is not None:
            pytest.fail("\n".join(process.communicate()))
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert 60 <= place.step() < 300
    assert not (place.run / "model").exists()
    return place


@pytest.fixture(scope="module")
def resumed(killed):
    """What the same command said after the kill."""
    return killed.pretrain()


class Silent:
    """In the place of the tracker and the progress artifact."""

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def log(self, step, values):
        pass

    def show(self, done):
        pass


@pytest.mark.slow
@pytest.mark.served
def test_a_killed_training_ends_with_the_same_losses(resumed, place, tmp_path, monkeypatch):
    from tasks.pretraining import pretrain
    from tasks.pretraining.pretrain_run import PretrainingRun
    from tasks.pretraining.recipe import read_recipe
    from tasks.storage.store import Store

    monkeypatch.setattr(pretrain, "Tracker", Silent)
    monkeypatch.setattr(pretrain, "ProgressArtifact", Silent)
    whole = PretrainingRun.of(Store(tmp_path), read_recipe(place.recipe))
    with whole.locked():
        pretrain.learn_tokenizer.fn(whole)
        pretrain.train.fn(whole, [], None, device="cpu", threads=1, git_commit=None)
    losses = whole.losses.read_bytes()
    assert len(losses.splitlines()) == 300
    assert (place.run / "losses.jsonl").read_bytes() == losses
    assert resumed["state"]["starts"] == 2
    steps = [json.loads(line)["step"] for line in (place.run / "evaluations.jsonl").open()]
    assert steps == [100, 200, 300]


@pytest.mark.slow
@pytest.mark.served
def test_mlflow_has_one_run_with_every_number_once_and_a_model(resumed, place):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place.home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("pretraining")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["steps"] == "300"
    for name in ("loss", "scale", "in_batch_accuracy"):
        steps = [point.step for point in client.get_metric_history(run.info.run_id, name)]
        assert sorted(steps) == list(range(1, 301))
    validation = client.get_metric_history(run.info.run_id, "val_accuracy/pets")
    assert sorted(point.step for point in validation) == [100, 200, 300]
    assert {"pairs_per_second", "wait_share", "test_accuracy/pets"} <= set(run.data.metrics)
    (version,) = client.search_model_versions("name='tiny'")
    assert str(version.version) == resumed["published"]["version"]
    names = {item.path for item in client.list_artifacts(run.info.run_id, "model")}
    assert {"model/model.safetensors", "model/README.md", "model/results.json"} <= names


@pytest.mark.slow
@pytest.mark.served
def test_run_again_it_says_that_all_is_done(resumed, place):
    model = place.run / "model"
    before = {path: path.stat().st_mtime_ns for path in model.iterdir()}
    again = place.pretrain("-o", place.folder / "copy")
    assert again["there_already"]
    assert not resumed["there_already"]
    assert again["results"] == resumed["results"]
    assert {path: path.stat().st_mtime_ns for path in model.iterdir()} == before
    assert sorted(os.listdir(place.folder / "copy")) == sorted(path.name for path in before)  # noqa: PTH208


@pytest.mark.slow
@pytest.mark.served
def test_anyone_can_compute_the_figures_of_the_card_again(resumed, place, shotboard):
    model = place.run / "model"
    (found,) = shotboard("backbones", "verify", model, "--home", place.home, "--json").json
    assert (found["dataset"], found["agrees"]) == ("pets", True)
    assert found["found"] == resumed["results"][0]["accuracy"]
    results = json.loads((model / "results.json").read_text())
    results["results"][0]["correct"] += 5
    changed = place.folder / "changed"
    changed.mkdir()
    for path in model.iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    (changed / "results.json").write_text(json.dumps(results))
    answer = shotboard("backbones", "verify", changed, "--home", place.home)
    assert answer.code == 1
    assert "0 of 1 figures agree." in answer.out
