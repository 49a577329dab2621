"""What few labelled images promise of a prompt in words: a PAC-Bayes bound on its test error.

A prompt is one of countably many texts. Where a language model gives each of them a probability
before any image is seen, the error of whatever prompt was chosen on n labelled images is bounded by
its error on them and by how improbable it was.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from operators.backbones import DualEncoder, reference
from operators.functions import Functions, nats_of

DELTA = 0.05  # how often a bound may fail
HALVINGS = 60  # of an interval of length 1: to less than 1e-18


def kl_of_errors(observed: float, true: float) -> float:
    """Kullback-Leibler divergence between two coins, in nats.

    Args:
        observed: Share of heads of the first, 0 to 1.
        true: Of the second; 0 or 1 is infinitely far from any other.
    """
    total = 0.0
    for p, q in ((observed, true), (1 - observed, 1 - true)):
        if p > 0:
            total += p * math.log(p / q) if q > 0 else math.inf
    return total


def largest_error(observed: float, budget: float) -> float:
    """The largest true error whose divergence from the observed one is within a budget.

    Args:
        observed: Share of examples that are wrong, 0 to 1.
        budget: In nats, 0 or more.

    Source: the inverse of the binary divergence, as in Langford and Seeger, "Bounds for Averaging
    Classifiers", 2001; by bisection, and never below the truth.
    """
    low, high = observed, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if kl_of_errors(observed, middle) <= budget:
            low = middle
        else:
            high = middle
    return high


def error_bound(wrong: int, examples: int, complexity: float, delta: float = DELTA) -> float:
    """What the test error of a prompt exceeds in a share `delta` of all draws at most.

    Args:
        wrong: Labelled examples that the prompt gets wrong, of those that it was chosen on.
        examples: n, how many it was chosen on.
        complexity: Its negative log probability under a prior that no example has moved, in nats.
        delta: How often the bound may fail, above 0 and below 1.

    Source: Akinwande et al., "Understanding prompt engineering may not require rethinking
    generalization", ICLR 2024, section 3, with a point mass as the posterior; the constant is that
    of Maurer, "A Note on the PAC Bayesian Theorem", 2004.
    """
    budget = (complexity + math.log(2 * math.sqrt(examples) / delta)) / examples
    return largest_error(wrong / examples, budget)


def uniform_prior(template: str, backbone: DualEncoder) -> float:
    """Negative log probability of a template where every next token is as likely, in nats.

    The text ends with a token of its own, so that probabilities of all lengths sum to 1.

    Args:
        template: With `{}`, which is read as the two characters that it is.
        backbone: Whose tokenizer counts.
    """
    tokens = backbone.tokenize([template], cut=True)
    length = int(tokens.end[0])  # tokens in front of the last one, whose place is counted from 0
    return (length + 1) * math.log(len(backbone.tokenizer.get_vocab()))


def smollm2_prior(template: str, backbone: DualEncoder) -> float:
    """Negative log probability of a template under SmolLM2-135M in four bits, in nats.

    Args:
        template: With `{}`, which is read as the two characters that it is.
        backbone: Not read.

    Raises:
        BackboneUnavailable: The language model is not installed; says how it is.
    """
    with torch.no_grad():
        return -float(_smollm2().log_prob([template])[0])


@cache
def _smollm2() -> Any:
    chosen = reference("smollm2-135m-q4")
    return chosen.load(chosen.describe())


PRIORS = Functions(
    "a prior over prompts",
    ("template", "backbone"),
    "the negative log probability of a template in nats, a finite number of 0 or more",
    {"uniform": uniform_prior, "smollm2": smollm2_prior},
    reads=nats_of,
)


def bound_of(
    wrong: int, examples: int, complexity: float, delta: float = DELTA
) -> Mapping[str, float]:
    """The bound and what it is made of, as a trial reports it; see `error_bound`.

    Args:
        wrong: Of the examples.
        examples: That the prompt was chosen on.
        complexity: In nats.
        delta: How often the bound may fail.
    """
    return {
        "train_error": wrong / examples,
        "train_examples": float(examples),
        "complexity_nats": complexity,
        "error_bound": error_bound(wrong, examples, complexity, delta),
    }
