"""The gradient regulator of GRAM: a small net that turns the gradient of a prompt."""

import torch
from torch import Tensor, nn

from operators.blocks.linear_maps import drawn_linear
from operators.shapes import Float

LAYERS = 2
GATE_WIDTH = 24
TINY = 1e-8  # added to the lengths of rows


class GradientRegulator(nn.Module):
    """Gives (1 - c) M(g) + c g of a gradient g, where M and the gate c are learned.

    M maps each row, the gradient of one token, through two layers of low rank and gives the result
    the length of that row. As c starts near a half, what comes out starts as a descent direction
    whatever M is.

    Dimensions: m tokens, w width of a token embedding, r rank, d width of a feature.

    Args:
        width: w.
        feature_width: d.
        rank: r, at most w counts.
        last_relu: Whether negative numbers are cut off behind the last layer, too.
        generator: Draws the maps from N(0, 1), then the gate as torch would.
        device: Where they go.

    Source: layers, lengths and gate as in the code of Pan et al., "Self-supervised Meta-Prompt
    Learning with Meta-Gradient Regularization for Few-shot Generalization", EMNLP 2023 Findings,
    https://aclanthology.org/2023.findings-emnlp.75/.
    """

    def __init__(
        self,
        width: int,
        feature_width: int,
        *,
        rank: int,
        last_relu: bool,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        super().__init__()
        inner = min(rank, width)
        self.up = _drawn((LAYERS, width, inner), generator, device)
        self.down = _drawn((LAYERS, inner, width), generator, device)
        self.bias = nn.Parameter(torch.zeros(LAYERS, 1, width, device=device))
        self.narrow = drawn_linear(feature_width, GATE_WIDTH, generator, device)
        self.widen = drawn_linear(GATE_WIDTH, 1, generator, device)
        self.last_relu = last_relu

    def gate(self, states: Float[Tensor, "t d"]) -> Float[Tensor, "t 1 1"]:
        """C, by what was read when the gradient was taken."""
        return self.widen(self.narrow(states).relu()).sigmoid()[..., None]

    def turned(self, gradient: Float[Tensor, "t m w"]) -> Float[Tensor, "t m w"]:
        """M(g), whose rows are as long as those of g."""
        rows = gradient
        for layer, (up, down, bias) in enumerate(zip(self.up, self.down, self.bias, strict=True)):
            rows = rows @ down.T @ up.T + bias
            if self.last_relu or layer < LAYERS - 1:
                rows = rows.relu()
        return rows / (_lengths(rows) + TINY) * (_lengths(gradient) + TINY)

    def forward(
        self, gradient: Float[Tensor, "t m w"], states: Float[Tensor, "t d"]
    ) -> tuple[Float[Tensor, "t m w"], Float[Tensor, "t 1 1"]]:
        """The regulated gradient, and c.

        Args:
            gradient: g of t prompts.
            states: Mean feature of the images that each gradient is of.
        """
        gate = self.gate(states)
        return (1 - gate) * self.turned(gradient) + gate * gradient, gate


def _drawn(
    shape: tuple[int, ...], generator: torch.Generator, device: torch.device
) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, generator=generator).to(device))


def _lengths(rows: Tensor) -> Tensor:
    # Not the root of a sum: its slope at a row of zeros is no number.
    return torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
