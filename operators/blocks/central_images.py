"""Which images without labels stand best for each class: those that texts name, near the middle."""

import torch
from torch import Tensor

from operators.shapes import Float, Int

COMPARED = 1 << 24  # numbers of one pass over some classes


@torch.no_grad()
def most_central(said: Float[Tensor, "n k"], count: int) -> Int[Tensor, "k m"]:
    """For each class the images that resemble most what is said of others that look like it.

    Its candidates are the 2 `count` images with the highest probability of the class. Of them those
    stay whose probabilities diverge least, in sum, from those of all candidates. An image may stand
    for several classes.

    Args:
        said: Probabilities of k classes for each of n images, none of them 0.
        count: m, or n where there are fewer images.

    Returns:
        Positions among the images, by class, the most central first.

    Source: Long et al., "Training-Free Unsupervised Prompt for Vision-Language Models", 2024; the
    authors' code, utils.py, `refine_few_shots_without_label`.
    """
    candidates = said.topk(min(2 * count, len(said)), dim=0).indices.T
    rows = max(1, COMPARED // (candidates.shape[1] * said.shape[1]))
    return torch.cat([_central(said, part, count) for part in candidates.split(rows)])


def _central(
    said: Float[Tensor, "n k"], candidates: Int[Tensor, "c m2"], count: int
) -> Int[Tensor, "c m"]:
    """As `most_central`, for some classes whose candidates are known."""
    own = said[candidates]
    log = own.log()
    # The sum over i of KL(p_j ‖ p_i), without pairs: p_j meets the mean of all log p_i alone.
    divergence = (own * (log - log.mean(dim=1, keepdim=True))).sum(dim=2)
    return candidates.gather(1, divergence.argsort(dim=1, stable=True)[:, :count])
