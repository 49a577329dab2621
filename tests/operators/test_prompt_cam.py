"""Prompt-CAM: its pass against one written out by layers, what is dropped, and its pictures."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from operators.episodes.episode import Evaluation, batch_of
from operators.methods import METHODS
from operators.methods.image_classification.deep_prompts.class_tokens import (
    ClassTokenAttention,
    class_states,
)
from operators.trials.looking import GAP, SIDE, drawn, looked_at, restored

pytestmark = pytest.mark.bits

PromptCAM = METHODS["prompt-cam"]
LABELS = [0, 1, 2, 3, 1]


@pytest.fixture
def built(clip, classes):
    method = PromptCAM(clip, classes, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        method.head.mul_(5)
    return method.eval()


@pytest.fixture
def source(clip, drawn_pictures):
    return drawn_pictures(clip, LABELS)


@pytest.fixture
def images(source):
    return batch_of(source, np.arange(5), np.array(LABELS), range(4), torch.device("cpu"))


def written_out(clip, pixels, tokens):
    """States of the class tokens, and what they attend to, with tokens put in front and let go."""
    x, layers = clip.embed_images(pixels), clip.image_tower.layers
    for layer, own in zip(layers, tokens, strict=True):
        x = torch.cat([own.expand(len(x), -1, -1), x], dim=1)
        b, n, w = x.shape
        q, k, v = layer.project(x).view(b, n, 3, layer.heads, -1).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(2, 3) / (w / layer.heads) ** 0.5).softmax(dim=3)
        x = layer.finish(x, (weights @ v).transpose(1, 2).reshape(b, n, w))
        states, x = x[:, : len(own)], x[:, len(own) :]
    return clip.image_norm_out(states), weights[:, :, : len(own), len(own) + 1 :]


def test_a_class_is_scored_by_its_own_token_after_the_last_layer(clip, built, images):
    tokens = built.tokens.detach().clone().requires_grad_()
    head = built.head.detach().clone().requires_grad_()
    logits = written_out(clip, images.pixels, tokens)[0] @ head
    loss = F.cross_entropy(logits, images.labels)
    loss.backward()
    torch.testing.assert_close(built.logits(images), logits, rtol=1e-4, atol=1e-4)
    built.dropout = 0.0
    found = built.train().loss(images)
    found.backward()
    torch.testing.assert_close(found, loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(built.tokens.grad, tokens.grad, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(built.head.grad, head.grad, rtol=1e-3, atol=1e-5)


def test_attention_is_that_of_the_token_of_the_class_asked_for_over_the_patches(
    clip, built, images
):
    weights = written_out(clip, images.pixels, built.tokens)[1]
    wanted = torch.stack([weights[row, :, label] for row, label in enumerate(LABELS)])
    found = built.attention(images, images.labels)
    torch.testing.assert_close(found, wanted.detach(), rtol=1e-4, atol=1e-6)
    other = built.attention(images, 3 - images.labels)
    assert not torch.allclose(found, other, atol=1e-5)


def test_watching_changes_nothing(clip, built, images):
    watch = ClassTokenAttention(4)
    seen = class_states(clip, images.pixels, built.tokens, watch)
    torch.testing.assert_close(
        seen, class_states(clip, images.pixels, built.tokens), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(watch.weights.sum(dim=3), torch.ones(5, 3, 4))


def test_a_step_drops_numbers_by_the_generator_of_the_trial_and_raises_the_others(built):
    assert built.shown_tokens() is built.tokens
    built.train().dropout = 0.25
    built.generator = torch.Generator().manual_seed(3)
    first, second = built.shown_tokens(), built.shown_tokens()
    assert not torch.equal(first, second)
    built.generator = torch.Generator().manual_seed(3)
    assert torch.equal(built.shown_tokens(), first)
    kept = first != 0
    assert float(kept.float().mean()) == pytest.approx(0.75, abs=0.05)
    torch.testing.assert_close(first[kept], built.tokens[kept] / 0.75)


def test_the_tokens_start_as_vpts_authors_draw_them(clip, built):
    layers, classes, width = built.tokens.shape
    assert (layers, classes) == (len(clip.image_tower.layers), 4)
    bound = (6 / (3 * 8 * 8 + width)) ** 0.5
    assert 0.9 * bound < float(built.tokens.detach().abs().max()) <= bound


def test_a_picture_has_a_line_a_class_and_a_column_a_head(built, source, clip):
    tested = Evaluation("all", (0, 1, 2, 3), np.array([4, 0, 2]))
    picture = looked_at(built, source, np.array(LABELS), tested)
    heads = clip.image_tower.shape.heads
    side = SIDE + GAP
    opened = Image.open(io.BytesIO(picture))
    assert (opened.format, opened.size) == ("WEBP", ((2 + heads) * side - GAP, 3 * side - GAP))


def test_there_is_no_picture_of_methods_that_do_not_say_nor_of_other_data(
    built, source, clip, classes
):
    tested, labels = Evaluation("all", (0, 1, 2, 3), np.arange(5)), np.array(LABELS)
    other = METHODS["vpt"](clip, classes, generator=torch.Generator())
    assert looked_at(other, source, labels, tested) is None
    elsewhere = Evaluation("pets", (0, 1), np.arange(2), dataset="pets")
    assert looked_at(built, source, labels, elsewhere) is None


def test_maps_lie_where_their_patches_are():
    images, maps = torch.full((1, 3, 8, 8), 0.5), torch.zeros(1, 1, 16)
    maps[0, 0, 3] = 1  # of four by four patches the one on the upper right
    sheet = np.asarray(Image.open(io.BytesIO(drawn(images, maps))).convert("L"), dtype=float)
    laid = sheet[:, SIDE + GAP :].reshape(4, SIDE // 4, 4, SIDE // 4).mean(axis=(1, 3))
    assert laid.argmax() == 3


def test_pixels_are_restored_to_what_was_decoded(clip):
    mean, std = (
        torch.tensor(part).view(3, 1, 1) for part in (clip.preprocess.mean, clip.preprocess.std)
    )
    wanted = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(restored((wanted - mean) / std, clip.preprocess), wanted)
