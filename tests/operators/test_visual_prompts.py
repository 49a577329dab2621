"""Where methods cut into the image tower, and what they may read there."""

import pytest
import torch
from torch.nn import functional as F

from operators.backbones import CAPABILITIES, DeepPrompts
from operators.backbones.towers.transformer import (
    QUICK_GELU,
    Layer,
    Tower,
    TowerShape,
    fold_quick_gelu,
)

pytestmark = pytest.mark.bits

PLACES = {"last": -2, "second": 1}  # and where deep prompts of two tokens then start


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def drawn(*shape, seed=2):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.requires_grad_()


def plainly(clip, pixels, prompts, place, deep):
    """Feature of the class token, token by token as the published codes write it."""
    patches = clip.patches(pixels).flatten(2).transpose(1, 2)
    x = torch.cat([clip.class_token.expand(len(patches), 1, -1), patches], dim=1)
    x = x + clip.image_positions
    prompts = prompts.expand(len(x), -1, -1)
    parts = [x, prompts] if place == "last" else [x[:, :1], prompts, x[:, 1:]]
    x = clip.image_norm_in(torch.cat(parts, dim=1))
    for index, layer in enumerate(clip.image_tower.layers):
        if 0 < index <= len(deep):
            start = x.shape[1] - 2 if place == "last" else 1
            fresh = deep[index - 1].expand(len(x), -1, -1)
            x = torch.cat([x[:, :start], fresh, x[:, start + 2 :]], dim=1)
        x = layer(x, None, False)
    return clip.image_projection(clip.image_norm_out(x[:, 0]))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("each_its_own", [False, True])
def test_prompts_stand_where_maple_and_vpt_put_them(clip, pixels, place, each_its_own):
    prompts = drawn(*((3, 2, 48) if each_its_own else (2, 48)))
    deep = drawn(2, 2, 48, seed=3)
    wanted = plainly(clip, pixels, prompts, place, deep)
    found = clip.encode_images(
        pixels, prompts=prompts, place=place, deep_prompts=DeepPrompts(deep, PLACES[place])
    )
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    gradients = (torch.autograd.grad(y.square().sum(), [prompts, deep]) for y in (found, wanted))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))
        assert float(theirs.abs().max()) > 0


def test_frozen_images_keep_no_gradient(clip, pixels):
    assert not clip.encode_images(pixels).requires_grad


@pytest.mark.parametrize("place", PLACES)
def test_a_reading_has_features_patches_and_states(clip, pixels, place):
    prompts, deep = drawn(2, 48), DeepPrompts(drawn(2, 2, 48, seed=3), PLACES[place])
    tokens = clip.embed_images(pixels)
    keywords = {"prompts": prompts, "place": place, "deep_prompts": deep}
    reading = clip.read_images(tokens, **keywords, layers=(0, 2))
    wanted = clip.encode_images(pixels, **keywords)
    torch.testing.assert_close(reading.features, wanted, rtol=1e-4, atol=1e-5)
    assert reading.patches.shape == (3, 16, 24)
    assert sorted(reading.states) == [0, 2]
    after_last = reading.states[2]
    assert after_last.shape == (3, 1 + 16 + 2, 48)
    patches = after_last[:, 1:17] if place == "last" else after_last[:, 3:]
    wanted = clip.image_projection(clip.image_norm_out(patches))
    torch.testing.assert_close(reading.patches, wanted)


@pytest.fixture(params=["clip", "siglip"])
def vit(request):
    """A ViT with a class token and one without."""
    return request.getfixturevalue(request.param)


def inserted_plainly(vit, x, tokens, first, at):
    """States after the last layer; `at` is where tokens stand before the patches or after them."""
    end = x.shape[1]
    for index, layer in enumerate(vit.image_tower.layers):
        if first <= index < first + len(tokens):
            fresh = tokens[index - first].expand(len(x), -1, -1)
            behind = x[:, at:] if index == first else x[:, at + 2 :]
            if at == end:
                x = torch.cat([x[:, :end], fresh], dim=1)
            else:
                x = torch.cat([x[:, :at], fresh, behind], dim=1)
        x = layer(x, None, False)
    return x


@pytest.mark.parametrize(("first", "layers"), [(1, 1), (1, 2), (2, 1)])
@pytest.mark.parametrize("behind", [True, False])
@pytest.mark.parametrize("shallow", [False, True])
def test_a_tower_may_be_prompted_in_later_layers_alone(vit, pixels, first, layers, behind, shallow):
    tokens = drawn(layers, 2, 48, seed=3)
    prompts = drawn(3, 48) if shallow else None
    start = -2 if behind else vit.image_start
    deep = DeepPrompts(tokens, start, first, insert=True)
    embedded = vit.embed_images(pixels)
    x = vit.prompted(embedded, prompts, "last")
    x = inserted_plainly(vit, x, tokens, first, x.shape[1] if behind else start)
    wanted = vit.pooled(x)
    found = vit.encode_images(pixels, prompts=prompts, deep_prompts=deep)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    learned = [tokens] if prompts is None else [tokens, prompts]
    gradients = (torch.autograd.grad(y.square().sum(), learned) for y in (found, wanted))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))
        assert float(theirs.abs().max()) > 0
    reading = vit.read_images(embedded, prompts=prompts, deep_prompts=deep, layers=[0, 2])
    torch.testing.assert_close(reading.features, found, rtol=1e-4, atol=1e-5)
    assert reading.states[2].shape[1] == reading.states[0].shape[1] + 2 == x.shape[1]
    before = vit.image_start + (0 if behind else 2)
    torch.testing.assert_close(reading.patches, vit.dense(x[:, before : before + 16]))


def test_prompts_that_are_not_inserted_take_the_place_of_what_is_there(vit, pixels):
    tokens = torch.zeros(1, 2, 48)
    found = [
        vit.read_images(
            vit.embed_images(pixels),
            deep_prompts=DeepPrompts(tokens, -2, insert=insert),
            layers=[2],
        )
        for insert in (True, False)
    ]
    assert found[0].states[2].shape[1] == found[1].states[2].shape[1] + 2
    assert not torch.allclose(found[0].features, found[1].features, atol=1e-3)


@pytest.mark.parametrize("start", [3, -1, -5])
def test_prompts_among_the_patches_are_refused(vit, pixels, start):
    deep = DeepPrompts(torch.zeros(1, 2, 48), start, insert=True)
    message = f"position {start} of an image: start={vit.image_start} puts them before the patches"
    with pytest.raises(ValueError, match=message):
        vit.encode_images(pixels, deep_prompts=deep)
    with pytest.raises(ValueError, match=message):
        vit.read_images(vit.embed_images(pixels), deep_prompts=deep)


def test_the_class_token_may_be_kept_alone(clip, pixels):
    tokens = clip.embed_images(pixels)
    every, alone = (clip.read_images(tokens, layers=(0, 2), keep=k) for k in ("all", "class"))
    assert sorted(alone.states) == [0, 2]
    for layer, states in alone.states.items():
        assert torch.equal(states, every.states[layer][:, 0])
        assert states.untyped_storage().nbytes() == 3 * 48 * 4
    assert torch.equal(alone.features, clip.image_outputs(alone.states[2]))


@pytest.mark.parametrize("layer", [-1, 3])
def test_states_of_a_layer_that_is_not_there_are_refused(vit, pixels, layer):
    with pytest.raises(ValueError, match=f"after layer {layer} of a tower of 3 layers: .* 0 to 2"):
        vit.read_images(vit.embed_images(pixels), layers=[layer])


def test_cards_promise_what_there_is(clip, siglip, effnet):
    assert clip.card.capabilities == set(CAPABILITIES)
    assert siglip.card.capabilities == set(CAPABILITIES) - {"class-token"}
    assert effnet.card.capabilities == set()
    with pytest.raises(ValueError, match=r"effnet-minilm has no tokens.* has no patches"):
        effnet.embed_images(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match=r"effnet-minilm has no tokens.* has no patches"):
        effnet.read_images(torch.zeros(1, 2, 4))


def usual(q, k, v, mask):
    scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1) @ v


@torch.no_grad()
def test_attention_may_be_replaced_layer_by_layer(clip, pixels):
    plain = clip.encode_images(pixels)
    same = clip.encode_images(pixels, attention={0: usual, 2: usual})
    torch.testing.assert_close(same, plain, rtol=1e-4, atol=1e-5)
    other = clip.encode_images(pixels, attention={1: lambda q, k, v, mask: v})
    assert not torch.allclose(other, plain, atol=1e-2)


@torch.no_grad()
def test_a_replaced_attention_is_told_what_a_text_may_read(clip, effnet, siglip):
    for backbone in (clip, effnet, siglip):
        tokens = backbone.tokenize(["cat", "a photo of a boat."])
        embedded = backbone.embed(tokens.ids)
        plain = backbone.encode_text(embedded, tokens.end)
        same = backbone.encode_text(embedded, tokens.end, attention={0: usual, 2: usual})
        torch.testing.assert_close(same, plain, rtol=1e-4, atol=1e-5)


def test_an_override_of_a_layer_that_is_not_there_is_refused(clip, pixels):
    with pytest.raises(ValueError, match="layer 3 of a tower of 3 layers: they are 0 to 2"):
        clip.encode_images(pixels, attention={3: usual})


@pytest.mark.parametrize(
    ("shape", "start", "first", "message"),
    [
        ((1, 2, 48), -1, 1, "2 tokens at position -1 do not fit into sequences of 17"),
        ((1, 2, 48), 16, 1, "2 tokens at position 16 do not fit"),
        ((1, 2, 48), 1, 0, "before layers 0 to 0.*layer 0 reads the shallow prompt"),
        ((2, 2, 48), 1, 2, "before layers 2 to 3.*they fit before layers 1 to 2"),
    ],
)
def test_deep_prompts_without_a_place_are_refused(clip, pixels, shape, start, first, message):
    deep = DeepPrompts(torch.zeros(shape), start, first)
    with pytest.raises(ValueError, match=message):
        clip.encode_images(pixels, deep_prompts=deep)


def test_a_cnn_refuses_visual_prompts(effnet):
    with pytest.raises(ValueError, match="has no tokens, so it takes no visual prompts"):
        effnet.encode_images(torch.zeros(1, 3, 224, 224), prompts=torch.zeros(2, 48))


def test_a_folded_quick_gelu_is_the_same_function():
    shape = TowerShape(
        width=8, layers=1, heads=2, mlp_width=12, activation="quick_gelu", norm_eps=1e-5
    )
    tower = Tower(shape).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    wanted = tower(x)
    fold_quick_gelu(tower)
    fold_quick_gelu(tower)  # what is folded already stays
    layer = tower.layers[0]
    assert isinstance(layer, Layer)
    assert layer.activation is F.silu
    assert QUICK_GELU == 1.702
    torch.testing.assert_close(tower(x), wanted, rtol=1e-12, atol=1e-12)
