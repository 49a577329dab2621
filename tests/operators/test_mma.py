"""MMA: adapters beside layers, and gradients that do not see their scale."""

import pytest
import torch
from torch.nn import functional as F

from operators.backbones import unit
from operators.backbones.towers.transformer import Layer
from operators.episodes.episode import Batch
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve

MMA = METHODS["mma"]


def build(clip, classes, **given):
    return MMA(clip, classes, generator=torch.Generator().manual_seed(0), **given)


@pytest.fixture
def batch(clip, drawn_pictures):
    source, rows = drawn_pictures(clip, [0, 1, 2, 3]), torch.arange(4)
    return Batch(source, rows.numpy(), rows)


def test_a_depth_of_eight_is_every_layer_of_towers_that_have_fewer(clip, classes):
    shapes = {n: tuple(p.shape) for n, p in build(clip, classes).named_parameters()}
    assert shapes == {
        "text.down.weight": (3, 32, 32),
        "text.down.bias": (3, 32),
        "text.up.weight": (3, 32, 32),
        "text.up.bias": (3, 32),
        "image.down.weight": (3, 32, 48),
        "image.down.bias": (3, 32),
        "image.up.weight": (3, 48, 32),
        "image.up.bias": (3, 48),
        "shared.weight": (3, 32, 32),
        "shared.bias": (3, 32),
    }
    assert build(clip, classes, depth=2).layers == [range(1, 3), range(1, 3)]


def test_loss_is_that_of_written_out_adapters_and_gradients_are_over_the_scale(
    clip, classes, batch, monkeypatch
):
    scale = 0.05
    method = build(clip, classes, depth=2, inner_width=6, scale=scale).train()
    loss = method.loss(batch)
    loss.backward()
    places = {
        id(tower.layers[layer]): (own, index)
        for tower, own, layers in zip(
            (clip.text_tower, clip.image_tower),
            (method.text, method.image),
            method.layers,
            strict=True,
        )
        for index, layer in enumerate(layers)
    }
    found = {name: p.grad.clone() for name, p in method.named_parameters()}
    method.zero_grad()
    frozen = Layer.forward

    def adapted(self, x, *rest):
        y = frozen(self, x, *rest[:3])
        if id(self) not in places:
            return y
        own, index = places[id(self)]
        h = self.norm1(x)
        for maps in (own.down, method.shared):
            h = F.relu(h @ maps.weight[index].T + maps.bias[index])
        return y + scale * (h @ own.up.weight[index].T + own.up.bias[index])

    monkeypatch.setattr(Layer, "forward", adapted)
    tokens = clip.tokenize([f"a photo of a {name}." for name in classes.names])
    texts = clip.encode_text(clip.embed(tokens.ids), tokens.end)
    images = clip.image_outputs(clip.image_tower(clip.embed_images(batch.pixels))[:, 0])
    logits = clip.logit_scale * unit(images) @ unit(texts).T
    plain = F.cross_entropy(logits, batch.labels)
    plain.backward()
    torch.testing.assert_close(loss, plain, rtol=1e-4, atol=1e-4)
    for name, parameter in method.named_parameters():
        wanted = parameter.grad / scale
        torch.testing.assert_close(found[name], wanted, rtol=1e-3, atol=1e-3, msg=name)


def test_a_template_without_a_place_is_refused():
    with pytest.raises(ValueError, match=r"has no single \{\} for the class name"):
        resolve("mma", MMA, {"template": "a photo"}, protocol="few_shot", shots=4)
