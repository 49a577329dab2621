"""CLIP-Adapter: its formula, its start, and what it refuses."""

import numpy as np
import pytest
import torch

from operators.blocks.feature_head import Adapter
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve

ClipAdapter = METHODS["clip-adapter"]


def build(backbone, classes, **given):
    return ClipAdapter(backbone, classes, generator=torch.Generator().manual_seed(0), **given)


@pytest.fixture
def batch(few_shot, clip):
    return few_shot(clip.feature_width, [0, 1, 2, 3, 1]).train


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("ratio", [0.2, 0.6])
def test_logits_are_those_of_the_formula(clip, classes, batch, ratio):
    method = build(clip, classes, ratio=ratio).eval()
    f = batch.features.double().numpy()
    w, v = (x.detach().double().numpy() for x in (method.adapter.down, method.adapter.up))
    mixed = ratio * np.maximum(np.maximum(f @ w.T, 0) @ v.T, 0) + (1 - ratio) * f
    texts = clip.text_features([f"a photo of a {name}." for name in classes.names])
    wanted = clip.logit_scale * unit(mixed) @ texts.double().numpy().T
    np.testing.assert_allclose(method.logits(batch).detach(), wanted, rtol=1e-4, atol=1e-4)


def test_a_ratio_of_0_is_zero_shot(clip, classes, batch):
    zero_shot = METHODS["zero-shot"](clip, classes, generator=torch.Generator()).eval()
    found = build(clip, classes, ratio=0.0).eval().logits(batch)
    torch.testing.assert_close(found, zero_shot.logits(batch), rtol=1e-5, atol=1e-5)


def test_the_network_alone_is_learned_and_the_class_vectors_stay(clip, classes, few_shot):
    method = build(clip, classes)
    start = {name: value.clone() for name, value in method.state_dict().items()}
    before = method.hand_written.clone()
    tuning = resolve("clip-adapter", ClipAdapter, {"epochs": 3}, protocol="few_shot", shots=1)
    assert tuning["epochs"] == 3
    method.fit(
        few_shot(clip.feature_width, [0, 1, 2, 3]),
        tuning=ClipAdapter.tuning,
        generator=torch.Generator().manual_seed(0),
    )
    assert set(start) == {"adapter.down", "adapter.up"}
    assert all(not torch.equal(start[name], value) for name, value in method.state_dict().items())
    assert torch.equal(method.hand_written, before)


def test_the_texts_are_encoded_once(clip, classes, few_shot, monkeypatch):
    asked, plain = [], clip.text_features
    monkeypatch.setattr(clip, "text_features", lambda texts: (asked.append(texts), plain(texts))[1])
    method = build(clip, classes)
    shots = few_shot(clip.feature_width, [0, 1, 2, 3])
    method.fit(shots, tuning=ClipAdapter.tuning, generator=torch.Generator().manual_seed(0))
    method.eval().logits(shots.train)
    assert len(asked) == 1


def test_the_network_starts_as_torch_starts_linear_maps():
    head = Adapter(64, 4, generator=torch.Generator().manual_seed(0), device=torch.device("cpu"))
    assert head.down.shape == (16, 64)
    assert head.up.shape == (64, 16)
    for drawn, inputs in ((head.down, 64), (head.up, 16)):
        edge = inputs**-0.5
        assert edge * 0.98 < float(drawn.detach().abs().max()) <= edge
        assert float(drawn.detach().std()) == pytest.approx(edge / 3**0.5, rel=0.05)


def test_the_inner_layer_is_never_empty():
    head = Adapter(8, 100, generator=torch.Generator(), device=torch.device("cpu"))
    assert head.down.shape == (1, 8)


@pytest.mark.parametrize(("shots", "epochs"), [(1, 50), (2, 100), (4, 100), (8, 200), (16, 200)])
def test_the_epochs_are_those_of_coop(shots, epochs):
    values = resolve("clip-adapter", ClipAdapter, {}, protocol="few_shot", shots=shots)
    assert values["epochs"] == epochs
