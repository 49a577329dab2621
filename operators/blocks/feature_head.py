"""Block H, the feature head: a small network on top of the features of a tower."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones.towers.transformer import quick_gelu
from operators.blocks.linear_maps import draw_uniform, drawn_linear
from operators.shapes import Float


def mixed(
    head: nn.Module, features: Float[Tensor, "n d"], ratio: float | Float[Tensor, ""]
) -> Float[Tensor, "n d"]:
    """Ratio * head(f) + (1 - ratio) * f of each feature f.

    Source: Gao et al., "CLIP-Adapter", IJCV 2024, section 3.2.

    Args:
        head: From features to features of the same width d.
        features: One a row.
        ratio: Share of what the head makes of them, 0..1.
    """
    return ratio * head(features) + (1 - ratio) * features


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


class Projector(nn.Module):
    """P(f) = V relu(norm(W f + u)) + v, from one space of features to another.

    `norm` is a batch norm: while training it has mean and variance of the batch, which therefore
    needs two images; afterwards those that it has seen, weighed towards the last ones.

    Dimensions: b features, d width of what comes in, o of what goes out and of the inner layer.

    Args:
        inputs: d.
        outputs: o.
        generator: Draws W, u, V and v as torch draws linear maps.
        device: Where they go.

    Source: Li et al., "PromptKD", CVPR 2024, section 3; layers and norm are in the authors'
    code.
    """

    def __init__(
        self, inputs: int, outputs: int, *, generator: torch.Generator, device: torch.device
    ) -> None:
        super().__init__()
        self.first = drawn_linear(inputs, outputs, generator, device)
        self.norm = nn.BatchNorm1d(outputs, device=device)
        self.last = drawn_linear(outputs, outputs, generator, device)

    def forward(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "b o"]:
        """The features in the other space."""
        return self.last(self.norm(self.first(features)).relu())


class FeedForward(nn.Module):
    """f + V quick_gelu(W norm(f) + a) + b: a feed-forward part as a transformer's layer has it.

    Dimensions: n features, d their width; the inner layer is 4 d wide.

    Args:
        width: d.
        generator: Draws W, V, a and b as torch draws linear maps.
        device: Where they go.

    Source: Yang et al., "RESTORE", 2024, the "surgery" block; its shape is in the authors' code.
    """

    def __init__(self, width: int, *, generator: torch.Generator, device: torch.device) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, device=device)
        self.widen = drawn_linear(width, 4 * width, generator, device)
        self.narrow = drawn_linear(4 * width, width, generator, device)

    def forward(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """What it makes of each feature."""
        return features + self.narrow(quick_gelu(self.widen(self.norm(features))))
