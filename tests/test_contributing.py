"""The examples of CONTRIBUTING.md do what it says, as they stand there."""

import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PROJECT = Path(__file__).parents[1]
VECTORS = np.random.default_rng(0).random((20, 4), np.float32)
VECTORS[-1, 0] = np.nan
BLOCK = re.compile(
    r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```', re.M | re.S
)
BLOCKS = [match.groupdict() for match in BLOCK.finditer((PROJECT / "CONTRIBUTING.md").read_text())]
TITLED = {block["title"]: block["text"] for block in BLOCKS if block["title"]}
METHOD_FILE, METHOD = "prototype.py", "prototype:Prototype"
BACKBONE_FILE = "squeezed.py"
DATASET_FILE = "data_catalog/datasets/shapes.py"
KIND_FILE = "data_catalog/kinds/feature.py"
PROTOCOL_FILE = "operators/episodes/new_to_base.py"
METRIC_FILE = "operators/metrics/selective.py"


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Imports a block as the module that its title names, in the package where it would lie."""
    folder = tmp_path_factory.mktemp("examples")
    with pytest.MonkeyPatch.context() as patch:

        def load(path):
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(TITLED[path])
            name = path.removesuffix(".py").replace("/", ".")
            package = importlib.import_module(name.rpartition(".")[0])
            patch.setattr(package, "__path__", [str(file.parent), *package.__path__])
            patch.delitem(sys.modules, name, raising=False)
            patch.delattr(package, file.stem, raising=False)
            module = importlib.import_module(name)
            del sys.modules[name]
            delattr(package, file.stem)
            return module

        yield load


@pytest.fixture(scope="module")
def prototype(tmp_path_factory):
    """The file of the example, as somebody has it."""
    file = tmp_path_factory.mktemp("somebody") / METHOD_FILE
    file.write_text(TITLED[METHOD_FILE])
    return file


@pytest.fixture(scope="module")
def shapes(example):
    return example(DATASET_FILE)


@pytest.fixture(scope="module")
def dataset(shapes, tmp_path_factory):
    from data_catalog import ingest

    return ingest(shapes.CARD, tmp_path_factory.mktemp("store") / "shapes")


@pytest.fixture
def method(prototype):
    """The class of the example."""
    from tasks.planning.own_files import place_of
    from tasks.planning.own_methods import load_method

    name, found = load_method(place_of(f"{prototype}:Prototype"))
    assert name == METHOD
    return found


@pytest.fixture
def accuracy_of(method, spec, clip, dataset, drawn_images):
    """Makes the accuracy that a trial of a method reaches on rows of the dataset."""
    from operators.trials.trial import run_trial
    from tasks.planning.data import TrialData

    images = drawn_images(dataset.labels, clip.feature_width)

    def make(name, shots, **hyperparameters):
        trial = spec(method=name, hyperparameters=hyperparameters, dataset="shapes", shots=shots)
        metrics = run_trial(trial, clip, TrialData(dataset), images).metrics
        return next(metric.value for metric in metrics if metric.metric == "accuracy")

    return make


def registered(table, names):
    """The entry that a line of a recipe adds to a dict."""
    line = next(text for title, text in TITLED.items() if title.startswith(f"{table} in "))
    return eval(f"{{{line}}}", dict(names))


def test_the_method_learns_from_labelled_images(accuracy_of):
    assert accuracy_of(METHOD, 16, text_weight=0.0) > 0.9  # chance is a third


def test_the_method_with_all_weight_on_the_text_is_zero_shot(accuracy_of):
    assert accuracy_of(METHOD, 16, text_weight=1.0) == accuracy_of("zero-shot", 0)


def test_the_published_setting_of_the_method_resolves(method):
    from operators.methods.hyperparameters import resolve

    values = resolve(METHOD, method, {}, protocol="few_shot", shots=1)
    assert values == {"text_weight": 0.0}


def test_the_method_refuses_a_weight_that_cannot_work(method):
    from operators.methods.hyperparameters import resolve

    with pytest.raises(ValueError, match="text_weight=2"):
        resolve(METHOD, method, {"text_weight": 2}, protocol="few_shot", shots=1)


def test_the_file_of_the_method_is_short():
    assert len(TITLED[METHOD_FILE].splitlines()) <= 60


@pytest.mark.parametrize("command", ["show", "plan"])
def test_the_backbone_is_shown_and_planned_under_its_own_name(tmp_path, command, monkeypatch):
    from typer.testing import CliRunner

    from flows.cli.app import app

    monkeypatch.chdir(tmp_path)
    (tmp_path / BACKBONE_FILE).write_text(TITLED[BACKBONE_FILE])
    script = next(block["text"] for block in BLOCKS if "backbones show" in block["text"])
    (line,) = [line for line in script.splitlines() if f" {command} " in line]
    home = ["--home", str(tmp_path / "store")] if command == "plan" else []
    answer = CliRunner().invoke(app, [*shlex.split(line)[1:], *home, "--json"])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    names = [told] if command == "show" else told["trials"]
    assert "squeezed:Squeezed" in {row["backbone"] for row in names}


def test_the_backbone_sees_the_whole_image(tmp_path):
    import io

    from PIL import Image

    from tasks.planning.own_backbones import find_backbone

    (tmp_path / BACKBONE_FILE).write_text(TITLED[BACKBONE_FILE])
    wide = Image.fromarray(np.repeat(np.uint8([[0] * 40 + [255] * 40 + [0] * 40]), 40, axis=0))
    wide.save(file := io.BytesIO(), "PNG")
    names = f"{tmp_path / BACKBONE_FILE}:Squeezed", "mini-clip"
    loaded = [which.load(which.describe()) for which in map(find_backbone, names)]
    squeezed, centre = (one.preprocess([file.getvalue()])[0, 0] for one in loaded)
    assert squeezed[:, 0].max() < squeezed[:, 24].min()  # the dark border is there
    assert squeezed[:, 0].max() < centre.min()


@pytest.mark.parametrize("command", ["check", "show"])
def test_the_method_keeps_the_contract_and_is_shown(prototype, command, monkeypatch):
    from typer.testing import CliRunner

    from flows.cli.app import app

    monkeypatch.chdir(prototype.parent)
    script = next(block["text"] for block in BLOCKS if "methods check" in block["text"])
    (line,) = (line for line in script.splitlines() if f"methods {command}" in line)
    answer = CliRunner().invoke(app, shlex.split(line)[1:])
    assert answer.exit_code == 0, answer.output
    assert ("All promises kept." if command == "check" else "text_weight") in answer.output


def test_the_method_is_on_the_board_and_an_edit_makes_other_trials(
    shapes, prototype, clip_folder, tmp_path, monkeypatch
):
    from data_catalog import CATALOG
    from operators.episodes.features import FeatureStore, view_folder
    from tasks.computing.encode import contexts_of
    from tasks.computing.worker import TrialWorker
    from tasks.ingestion.ingest import ingest_dataset
    from tasks.pages.rebuilding import rebuild_board
    from tasks.pages.reports import board_rows
    from tasks.planning.choices import check
    from tasks.planning.encodings import needed_rows
    from tasks.planning.plan import make_plan
    from tasks.planning.suite import read_suite
    from tasks.storage.store import Store

    monkeypatch.setitem(CATALOG, "shapes", shapes.CARD)
    store, file, suite = Store(tmp_path / "store"), tmp_path / METHOD_FILE, tmp_path / "mine.yaml"
    datasets = {"shapes": ingest_dataset("shapes", store)}
    file.write_text(prototype.read_text())
    suite.write_text(
        f"methods: [./{METHOD_FILE}:Prototype, zero-shot]\nbackbones: [{clip_folder}]\n"
        "datasets: [shapes]\nshots: [16]\nseeds: [1, 2]\n"
    )

    def planned():
        request = check(store, read_suite(suite))
        return request, make_plan(store, request, datasets)

    request, plan = planned()
    ((_, context),) = contexts_of(store, request.backbones, plan.specs, datasets, {}).items()
    worker = TrialWorker(store.home, "cpu")
    for view, rows in needed_rows(plan.specs, datasets["shapes"]).items():
        folder = view_folder(context.features, view, context.backbone.precision)
        features = FeatureStore.create(folder, datasets["shapes"].rows, 24)
        features.write(rows, worker.encode(rows, context, "image-classification", view))
    assert [done.error for done in worker.compute(plan.specs, context)] == [""] * 3
    rebuild_board(store)
    rows = {row["method"]: row for row in board_rows(store, plan.specs)}
    assert rows[METHOD]["mean"] > rows["zero-shot"]["mean"]
    assert rows[METHOD]["variant"].startswith("source=")
    assert not planned()[1].missing
    file.write_text(
        prototype.read_text().replace("text_weight: Share = 0.0", "text_weight: Share = 0.5")
    )
    assert len(planned()[1].missing) == 2
    file.write_text(prototype.read_text())
    assert not planned()[1].missing


def test_the_dataset_keeps_the_promises_of_its_card(dataset, shapes):
    assert dataset.card["splits"] == shapes.CARD.split_sizes
    assert dataset.card["duplicates"]["rows"] == 0
    assert dataset.verify() == []


def test_the_card_of_the_dataset_is_filled(shapes):
    card = registered("CATALOG", {"shapes": shapes})["shapes"]
    for field in ("title", "description", "license", "citation", "homepage", "trouble"):
        assert getattr(card, field), field


class Vectors:
    """A source of ten vectors a class; the last of them is not finite."""

    def holds(self):
        return "feature"

    def examples(self):
        from data_catalog import Example

        for number, vector in enumerate(VECTORS):
            yield Example(vector.tobytes(), str(number), number % 2, ("low", "high")[number % 2])

    def total(self):
        return len(VECTORS)

    def signature(self):
        return "vectors of a test"

    def describe(self):
        return "vectors of a test"


@pytest.fixture
def vectors(example, monkeypatch, tmp_path):
    """A dataset of the kind of the recipe, ingested."""
    from data_catalog import KINDS, DatasetCard, ingest

    for name, kind in registered("KINDS", vars(example(KIND_FILE))).items():
        monkeypatch.setitem(KINDS, name, kind)
    return ingest(DatasetCard(name="vectors", kind="feature", source=Vectors()), tmp_path)


def test_a_dataset_of_the_kind_is_read_by_row_and_verified(vectors):
    assert (vectors.kind, vectors.rows) == ("feature", len(VECTORS) - 1)
    assert np.frombuffer(vectors.examples([3])[0], np.float32).tolist() == VECTORS[3].tolist()
    assert vectors.column("width").tolist() == [4] * vectors.rows
    assert vectors.verify() == []


def test_what_is_no_example_of_the_kind_is_set_aside_and_told(vectors):
    assert [row["path"] for row in vectors.quarantined()] == [str(len(VECTORS) - 1)]
    assert vectors.card["doubts"] == ["1 feature set aside: 1 damaged."]


def test_the_commands_that_add_texts_work(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from flows.cli.app import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOTBOARD_HOME", str(tmp_path / "store"))
    lines = [
        f"it was {word} {n},{label}" for n in range(5) for label, word in enumerate(("a", "b"))
    ]
    (tmp_path / "opinions.csv").write_text("\n".join(["verbatim,stars", *lines]))
    script = next(block["text"] for block in BLOCKS if "opinions.csv" in block["text"])
    answer = CliRunner().invoke(app, shlex.split(script.replace("\\\n", ""))[1:])
    assert answer.exit_code == 0, answer.output
    assert "texts: 10: train 4, val 2, test 4" in answer.output


def test_the_commands_that_add_a_folder_work(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from flows.cli.app import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOTBOARD_HOME", str(tmp_path / "store"))
    _write_flowers(tmp_path / "flowers")
    script = next(block["text"] for block in BLOCKS if "add flowers" in block["text"])
    commands = [shlex.split(line)[1:] for line in script.splitlines() if "run" not in line]
    answers = [CliRunner().invoke(app, command) for command in commands]
    assert [answer.exit_code for answer in answers] == [0, 0, 0], [a.output for a in answers]
    assert "a type of flower" in answers[-1].output


def test_the_card_in_yaml_is_one():
    from data_catalog import DatasetCard

    assert DatasetCard.from_yaml(TITLED["datasets/flowers.yaml"]).classes[0] == "daisy"


def test_the_descriptions_in_json_are_some():
    from data_catalog.descriptions import Descriptions

    (text,) = (block["text"] for block in BLOCKS if block["language"] == "json")
    assert len(Descriptions.from_json(text).of(["daisy", "rose", "tulip"])[0]) == 2


def test_the_protocol_is_run_as_any_other(example, spec, clip, drawn_images, monkeypatch):
    """From its two blocks to numbers: nothing else of the code knows of it."""
    from operators.episodes import protocols
    from operators.episodes.episode import Classes
    from operators.methods import METHODS
    from operators.methods.hyperparameters import resolve
    from operators.trials.trial import run_trial
    from tasks.pages.zoo import protocol_rows

    names = {**vars(protocols), **vars(example(PROTOCOL_FILE))}
    for name, protocol in registered("PROTOCOLS", names).items():
        monkeypatch.setitem(protocols.PROTOCOLS, name, protocol)
    labels = np.arange(60) % 4
    splits = np.array(["train"] * 32 + ["val"] * 8 + ["test"] * 20)

    class Data:
        table = protocols.Table(labels, splits, 4)
        all_classes = Classes(("cat", "dog", "boat", "tree"), ("a photo of a {}.",))

    place = {"protocol": "new_to_base", "shots": 2}
    values = resolve("coop", METHODS["coop"], {"epochs": 1}, **place)
    trial = spec(method="coop", hyperparameters=values, **place)
    outcome = run_trial(trial, clip, Data(), drawn_images(labels, clip.feature_width))
    rows = outcome.predictions.to_pylist()
    asked = {"base": {2, 3}, "new": {0, 1}}
    for split, classes in asked.items():
        assert {row["label"] for row in rows if row["split"] == split} == classes
        assert {row["predicted"] for row in rows if row["split"] == split} <= classes
    assert protocol_rows()[-1]["tests"] == "base and new"


def test_the_protocol_takes_as_many_lines_as_the_recipe_says():
    entry = next(text for title, text in TITLED.items() if title.startswith("PROTOCOLS in "))
    counts = TITLED[PROTOCOL_FILE].count("\n"), entry.count("\n")
    said = "That is all: {} lines in a file, {} in the registry".format(*counts)
    assert said in (PROJECT / "CONTRIBUTING.md").read_text()


@pytest.fixture
def one_trial(tmp_path, spec):
    """A store with a trial from before the metric: two of four rows right, the surest one wrong."""
    from operators.metrics import Score
    from operators.metrics.predictions import PREDICTIONS
    from operators.trials.results import Cost, Provenance, TrialResult
    from tasks.storage.store import Store

    store, trial = Store(tmp_path / "store"), spec(protocol="few_shot", shots=1)
    folder = store.trial(trial.trial_id)
    folder.mkdir(parents=True)
    columns = {
        "split": ["all"] * 4,
        "row_id": range(4),
        "label": [0, 0, 1, 1],
        "predicted": [1, 0, 1, 0],
        "confidence": [0.9, 0.8, 0.7, 0.6],
    }
    pq.write_table(pa.table(columns, schema=PREDICTIONS), folder / "predictions.parquet")
    cost = Cost(
        **dict.fromkeys(("tune_seconds", "evaluate_seconds"), 1.0),
        **dict.fromkeys(("peak_memory_bytes", "trainable_parameters", "steps"), 1),
    )
    origin = Provenance(started_at="2026-01-01T00:00:00+00:00", device="cpu", torch_version="2")
    scores = (Score("all", "accuracy", 0.5, 4),)
    result = TrialResult(
        spec=trial, metrics=scores, cost=cost, provenance=origin, episode_fingerprint="e"
    )
    (folder / "prompt.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (folder / "trial.json").write_text(json.dumps(result.to_json()))
    return store


def test_the_metric_comes_to_a_trial_that_is_there_and_to_a_new_one(
    example, one_trial, method, spec, clip, dataset, drawn_images, monkeypatch
):
    """By hand: errors among the surest 1, 2, 3 and 4 rows are 1, 1/2, 1/3 and 1/2."""
    from operators.metrics import METRICS, classification
    from operators.tracks.classification import ClassificationTrack
    from operators.trials.trial import run_trial
    from tasks.pages.asking import rows
    from tasks.pages.board import rebuild
    from tasks.planning.data import TrialData

    rebuild(one_trial)
    before = rows(one_trial, "SELECT * FROM metrics ORDER BY metric")
    names = {**vars(classification), **vars(example(METRIC_FILE))}
    for name, metric in registered("CLASSIFICATION", names).items():
        monkeypatch.setitem(classification.CLASSIFICATION, name, metric)
        monkeypatch.setitem(METRICS, name, metric)
    monkeypatch.setattr(ClassificationTrack, "metrics", tuple(classification.CLASSIFICATION))
    rebuild(one_trial)
    found = rows(one_trial, "SELECT * FROM metrics ORDER BY metric")
    assert [row for row in found if row["metric"] != "aurc"] == before
    (new,) = (row for row in found if row["metric"] == "aurc")
    assert (new["value"], new["n"]) == (pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 2) / 4), 4)
    (said,) = rows(one_trial, "SELECT * FROM metric_definitions WHERE metric = 'aurc'")
    assert said["better"] == "lower"
    images = drawn_images(dataset.labels, clip.feature_width)
    trial = spec(method=METHOD, hyperparameters={"text_weight": 0.5}, dataset="shapes", shots=2)
    scores = run_trial(trial, clip, TrialData(dataset), images).metrics
    assert 0 <= next(score.value for score in scores if score.metric == "aurc") < 0.5


def test_the_metric_takes_as_many_lines_as_the_recipe_says():
    entry = next(text for title, text in TITLED.items() if title.startswith("CLASSIFICATION in "))
    counts = TITLED[METRIC_FILE].count("\n"), entry.count("\n")
    said = "That is all: {} lines in a file, {} in the registry".format(*counts)
    assert said in (PROJECT / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize("path", [METHOD_FILE, DATASET_FILE, KIND_FILE, PROTOCOL_FILE, METRIC_FILE])
@pytest.mark.parametrize("check", [["check"], ["format", "--check"]], ids=" ".join)
def test_an_example_passes_the_linter(path, check):
    command = [sys.executable, "-m", "ruff", *check, "--stdin-filename", path, "-"]
    answer = subprocess.run(
        command, input=TITLED[path], cwd=PROJECT, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def _write_flowers(root):
    """Six pictures each of three kinds, in place of somebody's photos."""
    from data_catalog.png import stored_png

    generator = np.random.default_rng(0)
    for kind in ("daisy", "rose", "tulip"):
        for number in range(6):
            file = root / kind / f"{number:02}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(stored_png(generator.integers(0, 256, (5, 6), dtype=np.uint8)))
