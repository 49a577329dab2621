"""Suites of unsupervised, transductive and test-time protocols: what is planned and computed."""

import pyarrow.parquet as pq
import pytest

from operators.episodes.features import FeatureStore, view_folder
from operators.methods import METHODS
from operators.tracks.rows import episode_of
from tasks.computing.encode import contexts_of, features_folder, needed_rows
from tasks.computing.worker import TrialWorker
from tasks.planning.choices import check
from tasks.planning.data import TrialData
from tasks.planning.placed import unfit
from tasks.planning.plan import make_plan
from tasks.planning.resolve import RequestError
from tasks.planning.suite import make_suite

NEW = ["unsupervised", "transductive", "test_time"]
BRIEF = {"epochs": 1, "kd_weight": 1.0, "batch_size": 4}
TAUGHT = {**BRIEF, "teacher_hyperparameters": {"epochs": 1}}


@pytest.fixture
def pets(dataset_of):
    return dataset_of()


@pytest.fixture
def request_of(store, tiny, pets):
    def make(*methods, protocols=NEW, **changes):
        values = {"name": "mini", "datasets": ["pets"], "backbones": [tiny], "shots": [1]}
        values |= {"seeds": [1, 2], "methods": list(methods), "protocols": protocols, **changes}
        return check(store, make_suite(values, where="mini"))

    return make


@pytest.fixture
def plan(store, request_of, pets):
    return lambda *methods, **how: make_plan(store, request_of(*methods, **how), {"pets": pets})


def trials(plan, method):
    found = {}
    for spec in plan.specs:
        if spec.method == method:
            found.setdefault(spec.protocol, []).append((spec.shots, spec.seed))
    return found


def test_what_reads_nothing_has_one_trial_in_each(plan):
    made = plan("zero-shot", "tpt")
    assert made.skipped == (
        "tpt in unsupervised: it adapts to test examples as they come. Choose test_time with "
        "--protocols.",
        "tpt in transductive: it adapts to test examples as they come. Choose test_time with "
        "--protocols.",
    )
    assert trials(made, "zero-shot") == {name: [(0, 0)] for name in NEW}
    assert trials(made, "tpt") == {"test_time": [(0, 0)]}


def test_a_method_without_use_for_unlabelled_examples_is_sent_elsewhere(plan):
    made = plan("zero-shot", "coop")
    assert trials(made, "coop") == {}
    assert set(made.skipped) == {
        "coop in unsupervised: it learns from labelled examples, and there are none.",
        "coop in transductive: it does nothing with unlabelled test examples, so its numbers would "
        "be those of few_shot. Choose few_shot with --protocols.",
        "coop in test_time: it learns from labelled examples, and there are none.",
    }


def test_a_student_learns_in_both_from_teachers_that_saw_no_test_example(plan):
    made = plan({"promptkd": BRIEF}, protocols=NEW[:2])
    assert trials(made, "promptkd") == {
        "unsupervised": [(0, 1), (0, 2)],
        "transductive": [(1, 1), (1, 2)],
    }
    teachers = {s.protocol: s.teacher for s in made.specs if s.method == "promptkd"}
    assert (teachers["unsupervised"].method, teachers["unsupervised"].protocol) == (
        "zero-shot",
        "zero_shot",
    )
    assert (teachers["transductive"].method, teachers["transductive"].protocol) == (
        "promptsrc",
        "few_shot",
    )
    (taught,) = {
        s.teacher.trial_id
        for s in plan({"promptkd": BRIEF}, protocols=["few_shot"], seeds=[2]).specs
        if s.teacher
    }
    assert taught == teachers["transductive"].trial_id  # it is tuned once for both


def test_without_labels_a_teacher_reads_none_either(plan):
    with pytest.raises(RequestError, match="its teacher has no place: promptsrc in zero_shot: it"):
        plan({"promptkd": {"teacher": "promptsrc"}}, protocols=["unsupervised"])


def test_nothing_is_chosen_on_validation_without_labels(plan):
    with pytest.raises(RequestError, match="no validation rows for unsupervised"):
        plan({"promptkd": {**BRIEF, "selection": "val"}}, protocols=["unsupervised"])


def test_what_learns_without_labels_alone_is_refused_where_there_is_nothing(monkeypatch):
    from dataclasses import replace

    from operators.episodes.protocols import PROTOCOLS

    card = replace(METHODS["promptkd"].card, learns=False)
    monkeypatch.setattr(METHODS["promptkd"], "card", card)
    said = {name: unfit("mine", METHODS["promptkd"], name, p) for name, p in PROTOCOLS.items()}
    assert not said["unsupervised"]
    assert not said["transductive"]
    assert said["few_shot"] == (
        "mine in few_shot: it learns from examples without labels, and there are none. Choose "
        "unsupervised, transductive or transductive_zero_shot with --protocols."
    )
    monkeypatch.setattr(METHODS["tpt"], "card", replace(METHODS["tpt"].card, stream=True))
    said = {name: unfit("mine", METHODS["tpt"], name, p) for name, p in PROTOCOLS.items()}
    assert not said["test_time"]
    assert "depends on those before" in said["zero_shot"]


def test_a_dataset_without_train_rows_has_no_place_without_labels(plan, dataset_of, store, tiny):
    bare = dataset_of("bare", test=4, val=1)
    values = {"name": "mini", "datasets": ["bare"], "backbones": [tiny], "methods": ["zero-shot"]}
    request = check(store, make_suite({**values, "protocols": NEW[:1]}, where="mini"))
    with pytest.raises(RequestError, match="unsupervised on bare: it has no train rows to learn"):
        make_plan(store, request, {"bare": bare})


def test_trials_are_encoded_computed_and_committed(store, plan, request_of, pets):
    without = plan(
        "zero-shot", {"promptkd": BRIEF}, protocols=["zero_shot", NEW[0], NEW[2]], seeds=[1]
    )
    taught = plan("zero-shot", {"promptkd": TAUGHT}, protocols=["transductive"], seeds=[1])
    specs = (*without.specs, *taught.specs)
    backbones = request_of("zero-shot").backbones
    ((name, card),) = backbones.cards.items()
    contexts = contexts_of(store, backbones, specs, {"pets": pets}, {"suite": "mini"})
    worker = TrialWorker(store.home, "cpu")
    for view, rows in needed_rows(specs, pets).items():
        folder = view_folder(features_folder(store, card, pets), view, "fp32")
        features = FeatureStore.create(folder, pets.rows, card.feature_width)
        encoded = worker.encode(rows, contexts[name, "pets"], "image-classification", view)
        features.write(features.missing(rows), encoded)
    done = [d for s in specs for d in worker.compute([s], contexts[name, "pets"])]
    assert {each.error for each in done} == {""}
    answers = {}
    for spec in specs:
        table = pq.read_table(store.trial(spec.trial_id) / "predictions.parquet")
        answers[spec.method, spec.protocol] = dict(
            zip(table["row_id"].to_pylist(), table["predicted"].to_pylist(), strict=True)
        )
        (tested,) = episode_of(spec, TrialData(pets).table).evaluations
        assert table["row_id"].to_pylist() == tested.rows.tolist()
    for name in NEW:
        assert answers["zero-shot", name] == answers["zero-shot", "zero_shot"]
    assert {("promptkd", "unsupervised"), ("promptkd", "transductive")} <= set(answers)
