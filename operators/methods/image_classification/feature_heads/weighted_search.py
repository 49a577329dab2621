"""The search of APE: three scalars of a cache whose rows count by how badly texts know them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from operators.blocks.cache_head import sharpened
from operators.shapes import Bool, Float, Int

AT_ONCE = 1 << 24  # numbers of one pass over some validation images


class RowWeights(NamedTuple):
    """Weight of the votes, their sharpness, and that of the weights of rows."""

    alpha: float
    beta: float
    gamma: float


class _Rows(NamedTuple):
    """Cached rows by class, filled up to m rows each.

    Attributes:
        place: (k, m), which row.
        there: (k, m), 1 for a row and 0 for what fills up.
    """

    place: Int[Tensor, "k m"]
    there: Float[Tensor, "k m"]


@torch.no_grad()
def search_weighted(
    base: Float[Tensor, "b k"],
    affinity: Float[Tensor, "b r"],
    values: Float[Tensor, "r k"],
    divergence: Float[Tensor, "r"],  # noqa: F821
    labels: Int[Tensor, "b"],  # noqa: F821
    *,
    alphas: Sequence[float],
    betas: Sequence[float],
    gammas: Sequence[float],
) -> RowWeights:
    """The first triple, by beta, alpha and gamma, with the best accuracy on validation images.

    It is exact, and no triple is tried by itself. A row votes for one class, so the votes of a beta
    are one product a class, of its own rows with their weights at all gammas. Where they stand,
    logits are straight lines in alpha, so the class of an image wins between two values of alpha,
    and all alphas are compared with these two.

    Args:
        base: Logits that the votes are added to.
        affinity: As in `sharpened`.
        values: One-hot labels of the cached images.
        divergence: A row counts exp(gamma times this).
        labels: Classes of the validation images.
        alphas: Values to try, none of them negative.
        betas: Values to try.
        gammas: Values to try.

    Source: Zhu et al., "Not All Features Matter", ICCV 2023; the authors' code, main.py, `APE`.
    """
    rows = _by_class(values)
    tried = torch.tensor(gammas, dtype=base.dtype, device=base.device)
    weights = (divergence[rows.place][..., None] * tried).exp() * rows.there[..., None]
    steps = torch.tensor(alphas, dtype=base.dtype, device=base.device)
    hits = torch.zeros(len(betas), len(alphas), len(gammas), dtype=torch.long, device=base.device)
    width = max(rows.place.numel(), base.shape[1] * len(gammas))
    for part in torch.arange(len(base), device=base.device).split(max(1, AT_ONCE // width)):
        gathered = affinity[part][:, rows.place].transpose(0, 1)
        for number, beta in enumerate(betas):
            votes = (sharpened(gathered, beta) @ weights).permute(1, 2, 0)
            hits[number] += right(base[part], votes, labels[part], steps).sum(dim=1)
    best = int(hits.flatten().argmax())  # the first of equals
    rest, at_gamma = divmod(best, len(gammas))
    at_beta, at_alpha = divmod(rest, len(alphas))
    return RowWeights(alphas[at_alpha], betas[at_beta], gammas[at_gamma])


def right(
    base: Float[Tensor, "b k"],
    votes: Float[Tensor, "b g k"],
    labels: Int[Tensor, "b"],  # noqa: F821
    alphas: Float[Tensor, "a"],  # noqa: F821
) -> Bool[Tensor, "a b g"]:
    """Whether the class of an image has the largest logit, base + alpha times the votes.

    Args:
        base: Logits without votes.
        votes: Of g caches.
        labels: Classes of the images.
        alphas: Each is tried with every cache.
    """
    own = labels[:, None, None].expand(-1, votes.shape[1], 1)
    lead = (base - base.gather(1, labels[:, None]))[:, None]  # of each class over that of the image
    slope = votes - votes.gather(2, own)
    crossing = -lead / slope  # the alpha at which both are equal; no number where none is
    above = crossing.masked_fill(~(slope < 0), -torch.inf).amax(dim=2)
    below = crossing.masked_fill(~(slope > 0), torch.inf).amin(dim=2)
    # A class that gains nothing on that of the image is ahead at every alpha or at none; of equals
    # the first wins.
    first = torch.arange(base.shape[1], device=base.device) < labels[:, None]
    ahead = (lead > 0) | ((lead == 0) & first[:, None])
    lost = (ahead & (slope == 0)).any(dim=2)
    each = alphas[:, None, None]
    return (each > above) & (each < below) & ~lost


def _by_class(values: Float[Tensor, "r k"]) -> _Rows:
    counts = values.sum(dim=0).long()
    most = int(counts.max())
    order = values.argmax(dim=1).argsort(stable=True)
    starts = counts.cumsum(dim=0) - counts
    number = torch.arange(most, device=values.device)
    there = number < counts[:, None]
    place = order[(starts[:, None] + number).clamp_max(len(order) - 1)]
    return _Rows(place, there.to(values.dtype))
