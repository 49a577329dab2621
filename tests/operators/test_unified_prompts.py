"""Unified prompts: who attends to whom, how they start, and what the towers read of them."""

import pytest
import torch
from torch import nn

from operators.backbones.towers.transformer import quick_gelu
from operators.blocks.deep_tokens import prompted_images, uniform_image_tokens
from operators.blocks.prompt_tokens import prompt_tokens
from operators.blocks.unified_prompts import TokenMixer, UnifiedPrompts
from operators.episodes.episode import Batch

CPU = torch.device("cpu")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def mixer(mixing, *, text_width=32, image_width=48, width=16, always_map=True):
    return TokenMixer(
        text_width,
        image_width,
        width,
        mixing=mixing,
        always_map=always_map,
        generator=seeded(),
        device=CPU,
    )


def plain_layer(layer):
    """torch's own layer with the same weights."""
    width = layer.qkv.in_features
    other = nn.TransformerEncoderLayer(
        *(width, 1, 4 * width),
        dropout=0.0,
        activation=quick_gelu,
        norm_first=True,
        batch_first=True,
    )
    with torch.no_grad():
        other.self_attn.in_proj_weight.copy_(layer.qkv.weight)
        other.self_attn.in_proj_bias.copy_(layer.qkv.bias)
    other.self_attn.out_proj.load_state_dict(layer.out.state_dict())
    for own, name in ((layer.fc1, "linear1"), (layer.fc2, "linear2")):
        getattr(other, name).load_state_dict(own.state_dict())
    for own, name in ((layer.norm1, "norm1"), (layer.norm2, "norm2")):
        getattr(other, name).load_state_dict(own.state_dict())
    return other


def attended(mixing, texts, images, layer):
    """Every output token by itself: torch's layer over those that it may read, itself first."""
    count = len(texts)
    every = [*texts, *images.flatten(0, 1)]
    numbers = [*range(count), *list(range(images.shape[1])) * len(images)]
    found = []
    for own, number in zip(every, numbers, strict=True):
        seen = {
            "all": every,
            "pairs": [
                token for token, other in zip(every, numbers, strict=True) if other == number
            ],
            "alone": [own],
        }[mixing]
        others = [token for token in seen if token is not own]
        found.append(layer(torch.stack([own, *others])[None])[0, 0])
    return torch.stack(found[:count]), torch.stack(found[count:]).view(images.shape)


@pytest.mark.parametrize("mixing", ["all", "pairs", "alone"])
def test_each_token_reads_the_tokens_that_the_mixing_says(mixing):
    mix = mixer(mixing)
    text, image = (
        torch.randn(3, 32, generator=seeded(1)),
        torch.randn(2, 3, 48, generator=seeded(2)),
    )
    maps = mix.text_in, mix.image_in, mix.text_out, mix.image_out
    texts, images = maps[0](text), maps[1](image)
    texts, images = attended(mixing, texts, images, plain_layer(mix.layer))
    found = mix(text, image)
    torch.testing.assert_close(found, (maps[2](texts), maps[3](images)))


def test_tokens_of_the_layers_width_are_mapped_only_if_asked():
    as_they_are = mixer("all", text_width=16, always_map=False)
    assert isinstance(as_they_are.text_in, nn.Identity)
    assert isinstance(as_they_are.image_in, nn.Linear)
    assert isinstance(mixer("all", text_width=16).text_in, nn.Linear)


def test_the_layer_starts_as_torch_starts_attention():
    layer = mixer("all", width=128).layer
    bound = (6 / (128 + 3 * 128)) ** 0.5
    assert 0.99 * bound < float(layer.qkv.weight.detach().abs().max()) <= bound
    assert not layer.qkv.bias.any() and not layer.out.bias.any()


def test_the_start_is_drawn_from_the_generator_alone(clip, classes):
    def build():
        return UnifiedPrompts(
            clip,
            classes.names,
            generator=seeded(),
            text_tokens=2,
            image_tokens=2,
            image_depth=2,
            width=16,
            mixing="all",
        )

    state = torch.random.get_rng_state()
    first = build()
    assert torch.equal(torch.random.get_rng_state(), state)
    for one, other in zip(first.parameters(), build().parameters(), strict=True):
        assert torch.equal(one, other)


def test_image_tokens_start_within_the_bound_of_a_patch(clip):
    tokens = uniform_image_tokens(clip, 64, 9, seeded())
    bound = (6 / (3 * 8 * 8 + 48)) ** 0.5  # patches of 8 x 8 pixels, a tower 48 wide
    assert tokens.shape == (3, 64, 48)
    assert 0.99 * bound < float(tokens.abs().max()) <= bound


def test_towers_read_what_leaves_the_layer(clip, classes, drawn_pictures):
    prompts = UnifiedPrompts(
        clip,
        classes.names,
        generator=seeded(),
        text_tokens=2,
        image_tokens=3,
        image_depth=2,
        width=16,
        mixing="all",
        ending="",
    )
    text, image = prompts.tokens()
    texts = [f"X X {name}" for name in classes.names]
    assert torch.equal(prompts.layout.ids, clip.tokenize(texts).ids)
    plain = clip.encode_prompts_plainly(prompts.layout, text[None])
    torch.testing.assert_close(prompts.class_features(), plain)
    rows = torch.arange(4)
    batch = Batch(drawn_pictures(clip, rows.numpy()), rows.numpy(), rows)
    torch.testing.assert_close(prompts.image_features(batch), prompted_images(clip, batch, image))
    prompts.image_features(batch).sum().backward()
    assert prompts.text.grad is not None  # text tokens reach the images through the layer


def test_a_full_stop_ends_prompts_unless_something_else_is_asked_for(clip):
    plain = prompt_tokens(clip, ["cat"], n_context=1, position="middle")
    assert torch.equal(plain.ids, clip.tokenize(["cat X."]).ids)


def test_pairs_need_as_many_tokens_of_both_towers(clip, classes):
    with pytest.raises(ValueError, match="there are 2 and 3: ask for as many of both"):
        UnifiedPrompts(
            clip,
            classes.names,
            generator=seeded(),
            text_tokens=2,
            image_tokens=3,
            image_depth=1,
            width=16,
            mixing="pairs",
        )
