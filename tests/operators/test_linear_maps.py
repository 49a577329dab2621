"""Learned linear maps: their start, and the map of each layer."""

import pytest
import torch

from operators.blocks.deep_prompts import LayerMaps
from operators.blocks.linear_maps import drawn_linear

pytestmark = pytest.mark.bits

CPU = torch.device("cpu")


def maps(layers, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return LayerMaps(layers, 5, 7, generator=generator, device=CPU)


def test_a_linear_map_starts_as_torch_starts_it_but_from_the_generator():
    found = drawn_linear(400, 300, torch.Generator().manual_seed(0), CPU)
    weight, bias = found.weight.detach(), found.bias.detach()
    assert float(weight.abs().max()) <= 400**-0.5
    assert float(weight.std()) == pytest.approx((400 * 3) ** -0.5, rel=0.02)
    assert 0.9 * 400**-0.5 < float(bias.abs().max()) <= 400**-0.5
    torch.manual_seed(9)
    twin = drawn_linear(400, 300, torch.Generator().manual_seed(0), CPU)
    assert torch.equal(found.weight, twin.weight) and torch.equal(found.bias, twin.bias)


def test_each_layer_has_a_map_of_its_own():
    coupling = maps(3)
    with torch.no_grad():
        coupling.weight.normal_(generator=torch.Generator().manual_seed(1))
    tokens = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(2))
    found = coupling(tokens)
    for layer in range(3):
        wanted = tokens[layer] @ coupling.weight[layer].T + coupling.bias[layer]
        torch.testing.assert_close(found[layer], wanted)


def test_all_maps_but_the_first_start_alike_and_are_apart():
    coupling = maps(4)
    assert torch.equal(coupling.weight[1], coupling.weight[3])
    assert not torch.equal(coupling.weight[0], coupling.weight[1])
    coupling(torch.ones(4, 2, 5))[1].sum().backward()
    assert coupling.weight.grad is not None
    assert coupling.weight.grad.abs().sum(dim=(1, 2)).ne(0).tolist() == [False, True, False, False]


def test_one_layer_has_one_map():
    assert maps(1).weight.shape == (1, 7, 5)
    assert torch.equal(maps(1).weight[0], maps(4).weight[0])
