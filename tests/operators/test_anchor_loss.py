"""The distances to the frozen model, against their formulas in numpy."""

import numpy as np
import pytest
import torch

from operators.blocks.anchor_loss import cosine_distance, kl_divergence, logit_gap
from operators.methods.image_classification.deep_prompts.promptsrc import feature_gap


def drawn(*shape, seed):
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def softmax(x):
    raised = np.exp(x - x.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def test_the_cosine_distance_is_half_the_squared_distance_of_unit_vectors():
    found, frozen = drawn(5, 7, seed=0), drawn(5, 7, seed=1)
    a, b = found.numpy(), frozen.numpy()
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    wanted = (np.linalg.norm(a - b, axis=1) ** 2).mean() / 2
    assert float(cosine_distance(found, frozen)) == pytest.approx(wanted, rel=1e-5)


def test_the_cosine_distance_is_0_for_any_length_and_2_for_opposites():
    found = drawn(4, 6, seed=0)
    assert float(cosine_distance(found, 5 * found)) == pytest.approx(0, abs=1e-6)
    assert float(cosine_distance(found, -found)) == pytest.approx(2, rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_divergence_of_each_image_is_that_of_the_frozen_from_the_learned(temperature):
    found, frozen = drawn(6, 4, seed=0), drawn(6, 4, seed=1)
    q, p = (softmax(x.double().numpy() / temperature) for x in (found, frozen))
    wanted = temperature**2 * (p * np.log(p / q)).sum(axis=1)
    given = kl_divergence(found, frozen, temperature)
    np.testing.assert_allclose(given.numpy(), wanted, rtol=1e-4)


def test_the_divergence_of_logits_from_themselves_is_0():
    logits = drawn(3, 4, seed=0)
    assert kl_divergence(logits, logits + 7.0).abs().max() < 1e-5


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_gap_of_logits_is_the_divergence_over_all_logits(temperature):
    found, frozen = drawn(6, 4, seed=0), drawn(6, 4, seed=1)
    q, p = (softmax(x.double().numpy() / temperature) for x in (found, frozen))
    wanted = temperature**2 * (p * np.log(p / q)).sum() / (6 * 4)
    assert float(logit_gap(found, frozen, temperature)) == pytest.approx(wanted, rel=1e-4)


def test_the_gap_of_features_is_the_mean_absolute_difference():
    found, frozen = drawn(5, 7, seed=0), drawn(5, 7, seed=1)
    wanted = np.abs(found.numpy() - frozen.numpy()).mean()
    assert float(feature_gap(found, frozen)) == pytest.approx(wanted, rel=1e-5)
