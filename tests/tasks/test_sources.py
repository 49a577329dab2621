"""Trials that start from what others learned on other datasets: planned, waited for, computed."""

import pytest

from operators.spec import VALIDATION
from tasks.comparing.verify import Here, verify
from tasks.computing.encode import contexts_of, encode, encoders_of
from tasks.computing.worker import TrialWorker
from tasks.planning.choices import check
from tasks.planning.encodings import encodings_of, needed_rows
from tasks.planning.plan import make_plan
from tasks.planning.resolve import RequestError
from tasks.planning.suite import make_suite

SMALL = {"form": "coop", "n_tokens": 2, "epochs": 1, "source_shots": 1}
BRIEF = {"epochs": 2}


def suite(tiny, given, **changes):
    values = {
        "name": "mini",
        "datasets": ["pets"],
        "backbones": [tiny],
        "methods": [{"mvlpt": {**SMALL, "source_hyperparameters": BRIEF, **given}}],
        "shots": [2],
        "seeds": [1, 2],
        "views": "none",
    }
    return make_suite({**values, **changes}, where="mini")


@pytest.fixture
def data(dataset_of):
    return {name: dataset_of(name) for name in ("pets", "toys", "tools")}


@pytest.fixture
def plan(store, tiny, data):
    def make(given=None, **changes):
        request = check(
            store, suite(tiny, {"source_datasets": "tools,toys", **(given or {})}, **changes)
        )
        return make_plan(store, request, {name: data[name] for name in request.cards})

    return make


def parted(made):
    sources = [spec for spec in made.specs if spec.source is None]
    return sources, [spec for spec in made.specs if spec.source is not None]


def test_a_start_is_brought_along_as_one_trial_a_seed_on_all_sources(plan):
    made = plan(protocols=["few_shot", "base_to_new"])
    sources, targets = parted(made)
    assert [(s.dataset, tuple(s.targets), s.protocol, s.shots, s.seed) for s in sources] == [
        ("tools", ("toys",), "multi_task", 1, seed) for seed in (1, 2)
    ]
    assert all(s.hyperparameters["epochs"] == 2 for s in sources)
    assert all(s.hyperparameters["source_datasets"] == "" for s in sources)
    assert all(s.hyperparameters["n_tokens"] == 2 for s in sources)
    assert len(targets) == 4
    assert all(t.source == sources[t.seed - 1] for t in targets)
    (notice,) = [text for text in made.notices if "starts from" in text]
    assert notice.startswith("mvlpt starts from what was learned before: 2 trials of mvlpt on ")


def test_the_dataset_itself_is_left_out_of_its_sources(plan):
    made = plan({"source_datasets": "pets,tools,toys"}, datasets=["pets", "toys"], seeds=[1])
    _, targets = parted(made)
    found = {t.dataset: (t.source.dataset, *t.source.targets) for t in targets}
    assert found == {"pets": ("tools", "toys"), "toys": ("pets", "tools")}


def test_one_source_is_a_few_shot_trial_that_a_suite_may_ask_for_itself(plan):
    (source, *_), targets = parted(plan({"source_datasets": "toys"}, seeds=[1]))
    assert (source.dataset, source.protocol, source.shots) == ("toys", "few_shot", 1)
    asked = plan(
        {"source_datasets": "", "source_shots": 20, "source_hyperparameters": None, **BRIEF},
        datasets=["toys"],
        shots=[1],
        seeds=[1],
    )
    assert asked.specs == (source,)
    assert targets[0].source == source


def test_no_source_is_a_start_from_nothing_learned(plan):
    given = {"source_datasets": "", "source_shots": 20, "source_hyperparameters": None}
    made = plan(given)
    assert all(not spec.leant_on for spec in made.specs)
    alone = plan({**given}, datasets=["toys"], seeds=[1])
    (target,) = parted(plan({"source_datasets": "toys"}, datasets=["toys"], seeds=[1]))[0]
    assert target.aids == alone.specs[0].aids == {}  # its only source is itself


@pytest.mark.parametrize(
    "changes",
    [
        {"source_datasets": "toys"},
        {"source_shots": 2},
        {"source_hyperparameters": {"epochs": 3}},
        {"source_hyperparameters": {**BRIEF, "other_tasks": "left_out"}},
    ],
)
def test_another_start_is_another_trial(plan, changes):
    (before,) = parted(plan(seeds=[1]))[1]
    (after,) = parted(plan(changes, seeds=[1]))[1]
    assert before.source.trial_id != after.source.trial_id
    assert before.trial_id != after.trial_id


def test_candidates_of_a_search_share_the_source_of_their_seed(plan):
    made = plan(seeds=[1], search={"mvlpt.lr": [0.1, 0.2]})
    sources, targets = parted(made)
    assert len(sources) == 1
    assert [t.tested_on for t in targets] == [VALIDATION] * 2
    assert {t.source.trial_id for t in targets} == {sources[0].trial_id}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source_datasets": "nowhere"}, r"mvlpt starts from .*'nowhere'.*source_datasets=''"),
        ({"source_datasets": "dtd"}, r"dtd is known and not registered here: .*datasets get dtd"),
        ({"source_hyperparameters": {"n_tokens": 3}}, r"n_tokens=3, .*the same prompt"),
        ({"source_hyperparameters": {"source_datasets": "toys"}}, "has no start itself"),
        ({"source_hyperparameters": {"epochs": 0}}, "its source, mvlpt: .*epochs"),
    ],
)
def test_starts_that_cannot_be_are_refused_before_anything_starts(
    store, tiny, data, given, message
):
    asked = suite(tiny, {"source_datasets": "tools,toys", **given})
    with pytest.raises(RequestError, match=message):
        check(store, asked)


def test_a_student_whose_source_has_no_rows_is_skipped(store, tiny, data, dataset_of, plan):
    data["bare"] = dataset_of("bare", test=2)
    with pytest.raises(RequestError, match=r"its source has no place: bare: .*no train rows"):
        plan({"source_datasets": "bare,toys"})


def test_starts_come_first_and_are_waited_for(plan, store):
    made = plan()
    first, second = made.bundles()
    assert {s.protocol for s in first.specs} == {"multi_task"}
    assert second.waits_for == first.trial_ids


def test_several_datasets_are_learned_at_once_where_a_suite_asks_for_it(plan):
    made = plan(
        {"source_datasets": "", "source_shots": 20, "source_hyperparameters": None},
        datasets=["toys", "pets", "tools"],
        protocols=["multi_task"],
        seeds=[1],
    )
    (spec,) = made.specs
    assert (spec.dataset, list(spec.targets)) == ("pets", ["tools", "toys"])
    assert any("toys: it is learned together with pets" in text for text in made.skipped)


def test_all_rows_that_several_datasets_learn_from_are_encoded_once(plan, data):
    made = plan(seeds=[1])
    (source,) = parted(made)[0]
    for name in ("tools", "toys"):
        (rows,) = needed_rows([source], data[name], data).values()
        splits = data[name].splits[rows]
        assert [sum(splits == split) for split in ("train", "val", "test")] == [4, 4, 16]
    assert encodings_of([source], data).kept == 48


def test_a_start_is_computed_reused_and_computed_again_alike(plan, store, tiny, data):
    made = plan(seeds=[1])
    request = check(store, suite(tiny, {"source_datasets": "tools,toys"}, seeds=[1]))
    worker = TrialWorker(store.home, "cpu")
    contexts = contexts_of(
        store,
        request.backbones,
        made.specs,
        data,
        {"suite": "mini", "flow_run_id": "f1", "git_commit": "c1", "git_dirty": True},
    )

    for (name, on), context in contexts.items():
        specs = [spec for spec in made.specs if (name, on) in encoders_of(spec)]
        card = request.backbones.cards[name]
        encode.fn(f"{on} {name}", specs, data[on], card, context, Here(worker), data)

    def compute(spec):
        (done,) = worker.compute([spec], contexts[spec.backbone, spec.dataset])
        return done.error

    (source,), (target,) = parted(made)
    error = compute(target)
    assert "its source, mvlpt on tiny-clip" in error
    assert "source_datasets='NAME,NAME'" in error
    assert not compute(source)
    assert not compute(target)
    assert plan(seeds=[1]).missing == ()
    again = plan({"lr": 0.5}, seeds=[1])
    assert [spec.source for spec in again.missing] == [source]
    found = list(verify(store, [source.trial_id, target.trial_id], backbones=[tiny]))
    assert [each.verdict for each in found] == [
        "equal",
        "equal",
    ]
