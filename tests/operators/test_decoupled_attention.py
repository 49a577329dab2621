"""Decoupled attention against the four processes written out, in float64."""

import math

import pytest
import torch
from torch.nn import functional as F

from operators.blocks.prompt_tokens import prompt_tokens
from operators.methods.image_classification.deep_prompts.decoupled_attention import (
    DecoupledAttention,
    SentenceReading,
    Strengths,
)

NAMES = ("cat", "a very small orange boat")


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def four_processes(q, k, v, readable, prompts, strengths):
    """One token of one head after the other: a mixture of what it reads of each group."""
    result = torch.empty_like(v)
    of = {
        (True, True): strengths.prompt_to_prompt,
        (True, False): strengths.prompt_to_instance,
        (False, True): strengths.instance_to_prompt,
        (False, False): strengths.instance_to_instance,
    }
    b, h, n, c = q.shape
    for text in range(b):
        for head in range(h):
            for reader in range(n):
                total, read = 0.0, torch.zeros(c, dtype=q.dtype)
                for group in (True, False):
                    members = [
                        i for i in range(n)
                        if (i in prompts) == group and readable[text][reader][i]
                    ]  # fmt: skip
                    if not members:
                        continue
                    scores = k[text, head, members] @ q[text, head, reader] / math.sqrt(c)
                    share = of[reader in prompts, group] * float(scores.exp().sum())
                    total += share
                    read += share * (scores.softmax(dim=0) @ v[text, head, members])
                result[text, head, reader] = read / total
    return result


@pytest.mark.parametrize("kind", ["all", "causal", "padded"])
@pytest.mark.parametrize(("start", "prompts"), [(1, {1, 2}), (-2, {5, 6}), (0, {0, 1})])
def test_it_is_a_mixture_of_four_processes(kind, start, prompts):
    q, k, v = (drawn(2, 3, 7, 4, seed=seed) for seed in range(3))
    strengths = Strengths(0.5, 3.0, 0.25, 2.0)
    mask = {
        "all": None,
        "causal": torch.ones(7, 7, dtype=torch.bool).tril(),
        "padded": (torch.arange(7) < torch.tensor([[7], [4]]))[:, None, None],
    }[kind]
    readable = torch.ones(2, 1, 7, 7, dtype=torch.bool) if mask is None else mask
    readable = readable.expand(2, 1, 7, 7)[:, 0].tolist()
    wanted = four_processes(q, k, v, readable, prompts, strengths)
    found = DecoupledAttention(start, 2, strengths)(q, k, v, mask)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


def test_equal_strengths_are_the_usual_softmax():
    q, k, v = (drawn(2, 3, 7, 4, seed=seed) for seed in range(3))
    alike = Strengths(0.3, 0.3, 5.0, 5.0)
    found = DecoupledAttention(1, 2, alike)(q, k, v, None)
    torch.testing.assert_close(found, F.scaled_dot_product_attention(q, k, v))
    assert alike.change_nothing
    assert not Strengths(prompt_to_instance=2.0).change_nothing
    assert not Strengths(instance_to_prompt=2.0).change_nothing


@pytest.mark.parametrize("tower", ["clip", "siglip"])
def test_prompts_read_every_word_of_their_own_sentence_and_nothing_else(tower, request, precise):
    backbone = precise(request.getfixturevalue(tower))
    layout = prompt_tokens(backbone, NAMES, n_context=3, position="end")
    learned = drawn(3, backbone.token_width)
    found = SentenceReading(backbone, layout)(learned)

    layer, heads = backbone.text_tower.layers[0], backbone.text_tower.shape.heads
    w, start = backbone.token_width, backbone.text_start
    positions = backbone.text_positions
    for text, name in enumerate(NAMES):
        tokens = backbone.tokenize([f"X X X {name}."])
        end = int(tokens.end[0])
        x = backbone.embed(tokens.ids)[0, : end + 1] + positions[: end + 1]
        words = torch.cat([x[:start], x[start + 3 :]])
        q = layer.norm1(learned + positions[start : start + 3])
        q, _, _ = layer.qkv(q).split(w, dim=1)
        _, k, v = layer.qkv(layer.norm1(words)).split(w, dim=1)
        read = []
        for head in range(heads):
            part = slice(head * w // heads, (head + 1) * w // heads)
            scores = q[:, part] @ k[:, part].T / math.sqrt(w // heads)
            read.append(scores.softmax(dim=1) @ v[:, part])
        wanted = learned + layer.out(torch.cat(read, dim=1))
        torch.testing.assert_close(found[text], wanted, rtol=1e-10, atol=1e-10)
    assert (found[0] - found[1]).abs().max() > 1e-3
