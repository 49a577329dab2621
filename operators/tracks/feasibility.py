"""Which compositions make sense: those like the seen ones.

Source: Mancini et al., "Open World Compositional Zero-Shot Learning", CVPR 2021,
https://arxiv.org/abs/2101.12609, section 3.3, with the mean of both scores, as CSP's
datasets/feasibility.py has it. There words are compared in GloVe; here as the text tower of the
backbone reads `a photo of <word>`, for which the same file has a function.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from operators.backbones import DualEncoder, unit
from operators.shapes import Bool, Float

WORDED = "a photo of {}"
NOBODY = -1.0  # the score where no other object has the attribute, or no other attribute the object


@torch.no_grad()
def word_similarity(backbone: DualEncoder, words: Sequence[str]) -> Float[Tensor, "n n"]:
    """Cosine similarity of some words, each in a prompt of its own.

    Args:
        backbone: Encodes the prompts.
        words: n attributes or objects.
    """
    features = unit(backbone.text_features([WORDED.format(word) for word in words]))
    return features @ features.T


def feasibility(
    seen: Bool[Tensor, "a o"],
    attributes: Float[Tensor, "a a"],
    objects: Float[Tensor, "o o"],
) -> Float[Tensor, "a o"]:
    """How feasible each pair of an attribute and an object is, -1..1.

    An attribute is likely for an object if it is seen with one like it, an object for an attribute
    likewise; a pair has the mean of both.

    Args:
        seen: Which pairs are learned.
        attributes: Similarity of attributes.
        objects: Similarity of objects.
    """
    of_objects = _most_alike(seen, objects)
    of_attributes = _most_alike(seen.T, attributes).T
    return (of_objects + of_attributes) / 2


def _most_alike(seen: Tensor, similarity: Tensor) -> Tensor:
    """For each row and column the largest similarity of the column to another that the row has."""
    n = len(similarity)
    others = similarity.masked_fill(torch.eye(n, dtype=torch.bool, device=seen.device), NOBODY)
    rows = [others.masked_fill(~has, NOBODY).amax(dim=1) for has in seen]  # (n, n) at a time
    return torch.stack(rows)
