"""Block K, the cache head: labelled features vote for their classes."""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import unit
from operators.bounds import Bounds
from operators.episodes.episode import Batch, FewShot
from operators.shapes import Float, Int

CACHE_EPOCHS = 10  # `augment_epoch` of all published configurations
AFFINITIES = 1 << 22  # of a block, where they are refined in several steps
# What methods with a cache declare: its two scalars, and the largest of each that a search tries.
Scalar = Annotated[float, Bounds(0, 1000)]
LargestTried = Annotated[float, Bounds(0.1, 1000, above=True)]


def sharpened(
    affinity: Float[Tensor, "*b r"], beta: float | Float[Tensor, ""]
) -> Float[Tensor, "*b r"]:
    """exp(-beta (1 - a)), how much each of r cached images counts for each of b others.

    Args:
        affinity: a, 1 where two images are alike: the cosine, unless a method refines it.
        beta: Sharpness; a vote halves every ln 2 / beta of cosine distance.

    Source: Zhang et al., "Tip-Adapter", ECCV 2022, equation 4.
    """
    return torch.exp(-beta * (1 - affinity))


def semantic_affinity(
    features: Float[Tensor, "b d"],
    keys: Float[Tensor, "r d"],
    texts: Float[Tensor, "k d"],
    sharpness: float,
) -> Float[Tensor, "b r"]:
    """The cosine times how alike two images are in what the texts say of them.

    That is 2 (1 - n(D)) with D the divergence KL(p ‖ q) of what is said of a cached image from what
    is said of the other, both softmax of `sharpness` times the cosines to the texts. n maps the
    divergences of an image to 0..1, the least to 0. It forgets what all of them have in common, so
    the entropy of p need not be computed, and one product gives D up to that.

    Args:
        features: Unit-norm features of b images.
        keys: Unit-norm features of the r cached ones, one at least.
        texts: Unit-norm class vectors.
        sharpness: What a cosine is multiplied by.

    Source: Long et al., "Training-Free Unsupervised Prompt for Vision-Language Models", 2024; the
    norm is that of the authors' code, utils.py, `get_sim_based_kl`, whose z-score n undoes.
    """
    said = (sharpness * features @ texts.T).softmax(dim=1)
    kept = (sharpness * keys @ texts.T).log_softmax(dim=1)
    # Without their mean, which is the same for all keys, the terms are as small as what they tell.
    divergence = -said @ (kept - kept.mean(dim=0)).T
    least, most = divergence.aminmax(dim=1, keepdim=True)
    tiny = torch.finfo(divergence.dtype).tiny
    alike = 2 * (1 - (divergence - least) / (most - least).clamp_min(tiny))
    return alike * (features @ keys.T)


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
    affinity: Float[Tensor, "b r"],
    values: Float[Tensor, "r k"],
    labels: Int[Tensor, "b"],  # noqa: F821
    *,
    alphas: Sequence[float],
    betas: Sequence[float],
) -> CacheWeights:
    """The first pair, beta by beta, with the best accuracy on validation images.

    All alphas of a beta are tried in one pass, and what was right is read once, at the end.

    Args:
        base: Logits that the cache is added to.
        affinity: Of the validation images to the r cached ones, as in `sharpened`.
        values: One-hot labels of the cached images, or what stands in their place.
        labels: Classes of the validation images.
        alphas: Values to try.
        betas: Values to try.

    Source: Tip-Adapter code, `search_hp`.
    """
    tried = torch.tensor(alphas, device=base.device)
    hits = []
    for beta in betas:
        votes = sharpened(affinity, beta) @ values
        predicted = (base[None] + tried[:, None, None] * votes[None]).argmax(dim=2)
        hits.append((predicted == labels).sum(dim=1))
    at_beta, at_alpha = divmod(int(torch.cat(hits).argmax()), len(alphas))  # the first of equals
    return CacheWeights(alphas[at_alpha], betas[at_beta])


class CacheHead(nn.Module):
    """Votes of labelled images, which are added to the logits of hand-written prompts.

    Dimensions: b images, k classes, r cached images, d width of a feature.

    Args:
        texts: Unit-norm class vectors of the hand-written prompts.
        scale: Of their logits.
        start: How much the votes count, before a search.
        alphas: Tried in the search.
        betas: Tried in the search; with none of either there is no search.
        learns_keys: Whether the keys are learned.
        semantic: Sharpness of what texts say of images, where affinities are refined by it, see
            `semantic_affinity`; None where they are cosines.

    Attributes:
        keys: (r, d), none before `fill`.
        values: (r, k), one-hot labels.
        scalars: alpha and beta.

    Source: Zhang et al., "Tip-Adapter", ECCV 2022, equations 2 to 6.
    """

    def __init__(
        self,
        texts: Float[Tensor, "k d"],
        *,
        scale: float,
        start: CacheWeights,
        alphas: Sequence[float] = (),
        betas: Sequence[float] = (),
        learns_keys: bool = False,
        semantic: float | None = None,
    ) -> None:
        super().__init__()
        self.scale, self.alphas, self.betas = scale, alphas, betas
        self.semantic = semantic
        self.register_buffer("scalars", torch.tensor(start, device=texts.device))
        self.register_buffer("texts", texts, persistent=False)
        empty = torch.empty(0, texts.shape[1], device=texts.device)
        self.keys = nn.Parameter(empty, requires_grad=learns_keys)
        self.register_buffer("values", torch.empty(0, len(texts), device=texts.device))

    scalars: Tensor
    texts: Tensor
    values: Tensor

    def fill(self, shots: FewShot, epochs: int = CACHE_EPOCHS) -> None:
        """Keeps labels, and the unit-norm mean feature of each image over the views of epochs.

        Args:
            shots: Images as the epochs show them.
            epochs: How many; 0 keeps the features of the centre crops.
        """
        seen = shots.shown(epochs) if epochs else [shots.train]
        shown = self.texts.new_empty(len(seen), len(shots.train), self.texts.shape[1])
        for place in range(len(seen)):  # each is let go once it is read: they may be large
            shown[place] = seen.pop(0).features
        self.keep(shown.mean(dim=0), shots.train.labels)

    def keep(self, features: Float[Tensor, "r d"], labels: Int[Tensor, "r"]) -> None:  # noqa: F821
        """Keeps features, which become unit-norm, and what classes they are of.

        Args:
            features: Of r images.
            labels: Of each, given or guessed.
        """
        self.keys.data = unit(features)
        self.values = F.one_hot(labels, len(self.texts)).to(self.keys.dtype)

    def choose(self, images: Batch) -> dict[str, float]:
        """Searches alpha and beta on labelled images, and says which; none where nothing is."""
        if not self.alphas or not self.betas or not len(images):
            return {}
        features = unit(images.features)
        chosen = search(
            self.zero_shot(features),
            self.affinity(features),
            self.values,
            images.labels,
            alphas=self.alphas,
            betas=self.betas,
        )
        self.scalars.copy_(torch.tensor(chosen))
        return chosen._asdict()

    def zero_shot(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Logits without the votes, of unit-norm features."""
        return self.scale * features @ self.texts.T

    def affinity(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b r"]:
        """How alike unit-norm features and the keys are: the cosine, refined where asked for."""
        if self.semantic is None or not len(self.keys):
            return features @ self.keys.T
        return semantic_affinity(features, self.keys, self.texts, self.semantic)

    def with_votes(
        self,
        base: Float[Tensor, "b k"],
        affinity: Float[Tensor, "b r"],
        values: Float[Tensor, "r k"],
    ) -> Float[Tensor, "b k"]:
        """Some logits, plus alpha times the votes.

        Args:
            base: The logits.
            affinity: Of b images to the r cached ones, as in `sharpened`.
            values: What each cached image says of the classes.
        """
        alpha, beta = self.scalars
        return base + alpha * (sharpened(affinity, beta) @ values)

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Zero-shot logits plus alpha times the votes (equation 6)."""
        features = unit(features)
        return self.with_votes(self.zero_shot(features), self.affinity(features), self.values)

    def in_blocks(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """As `forward`, of so many images at a time that refined affinities take little memory."""
        parts = features.split(max(1, AFFINITIES // max(1, len(self.keys))))
        return torch.cat([self(part) for part in parts])

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        # How many rows a cache has depends on the episode, so the file says it.
        self.keys.data = torch.empty_like(state_dict[f"{prefix}keys"], device=self.keys.device)
        self.values = torch.empty_like(state_dict[f"{prefix}values"], device=self.keys.device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
