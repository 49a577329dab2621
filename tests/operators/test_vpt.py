"""VPT: the class texts that images are compared to, and how deep the prompts go."""

import pytest
import torch

from operators.backbones import unit
from operators.episodes.episode import Batch, Classes
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve

VPT = METHODS["vpt"]


def build(clip, classes, **given):
    return VPT(clip, classes, generator=torch.Generator().manual_seed(0), **given)


@pytest.mark.parametrize(
    ("template", "sentence"),
    [("a photo of a {}.", "a photo of a {}."), ("", "{} texture.")],
    ids=["published", "the card's"],
)
def test_class_vectors_are_the_frozen_features_of_a_sentence(clip, template, sentence):
    classes = Classes(("cat", "oak tree"), ("{} texture.",))
    method = build(clip, classes, template=template)
    tokens = clip.tokenize([sentence.replace("{}", name) for name in classes.names])
    wanted = unit(clip.encode_text(clip.embed(tokens.ids), tokens.end))
    torch.testing.assert_close(method.train().weights(), wanted)
    assert not method.weights().requires_grad


def test_nothing_but_tokens_of_the_image_tower_is_learned(clip, classes):
    method = build(clip, classes)
    assert {name: tuple(p.shape) for name, p in method.named_parameters()} == {"image": (3, 8, 48)}
    assert list(method.learned()) == ["image"]


def test_depth_one_is_the_shallow_form(clip, classes, drawn_pictures):
    method = build(clip, classes, depth=1)
    assert method.image.shape == (1, 8, 48)
    source, rows = drawn_pictures(clip, [0, 1]), torch.arange(2)
    found = method.image_features(Batch(source, rows.numpy(), rows))
    wanted = clip.encode_images(source.values, prompts=method.image[0], place="second")
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"template": "a photo"}, r"template 'a photo' has no single \{\} for the class name"),
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_starts(given, message):
    with pytest.raises(ValueError, match=message):
        resolve("vpt", VPT, given, protocol="few_shot", shots=4)
