"""Block K, the cache head: labelled features vote for their classes."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from operators.shapes import Float, Int


def cache_logits(
    features: Float[Tensor, "b d"],
    keys: Float[Tensor, "r d"],
    values: Float[Tensor, "r k"],
    beta: float,
) -> Float[Tensor, "b k"]:
    """exp(-beta (1 - f K^T)) V, the votes of r cached images.

    Args:
        features: Unit-norm image features.
        keys: Cached features; unit-norm unless they were learned.
        values: One-hot labels of the cached images.
        beta: Sharpness; a vote halves every ln 2 / beta of cosine distance.

    Source: Zhang et al., "Tip-Adapter", ECCV 2022, equation 4.
    """
    return torch.exp(-beta * (1 - features @ keys.T)) @ values


class CacheWeights(NamedTuple):
    """How much the cache counts (alpha) and how sharply it votes (beta)."""

    alpha: float
    beta: float


def grid(scale: float, steps: int) -> list[float]:
    """`steps` values from 0.1 up to, but not reaching, `scale`.

    Args:
        scale: Upper end, excluded.
        steps: How many values.
    """
    return [0.1 + i * (scale - 0.1) / steps for i in range(steps)]


@torch.no_grad()
def search(
    base: Float[Tensor, "b k"],
    features: Float[Tensor, "b d"],
    keys: Float[Tensor, "r d"],
    values: Float[Tensor, "r k"],
    labels: Int[Tensor, "b"],  # noqa: F821
    *,
    alphas: Sequence[float],
    betas: Sequence[float],
) -> CacheWeights:
    """The first pair, beta by beta, with the best accuracy on validation images.

    Args:
        base: Logits that the cache is added to.
        features: Unit-norm features of the validation images.
        keys: As in `cache_logits`.
        values: As in `cache_logits`.
        labels: Their classes.
        alphas: Values to try.
        betas: Values to try.

    Source: Tip-Adapter code, `search_hp`.
    """
    tried = torch.tensor(alphas, device=base.device)
    best, chosen = -1, CacheWeights(alphas[0], betas[0])
    for beta in betas:
        votes = cache_logits(features, keys, values, beta)
        predicted = (base[None] + tried[:, None, None] * votes[None]).argmax(dim=2)
        hits = (predicted == labels).sum(dim=1)
        top = int(hits.argmax())  # the first of equals
        if int(hits[top]) > best:
            best, chosen = int(hits[top]), CacheWeights(alphas[top], beta)
    return chosen
