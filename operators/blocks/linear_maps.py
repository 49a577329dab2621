"""Learned linear maps, drawn from the generator of a method."""

import torch
from torch import Tensor, nn

from operators.shapes import Float


@torch.no_grad()
def draw_uniform(numbers: Tensor, inputs: int, generator: torch.Generator) -> Tensor:
    """Fills a tensor as torch starts maps of so many inputs: U(-1/sqrt(inputs), 1/sqrt(inputs)).

    Args:
        numbers: Written in place, and returned.
        inputs: Numbers that the map reads.
        generator: On the device of `numbers`.
    """
    return numbers.uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)


def drawn_linear(
    inputs: int, outputs: int, generator: torch.Generator, device: torch.device
) -> nn.Linear:
    """A linear map with torch's usual start, bias too.

    Args:
        inputs: Numbers that it reads.
        outputs: Numbers that it gives.
        generator: Draws weights and intercepts, on the CPU.
        device: Where they go then.
    """
    linear = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    for parameter in (linear.weight, linear.bias):
        draw_uniform(parameter, inputs, generator)
    return linear.to(device)


class LayerMaps(nn.Module):
    """Block G, coupling: token j of layer l becomes W_l p + b_l, with a map for each layer.

    Dimensions: J layers, m tokens, w width of what comes in, v of what goes out.

    Args:
        layers: J.
        inputs: w.
        outputs: v.
        generator: Draws the maps, one for the first layer and one that all others start from.
        device: Where they go.

    Source: Khattak et al., "MaPLe: Multi-modal Prompt Learning", CVPR 2023, section 3.2, "Vision
    Language Prompt Coupling". That the later maps start alike is in the code alone.
    """

    def __init__(
        self,
        layers: int,
        inputs: int,
        outputs: int,
        *,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        super().__init__()
        maps = [drawn_linear(inputs, outputs, generator, device) for _ in range(min(layers, 2))]
        maps += maps[1:] * (layers - len(maps))
        self.weight = nn.Parameter(torch.stack([m.weight.detach() for m in maps]))
        self.bias = nn.Parameter(torch.stack([m.bias.detach() for m in maps]))

    def forward(self, tokens: Float[Tensor, "J m w"]) -> Float[Tensor, "J m v"]:
        """The tokens of every layer, each through its own map."""
        return torch.baddbmm(self.bias[:, None], tokens, self.weight.mT)
