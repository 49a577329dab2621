"""Block F, free class vectors: one vector a class that is itself what is learned."""

import torch
from torch import Tensor, nn

from operators.shapes import Float


class FreeVectors(nn.Module):
    """Class vectors that are learned as they are, or as a residual on a start that stays.

    Dimensions: k classes, d width of a feature.

    Args:
        start: Where they start.
        residual: None learns the vectors themselves; a number learns x from zeros, and the vectors
            are the start plus that many times x.

    Attributes:
        vectors: (k, d), what is learned.
        start: (k, d).

    Source: Yu et al., "Task Residual for Tuning Vision-Language Models", CVPR 2023, section 4.2, of
    the residual; Silva-Rodriguez et al., "A Closer Look at the Few-Shot Adaptation of Large
    Vision-Language Models", CVPR 2024, section 4, of the others.
    """

    def __init__(self, start: Float[Tensor, "k d"], *, residual: float | None = None) -> None:
        super().__init__()
        self.residual = residual
        self.register_buffer("start", start, persistent=False)
        self.vectors = nn.Parameter(start.clone() if residual is None else torch.zeros_like(start))

    start: Tensor

    def forward(self) -> Float[Tensor, "k d"]:
        """The vectors, of any length."""
        if self.residual is None:
            return self.vectors
        return self.start + self.residual * self.vectors

    def drift(self, weights: Float[Tensor, "k"]) -> Float[Tensor, ""]:  # noqa: F821
        """Mean over classes of the weighted squared distance from the start.

        Args:
            weights: Of each class.
        """
        return (weights * (self() - self.start).square().sum(dim=1)).mean()
