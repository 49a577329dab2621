"""Block G, parameterisation: learned tokens that pass a small network before the text tower."""

import copy
import math
from typing import Literal

import torch
from torch import Tensor, nn

from operators.blocks.linear_maps import draw_uniform, drawn_linear
from operators.engine.transfer import onto
from operators.shapes import Float

EncoderKind = Literal["lstm1", "lstm2", "mlp1", "mlp2", "transformer"]
HEADS = 2  # of the transformer
LAYERS = 2
INNER = 2048


class PromptEncoder(nn.Module):
    """Makes x + E(x) of m tokens x, or E(x) alone.

    E is a bidirectional LSTM of one or two layers, whose two directions are w / 2 wide; a network
    w -> bottleneck -> w with a ReLU, once or twice in a row with the same weights; or a transformer
    of two layers that reads x with its positions added, as the residual does then.

    Dimensions: c contexts, m tokens of each, w their width.

    Args:
        kind: What E is.
        width: w, even.
        residual: Whether x is added.
        bottleneck: Width of the inner layer of `mlp1` and `mlp2`.
        generator: Draws E as torch starts such networks.
        device: Where it goes.

    Source: Pham et al., "PRE: Vision-Language Prompt Learning with Reparameterization Encoder",
    2023, section 3.2; all sizes are in the authors' code alone.
    """

    def __init__(
        self,
        kind: EncoderKind,
        width: int,
        *,
        residual: bool,
        bottleneck: int,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.kind: EncoderKind = kind
        self.residual = residual
        if kind in ("lstm1", "lstm2"):
            self.network: nn.Module = drawn_lstm(width, int(kind[-1]), generator)
        elif kind == "transformer":
            self.network = drawn_transformer(width, generator)
        else:
            cpu = torch.device("cpu")
            narrow = drawn_linear(width, bottleneck, generator, cpu)
            widen = drawn_linear(bottleneck, width, generator, cpu)
            self.network = nn.Sequential(narrow, nn.ReLU(), widen)
        self.network.to(device)

    def forward(self, tokens: Float[Tensor, "c m w"]) -> Float[Tensor, "c m w"]:
        """The tokens that the text tower reads; each context is encoded on its own."""
        if self.kind == "transformer":
            places = positions(tokens.shape[1], tokens.shape[2]).to(tokens.dtype)
            tokens = tokens + onto(places, tokens.device)
        found = self.network(tokens)
        if isinstance(found, tuple):
            found = found[0]  # an LSTM gives its last states too
        if self.kind == "mlp2":
            found = self.network(found)
        return tokens + found if self.residual else found


def positions(length: int, width: int) -> Float[Tensor, "m w"]:
    """Sines and cosines of Vaswani et al., "Attention Is All You Need", 2017, section 3.5.

    Args:
        length: m, positions from 0.
        width: w, even.
    """
    rates = 10000 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


@torch.no_grad()
def drawn_lstm(width: int, layers: int, generator: torch.Generator) -> nn.LSTM:
    """A bidirectional LSTM on the CPU that gives as wide a state as it reads.

    Args:
        width: Of what it reads, and of the states of both directions together.
        layers: One above the other.
        generator: Draws the weights as torch's own start does.
    """
    lstm = nn.LSTM(
        width, width // 2, layers, bidirectional=True, batch_first=True, device="meta"
    ).to_empty(device="cpu")
    for parameter in lstm.parameters():
        draw_uniform(parameter, width // 2, generator)
    return lstm


@torch.no_grad()
def drawn_transformer(width: int, generator: torch.Generator) -> nn.Module:
    """Two layers on the CPU that start as copies of one, as torch's own encoder does.

    Args:
        width: Of its tokens.
        generator: Draws the weights of the one layer.
    """
    layer = nn.TransformerEncoderLayer(
        width, HEADS, INNER, dropout=0.0, batch_first=True, device="meta"
    ).to_empty(device="cpu")
    attention = layer.self_attn
    limit = math.sqrt(6 / (4 * width))  # Glorot's, of the three projections as one map
    attention.in_proj_weight.uniform_(-limit, limit, generator=generator)
    draw_uniform(attention.out_proj.weight, width, generator)
    attention.in_proj_bias.zero_()
    attention.out_proj.bias.zero_()
    for linear in (layer.linear1, layer.linear2):
        for parameter in (linear.weight, linear.bias):
            draw_uniform(parameter, linear.in_features, generator)
    for norm in (layer.norm1, layer.norm2):
        norm.weight.fill_(1)
        norm.bias.zero_()
    return nn.Sequential(*(copy.deepcopy(layer) for _ in range(LAYERS)))
