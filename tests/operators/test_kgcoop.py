"""KgCoOp: its loss, what holds it, and where it starts."""

import numpy as np
import pytest
import torch

from operators.episodes.episode import Classes
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve

KgCoOp, CoOp = METHODS["kgcoop"], METHODS["coop"]


def build(backbone, classes, method=KgCoOp, **given):
    return method(backbone, classes, generator=torch.Generator().manual_seed(0), **given)


def moved(method):
    """The method with its context away from where it started."""
    with torch.no_grad():
        drawn = torch.randn(method.prompt.context.shape, generator=torch.Generator().manual_seed(5))
        method.prompt.context += 0.1 * drawn
    return method


@pytest.fixture
def classes():
    return Classes(("cat", "dog", "oak tree"), ("a photo of {}, a type of thing.",))


@pytest.fixture
def shots(few_shot, backbone):
    return few_shot(backbone.feature_width, [0, 1, 2, 1])


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("weight", [0.0, 1.0, 8.0])
def test_the_loss_is_cross_entropy_plus_the_weighted_distance(backbone, classes, shots, weight):
    method = moved(build(backbone, classes, weight=weight)).train()
    found = float(method.loss(shots.train).detach())
    learned = unit(method.class_features().detach().double().numpy())
    written = [f"a photo of {name}, a type of thing." for name in classes.names]
    anchors = unit(backbone.text_features(written).double().numpy())
    images = unit(shots.train.features.double().numpy())
    logits = backbone.logit_scale * images @ learned.T
    right = logits[np.arange(4), shots.train.labels.numpy()]
    cross_entropy = (np.log(np.exp(logits).sum(axis=1)) - right).mean()
    distance = (1 - (learned * anchors).sum(axis=1)).mean()
    assert distance > 0.001
    assert found == pytest.approx(cross_entropy + weight * distance, rel=1e-3)


def test_it_starts_from_a_photo_of_a_and_there_it_is_coop(clip, classes):
    method, coop = build(clip, classes), build(clip, classes, CoOp, context_init="a photo of a")
    assert torch.equal(method.prompt.context, coop.prompt.context)
    assert torch.equal(method.eval().weights(), coop.eval().weights())


def test_where_the_card_says_a_photo_of_a_the_start_is_the_anchor(clip, few_shot):
    plain = Classes(("cat", "dog"), ("a photo of a {}.",))
    method = build(clip, plain).train()
    batch = few_shot(clip.feature_width, [0, 1]).train
    wanted = torch.nn.functional.cross_entropy(method.logits(batch), batch.labels)
    torch.testing.assert_close(method.loss(batch), wanted, rtol=1e-4, atol=1e-4)


def test_a_heavy_weight_keeps_the_class_features_near_the_hand_written(clip, classes, few_shot):
    shots, gaps = few_shot(clip.feature_width, [0, 1, 2, 1]), []
    for weight in (0.0, 1000.0):
        method = build(clip, classes, weight=weight)
        method.fit(shots, tuning=KgCoOp.tuning, generator=torch.Generator().manual_seed(0))
        gaps.append(float((1 - (method.eval().weights() * method.hand_written).sum(1)).mean()))
    assert gaps[1] < gaps[0] / 2


def test_the_anchors_are_those_of_the_classes_asked_about(clip, classes):
    others = Classes(("zebra", "tea pot"), classes.templates)
    twin = build(clip, classes).with_classes(others)
    assert torch.equal(twin.hand_written, build(clip, others).hand_written)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_context": 16}, "n_context=16, but context_init 'a photo of a' has 4 words"),
    ],
)
def test_values_that_cannot_work_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        resolve("kgcoop", KgCoOp, given, protocol="few_shot", shots=4)


def test_the_published_settings_are_the_same_for_every_protocol_and_shot():
    for protocol, shots in (("few_shot", 1), ("few_shot", 16), ("base_to_new", 16)):
        values = resolve("kgcoop", KgCoOp, {}, protocol=protocol, shots=shots)
        assert (values["epochs"], values["batch_size"], values["weight"]) == (100, 128, 8.0)
