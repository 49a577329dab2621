"""What is kept of a stream: for each class the images that it was told with most certainty."""

from typing import NamedTuple

import torch
from torch import Tensor

from operators.blocks.cache_head import sharpened
from operators.shapes import Bool, Float, Int


class Seen(NamedTuple):
    """Images in the order in which they come.

    Attributes:
        features: (b, d), unit-norm.
        entropy: (b,) of what was said of each: the less, the more certain.
        predicted: (b,) the class that each would be kept under.
        values: (b, k), what each says of the classes where it votes.
        fit: (b,) whether it may be kept.
    """

    features: Float[Tensor, "b d"]
    entropy: Float[Tensor, "b"]  # noqa: F821
    predicted: Int[Tensor, "b"]  # noqa: F821
    values: Float[Tensor, "b k"]
    fit: Bool[Tensor, "b"]  # noqa: F821


class StreamCache:
    """Votes for each image of those that are kept once it has been seen itself.

    Kept are, under each class, the so many images with the least entropy, of equals the earlier.
    So what is kept after an image follows from the entropies up to it, and neither from votes nor
    from how the stream is cut: an image is there from its own place on, until as many better ones
    have come. That is why a block of images is computed at once, as one product in which each image
    sees no more than what was there in its turn.

    What is kept has a place for each class and rank, so that no shape depends on the images.

    Dimensions: b images of a block, k classes, n = m k + b candidates, d width of a feature.

    Args:
        classes: k.
        capacity: m, images that are kept of a class.

    Source: Karmanov et al., "Efficient Test-Time Adaptation of Vision-Language Models", CVPR 2024,
    section 3; the authors' code, tda_runner.py, `update_cache` and `compute_cache_logits`.
    """

    def __init__(self, classes: int, capacity: int) -> None:
        self.classes, self.capacity = classes, capacity
        self.kept: Seen | None = None

    def forget(self) -> None:
        """Keeps nothing any more."""
        self.kept = None

    @torch.no_grad()
    def votes(self, seen: Seen, beta: float) -> Float[Tensor, "b k"]:
        """Takes in a block of a stream; for each image the votes of what is kept in its turn.

        Args:
            seen: b images that come next.
            beta: As in `sharpened`.
        """
        kept = self.kept or self._nothing(seen)
        candidates = Seen(*(torch.cat(pair) for pair in zip(kept, seen, strict=True)))
        rank = self._ranks(kept, seen, candidates)
        turns = torch.arange(len(seen.entropy), device=rank.device)
        come = torch.cat([turns.new_full((len(kept.entropy),), -1), turns])
        there = (rank < self.capacity) & candidates.fit[:, None] & (come[:, None] <= turns)
        counts = sharpened(seen.features @ candidates.features.T, beta) * there.T
        self.kept = self._after(candidates, rank[:, -1], there[:, -1])
        return counts @ candidates.values

    def _nothing(self, seen: Seen) -> Seen:
        rows = self.capacity * self.classes
        every = torch.arange(self.classes, device=seen.features.device)
        return Seen(
            seen.features.new_zeros(rows, seen.features.shape[1]),
            seen.entropy.new_full((rows,), torch.inf),
            every.repeat_interleave(self.capacity),
            seen.values.new_zeros(rows, self.classes),
            seen.fit.new_zeros(rows),
        )

    def _ranks(self, kept: Seen, seen: Seen, candidates: Seen) -> Int[Tensor, "n b"]:
        """How many are before a candidate in its class, in the turn of each image of a block."""
        same = candidates.predicted[:, None] == seen.predicted
        entropy = candidates.entropy[:, None]
        equal = (entropy == seen.entropy).tril(diagonal=-len(kept.entropy) - 1)  # earlier ones
        better = same & seen.fit & ((seen.entropy < entropy) | equal)
        # What is kept stands by rank; a new one comes behind all that are as certain.
        by_class = kept.entropy.view(self.classes, self.capacity)[seen.predicted]
        behind = (by_class <= seen.entropy[:, None]).sum(dim=1)
        rank = torch.arange(self.capacity, device=behind.device).repeat(self.classes)
        return torch.cat([rank, behind])[:, None] + better.cumsum(dim=1)

    def _after(
        self,
        candidates: Seen,
        rank: Int[Tensor, "n"],  # noqa: F821
        there: Bool[Tensor, "n"],  # noqa: F821
    ) -> Seen:
        """What is kept at the end of a block; the others go to a place that is cut off."""
        rows = self.capacity * self.classes
        place = torch.where(there, candidates.predicted * self.capacity + rank, rows)
        nothing = self._nothing(candidates)
        moved = Seen(
            *(
                torch.cat([empty, empty[:1]]).index_copy(0, place, found)[:rows]
                for empty, found in zip(nothing, candidates, strict=True)
            )
        )
        return moved._replace(predicted=nothing.predicted)
