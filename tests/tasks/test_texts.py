"""A trial on texts from end to end: planned, computed, on the board, asked about a sentence."""

import csv
import json

import duckdb
import pyarrow.parquet as pq
import pytest
from mlflow.models import Model

from data_catalog import DatasetCard, register
from data_catalog.sources.texts import TextTables
from operators.episodes.features import FeatureStore, view_folder
from tasks.comparing.verify import verify
from tasks.computing.encode import contexts_of
from tasks.computing.predict import predictor
from tasks.computing.worker import TrialWorker
from tasks.ingestion.ingest import ingest_dataset
from tasks.pages.board import rebuild
from tasks.planning.choices import check
from tasks.planning.encodings import needed_rows
from tasks.planning.plan import make_plan
from tasks.planning.resolve import RequestError
from tasks.planning.suite import make_suite
from tasks.publishing.model_folder import write_model
from tasks.publishing.prompt_model import PromptModel
from tasks.storage.store import Store

METHODS = [
    *("verbalizer", "verbalizer-calibrated", {"in-context": {"n_examples": 2}}),
    *({"soft-prompt": {"epochs": 1}}, {"dept": {"epochs": 1}}),
    *({"cpt": {"epochs": 1, "n_examples": 2}}, {"text-linear-probe": {"search_steps": 1}}),
]
WORDS = {"praise": ("good", "great"), "complaint": ("bad", "not good")}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A table of ten short texts of each class and split."""
    file = tmp_path_factory.mktemp("raw") / "opinions.csv"
    with file.open("w", newline="") as opened:
        table = csv.writer(opened)
        table.writerow(["text", "label", "split"])
        for split in ("train", "test"):
            for number in range(10):
                for name, words in WORDS.items():
                    said = f"a movie, {words[number % 2]} {'and a film ' * (number % 3)}{number}"
                    table.writerow([f"{said} {split}", name, split])
    return file


class Done:
    """A store with trials of every method of texts, and what each said of the test rows."""

    def __init__(self, home, file, folder):
        self.store, self.folder = Store(home), str(folder)
        card = DatasetCard(
            name="opinions",
            kind="text",
            source=TextTables(str(file)),
            template="{text}. it was {answer}.",
            classes=("complaint", "praise"),
            verbalizer=("bad", "good"),
        )
        register(card, self.store.cards)
        dataset = ingest_dataset("opinions", self.store)
        self.dataset = dataset
        self.texts = dataset.texts(range(dataset.rows))
        values = {
            "name": "words",
            "datasets": ["opinions"],
            "backbones": [self.folder],
            "protocols": ["text_zero_shot", "text_few_shot"],
            "methods": METHODS,
            "shots": [2],
            "seeds": [13],
            "test_rows_per_class": 3,
        }
        request = check(self.store, make_suite(values, where="words"))
        self.plan = make_plan(self.store, request, {"opinions": dataset})
        specs, datasets = self.plan.specs, {"opinions": dataset}
        worker = TrialWorker(self.store.home, "cpu")
        ((_, context),) = contexts_of(self.store, request.backbones, specs, datasets, {}).items()
        ((view, rows),) = needed_rows(specs, dataset).items()
        folder = view_folder(context.features, view, context.backbone.precision)
        card = next(iter(request.backbones.cards.values()))
        features = FeatureStore.create(folder, dataset.rows, card.feature_width)
        features.write(rows, worker.encode(rows, context, "text-classification", view))
        self.found = worker.compute(specs, context)
        self.specs = {spec.method: spec for spec in specs}

    def said(self, method):
        """What a trial wrote of each test row."""
        place = self.store.trial(self.specs[method].trial_id)
        return pq.read_table(place / "predictions.parquet").to_pylist()


@pytest.fixture(scope="module")
def done(tmp_path_factory, texts, causal_folder):
    return Done(tmp_path_factory.mktemp("home"), texts, causal_folder)


def test_every_method_of_texts_has_its_trial_and_none_fails(done):
    assert len(done.specs) == len(METHODS)
    assert not [each.error for each in done.found if each.error]
    assert {name for name, spec in done.specs.items() if not spec.shots} == set(METHODS[:2])
    assert {spec.views for spec in done.specs.values()} == {"none"}


def test_operations_that_nobody_counts_are_not_told_as_none(done):
    for spec in done.specs.values():
        trial = json.loads((done.store.trial(spec.trial_id) / "trial.json").read_text())
        assert trial["cost"]["tune_flops"] is None
        assert trial["cost"]["plain_tune_flops"] is None


@pytest.mark.parametrize("method", ["verbalizer-calibrated", "in-context", "dept", "cpt"])
def test_a_sentence_is_told_what_its_test_row_was_told(done, method):
    said = done.said(method)
    ready = predictor(done.store, done.specs[method].trial_id, backbones=[done.folder])
    answers = ready([done.texts[row["row_id"]] for row in said], top=1)
    for row, answer in zip(said, answers, strict=True):
        ((name, probability),) = answer.ranked
        assert name == ("complaint", "praise")[row["predicted"]]
        assert probability == pytest.approx(row["confidence"], abs=1e-4)


def test_trials_of_texts_are_computed_again_with_equal_bits(done):
    ids = [done.specs[name].trial_id for name in ("verbalizer", "soft-prompt", "in-context")]
    found = list(verify(done.store, ids, backbones=[done.folder]))
    assert {each.trial_id: each.verdict for each in found} == dict.fromkeys(ids, "equal")


def test_a_model_of_texts_is_asked_with_strings(done, tmp_path):
    spec = done.specs["text-linear-probe"]
    write_model(done.store, spec, "# card", tmp_path / "model", "0" * 32)
    model = PromptModel.load(tmp_path / "model" / "store", {"backbones": done.folder})
    asked = [done.texts[0], "what a day"]
    ready = predictor(done.store, spec.trial_id, backbones=[done.folder])
    expected = [one.ranked for one in ready(asked, top=2)]
    found = model.predict(asked, {"top": 2})
    assert found["classes"].tolist() == [[each.name for each in one] for one in expected]
    assert found["probabilities"].tolist() == [
        [each.probability for each in one] for one in expected
    ]
    assert json.loads((tmp_path / "model" / "input_example.json").read_text())[0] in done.texts
    (given,) = Model.load(str(tmp_path / "model")).signature.inputs.to_dict()
    assert given["type"] == "string"
    assert model.predict("what a day")["class"][0] == expected[1][0].name


def test_classes_that_are_named_are_answered_with_their_words(done):
    """Of those that the dataset has, that is its verbalizer; another class answers by its name."""
    trial_id = done.specs["verbalizer"].trial_id
    names = ["praise", "complaint", "shrug"]
    asked = predictor(done.store, trial_id, backbones=[done.folder], classes=names).method.classes
    assert asked.words == ("good", "bad", "shrug")
    plain = predictor(done.store, trial_id, backbones=[done.folder])
    same = predictor(done.store, trial_id, backbones=[done.folder], classes=["praise", "complaint"])
    ((one,), (other,)) = (ready(done.texts[:1], top=2) for ready in (plain, same))
    assert dict(one.ranked) == pytest.approx(dict(other.ranked), abs=1e-6)


def test_texts_are_chosen_on_rows_of_the_train_split(done):
    """So a draw that takes all of them leaves none, whatever the val split has."""
    dataset = done.dataset
    assert len(dataset.rows_of("val"))
    most = len(dataset.rows_of("train")) // 2  # of each of the two classes

    def planned(shots):
        values = {"name": "chosen", "datasets": ["opinions"], "backbones": [done.folder]}
        values |= {"protocols": ["text_few_shot"], "shots": [shots], "seeds": [13]}
        values |= {"methods": [{"soft-prompt": {"selection": "val"}}]}
        request = check(done.store, make_suite(values, where="chosen"))
        return make_plan(done.store, request, {"opinions": dataset}).specs

    (spec,) = planned(4)
    assert spec.selection == "val"
    with pytest.raises(RequestError, match=r"no validation rows for text_few_shot of \d+ shots"):
        planned(most)


def test_texts_are_on_the_board_with_their_scores(done):
    rebuild(done.store)
    with duckdb.connect(str(done.store.board), read_only=True) as board:
        rows = board.execute(
            "SELECT method, protocol, mean, track FROM leaderboard WHERE metric = 'accuracy'"
        ).fetchall()
    assert {row[0] for row in rows} == set(done.specs)
    assert {row[3] for row in rows} == {"text-classification"}
    for method, _, accuracy, _ in rows:
        said = done.said(method)
        assert len(said) == 6
        right = sum(row["label"] == row["predicted"] for row in said)
        assert accuracy == pytest.approx(right / 6)
