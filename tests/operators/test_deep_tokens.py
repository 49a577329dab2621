"""Learned tokens over several layers: where they stand, how they start, and how far they go."""

import pytest
import torch

from operators.backbones import DeepPrompts
from operators.blocks.deep_tokens import (
    deepened,
    effective_depth,
    prompted_images,
    prompted_texts,
    started_image_tokens,
)
from operators.blocks.parts import IMAGE_ROWS
from operators.blocks.prompt_tokens import refuse_few_words, started_prompts, worded_context
from operators.episodes.episode import Batch

pytestmark = pytest.mark.bits


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(*shape, seed=1):
    return torch.randn(shape, generator=seeded(seed))


class Pictures:
    """Pixels in memory; remembers how many were asked for at a time."""

    def __init__(self, pixels):
        self.values, self.asked = pixels, []

    def features(self, rows, view=None):
        raise AssertionError("features were asked for")

    def pixels(self, rows, view=None):
        self.asked.append(len(rows))
        return self.values[rows]


@pytest.fixture
def pictures():
    def make(count):
        source = Pictures(drawn(count, 3, 32, 32))
        rows = torch.arange(count)
        return source, Batch(source, rows.numpy(), rows)

    return make


def start(clip, words, n_context, names=("cat", "oak tree")):
    return started_prompts(
        clip, names, words=words, n_context=n_context, std=0.02, generator=seeded()
    )


def test_depth_is_what_was_asked_or_all_the_layers_there_are(clip):
    three = clip.image_tower.shape
    assert [effective_depth(depth, three) for depth in (1, 3, 9)] == [1, 3, 3]


def test_the_shallower_tower_limits_what_is_coupled(clip, effnet):
    towers = clip.image_tower.shape, effnet.packed_text.tower.shape
    assert [tower.layers for tower in towers] == [3, 6]
    assert effective_depth(9, *towers) == 3


def test_tokens_below_the_first_layer_are_drawn_anew():
    first = drawn(2, 500)
    tokens = deepened(first, 4, 0.02, seeded())
    assert tokens.shape == (4, 2, 500)
    assert torch.equal(tokens[0], first)
    assert float(tokens[1:].std()) == pytest.approx(0.02, rel=0.05)
    assert torch.equal(deepened(first, 1, 0.02, seeded()), first[None])


def test_image_tokens_are_drawn_for_the_layers_that_exist(clip):
    tokens = started_image_tokens(clip, 4, 9, 0.02, seeded())
    assert tokens.shape == (3, 4, 48)
    assert torch.equal(tokens, started_image_tokens(clip, 4, 3, 0.02, seeded()))


def test_words_beyond_the_learned_tokens_stay_where_they_are(clip):
    prompts, first = start(clip, "a photo of a", 2)
    whole = clip.tokenize(["a photo of a cat.", "a photo of a oak tree."])
    assert torch.equal(prompts.ids, whole.ids)
    assert prompts.slots.tolist() == [[1, 2], [1, 2]]
    assert torch.equal(first, worded_context(clip, "a photo")[0])
    untouched = clip.encode_text(clip.embed(whole.ids), whole.end)
    torch.testing.assert_close(clip.encode_prompts(prompts, first[None]), untouched)


def test_without_words_the_start_is_drawn_and_the_name_follows_it(clip):
    prompts, first = start(clip, "", 3)
    assert first.shape == (3, 32)
    assert prompts.slots.tolist() == [[1, 2, 3], [1, 2, 3]]
    assert torch.equal(first, 0.02 * torch.randn(3, 32, generator=seeded()))


def test_too_few_words_to_start_from_are_refused():
    refuse_few_words(4, "a photo of a")
    refuse_few_words(9, "")
    with pytest.raises(ValueError, match=r"text_tokens=5, but context_init 'a photo of a' has 4"):
        refuse_few_words(5, "a photo of a", called="text_tokens")


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_prompted_texts_are_those_of_a_plain_tower_with_tokens_put_in(clip, depth):
    prompts, first = start(clip, "a photo of a", 2)
    tokens = torch.cat([first[None], drawn(depth - 1, 2, 32)])
    x = prompts.fill(tokens[:1]) + clip.text_positions[: prompts.ids.shape[1]]
    for index, layer in enumerate(clip.text_tower.layers):
        if 0 < index < depth:
            x = torch.cat([x[:, :1], tokens[index].expand(len(x), -1, -1), x[:, 3:]], dim=1)
        x = layer(x, None, True)
    wanted = clip.text_outputs(x[torch.arange(len(x)), prompts.end])
    found = prompted_texts(clip, prompts, tokens)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_prompted_images_are_those_of_a_plain_tower_with_tokens_put_in(clip, pictures, depth):
    source, batch = pictures(3)
    tokens = drawn(depth, 2, 48, seed=2)
    x = torch.cat(
        [clip.embed_images(source.values), clip.image_norm_in(tokens[0]).expand(3, -1, -1)], 1
    )
    for index, layer in enumerate(clip.image_tower.layers):
        if 0 < index < depth:
            x = torch.cat([x[:, :17], tokens[index].expand(3, -1, -1)], dim=1)
        x = layer(x, None, False)
    wanted = clip.image_outputs(x[:, 0])
    found = prompted_images(clip, batch, tokens)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_place_of_image_tokens_changes_nothing(clip, pictures):
    source, batch = pictures(2)
    tokens = drawn(3, 2, 48, seed=2)
    second = clip.encode_images(
        source.values, prompts=tokens[0], place="second", deep_prompts=DeepPrompts(tokens[1:], 1)
    )
    torch.testing.assert_close(prompted_images(clip, batch, tokens), second, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_without_a_gradient_few_images_are_in_memory_at_a_time(clip, pictures):
    source, batch = pictures(2 * IMAGE_ROWS + 3)
    tokens = drawn(2, 2, 48, seed=2)
    features = prompted_images(clip, batch, tokens)
    assert source.asked == [IMAGE_ROWS, IMAGE_ROWS, 3]
    assert features.shape == (2 * IMAGE_ROWS + 3, 24)
    last = batch.select(torch.arange(2 * IMAGE_ROWS, 2 * IMAGE_ROWS + 3))
    torch.testing.assert_close(features[-3:], prompted_images(clip, last, tokens))
