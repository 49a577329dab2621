"""The networks that learned tokens pass, against plain arithmetic, and their start."""

import math

import numpy as np
import pytest
import torch

from operators.methods.image_classification.text_prompts.prompt_encoder import (
    PromptEncoder,
    positions,
)

KINDS = ("lstm1", "lstm2", "mlp1", "mlp2", "transformer")
WIDTH = 8


def build(kind, *, width=WIDTH, residual=False, bottleneck=5, seed=0):
    return PromptEncoder(
        kind,
        width,
        residual=residual,
        bottleneck=bottleneck,
        generator=torch.Generator().manual_seed(seed),
        device=torch.device("cpu"),
    ).double()


@pytest.fixture
def tokens():
    return torch.randn(2, 3, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def arrays(module):
    return {name: value.detach().numpy() for name, value in module.state_dict().items()}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def one_direction(x, weights, suffix):
    """An LSTM step by step over x of shape (m, w), as its equations are written."""
    into, across = weights[f"weight_ih{suffix}"], weights[f"weight_hh{suffix}"]
    bias = weights[f"bias_ih{suffix}"] + weights[f"bias_hh{suffix}"]
    state = memory = np.zeros(across.shape[1])
    states = []
    for token in x:
        gate_in, forget, new, out = np.split(into @ token + across @ state + bias, 4)
        memory = sigmoid(forget) * memory + sigmoid(gate_in) * np.tanh(new)
        state = sigmoid(out) * np.tanh(memory)
        states.append(state)
    return np.stack(states)


def lstm_by_hand(x, weights, layers):
    for layer in range(layers):
        there = one_direction(x, weights, f"_l{layer}")
        back = one_direction(x[::-1], weights, f"_l{layer}_reverse")[::-1]
        x = np.concatenate([there, back], axis=1)
    return x


def mlp_by_hand(x, weights, times):
    for _ in range(times):
        hidden = np.maximum(x @ weights["0.weight"].T + weights["0.bias"], 0)
        x = hidden @ weights["2.weight"].T + weights["2.bias"]
    return x


def norm(x):
    return (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)


def transformer_by_hand(x, weights):
    for layer in ("0.", "1."):
        part = {n.removeprefix(layer): v for n, v in weights.items() if n.startswith(layer)}
        qkv = x @ part["self_attn.in_proj_weight"].T + part["self_attn.in_proj_bias"]
        query, key, value = np.split(qkv, 3, axis=1)
        heads = []
        for half in np.split(np.arange(x.shape[1]), 2):
            scores = query[:, half] @ key[:, half].T / math.sqrt(len(half))
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            heads.append(scores / scores.sum(axis=1, keepdims=True) @ value[:, half])
        joined = np.concatenate(heads, axis=1) @ part["self_attn.out_proj.weight"].T
        x = norm(x + joined + part["self_attn.out_proj.bias"])
        inner = np.maximum(x @ part["linear1.weight"].T + part["linear1.bias"], 0)
        x = norm(x + inner @ part["linear2.weight"].T + part["linear2.bias"])
    return x


def by_hand(kind, x, network):
    weights = arrays(network)
    if kind.startswith("lstm"):
        return lstm_by_hand(x, weights, int(kind[-1]))
    if kind.startswith("mlp"):
        return mlp_by_hand(x, weights, int(kind[-1]))
    return transformer_by_hand(x, weights)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_each_context_passes_the_network_on_its_own(kind, residual, tokens):
    encoder = build(kind, residual=residual)
    found = encoder(tokens).detach().numpy()
    for context, x in zip(found, tokens.numpy(), strict=True):
        if kind == "transformer":
            x = x + positions(*x.shape).numpy()
        wanted = by_hand(kind, x, encoder.network) + (x if residual else 0)
        np.testing.assert_allclose(context, wanted, rtol=0, atol=1e-12)


def test_positions_are_sines_and_cosines_of_falling_rates():
    found = positions(3, 6)
    for place in range(3):
        for pair in range(3):
            angle = place / 10000 ** (2 * pair / 6)
            assert float(found[place, 2 * pair]) == pytest.approx(math.sin(angle))
            assert float(found[place, 2 * pair + 1]) == pytest.approx(math.cos(angle))


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_alone_decides_the_start(kind):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = build(kind)
    assert torch.equal(before, torch.get_rng_state())
    other, third = build(kind), build(kind, seed=3)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
    assert any(not torch.equal(v, third.state_dict()[n]) for n, v in one.state_dict().items())


def as_torch_starts(kind, width, bottleneck):
    """The network of a kind as torch itself would start it."""
    if kind.startswith("lstm"):
        return torch.nn.LSTM(width, width // 2, int(kind[-1]), bidirectional=True)
    if kind == "transformer":
        return torch.nn.TransformerEncoder(
            torch.nn.TransformerEncoderLayer(width, 2), 2, None, False
        )
    narrow, widen = torch.nn.Linear(width, bottleneck), torch.nn.Linear(bottleneck, width)
    return torch.nn.Sequential(narrow, torch.nn.ReLU(), widen)


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_as_torch_starts_it(kind):
    torch.manual_seed(0)
    own = as_torch_starts(kind, 64, 30).state_dict()
    found = build(kind, width=64, bottleneck=30).network.state_dict()
    assert len(found) == len(own)
    for name, wanted in own.items():
        value = found[name.removeprefix("layers.")]
        assert value.shape == wanted.shape
        most, limit = float(value.abs().max()), float(wanted.abs().max())
        if len(wanted.unique()) == 1:  # norms, and intercepts that start at zero
            assert torch.equal(value.float(), wanted)
        elif wanted.numel() < 1000:  # too few numbers to know a uniform by its deviation
            assert limit / 1.3 <= most <= 1.3 * limit, name
        else:
            assert float(value.std()) == pytest.approx(float(wanted.std()), rel=0.1), name
            assert most == pytest.approx(limit, rel=0.05), name


def test_both_layers_of_the_transformer_start_alike_and_are_apart(tokens):
    encoder = build("transformer")
    first, second = encoder.network
    assert torch.equal(first.linear1.weight, second.linear1.weight)
    encoder(tokens).pow(3).sum().backward()
    assert not torch.equal(first.linear1.weight.grad, second.linear1.weight.grad)


def test_the_network_applied_twice_has_the_weights_of_one():
    numbers = {kind: sum(p.numel() for p in build(kind).parameters()) for kind in ("mlp1", "mlp2")}
    assert numbers == dict.fromkeys(numbers, 5 * WIDTH + 5 + 5 * WIDTH + WIDTH)
