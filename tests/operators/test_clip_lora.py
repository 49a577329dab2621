"""CLIP-LoRA: its steps, its dropout, and how long it is tuned."""

import math

import pytest
import torch
from torch.nn import functional as F

from operators.backbones import unit
from operators.engine.stacking import run_stacked
from operators.episodes.episode import Batch, FewShot
from operators.episodes.shots import ALL_SHOTS
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve, tuning_of
from operators.tuning import Tuning

ClipLora = METHODS["clip-lora"]
TUNING = Tuning(
    optimizer="adamw", lr=0.01, epochs=3, batch_size=4, warmup_epochs=0, schedule="step"
)  # fmt: skip


def build(clip, classes, **given):
    return ClipLora(clip, classes, generator=torch.Generator().manual_seed(0), **given)


@pytest.fixture
def batch(clip, drawn_pictures):
    source, rows = drawn_pictures(clip, [0, 1, 2, 3]), torch.arange(4)
    return Batch(source, rows.numpy(), rows)


def fitted(clip, classes, batch, seed=0, **given):
    method = build(clip, classes, **given)
    shots = FewShot(1, batch, batch.select(torch.arange(0)))
    method.fit(shots, tuning=TUNING, generator=torch.Generator().manual_seed(seed))
    return method


def test_it_begins_as_the_frozen_towers(clip, classes, batch):
    method = build(clip, classes)
    torch.testing.assert_close(method.image_features(batch), clip.encode_images(batch.pixels))
    wanted = clip.text_features([f"a photo of a {name}." for name in classes.names])
    torch.testing.assert_close(method.weights(), wanted)
    shapes = {name: tuple(p.shape) for name, p in method.named_parameters()}
    assert shapes == {
        "text.down": (3, 3, 2, 32),
        "text.up": (3, 3, 32, 2),
        "image.down": (3, 3, 2, 48),
        "image.up": (3, 3, 48, 2),
    }
    assert float(method.text.down.detach().abs().max()) <= 1 / math.sqrt(32)


def test_loss_and_gradients_are_those_of_whole_changed_weights(clip, classes, batch):
    method = fitted(clip, classes, batch, rank=3, alpha=2.0).train()
    method.zero_grad()
    method.loss(batch).backward()
    scale = 2.0 / math.sqrt(3)
    towers = {"text": clip.text_tower, "image": clip.image_tower}
    changed = {}
    for name, tower in towers.items():
        maps = getattr(method, name)
        own = [p.detach().clone().requires_grad_() for p in (maps.down, maps.up)]
        frozen = torch.stack([layer.qkv.weight for layer in tower.layers])
        changed[name] = own, frozen + scale * (own[1] @ own[0]).flatten(1, 2)

    def read(name, encode):
        named = {f"layers.{i}.qkv.weight": w for i, w in enumerate(changed[name][1])}
        return torch.func.functional_call(_Read(towers[name], encode), {
            f"tower.{key}": value for key, value in named.items()
        })  # fmt: skip

    tokens = clip.tokenize([f"a photo of a {name}." for name in classes.names])
    texts = read("text", lambda: clip.encode_text(clip.embed(tokens.ids), tokens.end))
    images = read("image", lambda: clip.encode_images(batch.pixels))
    logits = clip.logit_scale * unit(images) @ unit(texts).T
    loss = F.cross_entropy(logits, batch.labels)
    loss.backward()
    torch.testing.assert_close(method.loss(batch), loss, rtol=1e-4, atol=1e-4)
    for name, (own, _) in changed.items():
        maps = getattr(method, name)
        for found, wanted in zip((maps.down, maps.up), own, strict=True):
            torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-3, atol=1e-4)


class _Read(torch.nn.Module):
    """A tower whose weights `functional_call` exchanges while something is encoded."""

    def __init__(self, tower, encode):
        super().__init__()
        self.tower = tower
        self.encode = encode

    def forward(self):
        return self.encode()


def test_dropout_is_of_the_tuning_alone_and_repeats_with_its_seed(clip, classes, batch):
    one, same, other, without = (
        fitted(clip, classes, batch, **given) for given in ({}, {}, {"seed": 1}, {"dropout": 0.0})
    )
    assert torch.equal(one.image.up, same.image.up)
    assert not torch.allclose(one.image.up, other.image.up)
    assert not torch.allclose(one.image.up, without.image.up)
    assert torch.equal(one.train().loss(batch), one.loss(batch))
    assert one.noise is None


def test_seeds_that_are_tuned_together_are_those_that_are_tuned_alone(clip, classes, batch):
    alone = [fitted(clip, classes, batch, seed=seed) for seed in (0, 1)]
    together = run_stacked([lambda s=seed: fitted(clip, classes, batch, seed=s) for seed in (0, 1)])
    for found, wanted in zip(together, alone, strict=True):
        assert torch.equal(found.image.up, wanted.image.up)


def test_published_runs_take_500_steps_a_shot():
    def steps(shots, **given):
        values = resolve("clip-lora", ClipLora, given, protocol="few_shot", shots=shots)
        return tuning_of(ClipLora, values).total_steps

    assert [steps(shots) for shots in (1, 16, 32)] == [500, 8000, 16_000]
    assert steps(ALL_SHOTS) == 8000
    assert steps(16, total_steps=320) == 320
    with pytest.raises(ValueError, match="Ask for total_steps=0 as well"):
        steps(16, epochs=3)
