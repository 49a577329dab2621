"""From a suite to trials: what is planned, skipped, found done and refused."""

import importlib
import shutil
from dataclasses import replace

import numpy as np
import pytest

from data_catalog import CATALOG, Dataset
from data_catalog.descriptions import Descriptions
from operators.backbones import (
    BACKBONES,
    CAPABILITIES,
    FAMILIES,
    BackboneCard,
    BackboneUnavailable,
    DualEncoder,
    Known,
    LanguageModel,
)
from operators.methods import METHODS, MethodCard
from operators.methods.image_classification.hand_written.zero_shot import ZeroShot
from operators.methods.image_classification.text_prompts.coop import CoOp
from tasks.ingestion.describe import keep
from tasks.planning.choices import check
from tasks.planning.data import preview, template_set
from tasks.planning.plan import make_plan
from tasks.planning.planned import BUNDLE, chosen_of, expected_cost, variant_of
from tasks.planning.resolve import RequestError
from tasks.planning.suite import make_suite
from tasks.storage import wholeness


class Described(DualEncoder):
    """A family of which only cards are made."""

    @staticmethod
    def describe(name, location):
        return BackboneCard(
            name=name, family="described", source="a test", license="none", fingerprint=f"{name}-1"
        )


class Absent(DualEncoder):
    """A family whose weights cannot be had."""

    @staticmethod
    def describe(name, location):
        raise BackboneUnavailable(f"backbone {name!r} is not on this machine.")


class Seeing(Described):
    """As `Described`, with a ViT."""

    @staticmethod
    def describe(name, location):
        return replace(Described.describe(name, location), capabilities=frozenset(CAPABILITIES))


class Speaking(LanguageModel):
    """A language model of which only a card is made."""

    @staticmethod
    def describe(name, location):
        return replace(Described.describe(name, location), family="speaking")


class NeedsViT(ZeroShot):
    card = MethodCard(
        title="Needs a ViT",
        family="feature_heads",
        tunes="nothing",
        source="",
        needs=frozenset({"visual-prompts"}),
    )


@pytest.fixture(autouse=True)
def families(monkeypatch):
    monkeypatch.setitem(FAMILIES, "described", Described)
    monkeypatch.setitem(FAMILIES, "absent", Absent)
    monkeypatch.setitem(FAMILIES, "seeing", Seeing)
    monkeypatch.setitem(FAMILIES, "speaking", Speaking)
    known = {"one": "described", "two": "described", "gone": "absent"}
    for name, family in {**known, "vit": "seeing", "large": "seeing", "lm": "speaking"}.items():
        monkeypatch.setitem(BACKBONES, name, Known(family, "", ""))


@pytest.fixture
def pets(dataset_of):
    return dataset_of()


def suite(**changes):
    values = {
        "name": "mini",
        "datasets": ["pets"],
        "backbones": ["one"],
        "methods": ["zero-shot", "coop"],
        "shots": [1, 2],
        "seeds": [1, 2],
        **changes,
    }
    return make_suite(values, where="mini")


@pytest.fixture
def plan(store):
    def make(*datasets: Dataset, **changes):
        request = check(store, suite(**{"datasets": [d.name for d in datasets], **changes}))
        return make_plan(store, request, {d.name: d for d in datasets})

    return make


def of(plan, method):
    return [(spec.shots, spec.seed) for spec in plan.specs if spec.method == method]


def refused(store, **changes):
    with pytest.raises(RequestError) as caught:
        check(store, suite(**changes))
    return str(caught.value)


def test_a_method_that_learns_has_a_trial_for_each_shots_and_seed(plan, pets):
    assert of(plan(pets), "coop") == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_a_method_that_reads_no_image_has_one_trial_with_shots_and_seed_0(plan, pets):
    assert of(plan(pets), "zero-shot") == [(0, 0)]


def test_it_has_one_for_each_dataset_backbone_and_protocol(plan, pets, dataset_of):
    made = plan(
        pets,
        dataset_of("toys"),
        methods=["zero-shot"],
        backbones=["one", "two"],
        protocols=["zero_shot", "few_shot", "base_to_new"],
    )
    assert len(made.specs) == 2 * 2 * 3
    assert len({spec.trial_id for spec in made.specs}) == 12


def test_a_trial_carries_everything_that_decides_its_number(plan, pets):
    spec = plan(pets, methods=[{"coop": {"epochs": 3}}], test_rows_per_class=2).specs[0]
    assert spec.dataset_fingerprint == pets.fingerprint
    assert spec.backbone_fingerprint == "one-1"
    assert spec.method_revision == CoOp.revision
    assert spec.hyperparameters["epochs"] == 3
    assert spec.hyperparameters["n_context"] == 16
    assert spec.test_rows_per_class == 2
    assert spec.template_set.startswith("card-")


def test_too_few_classes_for_base_to_new_are_skipped_with_the_reason(plan, dataset_of):
    three = dataset_of("three", classes=("a", "b", "c"))
    made = plan(three, protocols=["few_shot", "base_to_new"])
    assert made.skipped == ("base_to_new on three: it has 3 classes, and 4 are needed.",)
    assert {spec.protocol for spec in made.specs} == {"few_shot"}


def test_a_method_that_cannot_name_new_classes_is_skipped_in_base_to_new(plan, pets):
    made = plan(pets, methods=["linear-probe", "zero-shot"], protocols=["few_shot", "base_to_new"])
    (reason,) = made.skipped
    assert reason.startswith("linear-probe in base_to_new: ")
    assert {s.protocol for s in made.specs if s.method == "linear-probe"} == {"few_shot"}


def test_a_method_that_learns_is_skipped_in_zero_shot(plan, pets):
    made = plan(pets, protocols=["zero_shot"])
    assert made.skipped == (
        "coop in zero_shot: it learns from labelled examples, and there are none.",
    )
    assert of(made, "coop") == []


def test_nothing_left_to_run_is_refused_with_the_reasons(store, pets):
    text = refused(store, methods=["coop"], protocols=["zero_shot"])
    assert text.startswith("nothing to run: coop in zero_shot")


def test_nothing_left_on_these_datasets_is_refused_with_the_reasons(plan, dataset_of):
    two = dataset_of("two_classes", classes=("a", "b"))
    with pytest.raises(RequestError, match="nothing to run: base_to_new on two_classes"):
        plan(two, protocols=["base_to_new"])


def test_a_dataset_without_train_rows_is_for_zero_shot_alone(plan, dataset_of):
    only_test = dataset_of("benchmark", test=4)
    made = plan(only_test, protocols=["zero_shot", "few_shot", "base_to_new"])
    assert {spec.protocol for spec in made.specs} == {"zero_shot"}
    assert (
        "few_shot on benchmark: it has no train rows to draw from. Choose another with "
        "--protocols, such as zero_shot." in made.skipped
    )


def test_a_dataset_without_train_rows_is_refused_where_only_learning_was_asked_for(
    plan, dataset_of
):
    with pytest.raises(RequestError, match="nothing to run: few_shot on benchmark: it has no tra"):
        plan(dataset_of("benchmark", test=4))


def test_a_dataset_of_another_kind_than_the_protocol_asks_about_is_refused(plan):
    texts = preview(CATALOG["mini-topics"])
    with pytest.raises(RequestError, match="few_shot on mini-topics: it holds texts, and the pro"):
        plan(texts, protocols=["few_shot"])


def test_a_verbalizer_of_other_words_than_the_class_names_moves_the_template_set():
    card = CATALOG["mini-reviews"]
    by_name = template_set(preview(replace(card, verbalizer=())))
    assert template_set(preview(replace(card, verbalizer=card.classes))) == by_name
    ours = template_set(preview(card))
    assert ours.startswith(f"{by_name}+answers:")
    assert template_set(preview(replace(card, verbalizer=("bad", "good")))) != ours


def test_a_dataset_without_test_rows_is_refused_with_the_reason(plan, dataset_of):
    with pytest.raises(RequestError, match="few_shot on untested: it has no test rows"):
        plan(dataset_of("untested", train=1))


@pytest.fixture
def lacking(dataset_of):
    """Makes a dataset in which some classes lack the rows of a split."""

    def make(split, *labels):
        made = dataset_of("lacking", train=2, val=1, test=2)
        gone = (made.splits == split) & np.isin(made.labels, labels)
        made.splits[gone] = "val"
        return made

    return make


@pytest.mark.parametrize(
    ("split", "labels", "reason"),
    [
        ("test", (2, 3), "its classes boat, tree, the split 'new', have no test rows"),
        ("test", (0, 1), "its classes cat, dog, the split 'base', have no test rows"),
        ("train", (0, 1), "its classes cat, dog have no train rows to learn from"),
    ],
)
def test_half_of_the_classes_without_rows_is_refused_before_anything_is_tuned(
    plan, lacking, split, labels, reason
):
    dataset = lacking(split, *labels)
    with pytest.raises(RequestError, match=f"base_to_new on lacking: {reason}"):
        plan(dataset, protocols=["base_to_new"])
    both = plan(dataset, protocols=["base_to_new", "few_shot"])
    assert {spec.protocol for spec in both.specs} == {"few_shot"}
    assert any(reason in text for text in both.skipped)


@pytest.mark.parametrize("protocol", ["few_shot", "base_to_new", "zero_shot"])
def test_classes_without_test_images_are_noted(plan, lacking, protocol):
    made = plan(lacking("test", 0, 3), protocols=[protocol], methods=["zero-shot"])
    assert made.specs
    (notice,) = [text for text in made.notices if "no test images" in text]
    assert "lacking: 2 classes" in notice and notice.endswith("cat, tree.")


def test_a_class_without_train_rows_is_noted_and_the_others_are_learned(plan, lacking):
    made = plan(lacking("train", 1), shots=[1])
    assert "dog (0)" in made.notices[0]
    assert made.specs


def test_trials_that_two_entries_mean_are_planned_once(plan, pets):
    made = plan(pets, methods=["coop", {"coop": {"n_context": 16}}], shots=[1], seeds=[1])
    assert len(made.specs) == 1


def test_trials_that_are_done_are_not_missing(plan, pets, complete):
    first = plan(pets).specs[1]
    complete(first)
    again = plan(pets)
    assert again.done == {first.trial_id}
    assert first not in again.missing
    assert len(again.missing) == len(again.specs) - 1


@pytest.fixture
def counted(monkeypatch):
    """Counts the calls of functions, named as `module.function`."""

    def watch(*names):
        calls = dict.fromkeys(names, 0)
        for name in names:
            module, _, function = name.rpartition(".")
            original = getattr(importlib.import_module(module), function)

            def counting(*args, name=name, original=original, **kwargs):
                calls[name] += 1
                return original(*args, **kwargs)

            monkeypatch.setattr(importlib.import_module(module), function, counting)
        return calls

    return watch


def test_done_trials_that_were_read_once_are_found_by_their_times_and_none_is_opened(
    plan, pets, complete, counted
):
    many = {"methods": ["coop"], "shots": [1], "seeds": range(500)}
    for spec in plan(pets, **many).specs:
        complete(spec)
    for _ in range(-(-500 // wholeness.READ_AT_ONCE)):
        assert len(plan(pets, **many).done) == 500
    calls = counted("os.scandir", "os.listdir", "io.open", "builtins.open")
    assert len(plan(pets, **many).done) == 500
    assert calls.pop("os.scandir") == 1
    assert sum(calls.values()) < 50


def test_a_trial_is_named_once_and_its_hyperparameters_resolved_once_a_cell(plan, pets, counted):
    calls = counted("operators.spec.digest", "tasks.planning.settings.resolve_hyperparameters")
    made = plan(pets, methods=["coop"], shots=[1, 2], seeds=range(250))
    assert sum(len(bundle.specs) for bundle in made.bundles()) == len(made.missing) == 500
    assert 500 <= calls["operators.spec.digest"] <= 504  # and a template set once a cell
    assert calls["tasks.planning.settings.resolve_hyperparameters"] == 2  # one a number of shots


def test_each_name_of_a_suite_becomes_an_object_once(plan, pets, dataset_of, counted):
    toys, names = dataset_of("toys"), ("method", "protocol", "dataset_card")
    looked_up = [f"tasks.planning.resolve.{name}" for name in names]
    calls = counted(*looked_up, "tasks.planning.settings.find_backbone")
    made = plan(
        pets,
        toys,
        methods=["zero-shot", "coop", "promptkd"],
        backbones=["vit", "large"],
        protocols=["few_shot", "base_to_new"],
    )
    assert {spec.method for spec in made.specs} == {"zero-shot", "coop", "promptkd", "promptsrc"}
    methods, protocols, datasets, backbones = calls.values()
    assert (methods, protocols, datasets, backbones) == (3 + 1, 2, 2, 2)  # and the teacher


def test_trials_of_other_suites_are_not_counted_as_done(plan, pets, store):
    store.trial("0" * 16).mkdir(parents=True)
    assert plan(pets).done == frozenset()


def test_a_draft_is_not_a_trial(plan, pets, store):
    (store.trials / f".{plan(pets).specs[0].trial_id}.0123").mkdir(parents=True)
    assert plan(pets).done == frozenset()


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": [{"coop": {"epochs": 3}}]},
        {"test_rows_per_class": 3},
        {"views": "bank:4"},
        {"views": "none"},
        {"views": "fresh:crop-0.5"},
        {"backbones": ["two"]},
        {"protocols": ["base_to_new"]},
        {"shots": [3]},
        {"seeds": [9]},
    ],
)
def test_what_changes_the_number_changes_the_id(plan, pets, changes):
    base = {"methods": ["coop"], "shots": [1], "seeds": [1]}
    (before,) = plan(pets, **base).specs
    (after,) = plan(pets, **{**base, **changes}).specs
    assert before.trial_id != after.trial_id


def test_a_method_that_reads_centre_crops_alone_has_one_trial_for_all_policies(plan, pets):
    methods = ["zero-shot", "linear-probe", "tip-adapter"]
    none, bank, fresh = (
        {spec.method: spec for spec in made.specs}
        for made in (
            plan(pets, methods=methods, shots=[1], seeds=[1], views=views)
            for views in ("none", "bank:8", "fresh")
        )
    )
    for method in ("zero-shot", "linear-probe"):
        assert none[method] == bank[method] == fresh[method]
        assert none[method].views == "none"
    assert [found["tip-adapter"].views for found in (none, bank, fresh)] == [
        "none", "bank:8", "fresh"
    ]  # fmt: skip


def test_without_views_a_suite_has_those_of_each_method_and_shows_no_difference(plan, pets):
    methods = ["zero-shot", "linear-probe", "tip-adapter", "coop"]
    made = plan(pets, methods=methods, shots=[1], seeds=[1])
    assert {spec.method: spec.views for spec in made.specs} == {
        "zero-shot": "none", "linear-probe": "none", "tip-adapter": "fresh:crop-0.5",
        "coop": "fresh",
    }  # fmt: skip
    assert {chosen_of(spec).setting(spec.setting) for spec in made.specs} == {"paper"}
    assert made.notices == ()


def test_views_that_are_not_the_published_ones_are_in_the_setting(plan, pets):
    methods = ["linear-probe", "tip-adapter", "coop"]
    for views, told in (("none", "none"), ("fresh", "fresh"), ("bank:4:published", None)):
        made = plan(pets, methods=methods, shots=[1], seeds=[1], views=views)
        found = {spec.method: chosen_of(spec).setting(spec.setting) for spec in made.specs}
        assert found["linear-probe"] == "paper"
        assert found["tip-adapter"] == f"paper, views {told or 'bank:4:crop-0.5'}"
        same = "paper" if views == "fresh" else f"paper, views {told or 'bank:4'}"
        assert found["coop"] == same


def test_a_method_that_learns_but_sees_no_view_is_noted(plan, pets):
    methods = ["zero-shot", "linear-probe", "coop"]
    assert plan(pets, methods=methods, views="bank:8").notices == (
        "linear-probe learns from each example as it is: its views are none.",
    )
    assert plan(pets, methods=methods).notices == ()


def test_other_images_change_the_id(plan, pets, dataset_of):
    before = plan(pets).specs[0]
    assert plan(dataset_of(train=2, test=4)).specs[0].trial_id != before.trial_id


def test_another_template_changes_the_id(plan, pets, dataset_of):
    before = plan(pets).specs[0]
    other = dataset_of(template="a picture of a {}.")
    assert other.fingerprint == pets.fingerprint
    assert plan(other).specs[0].trial_id != before.trial_id


def test_another_revision_of_the_method_changes_the_id(plan, pets, monkeypatch):
    before = plan(pets).specs[0]
    monkeypatch.setattr(ZeroShot, "revision", ZeroShot.revision + 1)
    assert plan(pets).specs[0].trial_id != before.trial_id


def test_the_name_of_the_suite_is_no_part_of_the_id(plan, pets):
    assert plan(pets, name="other").specs == plan(pets).specs


def test_a_bundle_shares_backbone_dataset_and_protocol_and_is_bounded(plan, pets, dataset_of):
    made = plan(
        pets,
        dataset_of("toys"),
        methods=["coop"],
        backbones=["one", "two"],
        protocols=["few_shot", "base_to_new"],
        shots=[1],
        seeds=range(BUNDLE + 1),
    )
    bundles = list(made.bundles())
    assert sorted(len(b.specs) for b in bundles) == [1] * 8 + [BUNDLE] * 8
    for bundle in bundles:
        shared = {(s.backbone, s.dataset, s.protocol) for s in bundle.specs}
        assert shared == {(bundle.backbone, bundle.dataset, bundle.protocol)}
    assert {s.trial_id for b in bundles for s in b.specs} == {s.trial_id for s in made.specs}


def test_the_longest_trials_of_a_bundle_come_first(plan, pets):
    (bundle,) = plan(pets).bundles()
    costs = [expected_cost(spec) for spec in bundle.specs]
    assert costs == sorted(costs, reverse=True)
    assert bundle.specs[-1].method == "zero-shot"


def test_bundles_hold_what_is_missing_alone(plan, pets, complete):
    for spec in plan(pets).specs[1:]:
        complete(spec)
    (bundle,) = plan(pets).bundles()
    assert [spec.method for spec in bundle.specs] == ["zero-shot"]


def test_classes_that_cannot_give_all_the_shots_are_noted(plan, pets):
    (notice,) = plan(pets, shots=[2, 8]).notices
    assert "4 classes have fewer than 8 train images" in notice
    assert "cat (3)" in notice


def test_selection_on_validation_needs_validation_rows(plan, dataset_of):
    without = dataset_of("few", train=1, val=0, test=2)
    assert not len(without.rows_of("val"))
    with pytest.raises(RequestError, match=r"selection='val' on few: it has no validation rows"):
        plan(without, methods=[{"coop": {"selection": "val"}}])
    with pytest.raises(RequestError, match=r"no validation rows .* Use selection='last'"):
        plan(without, methods=["cross-modal"])  # whose authors have validation rows always
    found = plan(without, methods=["cross-modal", "coop"])  # which costs the others nothing
    assert {spec.method for spec in found.specs} == {"coop"}
    assert {each.split(":")[0] for each in found.skipped} == {
        "cross-modal with selection='val' on few"
    }


def test_nothing_of_ours_is_chosen_on_validation_rows_that_are_test_rows(plan, dataset_of):
    """As of ImageNet in CoOp's protocol."""
    twice = dataset_of("twice", val_is_test=True)
    assert twice.val_is_test
    assert not dataset_of("once").val_is_test
    for method in ({"coop": {"selection": "val"}}, "cross-modal"):
        with pytest.raises(RequestError, match=r"on twice: its validation rows are test rows too"):
            plan(twice, methods=[method])
    found = plan(twice, methods=["lp-plus-plus", "cross-modal"])
    assert {(spec.method, spec.selection) for spec in found.specs} == {("lp-plus-plus", "last")}
    assert [each.split(":")[0] for each in found.skipped] == [
        "cross-modal with selection='val' on twice"
    ]
    assert "lp-plus-plus on twice: its validation rows are test rows too" in "".join(found.notices)


def test_who_chooses_on_validation_rows_that_are_test_rows_is_noted_and_keeps_its_trials(
    plan, dataset_of
):
    twice = dataset_of("twice", val_is_test=True)
    searched = {"tip-adapter": {"search_on": "none"}}
    found = plan(twice, methods=["linear-probe", "tip-adapter", searched, "coop"])
    told = [notice.split(":")[0] for notice in found.notices if "labels of the test" in notice]
    assert told == ["linear-probe on twice", "tip-adapter on twice"]
    notices = plan(dataset_of("once"), methods=["linear-probe", "tip-adapter"]).notices
    assert not any("labels of the test" in notice for notice in notices)


def test_the_last_step_is_kept_without_validation_rows_where_the_paper_ends_with_it(
    plan, dataset_of
):
    without, with_some = dataset_of("few", train=1, val=0, test=2), dataset_of("more")
    found = plan(without, methods=["lp-plus-plus"])
    assert {spec.selection for spec in found.specs} == {"last"}
    notices = [each for each in found.notices if "the last step is kept" in each]
    assert len(notices) == len({spec.shots for spec in found.specs})
    assert notices[0].startswith("lp-plus-plus on few: it has no validation rows for few_shot")
    asked = plan(without, methods=[{"lp-plus-plus": {"selection": "last"}}])
    assert asked.specs == found.specs  # the very same trials, and nothing to note
    assert not any("the last step is kept" in each for each in asked.notices)
    assert {spec.selection for spec in plan(with_some, methods=["lp-plus-plus"]).specs} == {"val"}
    with pytest.raises(RequestError, match=r"lp-plus-plus with selection='val' on few"):
        plan(without, methods=[{"lp-plus-plus": {"selection": "val"}}])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"datasets": ["digit"]}, "no dataset is called 'digit'. Did you mean digits?"),
        ({"methods": ["co-op"]}, "no method is called 'co-op'. Did you mean coop"),
        ({"backbones": ["effnet"]}, "no backbone is called 'effnet'. Did you mean effnet-minilm?"),
        ({"protocols": ["fewshot"]}, "no protocol is called 'fewshot'. Did you mean few_shot"),
        ({"methods": [{"coop": {"n_ctx": 4}}]}, "no hyperparameter of coop is called 'n_ctx'."),
        ({"methods": [{"coop": {"epochs": "x"}}]}, "coop.epochs='x' is a str"),
        (
            {"methods": [{"coop": {"epochs": 0}}]},
            "coop.epochs=0: give 1 to 10000. The default is 200.",
        ),
        (
            {"methods": [{"coop": {"lr": float("nan")}}]},
            "coop.lr=nan is no finite number. Write coop.lr=0.002 or the like.",
        ),
        (
            {"methods": [{"coop": {"lr": float("inf")}}]},
            "coop.lr=inf is no finite number. Write coop.lr=0.002 or the like.",
        ),
        ({"methods": [{"zero-shot": {"lr": 1}}]}, "no hyperparameter of zero-shot is called 'lr'."),
        ({"backbones": ["/no/such/folder"]}, "no folder at '/no/such/folder'"),
        ({"backbones": ["gone"]}, "backbone 'gone' is not on this machine."),
    ],
)
def test_what_cannot_be_is_one_sentence_before_anything_starts(store, pets, changes, said):
    text = refused(store, **changes)
    assert said in text
    assert "\n" not in text


def test_a_hyperparameter_offers_the_nearest_name(store, pets):
    text = refused(store, methods=[{"coop": {"n_contexts": 4}}])
    assert "Did you mean n_context" in text


def test_a_method_that_none_of_the_backbones_can_do_is_refused(store, pets, monkeypatch):
    monkeypatch.setitem(METHODS, "needs-vit", NeedsViT)
    text = refused(store, methods=["needs-vit"])
    assert text.startswith("needs-vit needs visual-prompts, which one does not have.")
    assert "--backbones" in text


def test_a_method_that_some_backbones_can_do_is_skipped_on_the_others(
    plan, pets, monkeypatch, tiny
):
    monkeypatch.setitem(METHODS, "needs-vit", NeedsViT)
    made = plan(pets, methods=["needs-vit", "zero-shot"], backbones=["one", tiny])
    assert made.skipped == ("needs-vit on one: it has no visual-prompts.",)
    assert {s.backbone for s in made.specs if s.method == "needs-vit"} == {"tiny-clip"}


@pytest.mark.parametrize(
    ("method", "form", "published", "poor"),
    [
        ("mvlpt", "form", {"source_datasets": ""}, "coop"),
        ("grip", "modality", {"modality": "visual"}, "text"),
        ("dept-clip", "host", {"host": "maple"}, "coop"),
        ("atprompt", "host", {"host": "maple"}, "cocoop"),
    ],
)
def test_what_a_form_needs_is_asked_of_the_backbone_before_anything_starts(
    plan, store, pets, tiny, method, form, published, poor
):
    made = plan(pets, methods=[{method: {**published, form: poor}}], backbones=["one"])
    assert len(made.specs) == 4
    said = refused(store, methods=[{method: published}])
    assert said.startswith(f"{method} with {form}='")
    assert "needs visual-prompts, which one does not have." in said
    assert said.endswith(f"or another {form}.")
    made = plan(pets, methods=[{method: published}], backbones=["one", tiny])
    assert {spec.backbone for spec in made.specs} == {"tiny-clip"}
    assert made.skipped[0].endswith(" on one: it has no visual-prompts.")


def test_two_folders_of_one_name_are_refused(store, pets, tiny, tmp_path):
    (tmp_path / "tiny-clip").symlink_to(tiny)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "tiny-clip").mkdir()
    for file in (tmp_path / "tiny-clip").iterdir():
        (tmp_path / "other" / "tiny-clip" / file.name).symlink_to(file)
    text = refused(store, backbones=[tiny, str(tmp_path / "other" / "tiny-clip")])
    assert "two would have the same name" in text


def test_a_preview_plans_before_ingestion_and_finds_nothing_done(store, dataset_of):
    card = dataset_of("later", ingested=False)
    request = check(store, suite(datasets=["later"]))
    made = make_plan(store, request, {"later": preview(card)})
    assert len(made.specs) == 5
    assert {spec.dataset_fingerprint for spec in made.specs} == {"not-ingested"}
    assert made.done == frozenset()
    assert not store.data.exists()


def test_variants_name_what_differs_from_the_published_settings(plan, pets):
    published = plan(pets, methods=["coop"]).specs[0]
    changed = plan(
        pets, methods=[{"coop": {"epochs": 3}}], test_rows_per_class=2, views="bank:8"
    ).specs[0]
    assert variant_of(published) == ""
    assert variant_of(changed) == "epochs=3 views=bank:8 test_rows_per_class=2"


STUDENT = {"methods": ["promptkd"], "backbones": ["vit"]}


def by_method(plan):
    found = {}
    for spec in plan.specs:
        found.setdefault(spec.method, []).append(spec)
    return found


def test_a_method_that_learns_from_domains_is_skipped_where_there_are_none(plan, pets, dataset_of):
    drawn = dataset_of("drawn", domains=("ink", "oil"))
    made = plan(pets, drawn, methods=["spg", "zero-shot"], protocols=["few_shot", "multi_task"])
    places = {(s.dataset, s.protocol) for s in made.specs if s.method == "spg"}
    assert places == {("drawn", "few_shot")}
    reason = "it learns from the domain of each example, and there are none."
    assert [text for text in made.skipped if text.startswith(f"spg on pets: {reason}")]


def test_a_student_brings_its_teachers_along(plan, pets):
    made = plan(pets, **STUDENT)
    found = by_method(made)
    assert set(found) == {"promptsrc", "promptkd"}
    assert [(s.shots, s.seed) for s in found["promptkd"]] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    for spec in found["promptkd"]:
        assert spec.teacher in found["promptsrc"]
        assert (spec.teacher.shots, spec.teacher.seed) == (spec.shots, spec.seed)
        assert (spec.teacher.backbone, spec.teacher.protocol) == ("vit", spec.protocol)
        assert spec.hyperparameters["teacher"] == "promptsrc"
    assert made.notices == ("promptkd learns from a teacher: 4 trials of promptsrc on vit added.",)


def test_a_teacher_is_the_trial_that_a_suite_asks_for_by_itself(plan, pets):
    alone = plan(pets, methods=["promptsrc"], backbones=["vit"])
    both = plan(pets, methods=["promptkd", "promptsrc"], backbones=["vit"])
    assert alone.specs == tuple(by_method(both)["promptsrc"])
    assert both.notices == ()


def test_a_method_without_a_teacher_keeps_its_ids_beside_students(plan, pets):
    alone = plan(pets, methods=["coop"], backbones=["vit"])
    beside = plan(pets, methods=["promptkd", "coop"], backbones=["vit"])
    assert alone.specs == tuple(by_method(beside)["coop"])


@pytest.mark.parametrize(
    "changes",
    [
        {"teacher": "ivlp"},
        {"teacher_backbone": "large"},
        {"teacher_hyperparameters": {"epochs": 3}},
    ],
)
def test_another_teacher_is_another_student(plan, pets, changes):
    one = {"shots": [1], "seeds": [1]}
    before = by_method(plan(pets, **STUDENT, **one))["promptkd"][0]
    made = plan(pets, backbones=["vit"], methods=[{"promptkd": changes}], **one)
    (after,) = by_method(made)["promptkd"]
    assert before.trial_id != after.trial_id
    assert before.teacher.trial_id != after.teacher.trial_id


def test_a_teacher_of_another_revision_makes_another_student(plan, pets, monkeypatch):
    before = by_method(plan(pets, **STUDENT))["promptkd"]
    monkeypatch.setattr(METHODS["promptsrc"], "revision", METHODS["promptsrc"].revision + 1)
    after = by_method(plan(pets, **STUDENT))["promptkd"]
    assert not {s.trial_id for s in before} & {s.trial_id for s in after}
    assert [s.hyperparameters for s in before] == [s.hyperparameters for s in after]


def test_a_larger_teacher_is_on_its_own_backbone_and_nothing_else_is(plan, pets):
    methods = [{"promptkd": {"teacher_backbone": "large"}}, "coop"]
    found = by_method(plan(pets, methods=methods, backbones=["vit"]))
    assert {s.backbone for s in found["promptsrc"]} == {"large"}
    assert {s.backbone for s in (*found["promptkd"], *found["coop"])} == {"vit"}


def test_a_teacher_that_reads_no_label_has_one_trial_for_all_students(plan, pets):
    made = plan(pets, methods=[{"promptkd": {"teacher": "zero-shot"}}], backbones=["vit"])
    found = by_method(made)
    assert [(s.shots, s.seed) for s in found["zero-shot"]] == [(0, 0)]
    assert all(spec.teacher == found["zero-shot"][0] for spec in found["promptkd"])


def test_seeds_of_a_student_are_one_cell(plan, pets):
    found = by_method(plan(pets, **STUDENT))["promptkd"]
    assert len({s.cell_id for s in found}) == 2  # one for each number of shots
    assert len({s.trial_id for s in found}) == 4


def test_teachers_are_bundled_first_and_waited_for_by_their_students_alone(plan, pets, dataset_of):
    made = plan(
        pets, dataset_of("toys"), methods=["coop", "promptkd", "promptsrc"], backbones=["vit"]
    )
    bundles = list(made.bundles())
    order = [(b.dataset, {s.method for s in b.specs}) for b in bundles]
    assert order == [
        ("pets", {"promptsrc"}),
        ("toys", {"promptsrc"}),
        ("pets", {"coop"}),
        ("toys", {"coop"}),
        ("pets", {"promptkd"}),
        ("toys", {"promptkd"}),
    ]
    for teachers, students in ((bundles[0], bundles[4]), (bundles[1], bundles[5])):
        assert students.waits_for == teachers.trial_ids
    assert all(not bundle.waits_for for bundle in bundles[:4])


def test_students_whose_teachers_are_there_wait_for_nothing(plan, pets, complete):
    for spec in by_method(plan(pets, **STUDENT))["promptsrc"][:2]:
        complete(spec)
    made = plan(pets, **STUDENT)
    assert len(made.missing) == 6
    turns = [({s.method for s in b.specs}, len(b.specs), len(b.waits_for)) for b in made.bundles()]
    assert turns == [({"promptsrc"}, 2, 0), ({"promptkd"}, 2, 0), ({"promptkd"}, 2, 2)]


def test_a_teacher_that_was_deleted_is_missing_again(plan, pets, store, complete):
    for spec in plan(pets, **STUDENT).specs:
        complete(spec)
    made = plan(pets, **STUDENT)
    assert made.missing == ()
    gone = by_method(made)["promptsrc"][0]
    shutil.rmtree(store.trial(gone.trial_id))
    assert plan(pets, **STUDENT).missing == (gone,)


def test_a_language_model_has_no_trials_on_images(plan, pets):
    asked = {"methods": ["zero-shot"], "protocols": ["few_shot"]}
    made = plan(pets, backbones=["one", "lm"], **asked)
    assert {spec.backbone for spec in made.specs} == {"one"}
    reason = "zero-shot on lm: few_shot asks for a dual encoder of images and texts."
    assert made.skipped == (f"{reason} Choose one with --backbones, see `shotboard backbones`.",)
    with pytest.raises(RequestError, match=f"nothing to run: {reason}"):
        plan(pets, backbones=["lm"], **asked)


def test_a_student_is_skipped_where_its_teacher_can_do_nothing(plan, pets):
    """A teacher without a ViT can teach; one that needs a ViT cannot be without."""
    methods = [{"promptkd": {"teacher": "coop", "teacher_backbone": "one"}}]
    found = by_method(plan(pets, methods=methods, backbones=["vit"]))
    assert {s.backbone for s in found["coop"]} == {"one"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"teacher": "prompt-src"}, "no method is called 'prompt-src'. Did you mean promptsrc"),
        ({"teacher": "cocoop"}, "has no class vectors that are the same for every image"),
        ({"teacher": "promptkd"}, "it learns from a teacher itself"),
        ({"teacher_backbone": "larger"}, "no backbone is called 'larger'. Did you mean large"),
        ({"teacher_backbone": "gone"}, "backbone 'gone' is not on this machine."),
        ({"teacher_backbone": "one"}, "promptsrc, the teacher of promptkd, needs visual-prompts"),
        ({"teacher_hyperparameters": {"epoch": 3}}, "no hyperparameter of promptsrc is called"),
        (
            {"teacher_hyperparameters": {"epochs": 0}},
            "its teacher, promptsrc: promptsrc.epochs=0: give 1 to 10000.",
        ),
    ],
)
def test_a_teacher_that_cannot_be_is_one_sentence_before_anything_starts(store, pets, given, said):
    text = refused(store, methods=[{"promptkd": given}], backbones=["vit"])
    assert said in text
    assert "\n" not in text


def test_a_student_that_is_clean_is_another_trial_in_base_to_new_alone(plan, pets):
    one = {"shots": [1], "seeds": [1], "protocols": ["few_shot", "base_to_new"]}
    paper = by_method(plan(pets, **STUDENT, **one))
    clean = by_method(plan(pets, **STUDENT, **one, setting="clean"))
    assert paper["promptsrc"] == clean["promptsrc"]
    assert paper["promptkd"][0] == clean["promptkd"][0]
    assert (paper["promptkd"][1].setting, clean["promptkd"][1].setting) == ("paper", "clean")
    assert variant_of(clean["promptkd"][1]) == "setting=clean"
    assert paper["promptkd"][1].cell_id != clean["promptkd"][1].cell_id


def test_a_method_without_a_clean_form_of_its_own_is_noted(plan, pets):
    made = plan(pets, methods=["coop"], setting="clean")
    assert {spec.setting for spec in made.specs} == {"paper"}
    assert made.notices == (
        "coop in few_shot: clean is the same as paper, which its trials are filed under.",
    )


def test_variants_name_another_teacher(plan, pets):
    methods = [{"promptkd": {"teacher": "ivlp", "teacher_hyperparameters": {"epochs": 2}}}]
    spec = by_method(plan(pets, methods=methods, backbones=["vit"]))["promptkd"][0]
    assert variant_of(spec) == "teacher='ivlp' teacher_hyperparameters={'epochs': 2}"


class Cleaning(Described):
    """As `Described`, with CLIP's tokenizer."""

    @staticmethod
    def describe(name, location):
        return replace(Described.describe(name, location), cleans=True)


@pytest.fixture
def cleaning(monkeypatch):
    monkeypatch.setitem(FAMILIES, "cleaning", Cleaning)
    monkeypatch.setitem(BACKBONES, "clip", Known("cleaning", "", ""))


ORDINARY = ("cat", "sea_lion", "café", "two\u00a0words")


@pytest.mark.parametrize(
    ("classes", "template", "version"),
    [
        (ORDINARY, "a photo of a {}, it's 100% real.", 1),
        (("AT&T", "R&D", "fish & chips", "b"), "{}", 1),
        (("fish &amp; chips", "b", "c", "d"), "a photo of a {}.", 2),
        (("dog\u2019s ball", "b", "c", "d"), "a photo of a {}.", 2),
        (("\uff23\uff21\uff34", "b", "c", "d"), "a photo of a {}.", 2),
        (ORDINARY, "a \u201cphoto\u201d of a {}.", 2),
        (("amp", "b", "c", "d"), "a &{};", 2),  # neither part is odd
    ],
)
def test_cleaning_moves_the_ids_of_trials_whose_texts_it_changes(
    plan, dataset_of, cleaning, classes, template, version
):
    made = plan(
        dataset_of(classes=classes, template=template), backbones=["one", "clip"], shots=[1]
    )
    versions = {spec.backbone: spec.text_version for spec in made.specs}
    assert versions == {"one": 1, "clip": version}  # the other has a tokenizer of its own
    for spec in made.specs:
        assert (spec.trial_id == replace(spec, text_version=1).trial_id) == (spec.text_version == 1)


def test_words_that_a_prompt_begins_with_count_too(plan, dataset_of, cleaning):
    pets = dataset_of()
    for words, version in (("a photo of a", 1), ("a photo of &lt;", 2)):
        methods = [{"coop": {"context_init": words, "n_context": 4}}]
        made = plan(pets, methods=methods, backbones=["clip"], shots=[1], seeds=[1])
        assert [spec.text_version for spec in made.specs] == [version]


def test_sentences_count_where_a_method_reads_them(plan, store, dataset_of, cleaning):
    odd = {name: [f"a {name} &amp; its tail."] for name in dataset_of().classes}
    keep(store, "pets", Descriptions(odd))
    made = plan(dataset_of(), methods=["zero-shot", "cupl"], backbones=["clip"])
    assert {spec.method: spec.text_version for spec in made.specs} == {"zero-shot": 1, "cupl": 2}
