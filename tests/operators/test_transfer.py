"""Trials that are tested on other data than they learn from: datasets, or a held-out domain."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from operators.episodes.episode import Classes, batch_of
from operators.episodes.table import Table
from operators.methods import METHODS
from operators.methods.classifier import logits_of
from operators.methods.hyperparameters import resolve
from operators.spec import Target
from operators.tracks import TargetData, track_of
from operators.tracks.rows import episode_of, unlabelled_of, validation_of
from operators.trials.trial import run_trial
from operators.trials.tuned import method_of

LABELS = np.array([row % 4 for row in range(80)], dtype=np.int32)
SPLITS = np.array(["train"] * 40 + ["val"] * 16 + ["test"] * 24)
NAMES = ("cat", "dog", "boat", "photo")
DOMAINS = np.array([row // 4 % 2 for row in range(80)], dtype=np.int32)


class Animals:
    """Four classes in two domains."""

    table = Table(LABELS, SPLITS, 4, NAMES, DOMAINS, ("clean", "sketch"))
    all_classes = Classes(NAMES, ("a photo of a {}.",))


class Sketches:
    """The same four in another order, each in a template of its own."""

    labels = np.array([row % 4 for row in range(20)], dtype=np.int32)
    table = Table(labels, np.array(["test"] * 20), 4, ("photo", "boat", "dog", "cat"))
    all_classes = Classes(table.names, ("a drawing of a {}.",))


class Trees:
    """Three other classes."""

    labels = np.array([row % 3 for row in range(15)], dtype=np.int32)
    table = Table(labels, np.array(["train"] * 6 + ["test"] * 9), 3, ("oak", "elm", "ash"))
    all_classes = Classes(table.names, ("a photo of a {}, a tree.",))


@pytest.fixture
def asked(spec):
    def make(method, protocol, given=None, **fields):
        values = resolve(method, METHODS[method], given or {}, protocol=protocol, shots=2)
        return spec(method=method, hyperparameters=values, protocol=protocol, shots=2, **fields)

    return make


@pytest.fixture
def others(drawn_images):
    return {
        "trees": TargetData(Trees(), drawn_images(Trees.labels, 24, seed=1)),
        "sketches": TargetData(Sketches(), drawn_images(Sketches.labels, 24, seed=2)),
    }


@pytest.fixture
def images(drawn_images):
    return drawn_images(LABELS, 24)


def part(outcome, split):
    return [row for row in outcome.predictions.to_pylist() if row["split"] == split]


def scored(outcome, split):
    found = {m.metric: m.value for m in outcome.metrics if m.split == split}
    rows = part(outcome, split)
    assert found["accuracy"] == np.mean([row["label"] == row["predicted"] for row in rows])
    return rows


def test_a_prompt_is_tested_on_each_target_in_its_own_words(clip, images, others, asked):
    targets = {name: Target("f" * 16) for name in ("trees", "sketches")}
    spec = asked("coop", "cross_dataset", {"epochs": 1}, targets=targets)
    outcome = run_trial(spec, clip, Animals(), images, targets=others)
    assert {m.split for m in outcome.metrics} == {"all", "trees", "sketches"}
    tuned = method_of(spec, clip, Animals(), outcome.learned)
    for name, (data, source) in others.items():
        rows = scored(outcome, name)
        assert [row["row_id"] for row in rows] == data.table.rows("test").tolist()
        assert [row["label"] for row in rows] == data.labels[data.table.rows("test")].tolist()
        every = range(data.table.classes)
        batch = batch_of(source, data.table.rows("test"), data.labels, every, clip.device)
        logits = logits_of(tuned.with_classes(data.all_classes), batch)
        assert [row["predicted"] for row in rows] == logits.argmax(dim=1).tolist()


def test_what_is_learned_depends_on_no_target(clip, images, others, asked):
    specs = [
        asked("coop", "cross_dataset", {"epochs": 1}, targets={name: Target("f" * 16)})
        for name in others
    ]
    one, other = (run_trial(spec, clip, Animals(), images, targets=others) for spec in specs)
    assert all(torch.equal(one.learned[name], other.learned[name]) for name in one.learned)
    assert part(one, "all") == part(other, "all")
    assert one.episode_fingerprint != other.episode_fingerprint
    assert specs[0].trial_id != specs[1].trial_id


def test_what_belongs_to_its_classes_answers_on_a_variant_with_the_same(
    clip, images, others, asked
):
    """A cache of images by class knows the variant's classes in its own order."""
    spec = asked("tip-adapter", "domain_generalization", targets={"sketches": Target("f" * 16)})
    outcome = run_trial(spec, clip, Animals(), images, targets=others)
    tuned = method_of(spec, clip, Animals(), outcome.learned)
    rows = np.arange(20)
    order = (3, 2, 1, 0)  # cat, dog, boat, photo
    batch = batch_of(others["sketches"].source, rows, Sketches.labels, order, clip.device)
    wanted = np.array(order)[logits_of(tuned, batch).argmax(dim=1).numpy()]
    assert [row["predicted"] for row in scored(outcome, "sketches")] == wanted.tolist()


def test_a_hand_written_prompt_has_the_template_of_the_variant(clip, images, others, asked):
    spec = asked("zero-shot", "domain_generalization", targets={"sketches": Target("f" * 16)})
    outcome = run_trial(replace(spec, shots=0), clip, Animals(), images, targets=others)
    build = track_of(spec.protocol).contract
    method = METHODS["zero-shot"](clip, Sketches.all_classes, generator=torch.Generator())
    assert isinstance(method, build)
    rows = np.arange(20)
    batch = batch_of(others["sketches"].source, rows, Sketches.labels, range(4), clip.device)
    wanted = logits_of(method, batch).argmax(dim=1).tolist()
    assert [row["predicted"] for row in scored(outcome, "sketches")] == wanted


def test_a_domain_that_is_held_out_is_tested_and_read_nowhere_else(clip, images, asked):
    """Not by a method that chooses on the whole val split, nor as an image without label."""
    spec = asked("tip-adapter", "domain_generalization", {"search_on": "split"}, held_out="sketch")
    outcome = run_trial(spec, clip, Animals(), images)
    assert [row["row_id"] for row in scored(outcome, "sketch")] == np.flatnonzero(DOMAINS).tolist()
    episode = episode_of(spec, Animals.table)
    read = [episode.train, episode.val, validation_of(spec, Animals.table, episode)]
    student = replace(spec, method="promptkd")
    pool = unlabelled_of(student, Animals.table, episode)
    assert len(read[2]) == 8
    assert len(pool.rows) == 20
    assert not DOMAINS[np.concatenate([*read, pool.rows])].any()


def test_a_method_that_asks_for_domains_is_told_those_of_its_training_images(clip, images, asked):
    spec = asked("spg", "domain_generalization", held_out="sketch")
    episode = episode_of(spec, Animals.table)
    shots = track_of(spec.protocol).shots(spec, clip, Animals(), images, episode)
    assert shots.domains.tolist() == [0] * len(episode.train)
    every = asked("spg", "few_shot")
    episode = episode_of(every, Animals.table)
    shots = track_of(every.protocol).shots(every, clip, Animals(), images, episode)
    assert shots.domains.tolist() == DOMAINS[episode.train].tolist()
    other = asked("coop", "few_shot")
    assert track_of("few_shot").shots(other, clip, Animals(), images, episode).domains is None
