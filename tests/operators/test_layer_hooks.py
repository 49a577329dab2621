"""Hooks change a layer alike in every path through a tower, and their work is counted."""

import copy

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from operators.backbones.towers import packing
from operators.backbones.towers.hooks import LayerHook, Seats
from operators.blocks.hooked_towers import hooked_texts, laid_sentences, last_layers
from operators.engine.accounting import counting
from operators.methods.image_classification.tower_adapters.low_rank import LowRankHook

NAMES = ("cat", "a very small orange boat", "dog", "oak tree", "a", "tree of a dog", "boats")
SENTENCES = [f"a photo of a {name}." for name in NAMES]


def drawn(*shape):
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(shape[-1]))


class Everywhere(LowRankHook):
    """All three places of a layer at once."""

    def after_attention(self, mixed, normed):
        return mixed + normed.square() @ self.down[0].T @ self.up[0].T

    def after_block(self, states, normed):
        return states + (normed @ self.down[1].T).relu() @ self.up[1].T


def hooks(tower, dropout=0.0, kind=Everywhere):
    w = tower.shape.width
    down, up = drawn(3, 2, w).requires_grad_(), drawn(3, w, 2).requires_grad_()
    return {layer: kind(down, up, dropout, 3 * layer) for layer in range(tower.shape.layers)}


def outcome(features, made):
    first = made[0]
    first.down.grad = first.up.grad = None
    features.square().sum().backward()
    return features.detach(), first.down.grad, first.up.grad


@pytest.mark.parametrize("dropout", [0.0, 0.25])
@pytest.mark.parametrize("cost", [0, 1e9], ids=["many rows", "one row"])
@pytest.mark.parametrize("budget", [None, 1], ids=["at once", "in parts, computed again"])
def test_packed_texts_are_those_of_the_plain_path(clip, monkeypatch, dropout, cost, budget):
    monkeypatch.setattr(packing, "PREFIX_COST", cost)
    if budget is not None:
        monkeypatch.setattr(clip, "text_budget", budget)
    prompts, made = laid_sentences(clip, SENTENCES), hooks(clip.text_tower, dropout)
    nothing = prompts.embeddings[:1, :0]
    found = outcome(hooked_texts(clip, prompts, made), made)
    wanted = outcome(clip.encode_prompts_plainly(prompts, nothing, hooks=made), made)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    if dropout:
        assert not any(p.plan.prefix for p in clip.packed_text.pieces(prompts, 1, True, apart=True))


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_images_are_those_of_all_tokens(clip, dropout):
    pixels, made = torch.randn(3, 3, 32, 32), hooks(clip.image_tower, dropout)
    found = outcome(clip.encode_images(pixels, hooks=made), made)
    states = clip.image_tower(clip.embed_images(pixels), hooks=made)
    wanted = outcome(clip.image_outputs(states[:, 0]), made)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_hook_that_changes_nothing_moves_no_bit(clip):
    pixels, prompts = torch.randn(2, 3, 32, 32), laid_sentences(clip, SENTENCES)
    idle = dict.fromkeys(range(3), LayerHook())
    assert torch.equal(clip.encode_images(pixels, hooks=idle), clip.encode_images(pixels))
    assert torch.equal(hooked_texts(clip, prompts, idle), hooked_texts(clip, prompts, None))


def test_low_rank_maps_are_weights_with_a_low_rank_sum(clip):
    pixels, made = torch.randn(2, 3, 32, 32), hooks(clip.image_tower, kind=LowRankHook)
    found = clip.encode_images(pixels, hooks=made)
    twin = copy.deepcopy(clip)
    for index, layer in enumerate(twin.image_tower.layers):
        changes = [up @ down for up, down in zip(made[index].up, made[index].down, strict=True)]
        layer.qkv.weight.data += torch.cat(changes).detach()
    torch.testing.assert_close(found, twin.encode_images(pixels), rtol=1e-4, atol=1e-4)


def test_a_token_is_dropped_alike_wherever_it_is_computed():
    hook = LowRankHook(drawn(3, 2, 8), drawn(3, 8, 2), 0.25, 5)
    x = torch.ones(2, 3, 8)
    whole = hook.dropped(x, 1, Seats(2, 3))
    assert 0 < int((whole == 0).sum()) < 24
    torch.testing.assert_close(whole.unique(), torch.tensor([0.0, 4 / 3]))
    rows, at = torch.arange(2), torch.tensor([2, 0])
    torch.testing.assert_close(
        hook.dropped(x[rows, at], 1, Seats(2, 3, at * 2 + rows)), whole[rows, at]
    )
    longer = hook.dropped(torch.ones(2, 5, 8), 1, Seats(2, 5))
    torch.testing.assert_close(longer[:, :3], whole)
    assert not torch.equal(hook.dropped(x, 2, Seats(2, 3)), whole)


def test_what_is_learned_inside_of_layers_is_counted(clip):
    pixels, prompts = torch.randn(3, 3, 32, 32), laid_sentences(clip, SENTENCES)
    both = hooks(clip.text_tower, kind=LowRankHook), hooks(clip.image_tower, kind=LowRankHook)
    hooked_texts(clip, prompts, both[0])  # lays the classes out

    def run():
        texts = hooked_texts(clip, prompts, both[0])
        (texts.sum() + clip.encode_images(pixels, hooks=both[1]).sum()).backward()

    with counting() as work, sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as torch_:
        run()
    # The first layer's frozen weights have no way back, since nothing before them is learned.
    assert torch_.get_total_flops() <= work.done <= 1.15 * torch_.get_total_flops()
    assert work.plain > work.done


def test_hooks_where_there_is_no_layer_or_no_token_are_refused(clip, effnet):
    outside = {3: LayerHook()}
    with pytest.raises(
        ValueError, match="hook for layer 3 of a tower of 3 layers: they are 0 to 2"
    ):
        clip.encode_images(torch.randn(1, 3, 32, 32), hooks=outside)
    with pytest.raises(ValueError, match="hook for layer 3"):
        hooked_texts(clip, laid_sentences(clip, SENTENCES), outside)
    with pytest.raises(ValueError, match=r"no attention and no hooks.*use a CLIP or SigLIP"):
        effnet.encode_images(torch.randn(1, 3, 224, 224), hooks={0: LayerHook()})


def test_the_last_layers_of_a_shallow_tower_are_all():
    assert list(last_layers(8, 12)) == list(range(4, 12))
    assert list(last_layers(8, 3)) == [0, 1, 2]
