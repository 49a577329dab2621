"""Trials that are tuned together learn what they learn alone."""

import threading
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from operators.engine.accounting import counting
from operators.engine.stacking import (
    LANES,
    TOKENS,
    TOKENS_A_CLASS,
    TowerCall,
    lanes_worth,
    merged,
    run_stacked,
    take_step,
)
from operators.episodes.episode import Classes, FewShot, batch_of
from operators.methods import METHODS, methods_of
from operators.methods.hyperparameters import defaults, own_of, resolve, tuning_of
from operators.tuning import TuningError

LABELS = [0, 1, 2, 3] * 3
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def exact(clip, precise):
    return precise(clip)


@pytest.fixture(scope="module")
def few_shot_of(exact, drawn_pictures):
    """Makes training images of a seed."""

    def make(seed):
        source = drawn_pictures(exact, LABELS, seed=seed)
        rows, cpu = np.arange(len(LABELS)), torch.device("cpu")
        train = batch_of(source, rows, np.array(LABELS), range(4), cpu)
        return FewShot(3, train, train.select(torch.arange(0)))

    return make


def fitted(name, backbone, classes, shots_of, seed, *, taught=None, **changes):
    """A method after a few steps, and its report."""
    method = METHODS[name]
    teacher = taught.by(method, backbone, classes) if taught else {}
    values = resolve(name, method, changes, protocol="base_to_new", shots=3)
    generator = torch.Generator().manual_seed(seed)
    built = method(backbone, classes, generator=generator, **own_of(method, values), **teacher)
    built.double()
    tuning = replace(tuning_of(method, values), warmup_epochs=0)
    shots = taught.on(method, shots_of(seed), classes) if taught else shots_of(seed)
    if method.card.domains:
        shots = replace(shots, domains=torch.arange(len(shots.train)) % 2)
    with counting() as work:
        report = built.fit(shots, tuning=tuning, generator=generator)
    return built.eval(), report, work


STEPS = {"epochs": 3, "batch_size": 6, "total_steps": 0, "selection": "last"}


@pytest.mark.parametrize(
    "name", [name for name, method in methods_of("image-classification").items() if method.tuning]
)
def test_a_lane_learns_what_its_trial_learns_alone(name, exact, classes, few_shot_of, taught):
    slow = {"lr": 1e-4, "prompt_epochs": 2}  # far from where rounding grows
    has = defaults(METHODS[name])
    given = {key: value for key, value in (STEPS | slow).items() if key in has}
    given["taught"] = taught
    jobs = [partial(fitted, name, exact, classes, few_shot_of, seed, **given) for seed in SEEDS]
    alone = [job() for job in jobs]
    together = run_stacked(jobs)
    for (one, report, work), outcome in zip(alone, together, strict=True):
        assert not isinstance(outcome, Exception), outcome
        other, its_report, its_work = outcome
        learned = other.learned()
        assert learned.keys() == one.learned().keys()
        for key, value in one.learned().items():
            assert torch.allclose(learned[key], value, rtol=0, atol=1e-10), key
        assert its_report.steps == report.steps
        assert its_report.losses == pytest.approx(report.losses, abs=1e-9)
        assert its_work.plain == work.plain
        assert 0.9 * work.done < its_work.done <= work.done  # texts are laid out once for all
    first, second, _ = (outcome[0].learned() for outcome in together)
    assert any((first[key] - second[key]).abs().max() > 1e-6 for key in first)


def count_passes(backbone, monkeypatch):
    """Notes how many contexts go through the text tower at once."""
    passes = []
    through = type(backbone.packed_text).__call__

    def noted(self, prompts, contexts, *rest, **how):
        if torch.is_grad_enabled() and contexts.requires_grad:
            passes.append(len(contexts))
        return through(self, prompts, contexts, *rest, **how)

    monkeypatch.setattr(type(backbone.packed_text), "__call__", noted)
    return passes


def test_a_step_goes_through_the_tower_once_for_all_lanes(exact, classes, few_shot_of, monkeypatch):
    jobs = [partial(fitted, "coop", exact, classes, few_shot_of, seed, **STEPS) for seed in SEEDS]
    passes = count_passes(exact, monkeypatch)
    outcomes = run_stacked(jobs)
    steps = outcomes[0][1].steps
    assert passes == [len(SEEDS)] * steps


def test_lanes_of_different_length_go_on_without_those_that_have_ended(
    exact, classes, few_shot_of, monkeypatch
):
    lengths = (1, 3, 2)
    jobs = [
        partial(fitted, "coop", exact, classes, few_shot_of, 0, epochs=n, batch_size=12)
        for n in lengths
    ]
    alone = [job()[0].learned()["context"] for job in jobs]
    passes = count_passes(exact, monkeypatch)
    outcomes = run_stacked(jobs)
    assert passes == [3, 2, 1]
    for expected, (method, _, _) in zip(alone, outcomes, strict=True):
        assert torch.allclose(method.learned()["context"], expected, rtol=0, atol=1e-10)


def test_texts_that_differ_are_not_merged(exact, classes, few_shot_of, monkeypatch):
    others = Classes(("cat", "dog", "boat", "tree"), classes.templates)
    jobs = [
        partial(fitted, "coop", exact, each, few_shot_of, 0, **STEPS)
        for each in (classes, others, classes)
    ]
    alone = [job()[0].learned()["context"] for job in jobs]
    passes = count_passes(exact, monkeypatch)
    outcomes = run_stacked(jobs)
    assert set(passes) == {1, 2}
    for expected, (method, _, _) in zip(alone, outcomes, strict=True):
        assert torch.allclose(method.learned()["context"], expected, rtol=0, atol=1e-10)


def test_a_lane_that_fails_costs_itself_alone(exact, classes, few_shot_of):
    def damaged(seed):
        shots = few_shot_of(seed)
        shots.train.features[0] = torch.nan
        return shots

    bad = partial(fitted, "coop", exact, classes, damaged, 1, **STEPS)
    good = partial(fitted, "coop", exact, classes, few_shot_of, 0, **STEPS)
    expected = good()[0].learned()["context"]
    outcomes = run_stacked([bad, good])
    assert isinstance(outcomes[0], TuningError)
    assert torch.allclose(outcomes[1][0].learned()["context"], expected, rtol=0, atol=1e-10)


def test_an_error_in_a_tower_reaches_every_lane_that_waits_for_it(
    exact, classes, few_shot_of, monkeypatch
):
    def broken(*_, **__):
        raise ValueError("no more memory")

    jobs = [partial(fitted, "coop", exact, classes, few_shot_of, s, **STEPS) for s in SEEDS]
    monkeypatch.setattr(type(exact.packed_text), "__call__", broken)
    assert [str(error) for error in run_stacked(jobs)] == ["no more memory"] * 3


class Sums(TowerCall):
    """A made-up tower that doubles numbers."""

    learned = True

    def __init__(self, value):
        self.value = value

    def fits(self, other):
        return True

    def together(self, calls):
        return list(2 * torch.stack([call.value for call in calls]))


def test_lanes_with_unequal_numbers_of_calls_wait_for_each_other():
    def job(calls):
        weight = nn.Parameter(torch.ones(()))
        gradients = []

        def loss():
            value = weight
            for _ in range(calls):
                together = merged(Sums(value))
                value = 2 * value if together is None else together
            return value

        for _ in range(3):
            weight.grad = None
            take_step(loss)
            gradients.append(None if weight.grad is None else float(weight.grad))
        return gradients

    assert job(1) == [2.0] * 3
    assert run_stacked([partial(job, calls) for calls in (1, 2, 3)]) == [
        [2.0] * 3,
        [4.0] * 3,
        [8.0] * 3,
    ]


def test_an_interrupt_leaves_no_lane_behind():
    before = threading.active_count()
    weight = nn.Parameter(torch.ones(1))

    def endless():
        while True:
            take_step(lambda: weight.sum())

    calls = iter([None, None])
    original = torch.stack

    def stack(*arguments, **keywords):
        if next(calls, "over") == "over":
            raise KeyboardInterrupt
        return original(*arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch, "stack", stack)
        run_stacked([endless, endless])
    assert threading.active_count() == before


def test_lanes_are_as_many_as_keep_a_step_small(clip, effnet):
    assert lanes_worth(clip.device, 4) == LANES
    assert lanes_worth(clip.device, 50) == TOKENS // (50 * TOKENS_A_CLASS)
    assert lanes_worth(clip.device, 1000) == 1
    assert lanes_worth(clip.device, 50, 8 * clip.image_tokens) == TOKENS // (
        50 * TOKENS_A_CLASS + 8 * 17
    )
    assert clip.image_tokens == 17
    assert effnet.image_tokens == 0
