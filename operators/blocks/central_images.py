"""Which images without labels stand best for each class: those that texts name, near the middle."""

import torch
from torch import Tensor

from operators.backbones import unit
from operators.blocks.cache_head import CacheHead
from operators.episodes.episode import Batch
from operators.shapes import Float, Int

COMPARED = 1 << 24  # probabilities of one pass
FEWEST, MOST = 9, 16  # cached images a class


def images_a_class(images: int, classes: int, share: float, most: int | None = None) -> int:
    """How many images stand for each class: a share of what there is, at least 9.

    Args:
        images: Without labels.
        classes: That they may show.
        share: Of the images of a class, were all classes alike.
        most: No more than so many; None where there is no such bound.
    """
    count = max(FEWEST, int(images * share / classes))
    return count if most is None else min(most, count)


@torch.no_grad()
def fill_central(cache: CacheHead, images: Batch, share: float, sharpness: float) -> None:
    """Caches the images that stand for each class, under the class that they stand for.

    Args:
        cache: Of the k classes.
        images: Without labels.
        share: Of the images of a class, were all classes alike.
        sharpness: What cosines to the texts are multiplied by.
    """
    texts = cache.texts
    count = images_a_class(len(images), len(texts), share, MOST)
    chosen = most_central(unit(images.features), texts, sharpness, count)
    labels = torch.arange(len(texts), device=texts.device).repeat_interleave(chosen.shape[1])
    cache.keep(images.features[chosen.flatten()], labels)


@torch.no_grad()
def most_central(
    features: Float[Tensor, "n d"], texts: Float[Tensor, "k d"], sharpness: float, count: int
) -> Int[Tensor, "k m"]:
    """For each class the images that resemble most what is said of others that look like it.

    Of an image is said the softmax of `sharpness` times its cosines to the texts. The candidates of
    a class are the 2 `count` images with its highest probability. Of them those stay whose
    probabilities diverge least, in sum, from those of all candidates. An image may stand for
    several classes.

    Args:
        features: Unit-norm, of n images.
        texts: Unit-norm class vectors.
        sharpness: What cosines are multiplied by.
        count: m, or n where there are fewer images.

    Returns:
        Positions among the images, by class, the most central first.

    Source: Long et al., "Training-Free Unsupervised Prompt for Vision-Language Models", 2024; the
    authors' code, utils.py, `refine_few_shots_without_label`.
    """
    texts = sharpness * texts
    candidates = _likeliest(features, texts, min(2 * count, len(features)))
    parts = candidates.split(max(1, COMPARED // (candidates.shape[1] * len(texts))))
    return torch.cat([_central(features, texts, part, count) for part in parts])


def _likeliest(
    features: Float[Tensor, "n d"], texts: Float[Tensor, "k d"], count: int
) -> Int[Tensor, "k c"]:
    """Images by probability of each class; those of all others are not kept at once."""
    rows = torch.arange(len(features), device=features.device)
    best, place = features.new_empty(0, len(texts)), rows.new_empty(0, len(texts))
    for part in rows.split(max(1, COMPARED // len(texts))):
        said = (features[part] @ texts.T).softmax(dim=1)
        best = torch.cat([best, said])
        place = torch.cat([place, part[:, None].expand_as(said)])
        best, kept = best.topk(min(count, len(best)), dim=0)
        place = place.gather(0, kept)
    return place.T


def _central(
    features: Float[Tensor, "n d"],
    texts: Float[Tensor, "k d"],
    candidates: Int[Tensor, "c m2"],
    count: int,
) -> Int[Tensor, "c m"]:
    """As `most_central`, for some classes whose candidates are known."""
    log = (features[candidates] @ texts.T).log_softmax(dim=2)
    # The sum over i of KL(p_j ‖ p_i), without pairs: p_j meets the mean of all log p_i alone.
    divergence = (log.exp() * (log - log.mean(dim=1, keepdim=True))).sum(dim=2)
    return candidates.gather(1, divergence.argsort(dim=1, stable=True)[:, :count])
