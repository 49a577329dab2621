"""RESTORE: shifts against numpy, the loss in plain torch, and when the blocks count for more."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from operators.backbones import DeepPrompts
from operators.episodes.episode import Batch, Classes, FewShot, batch_of
from operators.methods import METHODS, classifier
from operators.methods.hyperparameters import resolve
from operators.tuning import Tuning, tune

Restore = METHODS["restore"]
LABELS = [0, 1, 2, 3, 0, 1]
TUNING = Tuning(lr=0.002, epochs=4, batch_size=3, warmup_epochs=0)


def build(backbone, classes, method=Restore, **given):
    return method(backbone, classes, generator=torch.Generator().manual_seed(0), **given)


def seeded():
    return torch.Generator().manual_seed(1)


@pytest.fixture
def shots(clip, drawn_pictures):
    labels = np.array([*LABELS, 0, 1, 2, 3])
    source, cpu = drawn_pictures(clip, labels), torch.device("cpu")
    train, val = np.split(np.arange(len(labels)), [len(LABELS)])
    return FewShot(2, *(batch_of(source, rows, labels, range(4), cpu) for rows in (train, val)))


def grams(prompts):
    """|P^T P| of every layer below the input, w x w as the published code has it."""
    layers = prompts.detach().double().numpy()[1:]
    return np.array([np.linalg.norm(layer.T @ layer) for layer in layers])


def test_the_magnitude_of_a_shift_is_the_norm_of_the_published_product(clip, classes):
    method = build(clip, classes)
    wanted = [grams(method.prompt.coupling(method.prompt.text)), grams(method.prompt.text)]
    assert method.magnitudes().shape == (2, 2)
    np.testing.assert_allclose(method.magnitudes().detach(), wanted, rtol=1e-4)


def surgery(block, features, ratio):
    inner = F.layer_norm(features, features.shape[1:], block.norm.weight, block.norm.bias)
    inner = inner @ block.widen.weight.T + block.widen.bias
    inner = inner * torch.sigmoid(1.702 * inner)
    return features + ratio * (inner @ block.narrow.weight.T + block.narrow.bias)


def test_the_loss_is_cross_entropy_and_the_difference_of_the_shifts(
    clip, classes, precise, drawn_pictures
):
    twin = precise(clip)
    method = build(twin, classes, shift_weight=3.0).double().train()
    first = [grams(method.prompt.coupling(method.prompt.text)), grams(method.prompt.text)]
    source = drawn_pictures(clip, LABELS)
    source.values = source.values.double()
    batch = Batch(source, np.arange(6), torch.tensor(LABELS))
    method.loss(batch)  # what is measured from the first prompts
    with torch.no_grad():
        for parameter in method.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=seeded())

    text, visual = method.prompt.text, method.prompt.coupling(method.prompt.text)
    texts = twin.encode_prompts_plainly(
        method.prompt.layout, text[:1], DeepPrompts(text[1:], start=1)
    )
    images = twin.encode_images(
        batch.pixels, prompts=visual[0], deep_prompts=DeepPrompts(visual[1:], start=-2)
    )
    texts = surgery(method.text_surgery, texts, method.ratios[1])
    images = surgery(method.image_surgery, images, method.ratios[0])
    logits = twin.logit_scale * F.normalize(images) @ F.normalize(texts).T
    shifts = [grams(visual) / first[0], grams(text) / first[1]]
    wanted = F.cross_entropy(logits, batch.labels) + 3 * ((shifts[0] - shifts[1]) ** 2).sum()
    torch.testing.assert_close(method.loss(batch), wanted, rtol=1e-9, atol=1e-9)


def test_before_tuning_the_shifts_differ_by_nothing(clip, classes, shots):
    method = build(clip, classes).train()
    wanted = F.cross_entropy(method.logits(shots.train), shots.train.labels)
    torch.testing.assert_close(method.loss(shots.train), wanted)


def test_without_surgery_and_shifts_it_is_tuned_as_maple(clip, classes, shots):
    method = build(clip, classes, image_ratio=0.0, text_ratio=0.0, shift_weight=0.0).train()
    twin = build(clip, classes, METHODS["maple"]).train()
    twin.load_state_dict(method.state_dict(), strict=False)
    torch.testing.assert_close(method.loss(shots.train), twin.loss(shots.train))


def test_the_blocks_count_for_more_after_a_third_of_the_epochs(clip, classes, shots):
    twin, sizes, ratios = build(clip, classes), [], []

    def remember(epoch):
        sizes.append(
            [grams(twin.prompt.coupling(twin.prompt.text)).mean(), grams(twin.prompt.text).mean()]
        )

    tune(twin, shots, TUNING, seeded(), epoch_end=remember)
    method = build(clip, classes)
    assert method.ratios.tolist() == pytest.approx([0.05, 0.05])
    loss = Restore.loss
    method.loss = lambda batch: ratios.append(method.ratios.tolist()) or loss(method, batch)
    method.fit(shots, tuning=TUNING, generator=seeded())
    grown = [0.05 + 0.005 * sizes[1][0], 0.05 + 0.02 * sizes[1][1]]
    assert method.ratios.tolist() == pytest.approx(grown, rel=1e-4)
    assert ratios == [pytest.approx([0.05, 0.05])] * 4 + [pytest.approx(grown, rel=1e-4)] * 4


@pytest.mark.parametrize(("best", "grown"), [(0, False), (1, True), (3, True)])
def test_the_shares_are_those_of_the_epoch_that_validation_chose(
    clip, classes, shots, monkeypatch, best, grown
):
    scores = iter(float(epoch == best) for epoch in range(4))
    monkeypatch.setattr(classifier, "accuracy_on", lambda method, batch: next(scores))
    method = build(clip, classes)
    report = method.fit(shots, tuning=replace(TUNING, selection="val"), generator=seeded())
    assert report.selected is not None
    assert report.selected["epoch"] == best
    assert (method.ratios.tolist() != pytest.approx([0.05, 0.05])) == grown


def test_the_shares_go_with_what_was_learned(clip, classes, shots):
    method = build(clip, classes)
    method.fit(shots, tuning=TUNING, generator=seeded())
    others = method.with_classes(Classes(("zebra", "tea pot"), classes.templates))
    assert torch.equal(others.ratios, method.ratios)
    assert torch.equal(method.learned()["ratios"], method.ratios)


def test_shallow_prompts_have_no_shifts(clip, classes, shots):
    method = build(clip, classes, depth=1)
    report = method.fit(shots, tuning=TUNING, generator=seeded())
    assert np.isfinite(report.losses).all()
    assert method.ratios.tolist() == pytest.approx([0.05, 0.05])


def test_the_defaults_are_those_of_the_published_configurations():
    values = resolve("restore", Restore, {}, protocol="base_to_new", shots=16)
    assert (values["lr"], values["epochs"], values["depth"], values["n_context"]) == (
        0.0035, 10, 9, 2,
    )  # fmt: skip
    assert Restore.recipe(protocol="cross_dataset", shots=16, dataset="digits") == {"epochs": 2}
    assert Restore.recipe(protocol="few_shot", shots=16, dataset="digits") == {}
