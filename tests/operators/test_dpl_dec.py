"""DPL: what it becomes without its two parts, its logits in plain form, and what is refused."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from operators.backbones import DeepPrompts
from operators.episodes.episode import Batch, Classes
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.methods.image_classification.deep_prompts.decoupled_attention import (
    DecoupledAttention,
    Strengths,
)

DPL = METHODS["dpl-dec"]
LABELS = [0, 1, 2, 3, 0, 1]
USUAL = {"prompt_to_instance": 1.0, "instance_to_instance": 1.0}


def build(backbone, classes, method=DPL, **given):
    return method(backbone, classes, generator=torch.Generator().manual_seed(0), **given)


@pytest.fixture
def batch(clip, drawn_pictures):
    return Batch(drawn_pictures(clip, LABELS), np.arange(6), torch.tensor(LABELS))


def test_without_strengths_and_conditioning_it_is_ivlp_before_whole_sentences(clip, classes, batch):
    method = build(clip, classes, conditioned=False, **USUAL).train()
    sentences = Classes(tuple(f"a photo of a {name}" for name in classes.names), ("{}.",))
    twin = build(clip, sentences, METHODS["ivlp"], context_init="").train()
    twin.load_state_dict(method.state_dict())
    torch.testing.assert_close(method.loss(batch), twin.loss(batch))


@pytest.mark.parametrize("conditioned", [True, False])
def test_logits_are_those_of_towers_with_decoupled_attention(
    clip, classes, precise, drawn_pictures, conditioned
):
    twin = precise(clip)
    given = {"prompt_to_instance": 3.0, "instance_to_prompt": 0.5, "instance_to_instance": 2.0}
    method = build(
        twin, classes, text_tokens=2, image_tokens=3, text_depth=2, image_depth=2,
        conditioned=conditioned, **given,
    ).double().train()  # fmt: skip
    source = drawn_pictures(clip, LABELS)
    source.values = source.values.double()
    batch = Batch(source, np.arange(6), torch.tensor(LABELS))

    strengths = Strengths(1.0, 3.0, 0.5, 2.0)
    texts = dict.fromkeys(range(3), DecoupledAttention(1, 2, strengths))
    images = dict.fromkeys(range(3), DecoupledAttention(-3, 3, strengths))
    deep = DeepPrompts(method.text[1:], start=1)
    first = method.reading(method.text[0]) if conditioned else method.text[:1]
    t = twin.encode_prompts_plainly(method.prompts, first, deep, texts)
    deep = DeepPrompts(method.image[1:], start=-3)
    i = twin.encode_images(
        batch.pixels, prompts=method.image[0], deep_prompts=deep, attention=images
    )
    wanted = twin.logit_scale * F.normalize(i) @ F.normalize(t).T
    torch.testing.assert_close(method.logits(batch), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "name", ["prompt_to_prompt", "prompt_to_instance", "instance_to_prompt", "instance_to_instance"]
)
def test_every_process_decides_in_shallow_prompts(clip, classes, batch, name):
    shallow = {"text_depth": 1, "image_depth": 1}
    one = build(clip, classes, **shallow).eval().logits(batch)
    other = build(clip, classes, **shallow, **{name: 5.0}).eval().logits(batch)
    assert (one - other).abs().max() > 1e-4


def test_the_words_of_the_sentence_stay_behind_the_prompts(clip, classes):
    method = build(clip, classes)
    words = clip.tokenize(["X X X X a photo of a cat."]).ids[0]
    assert torch.equal(method.prompts.ids[0, : len(words)], words)
    assert method.prompts.slots.tolist() == [[1, 2, 3, 4]] * 4


def test_an_empty_template_is_that_of_the_card(clip):
    classes = Classes(("cat", "dog"), ("{} of a tree.",))
    method = build(clip, classes, template="")
    words = clip.tokenize(["X X X X dog of a tree."]).ids[0]
    assert torch.equal(method.prompts.ids[1, : len(words)], words)


def test_nothing_is_learned_but_the_prompts(clip, classes):
    learned = {name: tuple(p.shape) for name, p in build(clip, classes).named_parameters()}
    assert learned == {"text": (3, 4, 32), "image": (3, 4, 48)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"template": "a photo"}, "template 'a photo' has no single {} for the class name"),
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_starts(given, message):
    with pytest.raises(ValueError, match=message):
        resolve("dpl-dec", DPL, given, protocol="few_shot", shots=4)
