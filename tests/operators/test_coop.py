"""CoOp's prompts: their layout, their starts, and what they refuse."""

import pytest
import torch

from operators.blocks.prompt_tokens import prompt_tokens, worded_context
from operators.episodes.episode import Classes
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve

CoOp = METHODS["coop"]


def build(backbone, classes, **given):
    return CoOp(backbone, classes, generator=torch.Generator().manual_seed(0), **given)


def plain_prompt(backbone, name, context, position):
    """One prompt, put together from slices of `X X .. name.` as the published code does it."""
    m = len(context)
    ids = backbone.tokenize([" ".join(["X"] * m) + f" {name}."]).ids
    embedded = backbone.embed(ids)[0]
    length = int(backbone.tokenize([name]).end[0]) - 1
    prefix, named, suffix = (
        embedded[:1],
        embedded[1 + m : 1 + m + length],
        embedded[1 + m + length :],
    )
    half = m // 2
    parts = {
        "end": [prefix, context, named, suffix],
        "middle": [prefix, context[:half], named, context[half:], suffix],
        "front": [prefix, named, context, suffix],
    }[position]
    return torch.cat(parts)


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("n_context", [1, 4, 5])
def test_the_layout_is_that_of_the_published_code(backbone, classes, position, n_context):
    tokens = prompt_tokens(backbone, classes.names, n_context=n_context, position=position)
    context = torch.randn(len(classes), n_context, backbone.token_width)
    filled = tokens.fill(context)
    for row, name in enumerate(classes.names):
        wanted = plain_prompt(backbone, name, context[row], position)
        assert torch.equal(filled[row, : len(wanted)], wanted)
        assert int(tokens.end[row]) == len(wanted) - 1


def test_a_shared_context_stands_in_every_prompt(clip, classes):
    tokens = prompt_tokens(clip, classes.names, n_context=2, position="end")
    context = torch.randn(1, 2, clip.token_width)
    assert torch.equal(tokens.fill(context)[:, 1:3], context.expand(4, -1, -1))


def test_worded_context_starts_as_the_plain_text(backbone, classes):
    method = build(backbone, classes, n_context=4, context_init="a photo of a").eval()
    wanted = backbone.text_features([f"a photo of a {name}." for name in classes.names])
    torch.testing.assert_close(method.weights(), wanted, rtol=1e-4, atol=1e-5)


def test_a_context_of_words_has_a_vector_a_token(backbone, classes):
    assert worded_context(backbone, "a photo of a").shape == (1, 4, backbone.token_width)
    assert build(backbone, classes, context_init="a photo of a").prompt.context.shape[1] == 4


@pytest.mark.parametrize(("per_class", "copies"), [(False, 1), (True, 4)])
def test_the_context_is_one_for_all_or_one_a_class(clip, classes, per_class, copies):
    method = build(clip, classes, n_context=3, per_class=per_class)
    assert method.prompt.context.shape == (copies, 3, clip.token_width)
    assert sum(p.numel() for p in method.parameters()) == copies * 3 * clip.token_width


def test_a_random_start_has_the_deviation_asked_for(clip, classes):
    context = build(clip, classes, n_context=16, per_class=True, init_std=0.1).prompt.context
    assert float(context.detach().std()) == pytest.approx(0.1, rel=0.05)


def test_worded_contexts_of_each_class_start_alike(clip, classes):
    method = build(clip, classes, context_init="a photo of a", per_class=True)
    assert torch.equal(method.prompt.context[0], method.prompt.context[3])


def test_contexts_of_each_class_are_not_for_others(clip, classes):
    method = build(clip, classes, n_context=2, per_class=True)
    others = Classes(("zebra", "tea pot", "car", "bus"), classes.templates)
    with pytest.raises(ValueError, match=r"per_class=True.*cannot classify others"):
        method.with_classes(others)
    assert method.with_classes(classes).prompt.context.shape == method.prompt.context.shape


def test_a_prompt_that_is_too_long_names_the_class_and_the_remedy(clip, classes):
    with pytest.raises(ValueError, match=r"very small orange boat.*learn fewer context tokens"):
        build(clip, classes, n_context=30)


@pytest.mark.parametrize(
    ("protocol", "given", "message"),
    [
        ("few_shot", {"class_position": "top"}, "'top' is not one of end, middle, front"),
        ("base_to_new", {"per_class": True}, "use per_class=False in base_to_new"),
        ("base_to_new", {"n_context": 8}, "n_context=8, but context_init 'a photo of a' has 4"),
        ("few_shot", {"context_init": "a photo of a"}, "ask for n_context=4"),
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_starts(protocol, given, message):
    with pytest.raises(ValueError, match=message):
        resolve("coop", CoOp, given, protocol=protocol, shots=4)
