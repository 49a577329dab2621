"""Descriptions on their way: from the store into plans and trials, and into nothing else."""

import json
import sys

import pytest

from data_catalog.descriptions import Descriptions, kept_file
from operators.episodes.features import FeatureStore, view_folder
from operators.methods import METHODS
from tasks.computing.context import Context
from tasks.computing.encode import features_folder
from tasks.computing.worker import TrialWorker
from tasks.ingestion.describe import ask, classes_of, client, keep
from tasks.pages.cards import dataset_rows
from tasks.pages.known import method_rows
from tasks.pages.method_page import facts
from tasks.planning.choices import check
from tasks.planning.data import TrialData, preview, template_set
from tasks.planning.encodings import needed_rows
from tasks.planning.plan import make_plan
from tasks.planning.resolve import RequestError
from tasks.planning.suite import make_suite

IMAGES = "image-classification"

SAID = {
    "cat": ("a cat has fur.", "it has a tail."),
    "dog": ("a dog barks.",),
    "boat": ("a boat on the sea.",),
    "tree": ("a tree has leaves.",),
}


@pytest.fixture
def pets(dataset_of):
    return dataset_of()


@pytest.fixture
def request_of(store, tiny):
    def make(*methods, datasets=("pets",), protocols=("few_shot",)):
        values = {
            "name": "mini",
            "datasets": list(datasets),
            "backbones": [tiny],
            "methods": list(methods),
            "protocols": list(protocols),
            "shots": [1],
            "seeds": [1],
        }
        return check(store, make_suite(values, where="mini"))

    return make


@pytest.fixture
def plan_of(store, request_of):
    def make(*methods, dataset, **changes):
        request = request_of(*methods, datasets=(dataset.name,), **changes)
        return make_plan(store, request, {dataset.name: dataset})

    return make


def give(store, name="pets", replace=False, **changes):
    return keep(store, name, Descriptions({**SAID, **changes}, "a test"), replace=replace)


def test_the_trial_sees_what_was_given_in_the_order_of_the_classes(store, pets):
    assert TrialData(pets).all_classes.descriptions == ()
    said = Descriptions(dict(reversed(SAID.items())))
    assert TrialData(pets, said).all_classes.descriptions == tuple(SAID.values())


def test_a_method_that_reads_descriptions_is_refused_where_nobody_gave_any(request_of, pets):
    with pytest.raises(RequestError) as refused:
        request_of("cupl")
    assert str(refused.value).startswith("cupl on pets: it reads sentences about each class")
    assert "shotboard datasets describe pets --file FILE" in str(refused.value)


def test_beside_others_it_is_skipped_where_nobody_gave_any(request_of, pets):
    assert request_of("zero-shot", "cupl").suite.methods[1].id == "cupl"


def test_it_is_skipped_on_the_datasets_that_lack_them(store, pets, dataset_of, request_of):
    toys = dataset_of("toys")
    give(store)
    request = request_of("cupl", "zero-shot", datasets=("pets", "toys"))
    made = make_plan(store, request, {"pets": pets, "toys": toys})
    assert {(s.method, s.dataset) for s in made.specs} == {
        ("cupl", "pets"),
        ("zero-shot", "pets"),
        ("zero-shot", "toys"),
    }
    (reason,) = made.skipped
    assert reason.startswith("cupl on toys: it reads sentences")


def test_what_is_said_is_in_the_identity_of_who_reads_it_alone(store, pets, plan_of):
    def trials(*methods):
        return {spec.method: spec for spec in plan_of(*methods, dataset=pets).specs}

    bare = trials("zero-shot", "coop")
    give(store)
    first = trials("zero-shot", "coop", "cupl")
    give(store, replace=True, cat=("a cat sleeps.",))
    second = trials("zero-shot", "coop", "cupl")
    for name in bare:
        assert bare[name].trial_id == first[name].trial_id == second[name].trial_id
    assert first["cupl"].trial_id != second["cupl"].trial_id
    card, _, digest = first["cupl"].template_set.partition("+descriptions:")
    assert card == first["coop"].template_set == template_set(pets)
    assert len(digest) == 8


def test_who_said_it_is_not_in_the_identity(store, pets, plan_of):
    give(store)
    first = plan_of("cupl", dataset=pets).specs
    keep(store, "pets", Descriptions(SAID, "someone else", "CC0"), replace=True)
    assert plan_of("cupl", dataset=pets).specs == first


def test_a_dataset_that_is_not_ingested_yet_plans_alike(store, dataset_of, request_of):
    card = dataset_of("later", ingested=False)
    give(store, "later")
    made = make_plan(store, request_of("cupl", datasets=("later",)), {"later": preview(card)})
    assert "+descriptions:" in made.specs[0].template_set


def test_descriptions_of_other_classes_stop_the_plan_with_their_file(store, pets, plan_of):
    file = kept_file("pets", store.cards)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({name: list(said) for name, said in SAID.items()} | {"fox": ["x"]}))
    assert plan_of("zero-shot", dataset=pets).specs
    with pytest.raises(RequestError, match=r"pets\.descriptions\.json: no class is called 'fox'"):
        plan_of("cupl", dataset=pets)


def test_an_embedded_dataset_brings_its_own(store, plan_of):
    from data_catalog import CATALOG

    made = plan_of("cupl", dataset=preview(CATALOG["digits"]))
    assert "+descriptions:" in made.specs[0].template_set


@pytest.fixture
def job(store, pets, request_of):
    """Plans trials of methods on pets and computes them on a worker: errors by method."""

    def compute(*methods, between=lambda: None):
        request = request_of(*methods, protocols=("few_shot", "base_to_new"))
        ((name, card),) = request.backbones.cards.items()
        specs = make_plan(store, request, {"pets": pets}).specs
        folder = features_folder(store, card, pets)
        context = Context(request.backbones.references[name], pets.folder, folder, {})
        worker = TrialWorker(store.home, "cpu")
        for view, rows in needed_rows(specs, pets).items():
            features = FeatureStore.create(view_folder(folder, view), pets.rows, card.feature_width)
            features.write(rows, worker.encode(rows, context, IMAGES, view))
        between()
        done = worker.compute(specs, context)
        return {(s.method, s.protocol): d.error for s, d in zip(specs, done, strict=True)}

    return compute


def test_trials_are_computed_with_what_is_said(store, job):
    give(store)
    errors = job("cupl", "zero-shot", {"kapt": {"epochs": 2}})
    assert len(errors) == 6
    assert not any(errors.values())
    trials = {r["spec"]["method"]: r for r in store.results()}
    assert trials["kapt"]["cost"]["plain_tune_flops"] > trials["kapt"]["cost"]["tune_flops"] > 0


def test_a_trial_whose_sentences_have_changed_since_the_plan_fails_alone(store, job):
    give(store)
    errors = job("cupl", "zero-shot", between=lambda: give(store, replace=True, dog=("it sits.",)))
    assert "the descriptions of pets have changed" in errors["cupl", "few_shot"]
    assert errors["zero-shot", "few_shot"] == ""


def test_a_listing_says_what_is_needed_and_what_is_there(store, pets):
    give(store)
    rows = {row["name"]: row["card"]["descriptions"] for row in dataset_rows(store)}
    assert rows["pets"] == {
        "classes": 4,
        "sentences": 5,
        "source": "a test",
        "license": "",
        "file": str(kept_file("pets", store.cards)),
    }
    needs = {row["method"]: row for row in method_rows()}
    assert {name for name, row in needs.items() if row["descriptions"]} >= {"cupl", "kapt"}
    assert any("sentences about each class" in text for text in facts(needs["kapt"])["needs"])
    assert "descriptions" not in str(facts(needs["coop"])["needs"])


def test_a_damaged_file_does_not_stop_a_listing(store, pets):
    kept_file("pets", store.cards).parent.mkdir(parents=True)
    kept_file("pets", store.cards).write_text("{")
    rows = {row["name"]: row["card"]["descriptions"] for row in dataset_rows(store)}
    assert "no valid JSON" in rows["pets"]["error"]


def test_classes_must_be_known_to_be_described(store, monkeypatch, tmp_path):
    from data_catalog import DatasetCard, ImageFolder, register

    register(DatasetCard(name="mine", source=ImageFolder(str(tmp_path))), store.cards)
    with pytest.raises(RequestError, match="not known before it is ingested"):
        classes_of(store, "mine")
    with pytest.raises(RequestError, match="no dataset is called 'nobody'"):
        classes_of(store, "nobody")


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A module beside the work, with a model in it that writes down what it is asked."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_model.py").write_text(
        "asked = []\n"
        "def answers(prompt):\n"
        "    asked.append(prompt)\n"
        "    return [f'{prompt} is the question']\n"
        "no_function = 3\n"
    )
    yield "my_model:answers"
    sys.modules.pop("my_model", None)


def test_a_model_is_asked_once_and_what_it_says_is_kept(store, pets, model):
    said = ask(store, "pets", model, questions=["What is {a} {}?"])
    assert said.of(pets.classes)[0] == ("What is a cat? is the question.",)
    assert model in said.source
    asked = sys.modules["my_model"].asked
    assert len(asked) == 4
    assert ask(store, "pets", model, questions=["What is {a} {}?"]) == said
    assert len(asked) == 4
    keep(store, "pets", said)
    with pytest.raises(RequestError, match="add --replace"):
        ask(store, "pets", model)
    assert len(asked) == 4
    assert len(ask(store, "pets", model, replace=True).sentences["dog"]) == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_model", "write module:callable"),
        ("my_model:absent", "has no callable 'absent'"),
        ("my_model:no_function", "has no callable 'no_function'"),
        ("your_model:answers", "no module 'your_model'"),
    ],
)
def test_what_is_no_model_is_refused(model, name, message):
    with pytest.raises(RequestError, match=message):
        client(name)


def test_the_path_is_left_as_it_was(model):
    before = list(sys.path)
    client(model)
    assert sys.path == before


def test_every_method_that_reads_descriptions_says_that_it_reads_other_texts():
    for method in METHODS.values():
        assert method.card.external_knowledge or not method.card.descriptions
