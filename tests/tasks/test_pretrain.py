"""The training loop and the card, without Prefect, Ray and MLflow: those are in tests/flows."""

import io
import json
import signal
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.computing.device import device_for, device_kind, workers_for
from tasks.planning.resolve import RequestError
from tasks.pretraining import pretrain
from tasks.pretraining.heldout import RESULTS, read_results
from tasks.pretraining.model_card import CARD, export
from tasks.pretraining.pretrain import learn_tokenizer, train
from tasks.pretraining.pretrain_run import PretrainingRun
from tasks.pretraining.recipe import make_recipe, override

MODEL = {
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
}
TRAINING = {"steps": 8, "batch_size": 4, "warmup_steps": 2, "keep_patches": 0.5}


class Silent:
    """In the place of the tracker or of a progress artifact; remembers what it was told."""

    told: list[tuple[int, dict[str, float]]]

    def __init__(self, *_):
        type(self).told = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def log(self, step, values):
        self.told.append((step, dict(values)))

    def show(self, done):
        pass


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.setattr(pretrain, "Tracker", Silent)
    monkeypatch.setattr(pretrain, "ProgressArtifact", Silent)


@pytest.fixture
def pairs(tmp_path):
    """Twelve grey squares that say how bright they are, and one broken one."""
    images, texts = [b"broken"], ["a square that nobody can see"]
    for number in range(12):
        buffer = io.BytesIO()
        Image.fromarray(np.full((20, 16, 3), number * 20, np.uint8)).save(buffer, "PNG")
        images.append(buffer.getvalue())
        texts.append(f"a square of brightness {number}")
    path = tmp_path / "squares.parquet"
    pq.write_table(pa.table({"image": images, "text": texts}), path)
    return path


@pytest.fixture
def asked(pairs):
    values = {
        "name": "tiny",
        "data": {"parquet": str(pairs)},
        "model": MODEL,
        "training": TRAINING,
        "evaluate": ["pets"],
        "evaluate_every": 4,
        "checkpoint_every": 2,
    }
    return make_recipe(values, where="tiny")


@pytest.fixture
def pets(dataset_of):
    return dataset_of()


@pytest.fixture
def trained(asked, store, pets, tmp_path):
    """Trains in a store of its own, from the start or from where it stopped."""
    from tasks.storage.store import Store

    def go(name="store", **changes):
        run = PretrainingRun.of(Store(tmp_path / name), asked.model_copy(update=changes))
        with run.locked():
            learn_tokenizer.fn(run)
            train.fn(run, [pets], None, device="cpu", threads=1, git_commit=None)
        return run

    return go


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_step_leaves_a_line_and_every_evaluation_too(trained):
    run = trained()
    losses = lines(run.losses)
    assert [line["step"] for line in losses] == list(range(1, 9))
    assert set(losses[0]) == {"step", "loss", "scale", "accuracy", "learning_rate"}
    assert [line["step"] for line in lines(run.evaluations)] == [4, 8]
    state = run.state()
    assert (state.step, state.starts, state.threads) == (8, 1, 1)
    assert state.skipped == 1
    assert 0 < state.wait_seconds < state.train_seconds
    assert [path.name for path in run.folder.glob("checkpoint-*")] == [state.checkpoint]


def test_mlflow_is_told_of_losses_pace_and_validation_accuracy(trained):
    run = trained()
    told = {name for _, values in Silent.told for name in values}
    assert told == {
        *("loss", "scale", "in_batch_accuracy", "learning_rate", "pairs_per_second"),
        *("wait_share", "val_accuracy/pets"),
    }
    kept = {(p.name, p.step): p.value for p in run.points()}
    sent = {(name, step): value for step, values in Silent.told for name, value in values.items()}
    assert kept.items() <= sent.items()


def test_a_second_training_has_nothing_to_do(trained):
    run = trained()
    before = run.losses.read_bytes(), run.state()
    trained()
    assert (run.losses.read_bytes(), run.state()) == before


@pytest.mark.parametrize("at", [1, 5, 6])
def test_a_training_that_dies_goes_on_as_if_it_had_not(trained, monkeypatch, at):
    class Dying(Silent):
        def log(self, step, values):
            if step == at:
                raise OSError("no space left on device")

    whole = trained("whole")
    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "Tracker", Dying)
        with pytest.raises(OSError, match="no space"):
            trained("cut")
    cut = trained("cut")
    assert cut.losses.read_bytes() == whole.losses.read_bytes()
    assert cut.evaluations.read_bytes() == whole.evaluations.read_bytes()
    assert cut.run_id == whole.run_id


def test_what_was_being_written_when_it_died_is_cut(trained):
    run = trained()
    whole = run.losses.read_bytes()
    state = replace(run.state(), step=8)
    run.losses.write_bytes(whole + b'{"step": 9, "loss": 1.0}\n{"step": 10, "lo')
    assert state == run.state()
    trained()
    assert run.losses.read_bytes() == whole


def test_ctrl_c_leaves_a_checkpoint_of_the_very_step(trained, monkeypatch):
    class Stopping(Silent):
        def log(self, step, values):
            if step == 5:
                signal.raise_signal(signal.SIGINT)

    # A shell starts jobs in the background deaf to Ctrl-C, tests among them.
    asked = signal.signal(signal.SIGINT, signal.default_int_handler)
    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "Tracker", Stopping)
        with pytest.raises(KeyboardInterrupt):
            trained("cut")
    assert signal.signal(signal.SIGINT, asked) is signal.default_int_handler
    cut = trained("cut")
    assert cut.state().starts == 2
    assert cut.losses.read_bytes() == trained("whole").losses.read_bytes()


def test_two_processes_do_not_train_the_same_run(asked, store):
    run = PretrainingRun.of(store, asked)
    with (
        run.locked(),
        pytest.raises(RequestError, match="another process trains run"),
        run.locked(),
    ):
        pass


def test_the_id_follows_from_recipe_and_data(asked, store, pairs):
    run_id = PretrainingRun.of(store, asked).run_id
    assert PretrainingRun.of(store, asked.model_copy(update={"evaluate_every": 1})).run_id == run_id
    assert PretrainingRun.of(store, override(asked, seed=1)).run_id != run_id
    assert PretrainingRun.of(store, override(asked, steps=9)).run_id != run_id
    pq.write_table(pq.read_table(pairs).slice(0, 5), pairs)
    assert PretrainingRun.of(store, asked).run_id != run_id


@pytest.fixture
def exported(trained, pets):
    def go(datasets=None):
        run = trained()
        export.fn(
            run,
            [pets] if datasets is None else datasets,
            device="cpu",
            command=["shotboard", "pretrain", "tiny.yaml", "--seed", "0"],
            git_commit=None,
        )
        return run

    return go


def test_the_export_is_a_clip_with_figures_and_a_card(exported):
    from transformers import CLIPModel, CLIPProcessor

    run = exported()
    assert CLIPModel.from_pretrained(run.model).config.projection_dim == 8
    texts = CLIPProcessor.from_pretrained(run.model)(text=["a square"], return_tensors="pt")
    assert texts["input_ids"].shape[0] == 1
    results = read_results(run.model)
    (pets,) = results["results"]
    assert (pets.dataset, pets.split, pets.n) == ("pets", "test", 16)
    assert results["pairs_seen"] == 32
    assert results["rows_skipped"] == 1
    assert results["data"]["signature"] == run.source.signature()
    card = (run.model / CARD).read_text()
    assert card.startswith("---\nlicense: apache-2.0\n")
    for said in (
        f"| pets | {100 * pets.accuracy:.1f} % | {100 * pets.ci95_low:.1f} to ",
        "shotboard pretrain tiny.yaml --seed 0",
        "8 of 4 pairs",
        "1 CPU core",
        "13 pairs in 1 Parquet file at squares.parquet",
        "Could not be read, and passed over: 1 row.",
        "Apache License 2.0",
        "CLIPModel.from_pretrained",
    ):
        assert said in card
    assert str(run.store.home) not in card + (run.model / RESULTS).read_text()


def test_other_datasets_give_another_card_and_the_same_weights(exported, dataset_of, pets):
    run = exported()
    weights = run.model / "model.safetensors"
    before = weights.stat().st_mtime_ns, (run.model / CARD).stat().st_mtime_ns
    exported()
    assert (weights.stat().st_mtime_ns, (run.model / CARD).stat().st_mtime_ns) == before
    exported([pets, dataset_of("birds", template="a drawing of a {}.")])
    assert weights.stat().st_mtime_ns == before[0]
    assert [one.dataset for one in read_results(run.model)["results"]] == ["pets", "birds"]
    assert "a drawing of a {}." in (run.model / CARD).read_text()


def test_a_device_that_is_not_there_is_refused():
    import torch

    assert device_for("cpu") == "cpu"
    for name in ("tpu", "meta"):
        with pytest.raises(RequestError, match=f"device '{name}' is none"):
            device_for(name)
    if not torch.cuda.is_available():
        assert device_for("auto") == "cpu"
        with pytest.raises(RequestError, match="no GPU that torch can use"):
            device_for("cuda")


def test_one_worker_makes_pairs_beside_a_trainer_on_two_cores(monkeypatch):
    monkeypatch.setattr("tasks.computing.device.cores", lambda: 2)
    assert workers_for("cpu", None) == 1
    assert workers_for("cpu", 0) == 0
    monkeypatch.setattr("tasks.computing.device.cores", lambda: 16)
    assert workers_for("cuda", None) == 15
    assert device_kind("cpu", 1) == "1 CPU core"
    assert device_kind("cpu", 2) == "2 CPU cores"
