"""Learned linear maps, drawn from the generator of a method."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def draw_uniform(numbers: Tensor, inputs: int | float, generator: torch.Generator) -> Tensor:
    """Fills a tensor as torch starts maps of so many inputs: U(-1/sqrt(inputs), 1/sqrt(inputs)).

    Args:
        numbers: Written in place, and returned.
        inputs: Numbers that the map reads; for Glorot's rule a sixth of those in and out.
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
    linear = nn.Linear(inputs, outputs, device="meta")
    # `to_empty` does this too, but imports the symbols of torch's compiler.
    linear.weight, linear.bias = (
        nn.Parameter(torch.empty(shape)) for shape in (linear.weight.shape, linear.bias.shape)
    )
    for parameter in (linear.weight, linear.bias):
        draw_uniform(parameter, inputs, generator)
    return linear.to(device)
