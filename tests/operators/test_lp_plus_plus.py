"""LP++: its start, its rates and its steps from the data, against a loop that is written out."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from operators.blocks.class_text import class_vectors
from operators.methods import METHODS

pytestmark = pytest.mark.bits

LPPlusPlus = METHODS["lp-plus-plus"]
LABELS = [0, 1, 2, 3, 1, 0, 2, 3]


@pytest.fixture
def shots(clip, few_shot):
    return few_shot(clip.feature_width, LABELS, [0, 1, 2, 3])


def fitted(clip, classes, shots, epochs, **given):
    loop = {name: given.pop(name) for name in ("selection", "lr") if name in given}
    built = LPPlusPlus(clip, classes, generator=torch.Generator().manual_seed(0), **given)
    start = built.intercepts.detach().clone()
    tuning = replace(LPPlusPlus.tuning, epochs=epochs, **loop)
    report = built.fit(shots, tuning=tuning, generator=torch.Generator().manual_seed(1))
    return built.eval(), report, start


def written_out(texts, features, labels, bias, *, epochs, every, sums):
    """Each line of the published loop, in double precision."""
    f, t, n = F.normalize(features.double(), dim=1), texts.double(), len(features)
    member = F.one_hot(labels, 4).double()
    w = (member.T @ f).requires_grad_()
    b = bias.double().requires_grad_()
    similar = f @ t.T
    means = [similar[labels == c, c].mean() for c in range(4)]
    a = torch.full((4,), float(250 * torch.stack(means).mean()), dtype=torch.float64)
    a.requires_grad_()
    rate = 4 * n / torch.linalg.eigvalsh(f.T @ f).max()
    rate_a = n / (4 * (similar**2).sum(dim=0).max())
    speed = [torch.zeros_like(w), torch.zeros_like(b)]
    total, losses = torch.zeros_like(a), []
    for epoch in range(epochs):
        loss = F.cross_entropy(f @ w.T + b + a * similar, labels)
        of_w, of_b, of_a = torch.autograd.grad(loss, (w, b, a))
        losses.append(float(loss.detach()))
        total = total + of_a
        with torch.no_grad():
            for value, grad, place in ((w, of_w, 0), (b, of_b, 1)):
                speed[place] = 0.9 * speed[place] + grad
                value -= rate * speed[place]
            if (epoch + 1) % every == 0:
                a -= rate_a * (total if sums else of_a)
    return w, b, a, losses


@pytest.mark.parametrize(("gradient", "sums"), [("summed", True), ("last", False)])
def test_it_takes_the_published_steps(clip, classes, shots, gradient, sums):
    found, report, bias = fitted(
        clip, classes, shots, 9, blend_every=3, blend_gradient=gradient, selection="last"
    )
    texts = class_vectors(clip, classes, classes.templates)
    of_train = texts, shots.train.features, shots.train.labels
    w, b, a, losses = written_out(*of_train, bias, epochs=9, every=3, sums=sums)
    assert report.losses == pytest.approx(losses, rel=1e-3, abs=1e-4)
    learned = found.weights, found.intercepts, found.blend
    for ours, wanted in zip(learned, (w, b, a), strict=True):
        torch.testing.assert_close(ours.double(), wanted, rtol=1e-3, atol=2e-3)


def test_logits_are_linear_with_the_text_blended_in_and_no_temperature(clip, classes, shots):
    found, _, _ = fitted(clip, classes, shots, 2)
    unit = F.normalize(shots.val.features, dim=1)
    text = unit @ class_vectors(clip, classes, classes.templates).T
    wanted = unit @ found.weights.T + found.intercepts + found.blend * text
    torch.testing.assert_close(found.logits(shots.val), wanted, rtol=1e-4, atol=1e-4)


def test_of_equally_good_epochs_the_last_is_kept(clip, classes, shots, monkeypatch):
    scores = iter([0.5, 0.75, 0.75, 0.25])
    monkeypatch.setattr(LPPlusPlus, "validation_score", lambda self, batch: next(scores))
    _, report, _ = fitted(clip, classes, shots, 4)
    assert report.selected == {"epoch": 2.0, "val_accuracy": 0.75}


def test_lr_multiplies_the_rate_of_weights_alone(clip, classes, shots):
    slow, fast = (
        fitted(clip, classes, shots, 1, lr=lr, blend_every=1, selection="last")[0]
        for lr in (0.5, 1.0)
    )
    start = F.one_hot(shots.train.labels, 4).float().T @ F.normalize(shots.train.features, dim=1)
    torch.testing.assert_close(
        fast.weights - start, 2 * (slow.weights - start), rtol=1e-3, atol=1e-5
    )
    assert torch.equal(fast.blend, slow.blend)
