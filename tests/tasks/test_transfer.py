"""Suites that test on other datasets and domains: what is planned, encoded and computed."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from operators.episodes.features import FeatureStore, view_folder
from operators.spec import Target
from tasks.computing.encode import contexts_of, encoders_of, features_folder
from tasks.computing.worker import TrialWorker
from tasks.planning.choices import check
from tasks.planning.data import preview, template_set
from tasks.planning.encodings import needed_rows
from tasks.planning.plan import make_plan
from tasks.planning.resolve import RequestError
from tasks.planning.suite import make_suite

BOTH = ["cross_dataset", "domain_generalization"]
STYLES = ("clean", "ink", "sketch")


@pytest.fixture
def pets(dataset_of):
    return dataset_of(domains=STYLES, train=6, val=3, test=6)


@pytest.fixture
def trees(dataset_of):
    return dataset_of("trees", ("oak", "elm", "ash"), template="{}, a tree.")


@pytest.fixture
def drawn(dataset_of, pets):
    return dataset_of("drawn", pets.classes[::-1][:3], template="a drawing of a {}.")


@pytest.fixture
def request_of(store, tiny):
    def make(*datasets, methods=("zero-shot", "coop"), protocols=BOTH, targets=(), **changes):
        values = {"name": "mini", "datasets": [d.name for d in datasets], "backbones": [tiny]}
        values |= {"methods": list(methods), "protocols": protocols, "shots": [1], "seeds": [1]}
        values |= {"targets": [t.name for t in targets], **changes}
        return check(store, make_suite(values, where="mini"))

    return make


@pytest.fixture
def plan(store, request_of):
    def make(*datasets, targets=(), **changes):
        request = request_of(*datasets, targets=targets, **changes)
        return make_plan(store, request, {d.name: d for d in (*datasets, *targets)})

    return make


def grounds(plan, protocol, method="coop"):
    return [
        (spec.dataset, tuple(spec.targets), spec.held_out)
        for spec in plan.specs
        if (spec.protocol, spec.method) == (protocol, method)
    ]


def test_targets_are_tested_by_what_is_learned_once(plan, pets, trees, drawn):
    made = plan(pets, targets=(trees, drawn), protocols=["cross_dataset"])
    assert grounds(made, "cross_dataset") == [("pets", ("trees", "drawn"), "")]
    (spec,) = (spec for spec in made.specs if spec.method == "coop")
    assert spec.targets["trees"] == Target(trees.fingerprint, template_set(trees))
    assert spec.targets["trees"].template_set != spec.template_set


def test_without_targets_the_other_datasets_of_the_suite_are_tested(plan, pets, trees):
    made = plan(pets, trees, protocols=["cross_dataset"])
    assert grounds(made, "cross_dataset") == [
        ("pets", ("trees",), ""),
        ("trees", ("pets",), ""),
    ]


def test_variants_have_the_learned_classes_and_others_are_named(plan, pets, trees, drawn):
    made = plan(pets, targets=(trees, drawn), protocols=["domain_generalization"])
    assert grounds(made, "domain_generalization") == [("pets", ("drawn",), "")]
    assert made.skipped == (
        "domain_generalization from pets to trees: it has classes that are not learned: oak, elm, "
        "ash. Try cross_dataset.",
    )


def test_without_variants_each_domain_is_left_out_in_turn(plan, pets, trees):
    for targets in ((), (trees,)):
        made = plan(pets, targets=targets, protocols=BOTH[1:])
        assert grounds(made, BOTH[1]) == [("pets", (), domain) for domain in STYLES]
        assert not made.skipped
    assert len({spec.trial_id for spec in made.specs}) == 2 * 3
    assert len({spec.cell_id for spec in made.specs}) == 2 * 3


def test_what_there_is_to_test_on_is_known_before_ingestion(store, plan, request_of, dataset_of):
    cards = [
        dataset_of(ingested=False, domains=STYLES),
        dataset_of("trees", ("oak", "elm", "ash"), ingested=False),
    ]
    request = request_of(*cards[:1], targets=cards[1:])
    made = make_plan(store, request, {card.name: preview(card) for card in cards})
    assert grounds(made, BOTH[0]) == [("pets", ("trees",), "")]
    assert grounds(made, BOTH[1]) == [("pets", (), domain) for domain in STYLES]


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("cross_dataset", "there is no other dataset to test on. Name some with --targets"),
        ("domain_generalization", "it has no domains, so none can be left out. Name datasets of"),
    ],
)
def test_nothing_to_test_on_is_said_with_the_way_out(plan, trees, protocol, said):
    with pytest.raises(RequestError, match=f"{protocol} on trees: {said}"):
        plan(trees, protocols=[protocol])


def test_targets_that_no_protocol_tests_are_refused(request_of, pets, trees):
    with pytest.raises(RequestError, match="targets trees: none of the protocols few_shot tests"):
        request_of(pets, targets=(trees,), protocols=["few_shot"])


def test_a_domain_without_which_nothing_can_be_learned_is_named(plan, dataset_of):
    one = dataset_of("one", domains=("clean", "ink"), train=1, val=1, test=2)
    made = plan(one, protocols=["domain_generalization"])
    assert grounds(made, "domain_generalization") == [("one", (), "ink")]
    (reason,) = made.skipped
    assert "have no train rows to learn from beside the domain clean" in reason


def test_what_belongs_to_its_classes_is_asked_about_no_others(plan, dataset_of, pets, drawn):
    inked = dataset_of("inked", pets.classes[::-1])
    made = plan(pets, targets=(drawn, inked), methods=["tip-adapter", "coop"], protocols=BOTH[1:])
    assert grounds(made, BOTH[1]) == [("pets", ("drawn", "inked"), "")]
    assert grounds(made, BOTH[1], "tip-adapter") == []
    assert any(reason.startswith("tip-adapter on drawn: it learns") for reason in made.skipped)
    alone = plan(pets, targets=(inked,), methods=["tip-adapter"], protocols=BOTH[1:])
    assert grounds(alone, BOTH[1], "tip-adapter") == [("pets", ("inked",), "")]
    domains = plan(pets, methods=["tip-adapter"], protocols=BOTH[1:])
    assert len(grounds(domains, BOTH[1], "tip-adapter")) == 3


def test_of_targets_the_tested_rows_are_read_under_the_backbone_of_the_trial(plan, pets, trees):
    made = plan(pets, targets=(trees,), protocols=["cross_dataset"], test_rows_per_class=2)
    datasets = {"pets": pets, "trees": trees}
    (name,) = {spec.backbone for spec in made.specs}
    assert {pair for spec in made.specs for pair in encoders_of(spec)} == {
        (name, "pets"),
        (name, "trees"),
    }
    ((view, rows),) = needed_rows(made.specs, trees, datasets).items()
    assert view is None
    assert set(trees.splits[rows]) == {"test"}
    assert np.bincount(trees.labels[rows]).tolist() == [2, 2, 2]


def test_a_trial_is_computed_on_all_its_datasets_as_on_each_alone(
    store, plan, request_of, pets, trees, drawn
):
    made = plan(pets, targets=(trees, drawn), methods=["zero-shot", {"coop": {"epochs": 1}}])
    datasets = {d.name: d for d in (pets, trees, drawn)}
    backbones = request_of(pets).backbones
    contexts = contexts_of(store, backbones, made.specs, datasets, {"suite": "mini"})
    worker = TrialWorker(store.home, "cpu")
    ((name, card),) = backbones.cards.items()
    for (_, on), context in contexts.items():
        own = [spec for spec in made.specs if (name, on) in encoders_of(spec)]
        for view, rows in needed_rows(own, datasets[on], datasets).items():
            folder = view_folder(features_folder(store, card, datasets[on]), view, "fp32")
            features = FeatureStore.create(folder, datasets[on].rows, card.feature_width)
            encoded = worker.encode(rows, context, "image-classification", view)
            features.write(features.missing(rows), encoded)
    done = worker.compute(made.specs, contexts[name, "pets"])
    assert {each.error for each in done} == {""}
    for spec in made.specs:
        predictions = pq.read_table(store.trial(spec.trial_id) / "predictions.parquet")
        assert set(predictions["split"].to_pylist()) == {"all", *spec.targets}
    (alone,) = plan(trees, methods=["zero-shot"], protocols=["few_shot"]).specs
    assert not worker.compute([alone], contexts[name, "trees"])[0].error
    crossed = next(spec for spec in made.specs if "trees" in spec.targets)
    by_itself, among_others = (
        [
            (row["row_id"], row["label"], row["predicted"])
            for row in pq.read_table(store.trial(s.trial_id) / "predictions.parquet").to_pylist()
            if row["split"] == split
        ]
        for s, split in ((alone, "all"), (crossed, "trees"))
    )
    assert by_itself == among_others


def test_a_target_is_not_called_what_the_sources_own_scores_are_called(plan, pets, dataset_of):
    everything = dataset_of("all", pets.classes)
    with pytest.raises(RequestError, match="cross_dataset from pets to all: 'all' is what"):
        plan(pets, targets=(everything,), protocols=["cross_dataset"])


def test_selection_on_validation_needs_rows_beside_the_domain(plan, dataset_of):
    """The only validation rows are of the domain that is left out."""
    pets = dataset_of(domains=STYLES, train=6, val=1, test=6)
    domains = {pets.domain_names[code] for code in pets.domain_codes[pets.rows_of("val")]}
    assert len(domains) == 1
    methods = [{"coop": {"selection": "val"}}]
    found = plan(pets, methods=methods, protocols=["domain_generalization"])
    (reason,) = found.skipped
    assert "no validation rows for domain_generalization" in reason
    assert {spec.held_out for spec in found.specs} == {*STYLES} - domains
    assert plan(pets, methods=methods, protocols=["few_shot"]).specs
