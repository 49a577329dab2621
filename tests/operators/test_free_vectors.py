"""Free class vectors: TaskRes, ZS-LP, CLAP and ConES against their plain arithmetic."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from operators.blocks.class_text import class_vectors, mean_vectors, templates_of
from operators.blocks.free_vectors import FreeVectors
from operators.blocks.imagenet_templates import SELECTED_7
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.methods.image_classification.feature_heads.clap import class_probabilities

pytestmark = pytest.mark.bits

TEXTS = ["taskres", "zs-lp", "clap"]


def built(name, clip, classes, **given):
    return METHODS[name](clip, classes, generator=torch.Generator().manual_seed(0), **given)


def fitted(name, clip, classes, shots, *, epochs=4, seed=0, own=None, **loop):
    method = built(name, clip, classes, **(own or {}))
    tuning = replace(METHODS[name].tuning, epochs=epochs, warmup_epochs=0, **loop)
    report = method.fit(shots, tuning=tuning, generator=torch.Generator().manual_seed(seed))
    return method.eval(), report


def cosines(clip, features, vectors):
    """Scaled cosine similarity, written out."""
    lengths = features.norm(dim=1)[:, None] * vectors.norm(dim=1)[None]
    return clip.logit_scale * (features @ vectors.T) / lengths


@pytest.fixture
def shots(clip, few_shot):
    return few_shot(clip.feature_width, [0, 1, 2, 3, 1, 0], [0, 1, 2, 3])


def text_features(clip, classes):
    return clip.whole_text_features([f"a photo of a {name}." for name in classes.names])


@pytest.mark.parametrize("name", TEXTS)
def test_before_it_learns_it_classifies_as_zero_shot(name, clip, classes, shots):
    wanted = built("zero-shot", clip, classes).eval().logits(shots.train)
    found = built(name, clip, classes).eval().logits(shots.train)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_the_start_is_the_plain_mean_over_templates_and_keeps_its_length(clip, classes):
    templates = templates_of(classes, "imagenet+card")
    assert templates == (*SELECTED_7, *classes.templates)
    assert templates_of(classes, "imagenet") == SELECTED_7
    found = mean_vectors(clip, classes, templates)
    each = [clip.whole_text_features(classes.prompts(template)) for template in templates]
    torch.testing.assert_close(found, sum(each) / 8, rtol=1e-4, atol=1e-4)
    angles = F.cosine_similarity(found, class_vectors(clip, classes, templates))
    assert (found.norm(dim=1) - 1).abs().min() > 0.1
    assert 0.9 < angles.min() < 0.99999  # longer features count more


def test_taskres_learns_a_residual_of_weight_alpha(clip, classes, shots):
    method = built("taskres", clip, classes, alpha=0.5).train()
    start, x = text_features(clip, classes), method.head.vectors
    with torch.no_grad():
        x.copy_(torch.randn(x.shape, generator=torch.Generator().manual_seed(1)))
    method.loss(shots.train).backward()
    plain = x.detach().clone().requires_grad_()
    logits = cosines(clip, shots.train.features, start + 0.5 * plain)
    loss = F.cross_entropy(logits, shots.train.labels)
    loss.backward()
    torch.testing.assert_close(method.loss(shots.train), loss)
    torch.testing.assert_close(x.grad, plain.grad)


def test_taskres_has_the_rate_of_adam_in_every_number_at_first(clip, classes, shots):
    method, _ = fitted("taskres", clip, classes, shots, epochs=1)
    # Adam's first step is its rate, whatever the gradient: nothing decays at zeros.
    assert float(method.head.vectors.detach().abs().median()) == pytest.approx(0.002, rel=1e-3)


def test_taskres_learns_half_as_long_from_few_shots_and_otherwise_on_two_datasets():
    def asked(shots, dataset):
        values = resolve(
            "taskres", METHODS["taskres"], {}, protocol="few_shot", shots=shots, dataset=dataset
        )
        return tuple(values[name] for name in ("epochs", "lr", "alpha", "templates"))

    assert asked(4, "dtd") == (100, 0.002, 0.5, "card")
    assert asked(8, "oxford_flowers") == (200, 0.002, 1.0, "card")
    assert asked(1, "imagenet") == (100, 2e-4, 0.5, "imagenet+card")


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("class", lambda p: p),
        ("corrected", lambda p: 4 * p / p.sum()),
        ("constant", lambda p: torch.full_like(p, float(p.mean()))),
        ("balanced", torch.ones_like),
    ],
)
def test_clap_holds_a_class_by_how_probable_the_texts_make_it(clip, classes, shots, kind, wanted):
    method, _ = fitted("clap", clip, classes, shots, own={"multipliers": kind, "view_passes": 1})
    start, (images, labels) = (
        text_features(clip, classes),
        (shots.train.features, [0, 1, 2, 3, 1, 0]),
    )
    each = cosines(clip, images, start).softmax(dim=1)
    own = [[each[row, c] for row, label in enumerate(labels) if label == c] for c in range(4)]
    weights = wanted(torch.stack([torch.stack(found).mean() for found in own]))
    torch.testing.assert_close(method.multipliers, weights, rtol=1e-3, atol=1e-5)

    moved = method.head.vectors.detach().clone().requires_grad_()
    error = F.cross_entropy(cosines(clip, images, moved), shots.train.labels)
    loss = error + (weights * ((moved - start) ** 2).sum(dim=1)).sum() / 4
    loss.backward()
    method.train().zero_grad()
    found = method.loss(shots.train)
    found.backward()
    torch.testing.assert_close(found, loss, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(method.head.vectors.grad, moved.grad, rtol=1e-3, atol=1e-5)


def test_clap_without_penalty_is_zs_lp_and_says_that_multipliers_are_idle(clip, classes, shots):
    free, _ = fitted("zs-lp", clip, classes, shots)
    held, _ = fitted("clap", clip, classes, shots, own={"penalty": 0.0})
    assert torch.equal(free.head.vectors, held.head.vectors)
    with pytest.raises(ValueError, match=r"penalty is 0\. Ask for penalty=1"):
        given = {"penalty": 0, "multipliers": "balanced"}
        resolve("clap", METHODS["clap"], given, protocol="few_shot", shots=1)


def test_a_class_without_examples_is_held_by_nothing():
    features, vectors = torch.eye(3), torch.eye(3)
    found = class_probabilities(features[:2], torch.tensor([0, 0]), vectors, 1.0)
    right, wrong = (torch.tensor([1.0, 0, 0]).softmax(dim=0)[place] for place in (0, 1))
    torch.testing.assert_close(found, torch.stack([(right + wrong) / 2, 0 * right, 0 * right]))


def test_cones_reads_no_text_and_starts_with_vectors_of_length_one(clip, classes, monkeypatch):
    monkeypatch.setattr(clip, "encode_prompts", None)  # whoever reads a text would call it
    many = replace(classes, names=tuple(f"class {n}" for n in range(400)), descriptions=())
    start = built("cones", clip, many).head.vectors
    assert float(start.detach().square().sum(dim=1).mean()) == pytest.approx(1, abs=0.1)
    again = METHODS["cones"](clip, many, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(start, again.head.vectors)


def test_a_residual_leaves_its_start_out_of_the_file(clip, classes):
    start = torch.randn(4, 5)
    free, held = FreeVectors(start), FreeVectors(start, residual=0.5)
    torch.testing.assert_close(free(), held())
    assert free.state_dict().keys() == held.state_dict().keys() == {"vectors"}
    assert not held.vectors.any()
    assert free.drift(torch.ones(4)) == 0
