"""Block K, the cache head: labelled features vote for their classes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import unit
from operators.episodes.episode import Batch, FewShot
from operators.shapes import Float, Int

CACHE_EPOCHS = 10  # `augment_epoch` of all published configurations


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
        alphas: Sequence[float],
        betas: Sequence[float],
        learns_keys: bool,
    ) -> None:
        super().__init__()
        self.scale, self.alphas, self.betas = scale, alphas, betas
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
        self.keys.data = unit(shown.mean(dim=0))
        self.values = F.one_hot(shots.train.labels, len(self.texts)).to(self.keys.dtype)

    def choose(self, images: Batch) -> dict[str, float]:
        """Searches alpha and beta on labelled images, and says which; none where nothing is."""
        if not self.alphas or not self.betas or not len(images):
            return {}
        features = unit(images.features)
        chosen = search(
            self.zero_shot(features),
            features,
            self.keys,
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

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Zero-shot logits plus alpha times the votes (equation 6)."""
        features = unit(features)
        alpha, beta = self.scalars.tolist()
        votes = cache_logits(features, self.keys, self.values, beta)
        return self.zero_shot(features) + alpha * votes

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        # How many rows a cache has depends on the episode, so the file says it.
        self.keys.data = torch.empty_like(state_dict[f"{prefix}keys"], device=self.keys.device)
        self.values = torch.empty_like(state_dict[f"{prefix}values"], device=self.keys.device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
