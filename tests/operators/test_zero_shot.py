"""Zero-shot and linear probe: the two ends that prompt tuning stands between."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from operators.blocks.imagenet_templates import SELECTED_7
from operators.blocks.logistic_regression import _Search, logistic_regression
from operators.episodes.episode import Classes
from operators.methods import METHODS
from operators.methods.hyperparameters import own_of, resolve


def weights(name, backbone, classes):
    return METHODS[name](backbone, classes, generator=torch.Generator()).eval().weights()


def test_zero_shot_reads_the_cards_template(clip, classes):
    wanted = clip.text_features([f"a photo of a {name}." for name in classes.names])
    torch.testing.assert_close(weights("zero-shot", clip, classes), wanted)


def test_zero_shot_logits_are_scaled_cosines(clip, classes, few_shot):
    batch = few_shot(clip.feature_width, [0, 1, 2, 3]).train
    method = METHODS["zero-shot"](clip, classes, generator=torch.Generator())
    features = torch.nn.functional.normalize(batch.features)
    wanted = clip.logit_scale * features @ weights("zero-shot", clip, classes).T
    torch.testing.assert_close(method.logits(batch), wanted)


@pytest.mark.parametrize("ensemble", [(), ("itap of a {}.", "{} texture.")])
def test_the_ensemble_is_the_unit_mean_of_unit_features(clip, classes, ensemble):
    asked = Classes(classes.names, classes.templates, ensemble)
    templates = ensemble or (*SELECTED_7, "a photo of a {}.")
    for row, name in enumerate(classes.names):
        each = clip.text_features([template.replace("{}", name) for template in templates])
        mean = each.mean(dim=0)
        found = weights("zero-shot-ensemble", clip, asked)[row]
        torch.testing.assert_close(found, mean / mean.norm(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
def test_logistic_regression_is_that_of_scikit_learn(few_shot, c):
    train = few_shot(6, [0, 1, 2] * 8).train
    x, y = train.features.double().numpy(), train.labels.numpy()
    theirs = LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(x, y)
    ours, iterations = logistic_regression(
        train.features, train.labels, 3, c=c, tolerance=1e-9, max_iterations=5000
    )
    new = np.random.default_rng(0).normal(size=(40, 6))
    found = (torch.tensor(new) @ ours.weight.T + ours.bias).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, theirs.predict_proba(new), rtol=0, atol=1e-5)
    assert iterations > 0


def test_the_probe_without_validation_images_has_c_of_one(clip, classes, few_shot):
    shots = few_shot(clip.feature_width, [0, 1, 2, 3])
    method = METHODS["linear-probe"](clip, classes, generator=torch.Generator())
    report = method.fit(shots, tuning=None, generator=torch.Generator())
    assert report.selected == {"C": 1.0}


@pytest.mark.parametrize("peak", [1e6, 1.0, 1e-2])
def test_c_is_refined_by_the_published_bisection(few_shot, monkeypatch, peak):
    def accuracy(self, c):  # best at C = 3, and flat near it
        return round(-abs(np.log10(c) - np.log10(3)), 1)

    monkeypatch.setattr(_Search, "accuracy", accuracy)
    searched = _Search(few_shot(4, [0, 1], [0, 1]), 2, 10)
    left, right, wanted = 0.1 * peak, 10 * peak, peak
    for _ in range(8):
        middle = 0.5 * (np.log10(left) + np.log10(right))
        if accuracy(None, left) < accuracy(None, right):
            wanted, left = right, 10**middle
        else:
            wanted, right = left, 10**middle
    assert searched.refine(peak, 8) == pytest.approx(wanted)


def test_the_coarse_search_keeps_the_first_of_the_best(few_shot, monkeypatch):
    monkeypatch.setattr(_Search, "accuracy", lambda self, c: float(c in (1e4, 1.0)))
    assert _Search(few_shot(4, [0, 1], [0, 1]), 2, 10).coarse() == 1e4


def test_the_probe_gives_what_its_best_c_solves(clip, classes, few_shot):
    shots = few_shot(clip.feature_width, [0, 1, 2, 3] * 2, [0, 1, 2, 3])
    method = METHODS["linear-probe"](clip, classes, generator=torch.Generator(), search_steps=2)
    report = method.fit(shots, tuning=None, generator=torch.Generator())
    solved, _ = logistic_regression(
        shots.train.features, shots.train.labels, 4, c=report.selected["C"]
    )
    torch.testing.assert_close(method.head.weight.detach().double(), solved.weight)


def test_on_imagenet_the_ensemble_is_of_the_seven_alone(clip, classes):
    place = {"protocol": "zero_shot", "shots": 0, "dataset": "imagenet"}
    values = resolve("zero-shot-ensemble", METHODS["zero-shot-ensemble"], {}, **place)
    method = METHODS["zero-shot-ensemble"]
    built = method(clip, classes, generator=torch.Generator(), **own_of(method, values))
    assert built.templates() == SELECTED_7
    assert "a photo of a {}." not in SELECTED_7
