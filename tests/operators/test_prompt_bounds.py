"""PAC-Bayes bounds of prompts: the inverse divergence, what moves a bound, how often it holds."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from operators.blocks.prompt_bounds import (
    PRIORS,
    bound_of,
    error_bound,
    kl_of_errors,
    largest_error,
    uniform_prior,
)


@pytest.mark.parametrize("observed", [0.0, 0.03, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("budget", [1e-4, 0.01, 0.2, 1.0])
def test_the_inverse_is_where_the_divergence_spends_the_budget(observed, budget):
    found = largest_error(observed, budget)
    wanted = brentq(lambda q: kl_of_errors(observed, q) - budget, observed + 1e-15, 1 - 1e-15)
    assert found == pytest.approx(wanted, abs=1e-12)


def test_ends_of_the_inverse():
    assert largest_error(0.3, 0.0) == pytest.approx(0.3)
    assert largest_error(0.0, 0.5) == pytest.approx(1 - math.exp(-0.5))  # -ln(1 - q)
    assert largest_error(1.0, 0.1) == 1.0
    assert kl_of_errors(0.5, 0.0) == math.inf


def test_a_bound_grows_with_error_complexity_and_certainty_and_shrinks_with_examples():
    bound = error_bound(20, 200, 40.0)
    assert 0.1 < bound < 1
    assert error_bound(21, 200, 40.0) > bound
    assert error_bound(20, 200, 41.0) > bound
    assert error_bound(20, 200, 40.0, delta=0.01) > bound
    assert error_bound(200, 2000, 40.0) < bound


def test_it_is_the_equation():
    told = bound_of(30, 400, 12.5, 0.01)
    budget = (12.5 + math.log(2 * math.sqrt(400) / 0.01)) / 400
    assert told["error_bound"] == largest_error(0.075, budget)
    assert told["train_error"] == 0.075
    assert (told["train_examples"], told["complexity_nats"]) == (400, 12.5)


def test_it_fails_as_seldom_as_it_says_for_a_prompt_that_was_chosen_among_many():
    # 200 prompts of true error 0.3, equally likely beforehand; the best on 50 images is taken.
    drawn = np.random.default_rng(0)
    wrong = drawn.binomial(50, 0.3, size=(1000, 200)).min(axis=1)
    bounds = np.array([error_bound(int(n), 50, math.log(200)) for n in wrong])
    assert (bounds < 0.3).mean() <= 0.05
    naive = np.array([error_bound(int(n), 50, 0.0) for n in wrong])
    assert (naive < 0.3).mean() > 0.05  # what the complexity is for


def test_a_uniform_prior_counts_tokens_and_the_end_of_the_text(clip):
    size = math.log(len(clip.tokenizer.get_vocab()))
    one, two = (uniform_prior(text, clip) for text in ("cat", "cat cat"))
    tokens = [len(clip.tokenizer(text).input_ids) - 2 for text in ("cat", "cat cat")]
    assert one == pytest.approx((tokens[0] + 2) * size)
    assert two - one == pytest.approx((tokens[1] - tokens[0]) * size)


def test_priors_are_known_by_name():
    assert set(PRIORS.shipped) == {"uniform", "smollm2"}
    with pytest.raises(ValueError, match="is not a prior over prompts: give uniform, smollm2"):
        PRIORS.find("gpt")
