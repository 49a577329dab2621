"""A tuned prompt on images: what it says, what it needs, and what it refuses in a sentence."""

import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from data_catalog import DatasetCard, ImageFolder, register
from data_catalog.descriptions import Descriptions
from operators.backbones import reference
from operators.bounds import brief_of
from operators.episodes.features import FeatureStore, view_folder
from operators.episodes.protocols import PROTOCOLS
from operators.methods import METHODS, methods_of
from operators.methods.hyperparameters import annotations
from shotboard.model import _load_pyfunc
from tasks.computing.encode import contexts_of
from tasks.computing.found import FoundBackbone, load_backbone
from tasks.computing.predict import Held, predictor
from tasks.computing.worker import TrialWorker
from tasks.ingestion.describe import keep
from tasks.ingestion.ingest import ingest_dataset
from tasks.planning.choices import check
from tasks.planning.encodings import needed_rows
from tasks.planning.placed import unfit
from tasks.planning.plan import make_plan
from tasks.planning.suite import make_suite
from tasks.publishing.model_folder import write_model
from tasks.publishing.model_store import pack, trial_in
from tasks.publishing.publish import Publication
from tasks.storage.moving import settle
from tasks.storage.store import Store

IMAGES = "image-classification"

CLASSES = ("big_boat", "cat", "dog", "tree")
NAMES = ("big boat", "cat", "dog", "tree")  # as they stand in a prompt
SAID = {
    "big_boat": ("a boat on the sea.",),
    "cat": ("a cat has fur.", "it has a tail."),
    "dog": ("a dog barks.",),
    "tree": ("a tree has leaves.",),
}
# The images of these tests are of no domains.
ASKED = {n: m for n, m in methods_of("image-classification").items() if not m.card.domains}
PLACES = ("few_shot", "unsupervised", "test_time")
ROWS = {"train": 2, "val": 1, "test": 2}  # a class
QUICK = {
    "epochs": 1,
    "total_steps": 0,
    "batch_size": 4,
    "teacher_hyperparameters": {"epochs": 1, "batch_size": 4},
}


def quick(name, **more):
    """A method in a suite, cut short."""
    kinds = annotations(METHODS[name])
    brief = {key: mark.value for key, kind in kinds.items() if (mark := brief_of(kind))}
    starts = {"source_datasets": ""} if METHODS[name].starting else {}  # from other datasets
    cut = {key: value for key, value in QUICK.items() if key in kinds}
    return {name: cut | brief | starts | more}


class Done:
    """A store in which trials have been computed, and where the images of their dataset are."""

    def __init__(self, home, pictures, clip):
        self.store = Store(home)
        self.pictures = pictures
        self.clip = str(clip)
        register(DatasetCard(name="pets", source=ImageFolder(str(pictures))), self.store.cards)
        self.dataset = ingest_dataset("pets", self.store)
        self.paths = self.dataset.column("path")
        keep(self.store, "pets", Descriptions(SAID))

    def compute(self, *methods, **fields):
        """The trials of a small suite, by method."""
        values = {"name": "mini", "datasets": ["pets"], "backbones": [self.clip]}
        values |= {"methods": list(methods), "shots": [1], "seeds": [1], **fields}
        request = check(self.store, make_suite(values, where="mini"))
        specs = make_plan(self.store, request, {"pets": self.dataset}).specs
        worker = TrialWorker(self.store.home, "cpu")
        datasets = {"pets": self.dataset}
        contexts = contexts_of(self.store, request.backbones, specs, datasets, {})
        for (name, _), context in contexts.items():
            width = request.backbones.cards[name].feature_width or 0
            for view, rows in needed_rows(specs, self.dataset).items():
                folder = view_folder(context.features, view, context.backbone.precision)
                features = FeatureStore.create(folder, self.dataset.rows, width)
                rows = features.missing(rows)
                if len(rows):
                    features.write(rows, worker.encode(rows, context, IMAGES, view))
        for spec in specs:  # teachers come first
            (done,) = worker.compute([spec], contexts[spec.backbone, "pets"])
            assert not done.error, done
        return {spec.method: spec for spec in specs}

    def said(self, spec, split):
        """What a trial said of test rows: row id to class and its probability."""
        table = pq.read_table(self.store.trial(spec.trial_id) / "predictions.parquet")
        return {
            row["row_id"]: (NAMES[row["predicted"]], row["confidence"])
            for row in table.to_pylist()
            if row["split"] == split
        }

    def ready(self, spec, **asked):
        return predictor(self.store, spec.trial_id, **{"backbones": [self.clip], **asked})

    def agree(self, spec, split, **asked):
        """Asserts that a trial says of files what it said of these images as test rows."""
        said = self.said(spec, split)
        if not METHODS[spec.method].card.stream:
            said = dict(reversed(said.items()))  # in no order that rows have
        files = [str(self.pictures / self.paths[row]) for row in said]
        found = list(self.ready(spec, **asked)(files, top=1))
        assert [each.example for each in found] == files
        assert [each.ranked[0].name for each in found] == [name for name, _ in said.values()]
        np.testing.assert_allclose(
            [each.ranked[0].probability for each in found],
            [confidence for _, confidence in said.values()],
            atol=1e-4,
        )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Class folders in train, val and test, of noise that has a brightness for each class."""
    folder = tmp_path_factory.mktemp("raw") / "pets"
    for split, count in ROWS.items():
        for label, name in enumerate(CLASSES):
            for number in range(count):
                drawn = np.random.default_rng([label, number, len(split)])
                pixels = drawn.integers(0, 80, (24, 36, 3), dtype=np.uint8) + np.uint8(50 * label)
                file = folder / split / name / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(file)
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory, pictures, clip_folder):
    return Done(tmp_path_factory.mktemp("home"), pictures, clip_folder)


@pytest.fixture(scope="module")
def trials(done):
    """A trial of every method, in the first protocol in which it has a place."""
    found = {}
    for protocol in PLACES:
        names = [
            name
            for name, method in ASKED.items()
            if name not in found and not unfit(name, method, protocol, PROTOCOLS[protocol])
        ]
        found |= done.compute(*map(quick, names), protocols=[protocol])
    return found


@pytest.fixture(scope="module")
def transfers(done):
    """Trials that learned half of the classes."""
    methods = quick("coop", n_context=4), quick("promptkd", teacher="ivlp"), "cupl"
    return done.compute(*methods, protocols=["base_to_new"])


@pytest.fixture
def image(pictures):
    return str(pictures / "test" / "cat" / "0.png")


@pytest.fixture
def stranger(tmp_path):
    """An image that is in no dataset."""
    pixels = np.random.default_rng(7).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "stranger.jpg")
    return str(tmp_path / "stranger.jpg")


@pytest.fixture
def copied(done, tmp_path):
    """The store once more, for tests that spoil it."""
    home = tmp_path / "copy"
    shutil.copytree(done.store.home, home, ignore=shutil.ignore_patterns("features"))
    return Store(home)


def refusal(*asked, **how):
    with pytest.raises(ValueError) as refused:
        predictor(*asked, **how)
    return str(refused.value)


@pytest.mark.parametrize("method", ASKED)
def test_a_file_is_told_what_its_test_row_was_told(done, trials, method):
    done.agree(trials[method], "all")


@pytest.mark.parametrize("method", ["coop", "promptkd", "cupl"])
def test_what_learned_half_of_the_classes_answers_with_all_of_them(done, transfers, method, image):
    spec = transfers[method]
    (found,) = done.ready(spec)([image], top=9)
    assert {name for name, _ in found.ranked} == set(NAMES)
    assert sum(probability for _, probability in found.ranked) == pytest.approx(1)
    done.agree(spec, "base", classes=CLASSES[:2])
    done.agree(spec, "new", classes=CLASSES[2:])


def test_classes_are_ranked_and_cut_to_the_top(done, trials, image):
    ready = done.ready(trials["coop"])
    (whole,), (cut,) = ready([image], top=4), ready([image], top=2)
    probabilities = [probability for _, probability in whole.ranked]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)
    assert cut.ranked == whole.ranked[:2]


def test_a_name_of_the_users_own_is_classified_and_its_place_changes_nothing(done, trials, image):
    def asked(*names):
        (found,) = done.ready(trials["coop"], classes=names)([image], top=3)
        return dict(found.ranked)

    found = asked("zebra", "cat", "tea pot")
    assert set(found) == {"zebra", "cat", "tea pot"}
    other = asked("tea pot", "zebra", "cat")
    assert all(other[name] == pytest.approx(found[name], abs=1e-5) for name in found)


@pytest.mark.parametrize(
    ("method", "title"), [("linear-probe", "Linear probe"), ("tip-adapter", "Tip-Adapter")]
)
def test_what_learned_of_each_class_alone_refuses_others(done, trials, method, title):
    spec = trials[method]
    said = refusal(done.store, spec.trial_id, backbones=[done.clip], classes=["zebra", "cat"])
    assert said.startswith(f"{title} learns something of its own for each class")
    assert f"Without --classes, trial {spec.trial_id} answers with those of pets." in said
    assert done.ready(spec, classes=CLASSES).method.classes.names == NAMES


@pytest.mark.parametrize("classes", [["cat"], ["cat", "cat"], [], ["big boat", "big_boat"]])
def test_fewer_than_two_classes_are_refused(done, trials, classes):
    spec = trials["coop"]
    said = refusal(done.store, spec.trial_id, backbones=[done.clip], classes=classes)
    assert "give two classes or more, each once" in said


def test_sentences_about_new_classes_are_asked_for_and_read(done, trials, transfers, image):
    asked = {"backbones": [done.clip], "classes": ["zebra", "cat"]}
    said = refusal(done.store, trials["cupl"].trial_id, **asked)
    assert said.startswith("--classes zebra: cupl reads sentences about each class, and there are")
    assert "--descriptions FILE" in said
    one = Descriptions({"zebra": ("stripes.",), "cat": ("fur.",)})
    other = Descriptions({"zebra": ("a horse in a shirt of lines.",), "cat": ("fur.",)})
    (first,), (second,) = (
        done.ready(trials["cupl"], classes=["zebra", "cat"], descriptions=each)([image], 2)
        for each in (one, other)
    )
    assert {name for name, _ in first.ranked} == {"zebra", "cat"}
    assert dict(first.ranked) != dict(second.ranked)
    said = refusal(
        done.store, trials["cupl"].trial_id, **asked, descriptions=Descriptions({"cat": ("x",)})
    )
    assert "--descriptions: 1 of 2 classes have no description: 'zebra'" in said
    coop = transfers["coop"].trial_id
    said = refusal(done.store, coop, **asked, descriptions=one)
    assert said == "--descriptions: coop reads no sentences about classes. Leave it out."


def test_a_teacher_that_reads_sentences_has_its_own_and_needs_some_of_new_classes(done, image):
    told = quick("promptkd", teacher="kapt", teacher_hyperparameters={"epochs": 1})
    spec = done.compute(told)["promptkd"]
    done.agree(spec, "all")
    done.agree(spec, "all", classes=CLASSES[::-1])
    asked = {"backbones": [done.clip], "classes": ["zebra", "cat"]}
    said = refusal(done.store, spec.trial_id, **asked)
    assert said.startswith("--classes zebra: kapt reads sentences about each class")
    new = Descriptions({"zebra": ("stripes.",), "cat": ("fur.",)})
    (found,) = done.ready(spec, classes=["zebra", "cat"], descriptions=new)([image], top=2)
    assert {name for name, _ in found.ranked} == {"zebra", "cat"}
    asked = {"backbones": [done.clip], "classes": ["cat", "dog"]}
    said = refusal(done.store, spec.trial_id, **asked, descriptions=new)
    assert said.startswith("--descriptions: kapt, the teacher of promptkd, has sentences about")


def test_an_image_that_cannot_be_read_costs_itself_alone(done, trials, image, stranger, tmp_path):
    broken = {"torn.png": b"\x89PNG\r\n\x1a\n", "empty.jpg": b"", "note.png": b"hello"}
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
    bad = [str(tmp_path / name) for name in (*broken, "absent.png")] + [str(tmp_path), "no://x"]
    found = list(done.ready(trials["coop"])([*bad, image, stranger, image], top=1))
    assert [bool(each.error) for each in found] == [True] * len(bad) + [False] * 3
    assert all(place in each.error for place, each in zip(bad, found, strict=False))
    assert "is no image that can be used (damaged: " in found[0].error
    assert "no file or folder at" in found[3].error
    assert "is a folder" in found[4].error
    assert dict(found[-1].ranked) == pytest.approx(dict(found[-3].ranked), abs=1e-5)


def test_many_images_are_classified_part_by_part(done, trials, pictures, image, monkeypatch):
    monkeypatch.setattr("tasks.computing.predict.TOGETHER", 3)
    files = sorted(str(path) for path in (pictures / "test").rglob("*.png"))
    files.insert(1, "absent.png")
    ready = done.ready(trials["zero-shot"])
    together = {each.example: each for each in ready(files, top=1)}
    (alone,) = ready([image], top=1)
    assert list(together) == files
    assert together[image].ranked[0].name == alone.ranked[0].name
    assert together["absent.png"].error


def test_an_image_is_read_from_a_url(done, trials, image):
    import fsspec

    with fsspec.open("memory://shelf/cat.png", "wb") as file:
        file.write(Path(image).read_bytes())  # pyright: ignore[reportAttributeAccessIssue]
    places = ["memory://shelf/cat.png", f"file://{image}", image]
    remote, url, path = (dict(each.ranked) for each in done.ready(trials["coop"])(places, top=4))
    assert remote == pytest.approx(path, abs=1e-5)  # rows of a batch may round apart
    assert url == pytest.approx(path, abs=1e-5)


def test_random_views_of_a_strange_image_follow_from_its_content(done, trials, image, stranger):
    """TPT looks at random views: neither the place nor the neighbours of an image decide them."""
    ready = done.ready(trials["tpt"])
    (alone,) = ready([stranger], top=4)
    _, beside = ready([image, stranger], top=4)
    assert dict(beside.ranked) == pytest.approx(dict(alone.ranked), abs=1e-5)


def test_an_image_of_the_dataset_has_its_row_and_rather_that_of_the_test_split(done):
    rows = list(reversed(range(done.dataset.rows)))
    files = Held(done.dataset)
    assert files.hold(done.dataset.images(rows)).tolist() == rows
    assert files.examples(np.array([3])) == done.dataset.images([3])

    class Doubled:
        kind = "image"
        splits = np.array(["test", "train", "val"])

        def column(self, name):
            return np.array(["same"] * 3, dtype=object)

    doubled = cast("Any", Doubled())
    assert Held(doubled).rows == {"same": 0}


def test_the_folder_of_a_backbone_is_asked_for(done, trials, tmp_path, monkeypatch):
    trial = trials["coop"].trial_id
    said = refusal(done.store, trial)
    assert said.startswith(f"trial {trial} was tuned on tiny-clip, a folder, and where that is")
    assert said.endswith("add --backbone PATH.")
    (tmp_path / "tiny-clip").symlink_to(done.clip)
    monkeypatch.chdir(tmp_path)
    assert predictor(done.store, trial).spec.trial_id == trial


def test_a_backbone_with_a_name_of_its_own_is_found_by_it(done):
    spec = done.compute("zero-shot", backbones=["mini-clip"])["zero-shot"]
    done.agree(spec, "all", backbones=[])


def test_a_backbone_of_other_weights_is_refused(done, trials, tmp_path, monkeypatch):
    other = tmp_path / "tiny-clip"
    shutil.copytree(done.clip, other)
    weights = load_file(other / "model.safetensors")
    weights["logit_scale"] += 1
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    spec = trials["coop"]
    said = refusal(done.store, spec.trial_id, backbones=[str(other)])
    assert said.startswith(f"--backbone {other}: trial {spec.trial_id} was tuned on tiny-clip with")
    assert f"fingerprint {spec.backbone_fingerprint}, and that of" in said
    assert "no backbone is called" in refusal(done.store, spec.trial_id, backbones=["tiny"])
    monkeypatch.chdir(tmp_path)
    assert "Name the right one with --backbone" in refusal(done.store, spec.trial_id)


def test_a_teacher_of_another_backbone_needs_that_too(done, image, tmp_path):
    """Its class vectors are the student's, so it is loaded with a backbone of its own."""
    larger = tmp_path / "larger-clip"
    shutil.copytree(done.clip, larger)
    (larger / "README.md").write_text("the same weights under another name")
    weights = load_file(larger / "model.safetensors")
    weights["logit_scale"] += 1
    save_file(weights, larger / "model.safetensors", {"format": "pt"})
    asked = quick("promptkd", teacher="coop", teacher_backbone=str(larger))
    spec = done.compute(asked)["promptkd"]
    assert spec.teacher is not None
    done.agree(spec, "all", backbones=[str(larger), done.clip])
    said = refusal(done.store, spec.trial_id, backbones=[done.clip])
    assert said.startswith(f"trial {spec.teacher.trial_id} was tuned on larger-clip, a folder")


def test_a_teacher_that_is_gone_is_said_so(done, trials, copied):
    spec = trials["promptkd"]
    shutil.rmtree(copied.trial(spec.teacher.trial_id))
    said = refusal(copied, spec.trial_id, backbones=[done.clip])
    assert f"(trial {spec.teacher.trial_id}), has no prompt: it is not in the store." in said


def test_what_a_trial_was_computed_with_must_be_there(done, trials, copied):
    spec = trials["coop"]
    folder = copied.trial(spec.trial_id)
    place = copied.data / "pets" / spec.dataset_fingerprint
    asked = {"backbones": [done.clip]}

    (folder / "prompt.safetensors").write_bytes(b"torn")
    said = refusal(copied, spec.trial_id, **asked)
    assert f"the prompt of trial {spec.trial_id}, coop on tiny-clip, cannot be read" in said

    card = json.loads((place / "card.json").read_text())
    (place / "card.json").write_text(json.dumps({**card, "template": "a drawing of a {}."}))
    said = refusal(copied, spec.trial_id, **asked)
    assert said.startswith("the templates of pets have changed since this trial was planned")

    shutil.rmtree(place)
    said = refusal(copied, spec.trial_id, **asked)
    assert f"pets with the fingerprint {spec.dataset_fingerprint}, which is not in" in said

    text = (folder / "trial.json").read_text().replace('"n_context": 16', '"n_context": 8')
    (folder / "trial.json").write_text(text)
    assert "the file was edited" in refusal(copied, spec.trial_id, **asked)


def test_a_prompt_of_another_version_of_its_method_is_refused(done, trials, monkeypatch):
    spec = trials["coop"]
    monkeypatch.setattr(METHODS["coop"], "revision", spec.method_revision + 1)
    said = refusal(done.store, spec.trial_id, backbones=[done.clip])
    assert said.startswith(f"trial {spec.trial_id} was computed by another version of Shotboard")
    assert "revisions 1, 1, 2 of coop, few_shot and the image transform, here they are 2" in said
    monkeypatch.undo()
    monkeypatch.setattr("tasks.computing.found.TRANSFORM_VERSION", spec.transform_version + 1)
    assert "by another version" in refusal(done.store, spec.trial_id, backbones=[done.clip])


def test_a_trial_of_texts_that_are_cleaned_today_is_refused(done, trials, monkeypatch):
    spec = trials["coop"]
    monkeypatch.setattr("tasks.planning.data.text_version", lambda texts: 2)
    said = refusal(done.store, spec.trial_id, backbones=[done.clip])
    assert "was computed when texts were not yet cleaned" in said
    assert said.endswith("run its suite again.")


def test_nothing_of_prefect_ray_or_mlflow_is_imported():
    code = (
        "import sys, flows.cli.predicting, tasks.ingestion.describe, tasks.computing.predict\n"
        "print([n for n in ('prefect', 'ray', 'mlflow') if n in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


@pytest.mark.parametrize("method", ASKED)
def test_a_packed_prompt_says_what_its_trial_says(done, trials, method, image, stranger, tmp_path):
    """Also of a row of its dataset, which looks at random views of its own: TPT's."""
    packed = pack(done.store, trials[method], tmp_path / "packed")
    assert trial_in(packed) == trials[method].trial_id
    assert not list(packed.trials.glob("*/predictions.parquet"))
    ready = predictor(packed, trials[method].trial_id, backbones=[done.clip])
    asked = [image, stranger, "absent.png"]
    assert list(ready(asked, 3)) == list(done.ready(trials[method])(asked, 3))


@pytest.fixture
def loaded(done, transfers, tmp_path):
    """A model as MLflow loads it: of half of the classes, with sentences and a teacher."""
    folder = tmp_path / "model"
    write_model(done.store, transfers["promptkd"], "# card", folder, "0" * 32)
    return _load_pyfunc(str(folder / "store"), {"backbones": [done.clip]})


def test_images_come_to_a_model_in_every_form(done, transfers, loaded, image, stranger):
    expected = list(done.ready(transfers["promptkd"])([image, stranger], top=2))
    contents = [Path(place).read_bytes() for place in (image, stranger)]
    pictures = [Image.open(BytesIO(content)) for content in contents]
    urls = [f"data:image/png;base64,{b64encode(content).decode()}" for content in contents]
    arrays = [np.asarray(picture) for picture in pictures]
    forms = [[image, stranger], [Path(image), Path(stranger)], contents, pictures, arrays, urls]
    forms += [pd.Series(pictures), pd.DataFrame({"image": contents}), {"image": [image, stranger]}]
    forms += [np.array([image, stranger])]
    for given in forms:
        found = loaded.predict(given, {"top": 2})
        assert found["class"].tolist() == [each.ranked[0].name for each in expected]
        for column, field in (("classes", "name"), ("probabilities", "probability")):
            said = [[getattr(each, field) for each in one.ranked] for one in expected]
            assert found[column].tolist() == said
        assert found["probability"].tolist() == [each[0] for each in found["probabilities"]]
        assert set(found["error"]) == {""}
    (one,) = loaded.predict(arrays[0])["classes"]
    assert len(one) == 4
    index = pd.DataFrame({"image": contents}, index=["a", "b"])
    assert loaded.predict(index).index.tolist() == ["a", "b"]
    assert (
        loaded.predict(np.stack([arrays[0]] * 3))["class"].tolist()
        == [expected[0].ranked[0].name] * 3
    )


def test_an_image_that_cannot_be_read_costs_a_model_itself_alone(loaded, image):
    found = loaded.predict([b"torn", image, "absent.png"])
    assert found["class"].isna().tolist() == [True, False, True]
    assert found["error"][0].startswith("image 0 is no image that can be used")
    assert found["error"][1] == ""
    assert found["error"][2].startswith("no file or folder at absent.png")


def test_what_is_no_image_is_refused_by_a_model(loaded):
    with pytest.raises(ValueError, match="image 1 is a float: give a path, a URL, bytes"):
        loaded.predict(["absent.png", 0.5])
    with pytest.raises(ValueError, match=r"image 0 is an array of float64 and shape \(4, 4, 3\)"):
        loaded.predict([np.zeros((4, 4, 3))])
    with pytest.raises(ValueError, match="top=0: give at least 1"):
        loaded.predict([], {"top": 0})
    with pytest.raises(ValueError, match="columns a, b: give one column"):
        loaded.predict(pd.DataFrame({"a": ["x"], "b": ["y"]}))


def test_a_model_says_which_backbone_it_lacks_and_how_to_name_it(done, trials, tmp_path):
    folder = tmp_path / "model"
    write_model(done.store, trials["coop"], "# card", folder, "0" * 32)
    with pytest.raises(ValueError, match="was tuned on tiny-clip, a folder") as refused:
        _load_pyfunc(str(folder / "store"))
    assert str(refused.value).endswith(
        "add `model_config={'backbones': ['PATH']}` to `load_model`."
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_model_is_served_over_rest(done, trials, image, tmp_path):
    import mlflow.pyfunc
    from fastapi.testclient import TestClient
    from mlflow.pyfunc import scoring_server

    folder = tmp_path / "model"
    write_model(done.store, trials["coop"], "# card", folder, "0" * 32)
    model = mlflow.pyfunc.load_model(str(folder), model_config={"backbones": [done.clip]})
    url = f"data:image/png;base64,{b64encode(Path(image).read_bytes()).decode()}"
    answer = TestClient(scoring_server.init(model)).post(
        "/invocations", json={"inputs": [url], "params": {"top": 2}}
    )
    assert answer.status_code == 200, answer.text
    (said,) = answer.json()["predictions"]
    (expected,) = done.ready(trials["coop"])([image], top=2)
    assert said["classes"] == [each.name for each in expected.ranked]
    assert said["probabilities"] == [each.probability for each in expected.ranked]


@pytest.fixture(scope="module")
def on_mini_clip(done):
    return done.compute("zero-shot", backbones=["mini-clip"])["zero-shot"]


@pytest.fixture(scope="module")
def documented():
    """The Python in docs/mlflow.md."""
    text = (Path(__file__).parents[2] / "docs" / "mlflow.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning:mlflow")
@pytest.mark.filterwarnings("ignore::UserWarning:mlflow")
def test_mlflow_loads_a_registered_prompt_in_a_process_that_knows_no_flow(
    *, done, trials, on_mini_clip, copied, documented, empty_database, image, tmp_path, monkeypatch
):
    """As docs/mlflow.md has it, from a store that was moved, beside a user's own `tasks.py`."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copyfile(empty_database, copied.home / "mlflow.db")
    specs = [on_mini_clip, trials["coop"]]
    published = Publication(copied, [s.trial_id for s in specs], suite="mini", run_id="r1").finish()
    assert published.models == 2
    home = Path(shutil.move(copied.home, tmp_path / ".shotboard"))
    assert settle(Store(home)) == (str(copied.home),)
    (tmp_path / "tasks.py").write_text("raise SystemExit(9)")
    shutil.copyfile(image, tmp_path / "photo.png")
    first, second = documented
    script = f"""
import json, sys
{first.replace("coop-mini-clip-digits-few_shot", "zero-shot-mini-clip-pets-few_shot")}
found = [_.to_dict("list") for _ in [model.predict(["photo.png"], params={{"top": 3}})]]
uri = "models:/coop-tiny-clip-pets-few_shot@best"
model = {second.replace("/path/to/clip", done.clip)}
found += [model.predict(["photo.png"], params={{"top": 3}}).to_dict("list")]
told = [found, model.predict(model.input_example)["error"].tolist()]
told += [str(mlflow.models.get_model_info(uri).signature.outputs.input_names())]
told += [sorted({{"prefect", "ray", "flows", "torchvision"}} & set(sys.modules))]
print(json.dumps(told))
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    answer = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert answer.returncode == 0, answer.stderr
    found, *rest = json.loads(answer.stdout.splitlines()[-1])
    columns = ["class", "probability", "classes", "probabilities", "error"]
    assert rest == [[""], str(columns), []]
    for spec, said in zip(specs, found, strict=True):
        (expected,) = done.ready(spec, backbones=[] if spec is on_mini_clip else [done.clip])(
            [image], top=3
        )
        assert list(said) == columns
        assert said["classes"] == [[each.name for each in expected.ranked]]
        assert said["probabilities"] == [[each.probability for each in expected.ranked]]


def test_a_trial_in_tf32_answers_on_a_cpu_in_fp32(spec, clip, clip_folder):
    asked = spec(precision="tf32")
    found = FoundBackbone(reference(str(clip_folder)), clip.card)
    backbone = load_backbone(asked, {asked.backbone_fingerprint: found})
    assert backbone.device.type == "cpu"
