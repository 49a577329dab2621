"""GRAM: both kinds of step against their plain arithmetic, its clusters and its tasks."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from operators.backbones import unit
from operators.episodes.episode import Batch, Classes, FewShot
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.methods.image_classification.shared_starts.caption_tasks import (
    caption_tasks,
    even_clusters,
)
from operators.tuning import Tuning

GRAM = METHODS["gram"]
CAPTIONS = Classes(("red cat", "oak", "blue boat", "elm tree", "ash"), ("a photo of a {}.",))
LABELS = [0, 1, 2, 3, 4] * 2
META = Tuning(optimizer="adam", lr=0.002, epochs=3, batch_size=8, warmup_epochs=0)


def build(clip, classes=CAPTIONS, seed=0, **given):
    given = {"n_context": 2, "context_init": "", **given}
    return GRAM(clip, classes, generator=torch.Generator().manual_seed(seed), **given)


@pytest.fixture
def corpus(clip, drawn_pictures):
    source = drawn_pictures(clip, LABELS)
    train = Batch(source, np.arange(len(LABELS)), torch.tensor(LABELS))
    return FewShot(2, train, train.select(torch.arange(0)))


def turned(regulator, gradient):
    """M(g), row by row."""
    rows = []
    for row in gradient:
        x = torch.relu(regulator.up[0] @ (regulator.down[0] @ row) + regulator.bias[0, 0])
        x = regulator.up[1] @ (regulator.down[1] @ x) + regulator.bias[1, 0]
        x = x.relu() if regulator.last_relu else x
        rows.append(x / (x.norm() + 1e-8) * (row.norm() + 1e-8))
    return torch.stack(rows)


def gate_of(regulator, images):
    """The share of the plain gradient, by the mean feature of some images."""
    return torch.sigmoid(regulator.widen(torch.relu(regulator.narrow(images.mean(0)))))


def loss_of(method, images, labels, context):
    texts = method.backbone.encode_prompts_plainly(method.prompt.layout, context[None])
    logits = method.backbone.logit_scale * images @ unit(texts)[labels].T
    return F.cross_entropy(logits, torch.arange(len(labels)))


@pytest.mark.parametrize("last_relu", [False, True])
def test_a_step_downstream_is_that_of_the_plain_arithmetic(clip, corpus, last_relu):
    method = build(clip, rank=3, last_relu=last_relu).train()
    loss = method.regulated_step(corpus.train)
    images, found = unit(corpus.train.features), method.prompt.context.grad.clone()
    method.zero_grad()
    plain = method.loss(corpus.train)
    plain.backward()
    gradient, regulator = method.prompt.context.grad[0], method.regulator
    gate = gate_of(regulator, images)
    wanted = (1 - gate) * turned(regulator, gradient) + gate * gradient
    torch.testing.assert_close(loss, plain.detach())
    torch.testing.assert_close(found[0], wanted)
    lengths = turned(regulator, gradient).norm(dim=-1)
    torch.testing.assert_close(lengths, gradient.norm(dim=-1))
    assert bool((turned(regulator, gradient) >= 0).all()) == last_relu
    assert not any(p.requires_grad for p in regulator.parameters())


def test_an_outer_step_is_that_of_the_plain_arithmetic_of_first_order(clip, corpus):
    method = build(clip, stage="meta", rank=3, inner_lr=0.05).train()
    generator = torch.Generator().manual_seed(1)
    tasks = caption_tasks(method.hand_written, corpus.train.labels, 2, generator)
    batch = corpus.train.select(tasks.draw(META, generator)[0])
    assert len(batch) == 8  # two tasks
    loss = method.outer_step(tasks, batch)
    found = {name: p.grad.clone() for name, p in method.named_parameters()}
    method.zero_grad()

    images = unit(batch.features).view(2, 2, 2, -1)
    labels, total, queries = batch.labels.view(2, 2, 2), 0.0, []
    for (support, query), (known, asked) in zip(images, labels, strict=True):
        theta = method.prompt.context[0]
        plain = theta.detach().clone().requires_grad_()
        (g,) = torch.autograd.grad(loss_of(method, support, known, plain), plain)
        gate = gate_of(method.regulator, support)
        regulated = (1 - gate) * turned(method.regulator, g) + gate * g
        adapted = theta - 0.05 * regulated
        value = loss_of(method, query, asked, adapted)
        (pull,) = torch.autograd.grad(value, adapted, retain_graph=True)
        alike = (1 + F.cosine_similarity(pull, regulated.detach(), dim=-1).mean()) / 2
        centres = [tasks.centres[tasks.cluster[int(part[0])]] for part in (known, asked)]
        near = (1 + F.cosine_similarity(*centres, dim=0)) / 2
        total = total + (value + ((alike + near) / 2 - gate).square().sum()) / 2
        queries.append(value.detach())
    total.backward()
    torch.testing.assert_close(loss, torch.stack(queries).mean())
    context = {"context"}
    for names in (context, found.keys() - context):
        wanted = {name: dict(method.named_parameters())[name].grad for name in names}
        length = torch.stack([each.norm() for each in wanted.values()]).norm()
        for name, gradient in wanted.items():
            clipped = gradient * min(1.0, 1 / (float(length) + 1e-6))
            torch.testing.assert_close(found[name], clipped, rtol=1e-4, atol=1e-6)


def test_a_regulator_of_a_row_of_zeros_has_finite_gradients(clip):
    method = build(clip, stage="meta", rank=2)
    gradient = torch.zeros(1, 2, 32)
    given, _ = method.regulator(gradient, torch.ones(1, clip.feature_width))
    given.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())
    assert torch.equal(given, gradient)


@pytest.mark.parametrize(("points", "clusters", "sizes"), [(9, 4, [2, 2, 2, 3]), (8, 2, [4, 4])])
def test_clusters_are_even(points, clusters, sizes):
    generator = torch.Generator().manual_seed(2)
    found = even_clusters(unit(torch.randn(points, 6, generator=generator)), clusters, generator)
    assert sorted(torch.bincount(found).tolist()) == sizes


def test_clusters_are_of_what_lies_together():
    corners = torch.eye(3).repeat_interleave(3, dim=0)
    points = unit(corners + 0.1 * torch.randn(9, 3, generator=torch.Generator().manual_seed(0)))
    found = even_clusters(points, 3, torch.Generator().manual_seed(1)).view(3, 3)
    assert (found == found[:, :1]).all()
    assert len(found[:, 0].unique()) == 3


@pytest.mark.parametrize("drop_last", [True, False])
def test_a_task_has_images_of_two_clusters_and_no_caption_twice(drop_last):
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([6, 5, 1, 2, 3, 4, 5, 6, 1, 1, 1])  # caption 0 has no image
    texts = unit(torch.randn(7, 4, generator=generator))
    tasks = caption_tasks(texts, labels, 3, generator)
    tuning = Tuning(batch_size=4, drop_last=drop_last)
    steps = [step for _ in range(20) for step in tasks.draw(tuning, generator)]
    assert len(steps) == 20 * (2 if drop_last else 3)
    for step in steps:
        captions = labels[step].view(2, 3)
        assert len(captions.unique()) == 6
        clusters = tasks.cluster[captions]
        assert (clusters == clusters[:, :1]).all()
        assert clusters[0, 0] != clusters[1, 0]
    assert set(torch.cat(steps).tolist()) == set(range(len(labels)))


def test_a_start_moves_the_prompt_and_the_regulator_which_the_second_stage_takes_over(clip, corpus):
    first = build(clip, stage="meta", rank=3, captions=2)
    before = {name: value.clone() for name, value in first.learned().items()}
    report = first.fit(corpus, tuning=META, generator=torch.Generator().manual_seed(0))
    assert report.steps == 3
    learned = first.learned()
    same = [name for name in before if torch.equal(learned[name], before[name])]
    assert same == []
    moved = (learned["regulator.widen.bias"] - before["regulator.widen.bias"]).abs()
    assert float(moved) <= 3.1 * 1e-4  # Adam moves by its own learning rate a step, not by lr
    second = build(clip, Classes(("yew", "fir"), ("{}.",)), seed=1, rank=3)
    second.start_from(learned)
    assert all(torch.equal(second.learned()[name], learned[name]) for name in learned)


def test_the_first_stage_has_the_same_prompt_and_regulator():
    given = {"n_context": 3, "context_init": "", "rank": 5}
    values = resolve("gram", GRAM, given, protocol="few_shot", shots=4)
    assert GRAM.source_settings(values) == {
        **given,
        "init_std": 0.02,
        "last_relu": False,
        "stage": "meta",
    }


def test_too_few_captions_are_refused(clip, corpus):
    few = FewShot(1, corpus.train.select(torch.tensor([0, 1, 2])), corpus.val)
    with pytest.raises(ValueError, match="4 captions or more, and the images have 3: name"):
        build(clip, stage="meta").fit(few, tuning=META, generator=torch.Generator())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stage": "meta"}, "say source_datasets='' as well"),
        ({"captions": 4}, "say so of the trial that learns it, in source_hyperparameters"),
        ({"inner_lr": 0.2}, "it is about the start"),
        ({"init_std": 0.1}, "Ask for context_init='' as well"),
        ({"n_context": 5}, "n_context"),
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_starts(given, message):
    with pytest.raises(ValueError, match=message):
        resolve("gram", GRAM, given, protocol="few_shot", shots=4)
