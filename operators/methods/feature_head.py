"""Block H, the feature head: a small network on top of frozen features."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.methods.linear_maps import draw_uniform
from operators.shapes import Float


class Bottleneck(nn.Module):
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
