"""The contrastive loss, with captions that occur more than once in a batch."""

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from operators.backbones.base import unit
from operators.shapes import Float, Int


class Contrast(NamedTuple):
    """What a batch of pairs gives.

    Attributes:
        loss: Mean of both directions, in nats.
        accuracy: Share of the images whose nearest caption is their own.
    """

    loss: Float[Tensor, ""]
    accuracy: Float[Tensor, ""]


def contrast(
    images: Float[Tensor, "b d"],
    texts: Float[Tensor, "k d"],
    caption: Int[Tensor, "b"],  # noqa: F821
    scale: Float[Tensor, ""],
) -> Contrast:
    """Symmetric cross-entropy of scaled cosine similarities (InfoNCE).

    Pairs with the same caption are not each other's negatives: the target of an
    image is spread evenly over all pairs with its caption, and so is that of a text. With m
    such pairs the term can fall to ln m, not to 0. Where all captions differ, this is
    the loss of Radford et al. 2021.

    Args:
        images: Features.
        texts: Features of the k captions that differ.
        caption: Row of `texts` that belongs to each image.
        scale: Factor from cosine similarity to logit.
    """
    logits = scale * unit(images.float()) @ unit(texts.float()).T
    same = caption[:, None] == caption
    targets = same.float() / same.sum(dim=1, keepdim=True)  # symmetric
    pairs = logits[:, caption]  # (b, b)
    loss = (F.cross_entropy(pairs, targets) + F.cross_entropy(pairs.T, targets)) / 2
    right = logits.argmax(dim=1) == caption
    return Contrast(loss, right.float().mean())
