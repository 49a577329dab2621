"""A candidate of a search: a fit that is scored on validation rows, and never on a test row."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from operators.episodes.episode import Classes
from operators.episodes.table import Table
from operators.methods import METHODS, methods_of
from operators.methods.hyperparameters import resolve
from operators.spec import Target, TrialSpec
from operators.tracks import TargetData
from operators.tracks.rows import episode_of
from operators.trials.trial import Fitted, run_trial

LABELS = np.array([row % 5 for row in range(100)], dtype=np.int32)
SPLITS = np.array(["train"] * 50 + ["val"] * 20 + ["test"] * 30)
LEARNING = [n for n in methods_of("image-classification") if METHODS[n].card.learns]


class Data:
    """Five classes, ten train, four validation and six test images each."""

    names = ("cat", "dog", "boat", "oak tree", "photo")
    sentences = tuple((f"a {name} in the grass.", f"an old {name}.") for name in names)
    all_classes = Classes(names, ("a photo of a {}.",), descriptions=sentences)

    def __init__(self, labels=LABELS):
        self.table = Table(labels, SPLITS, 5, domains=np.arange(100) % 2, domain_names=("a", "b"))


class Poisoned:
    """A source whose test rows cannot be read."""

    def __init__(self, source):
        self.source = source

    def features(self, rows, view=None):
        assert max(rows, default=0) < 70, "a test row was read"
        return self.source.features(rows, view)

    def pixels(self, rows, view=None):
        assert max(rows, default=0) < 70, "a test row was read"
        return self.source.pixels(rows, view)


@pytest.fixture
def asked(spec):
    """Makes a specification with every hyperparameter, tuned as short as it gets."""

    def make(method="coop", protocol="few_shot", **fields):
        has = resolve(method, METHODS[method], {}, protocol=protocol, shots=2)
        length = {"total_steps": 2} if has.get("total_steps") else {"epochs": 1}
        given = {n: v for n, v in {"search_steps_beta": 3, **length}.items() if n in has}
        values = resolve(method, METHODS[method], given, protocol=protocol, shots=2)
        return spec(method=method, hyperparameters=values, protocol=protocol, shots=2, **fields)

    return make


@pytest.mark.parametrize("method", LEARNING)
def test_a_candidate_reads_no_test_row_and_its_fit_is_that_of_the_trial(
    clip, drawn_pictures, asked, method, taught
):
    pictures, spec = drawn_pictures(clip, LABELS), asked(method)
    swapped = Data(np.where(SPLITS == "test", (LABELS + 1) % 5, LABELS))
    teacher = taught.by(METHODS[method], clip, Data.all_classes)
    scored = run_trial(spec.on_validation, clip, Data(), Poisoned(pictures), **teacher)
    assert {score.split for score in scored.metrics} == {"val"}
    assert set(scored.predictions["row_id"].to_pylist()) == set(
        episode_of(spec, Data().table).val.tolist()
    )
    again = run_trial(spec.on_validation, clip, swapped, Poisoned(pictures), **teacher)
    assert again.metrics == scored.metrics  # whatever the test labels say
    assert again.predictions.equals(scored.predictions)

    fit = Fitted(scored.learned, scored.cost, scored.report)
    reused = run_trial(spec, clip, Data(), pictures, **teacher, fitted=fit)
    whole = run_trial(spec, clip, Data(), pictures, **teacher)
    assert reused.predictions.equals(whole.predictions)
    assert reused.metrics == whole.metrics
    assert reused.learned.keys() == whole.learned.keys()
    assert all(torch.equal(reused.learned[name], whole.learned[name]) for name in whole.learned)
    assert reused.report == whole.report
    assert reused.episode_fingerprint == whole.episode_fingerprint
    assert reused.cost.tune_seconds == scored.cost.tune_seconds


@pytest.mark.parametrize(
    ("protocol", "fields", "classes", "rows"),
    [
        ("few_shot", {}, 5, 10),
        ("base_to_new", {}, 3, 6),
        ("cross_dataset", {"targets": {"other": Target("f")}}, 5, 10),
        ("domain_generalization", {"held_out": "a"}, 5, 10),
        ("text_few_shot", {}, 5, 10),
    ],
)
def test_it_is_asked_among_the_learned_classes_about_the_rows_of_its_draw(
    asked, protocol, fields, classes, rows
):
    table = Data().table
    spec = asked(protocol=protocol, **fields) if "text" not in protocol else asked()
    spec = replace(spec, protocol=protocol, test_rows_per_class=3)
    whole = episode_of(spec, table, {"other": table})
    candidate = episode_of(spec.on_validation, table)
    (asks,) = candidate.evaluations
    assert np.array_equal(candidate.train, whole.train)
    assert np.array_equal(asks.rows, whole.val)
    assert len(asks.rows) == rows
    assert len(asks.classes) == classes
    assert not set(SPLITS[candidate.rows]) & {"test"}
    if held_out := fields.get("held_out"):
        assert not set(candidate.rows) & set(table.rows_in(held_out))


def test_other_datasets_are_no_part_of_it(clip, drawn_images, asked):
    spec = asked(protocol="cross_dataset", targets={"other": Target("f")})
    images = drawn_images(LABELS, 24)
    other = {"other": TargetData(Data(), images)}
    scored = run_trial(spec.on_validation, clip, Data(), Poisoned(images))
    fit = Fitted(scored.learned, scored.cost, scored.report)
    whole = run_trial(spec, clip, Data(), images, targets=other, fitted=fit)
    assert {score.split for score in whole.metrics} == {"all", "other"}


def test_it_is_a_trial_of_its_own_that_the_seeds_of_a_cell_share(asked):
    teacher = asked("ivlp")
    spec = asked("promptkd", aids={"teacher": teacher}, test_rows_per_class=5)
    candidate = spec.on_validation
    assert candidate.trial_id != spec.trial_id
    assert candidate.cell_id != spec.cell_id
    assert candidate.cell_id == replace(candidate, seed=9).cell_id
    assert candidate.teacher == teacher.on_validation
    assert candidate.on_validation == candidate
    assert replace(spec, test_rows_per_class=None).on_validation == candidate
    assert TrialSpec.from_json(candidate.to_json()) == candidate
    assert "tested_on" not in spec.to_json()
    assert candidate.to_json()["tested_on"] == "val"


def test_a_draw_without_validation_rows_scores_no_candidate(clip, drawn_images, asked):
    data = Data()
    data.table = replace(data.table, splits=np.where(SPLITS == "val", "train", SPLITS))
    with pytest.raises(ValueError, match="split 'val' has no val rows"):
        run_trial(asked().on_validation, clip, data, drawn_images(LABELS, 24))
