"""ProGrad: its projection, the gradient that the loop is given, and where it starts."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from operators.episodes.episode import Classes
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.methods.image_classification.text_prompts.prograd import projected

ProGrad = METHODS["prograd"]


def build(backbone, classes, **given):
    return ProGrad(backbone, classes, generator=torch.Generator().manual_seed(0), **given)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gradients(method, batch, temperature=1.0):
    """Those of cross-entropy and of the divergence, each from a forward pass of its own."""
    frozen = method.backbone.text_features(
        [prompt for t in method.classes.templates for prompt in method.classes.prompts(t)]
    )
    images = F.normalize(batch.features)
    wanted = (method.backbone.logit_scale * images @ frozen.T / temperature).softmax(dim=1)
    (first,) = torch.autograd.grad(
        F.cross_entropy(method.logits(batch), batch.labels), method.prompt.context
    )
    # The cross-entropy to soft labels, which the published code takes, has the same gradient.
    soft = F.cross_entropy(method.logits(batch) / temperature, wanted) * temperature**2
    (second,) = torch.autograd.grad(soft, method.prompt.context)
    return first.double().numpy(), second.double().numpy()


@pytest.fixture
def shots(few_shot, backbone):
    return few_shot(backbone.feature_width, [0, 1, 2, 3, 1])


def test_a_gradient_that_agrees_is_left_as_it_is():
    kept = drawn(1, 3, 5)
    gradient = drawn(1, 3, 5, seed=1) + 3 * kept
    assert float((gradient * kept).sum()) > 0
    assert torch.equal(projected(gradient, kept), gradient)


def test_a_gradient_that_conflicts_loses_what_points_against():
    kept = drawn(1, 3, 5)
    gradient = drawn(1, 3, 5, seed=1) - 3 * kept
    g, h = gradient.double().numpy(), kept.double().numpy()
    assert (g * h).sum() < 0
    found = projected(gradient, kept)
    np.testing.assert_allclose(found, g - (g * h).sum() / (h * h).sum() * h, rtol=1e-4, atol=1e-5)
    assert float((found * kept).sum()) == pytest.approx(0, abs=1e-4)


def test_a_weight_takes_out_its_share():
    kept = drawn(4)
    gradient = -2 * kept
    torch.testing.assert_close(projected(gradient, kept, 0.75), 0.25 * gradient)
    assert torch.equal(projected(gradient, kept, 0.0), gradient)


def test_where_nothing_is_to_be_kept_the_gradient_stays():
    gradient = drawn(2, 3)
    assert torch.equal(projected(gradient, torch.zeros(2, 3)), gradient)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("agrees", [True, False])
def test_the_context_gets_the_projected_gradient(backbone, classes, shots, temperature, agrees):
    method = build(backbone, classes, n_context=4, temperature=temperature).train()
    with torch.no_grad():
        method.prompt.context += 0.2 * drawn(*method.prompt.context.shape)
    for first_label, step in itertools.product(range(4), repeat=2):
        shots.train.labels.copy_((first_label + step * torch.arange(5)) % 4)
        first, second = gradients(method, shots.train, temperature)
        if ((first * second).sum() > 0) == agrees:
            break
    else:
        pytest.fail("no labels give such gradients")
    loss = method.backward(shots.train)
    wanted = first if agrees else first - (first * second).sum() / (second**2).sum() * second
    size = np.abs(wanted).max()
    np.testing.assert_allclose(method.prompt.context.grad / size, wanted / size, atol=2e-3)
    cross_entropy = F.cross_entropy(method.logits(shots.train), shots.train.labels)
    torch.testing.assert_close(loss, cross_entropy.detach())


def test_a_step_of_the_loop_follows_the_projected_gradient(clip, classes, few_shot):
    shots = few_shot(clip.feature_width, [0, 1, 2, 3])
    method, twin = (build(clip, classes, n_context=4) for _ in range(2))
    tuning = replace(ProGrad.tuning, epochs=1, warmup_epochs=0, weight_decay=0.0)
    method.fit(shots, tuning=tuning, generator=torch.Generator().manual_seed(0))
    twin.train().backward(shots.train)
    wanted = twin.prompt.context.detach() - tuning.lr * twin.prompt.context.grad
    torch.testing.assert_close(method.prompt.context.detach(), wanted, rtol=1e-4, atol=1e-6)


def test_the_gradient_is_the_same_where_activations_are_recomputed(clip, classes, few_shot):
    batch, found = few_shot(clip.feature_width, [0, 1, 2, 3]).train, []
    for budget in (clip.text_budget, 1):
        method = build(clip, classes, n_context=4, worded=False).train()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clip, "text_budget", budget)
            method.backward(batch)
        found.append(method.prompt.context.grad)
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("a photo of a {}.", "a photo of a"),
        ("a photo of {}, a type of dog.", "a photo of"),
        ("{} tree.", "a photo of a"),
    ],
)
def test_a_worded_start_is_the_template_before_the_name_after_zeros(clip, template, words):
    method = build(clip, Classes(("cat", "dog"), (template,)), n_context=6)
    ids = clip.tokenize([words]).ids[0, 1:-1]
    wanted = torch.zeros(1, 6, clip.token_width)
    wanted[0, 6 - len(ids) :] = clip.embed(ids[None])[0]
    assert torch.equal(method.prompt.context, wanted)


def test_a_start_that_is_not_worded_is_that_of_coop(clip, classes):
    method = build(clip, classes, worded=False)
    coop = METHODS["coop"](clip, classes, generator=torch.Generator().manual_seed(0))
    assert torch.equal(method.prompt.context, coop.prompt.context)


def test_words_that_are_too_many_for_the_context_are_refused(clip, classes):
    with pytest.raises(ValueError, match=r"n_context=3, .*'a photo of a' has 4 tokens.*worded"):
        build(clip, classes, n_context=3)


@pytest.mark.parametrize(
    ("protocol", "shots", "epochs"),
    [("few_shot", 1, 50), ("few_shot", 4, 100), ("few_shot", 16, 200), ("base_to_new", 4, 100)],
)
def test_the_published_epochs(protocol, shots, epochs):
    assert resolve("prograd", ProGrad, {}, protocol=protocol, shots=shots)["epochs"] == epochs
