"""A suite of pairs of attribute and object: what is planned, what its trials are, and numbers."""

import numpy as np
import pytest

from data_catalog import CATALOG
from operators.episodes.compositional import pair_split
from operators.episodes.features import FeatureStore, view_folder
from tasks.computing.encode import contexts_of, features_folder, needed_rows
from tasks.computing.worker import TrialWorker
from tasks.planning.choices import check
from tasks.planning.data import TrialData, preview
from tasks.planning.plan import make_plan
from tasks.planning.suite import make_suite

PAIRS = tuple(f"{a} {o}" for a in ("blue", "old", "red", "tiny") for o in ("boat", "cat", "tree"))
BRIEF = {"epochs": 1, "batch_size": 8}


@pytest.fixture
def things(dataset_of):
    return dataset_of("things", PAIRS, composed=True, train=1, val=1, test=1)


@pytest.fixture
def request_of(store, tiny, things):
    def make(*methods, **changes):
        values = {"name": "mini", "datasets": ["things"], "backbones": [tiny], "shots": ["all"]}
        values |= {"seeds": [1], "methods": list(methods), "protocols": ["compositional"]}
        return check(store, make_suite({**values, "views": "none", **changes}, where="mini"))

    return make


@pytest.fixture
def plan(store, request_of, things):
    return lambda *methods, **how: make_plan(store, request_of(*methods, **how), {"things": things})


def test_methods_of_images_serve_beside_csp_and_others_are_skipped_with_the_reason(plan):
    made = plan("zero-shot", "coop", "csp", "cocoop", "linear-probe")
    assert {spec.method for spec in made.specs} == {"zero-shot", "coop", "csp"}
    assert {"cocoop", "linear-probe"} == {text.split()[0] for text in made.skipped}
    assert all("no class vectors that are the same" in text for text in made.skipped)
    elsewhere = plan("zero-shot", "csp", protocols=["few_shot"])
    assert {spec.method for spec in elsewhere.specs} == {"zero-shot"}
    (said,) = elsewhere.skipped
    assert said.startswith("csp in few_shot: it is a method of compositional, and the protocol is")
    assert said.endswith("such as compositional.")


def test_what_the_pairs_are_is_part_of_a_trial_of_pairs_and_of_no_other(plan, things):
    (paired,) = plan("zero-shot").specs
    (plain,) = plan("zero-shot", protocols=["zero_shot"]).specs
    assert paired.composition and not plain.composition
    assert "composition" not in plain.identity()
    things.pairs = tuple((o, a) for a, o in things.pairs)
    assert plan("zero-shot").specs[0].trial_id != paired.trial_id
    assert plan("zero-shot", protocols=["zero_shot"]).specs[0].trial_id == plain.trial_id


def test_a_dataset_whose_classes_are_no_pairs_is_skipped_with_the_way_out(
    store, request_of, things, dataset_of
):
    datasets = {"things": things, "pets": dataset_of("pets", PAIRS)}
    made = make_plan(store, request_of("zero-shot", datasets=list(datasets)), datasets)
    assert {spec.dataset for spec in made.specs} == {"things"}
    (said,) = made.skipped
    assert said.startswith("compositional on pets: ")
    assert "--columns attribute=..,object=.." in said


@pytest.mark.parametrize("name", ["digits", "textiles", "world-icons"])
def test_a_shipped_dataset_without_pairs_is_known_before_it_is_ingested(store, request_of, name):
    cards = {each: CATALOG[each] for each in (name, "world-pairs")}
    datasets = {each: preview(card) for each, card in cards.items()}
    made = make_plan(store, request_of("zero-shot", datasets=list(cards)), datasets)
    assert {spec.dataset for spec in made.specs} == {"world-pairs"}
    assert made.skipped[0].startswith(f"compositional on {name}: ")


def test_trials_have_the_numbers_of_both_worlds(store, plan, request_of, things):
    made = plan("zero-shot", {"coop": BRIEF}, {"csp": BRIEF})
    backbones = request_of("zero-shot").backbones
    ((name, card),) = backbones.cards.items()
    contexts = contexts_of(store, backbones, made.specs, {"things": things}, {"suite": "mini"})
    worker = TrialWorker(store.home, "cpu")
    for view, rows in needed_rows(made.specs, things).items():
        folder = view_folder(features_folder(store, card, things), view, "fp32")
        features = FeatureStore.create(folder, things.rows, card.feature_width)
        encoded = worker.encode(rows, contexts[name, "things"], "compositional", view)
        features.write(features.missing(rows), encoded)
    split = pair_split(TrialData(things).table)
    hidden = np.flatnonzero(np.isin(things.labels, (*split.val, *split.test)))
    assert not set(hidden) & set(things.rows_of("train")) & set(rows)  # nobody reads them
    done = [d for spec in made.specs for d in worker.compute([spec], contexts[name, "things"])]
    assert {each.error for each in done} == {""}
    for spec in made.specs:
        scores = {
            (m["split"], m["metric"]): m["value"] for m in store.result(spec.trial_id)["metrics"]
        }
        assert {world for world, _ in scores} == {"closed", "open"}
        assert all(0 <= scores[world, "auc"] <= 1 for world in ("closed", "open"))
        assert len(scores) == 14
