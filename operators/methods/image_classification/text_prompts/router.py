"""Block R, the router: which of several prompts an image is compared to, and how much of each."""

import torch
from torch import Tensor

from operators.blocks.anchor_loss import kl_divergence
from operators.shapes import Float

FAVOUR = 10.0  # added to the similarity of the groups that a router is taught to choose


def top_gates(scores: Float[Tensor, "b g"], active: int) -> Float[Tensor, "b g"]:
    """Softmax over the `active` largest scores of each image, and 0 for the others.

    Source: Du et al., "Mixture of Prompt Learning for Vision Language Models", 2024, section 3.2.

    Args:
        scores: Of each image for each of g groups.
        active: How many groups of an image have a share.
    """
    largest, chosen = scores.topk(active, dim=1)
    return torch.zeros_like(scores).scatter(1, chosen, largest.softmax(dim=1))


def mixed_similarity(
    images: Float[Tensor, "b d"], texts: Float[Tensor, "g k d"], gates: Float[Tensor, "b g"]
) -> Float[Tensor, "b k"]:
    """Dot product of each image with sum over g of gate_g t_{g,c}, its own mixture of texts.

    Args:
        images: f.
        texts: t, features of k classes under each of g prompts.
        gates: One row an image. The mixture keeps the length that it has.
    """
    return torch.einsum("bgd,gkd->bk", gates[..., None] * images[:, None], texts)


def guided_gating_loss(
    scores: Float[Tensor, "b g"], similarities: Float[Tensor, "b g"], active: int
) -> Float[Tensor, ""]:
    """Mean KL(wanted || softmax(scores)) over images.

    The wanted shares are nearly those of the `active` groups of largest similarity alone: a
    softmax after FAVOUR is added to these.

    Args:
        scores: Of the router, before its choice.
        similarities: Cosine of each image and each group of hand-written prompts of its class.
        active: Groups that are favoured.

    Source: Du et al., "Mixture of Prompt Learning for Vision Language Models", 2024, "Hard Prompt
    Guided Gating Loss"; the addition is in the authors' code, whose cross-entropy has the same
    gradient.
    """
    largest, chosen = similarities.topk(active, dim=1)
    return kl_divergence(scores, similarities.scatter(1, chosen, largest + FAVOUR)).mean()
