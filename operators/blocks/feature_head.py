"""Block H, the feature head: a small network on top of the features of a tower."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.blocks.linear_maps import draw_uniform
from operators.shapes import Float


def mixed(
    head: nn.Module, features: Float[Tensor, "n d"], ratio: float | Float[Tensor, ""]
) -> Float[Tensor, "n d"]:
    """Ratio * head(f) + (1 - ratio) * f of each feature f.

    Args:
        head: From features to features of the same width d.
        features: One a row.
        ratio: Share of what the head makes of them, 0..1.

    Source: Gao et al., "CLIP-Adapter", IJCV 2024, section 3.2.
    """
    return ratio * head(features) + (1 - ratio) * features


class Adapter(nn.Module):
    """A(f) = relu(V relu(W f)), without intercepts.

    Dimensions: b features, d their width, h = d / reduction width of the inner layer.

    Args:
        width: d.
        reduction: h is at least 1, whatever it is.
        generator: Draws W and V as torch draws linear maps.
        device: Where they go.

    Source: Gao et al., "CLIP-Adapter", IJCV 2024, section 3.2; the last ReLU and the missing
    intercepts are in the authors' code.
    """

    def __init__(
        self, width: int, reduction: int, *, generator: torch.Generator, device: torch.device
    ) -> None:
        super().__init__()
        inner = max(1, width // reduction)

        def drawn(outputs: int, inputs: int) -> nn.Parameter:
            numbers = draw_uniform(torch.empty(outputs, inputs), inputs, generator)
            return nn.Parameter(numbers.to(device))

        self.down = drawn(inner, width)
        self.up = drawn(width, inner)

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """What the network makes of each feature."""
        return F.linear(F.linear(features, self.down).relu(), self.up).relu()
