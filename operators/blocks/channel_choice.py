"""Which channels of a feature tell classes apart: those that differ by class, not shared ones."""

import torch
from torch import Tensor

from operators.shapes import Float, Int


def telling_channels(
    texts: Float[Tensor, "k d"],
    features: Float[Tensor, "r d"],
    labels: Int[Tensor, "r"],  # noqa: F821
    *,
    count: int,
    similarity_share: float,
) -> Int[Tensor, "q"]:  # noqa: F821
    """The channels with the largest w_1 V - w_0 S, w_0 + w_1 = 1.

    V is the variance of a channel over the class vectors. S is the mean product of a channel over
    all pairs of a text or image and one of another class, which is a difference of sums: with T the
    sum of all and T_c that of a class, the pairs of different classes sum to T T - Σ_c T_c T_c.

    Args:
        texts: Unit-norm class vectors, two at least.
        features: Unit-norm features of images; may be none.
        labels: Of the images.
        count: q.
        similarity_share: w_0.

    Source: Zhu et al., "Not All Features Matter", ICCV 2023, section 3.2, prior refinement; images
    have a part in S in the authors' code, utils.py, `cal_criterion`.
    """
    of_class = texts.index_add(0, labels, features)
    members = torch.ones_like(texts[:, 0]).index_add(0, labels, torch.ones_like(features[:, 0]))
    products = of_class.sum(dim=0) ** 2 - (of_class**2).sum(dim=0)
    pairs = members.sum() ** 2 - (members**2).sum()
    spread = texts.var(dim=0)
    value = (1 - similarity_share) * spread - similarity_share * products / pairs
    return value.topk(count).indices
