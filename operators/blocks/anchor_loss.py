"""Block A, anchor losses: how far what is learned may be from what the frozen encoders give."""

import torch
from torch import Tensor
from torch.nn import functional as F

from operators.backbones import unit
from operators.shapes import Float


def cosine_distance(found: Float[Tensor, "n d"], frozen: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean of 1 - cos of the angle between features: half the squared distance of unit vectors.

    Args:
        found: Features that are learned, of any norm.
        frozen: Features that they are held to, of any norm.

    Source: Yao et al., "Visual-Language Prompt Tuning with Knowledge-guided Context
    Optimization", CVPR 2023, section 3.2; the half, and so the cosine, are in the authors' code.
    """
    return 1 - (unit(found) * unit(frozen)).sum(dim=1).mean()


def kl_divergence(
    found: Float[Tensor, "b k"], frozen: Float[Tensor, "b k"], temperature: float = 1.0
) -> Float[Tensor, "b"]:  # noqa: F821
    """T^2 KL(softmax(frozen / T) || softmax(found / T)) of each image.

    Args:
        found: Logits that are learned.
        frozen: Logits that they are held to.
        temperature: T; the factor T^2 keeps the size of the gradient.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, section 2.
    """
    wanted = F.log_softmax(frozen / temperature, dim=1)
    gap = wanted - F.log_softmax(found / temperature, dim=1)
    return temperature**2 * (wanted.exp() * gap).sum(dim=1)


def logit_gap(
    found: Float[Tensor, "b k"], frozen: Float[Tensor, "b k"], temperature: float = 1.0
) -> Float[Tensor, ""]:
    """`kl_divergence` summed over images, over the b k logits. See `kl_divergence`.

    Source: Khattak et al., "Self-regulating Prompts", ICCV 2023, equation 4; with a
    temperature Li et al., "PromptKD", CVPR 2024, section 3. The order of the two in the first and
    the division by b k, not b, in both are in the authors' codes.
    """
    return kl_divergence(found, frozen, temperature).sum() / torch.numel(found)
