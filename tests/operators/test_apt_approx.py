"""APT: tokens that act behind attention, and cost nothing in it."""

import pytest
import torch
from torch.nn import functional as F

from operators.backbones import unit
from operators.backbones.towers.transformer import Layer
from operators.engine.accounting import counting
from operators.episodes.episode import Batch
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve

APT, VPT = METHODS["apt-approx"], METHODS["vpt"]


def build(clip, classes, method=APT, **given):
    return method(clip, classes, generator=torch.Generator().manual_seed(0), **given)


@pytest.fixture
def batch(clip, drawn_pictures):
    source, rows = drawn_pictures(clip, [0, 1, 2, 3]), torch.arange(4)
    return Batch(source, rows.numpy(), rows)


def test_a_layer_has_tokens_a_map_of_them_and_a_gain(clip, classes):
    method = build(clip, classes)
    assert {name: tuple(p.shape) for name, p in method.named_parameters()} == {
        "image.tokens": (3, 50, 48),
        "image.down": (3, 4, 48),
        "image.up": (3, 48, 4),
        "image.gain": (3,),
    }
    assert build(clip, classes, depth=2).layers == range(1, 3)


@pytest.mark.parametrize("depth", [2, 12])
def test_loss_and_gradients_are_those_of_the_written_out_layer(
    clip, classes, batch, monkeypatch, depth
):
    method = build(clip, classes, depth=depth, tokens=5, rank=2).train()
    with torch.no_grad():
        method.image.up.normal_(generator=torch.Generator().manual_seed(1))
        method.image.gain.fill_(0.3)
    loss = method.loss(batch)
    loss.backward()
    found = {name: p.grad.clone() for name, p in method.named_parameters()}
    method.zero_grad()
    places = {id(clip.image_tower.layers[layer]): i for i, layer in enumerate(method.layers)}

    def adapted(self, x, mask, causal, *rest):
        b, n, w = x.shape
        y = self.norm1(x)
        parts = self.qkv(y).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(*parts)
        added = self.out(heads.transpose(1, 2).reshape(b, n, w))
        if id(self) in places:
            own, i = method.image, places[id(self)]
            tokens = own.tokens[i]
            amounts = (y @ (tokens + tokens @ own.down[i].T @ own.up[i].T).T).relu()
            most = amounts.max(dim=-1, keepdim=True).values.detach()
            added = (added + most * (amounts @ tokens)) * own.gain[i].exp()
        x = x + added
        return x + self.fc2(self.activation(self.fc1(self.norm2(x))))

    monkeypatch.setattr(Layer, "forward", adapted)
    images = clip.image_outputs(clip.image_tower(clip.embed_images(batch.pixels))[:, 0])
    logits = clip.logit_scale * unit(images) @ method.texts.T
    plain = F.cross_entropy(logits, batch.labels)
    plain.backward()
    torch.testing.assert_close(loss, plain, rtol=1e-4, atol=1e-4)
    for name, parameter in method.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-3, msg=name)


def test_as_many_tokens_cost_less_than_in_the_sequence(clip, classes, batch):
    def operations(built):
        built.train()
        with counting() as work:
            built.loss(batch).backward()
        return work.done

    tokens = 16
    without = operations(build(clip, classes, tokens=1, rank=1))
    beside = operations(build(clip, classes, tokens=tokens))
    among = operations(build(clip, classes, VPT, image_tokens=tokens))
    assert 0 < beside - without < 0.5 * (among - without)


def test_a_template_without_a_place_is_refused():
    with pytest.raises(ValueError, match=r"has no single \{\} for the class name"):
        resolve("apt-approx", APT, {"template": "a photo"}, protocol="few_shot", shots=4)
