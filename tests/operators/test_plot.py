"""PLOT and PLOT++: their steps in plain arithmetic, the two stages, and what is refused."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from operators.backbones import unit
from operators.blocks.optimal_transport import transport_plan
from operators.episodes.episode import FewShot, batch_of
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.methods.image_classification.text_prompts import plot
from operators.tuning import Tuning

PLOT, PLOTPlusPlus = METHODS["plot"], METHODS["plot-plus-plus"]
LABELS = [0, 1, 2, 3, 1, 0]


@pytest.fixture
def shots(clip, drawn_pictures):
    source = drawn_pictures(clip, LABELS)
    every = batch_of(source, np.arange(6), np.array(LABELS), range(4), torch.device("cpu"))
    return FewShot(1, every, every.select(torch.arange(0)))


def build(method, clip, classes, **given):
    return method(clip, classes, generator=torch.Generator().manual_seed(0), **given)


def plain_texts(method, clip):
    """(n, k, d): every text of each context padded and encoded on its own; of any length."""
    prompts = {place: layout for layout, places in method.prompt.layouts for place in places}
    contexts = method.prompt.context
    return torch.stack(
        [
            clip.encode_prompts_plainly(prompts[place], context[None])
            for place, context in enumerate(contexts)
        ]
    )


def plain_logits(clip, images, texts):
    """Of each image and class by itself: the plan of its own, and the similarity that it moves."""
    rows = []
    for image in unit(images):
        logits = []
        for k in range(texts.shape[1]):
            cosines = image @ unit(texts[:, k]).T
            logits.append((transport_plan(cosines.detach()) * cosines).sum())
        rows.append(torch.stack(logits))
    return clip.logit_scale * torch.stack(rows)


def compared(loss, wanted, *parameters):
    torch.testing.assert_close(loss, wanted)
    for parameter in parameters:
        (found,) = torch.autograd.grad(loss, parameter, retain_graph=True)
        (plain,) = torch.autograd.grad(wanted, parameter, retain_graph=True)
        torch.testing.assert_close(found, plain, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("global_logits", [False, True])
def test_a_step_of_plot_is_plain_arithmetic(clip, classes, shots, global_logits):
    batch = shots.train
    method = build(PLOT, clip, classes, n_prompts=3, n_context=2, global_logits=global_logits)
    with torch.no_grad():
        seen = clip.read_images(clip.embed_images(batch.pixels))
    texts = plain_texts(method, clip)
    logits = plain_logits(clip, seen.patches, texts)
    if global_logits:
        logits = logits + clip.logit_scale * unit(seen.features) @ unit(texts.mean(dim=0)).T
    wanted = F.cross_entropy(logits, batch.labels)
    compared(method.loss(batch), wanted, method.prompt.context)


def plain_images(method, clip, batch):
    """(b, M, d): beside each visual set in a pass of its own."""
    each = [clip.encode_images(batch.pixels, prompts=tokens) for tokens in method.image]
    return torch.stack(each, dim=1)


def test_a_step_of_both_stages_of_plot_plus_plus_is_plain_arithmetic(clip, classes, shots):
    batch = shots.train
    phrases = "a photo of a, the photo of a, a photo of the dog"
    method = build(PLOTPlusPlus, clip, classes, n_context=3, context_init=phrases)
    images, texts = plain_images(method, clip, batch), plain_texts(method, clip)
    logits = plain_logits(clip, images, texts)
    wanted = F.cross_entropy(logits, batch.labels)
    compared(method.loss(batch), wanted, method.image, method.prompt.context)
    means = unit(images.mean(dim=1)) @ unit(texts.mean(dim=0)).T
    wanted = F.cross_entropy(logits + clip.logit_scale * means, batch.labels)
    with method.texts_fixed():
        loss = method.loss(batch)
    compared(loss, wanted, method.image)


def test_the_first_stage_moves_visual_sets_alone_and_the_second_all(
    clip, classes, shots, monkeypatch
):
    method = build(PLOTPlusPlus, clip, classes)
    start = {name: value.clone() for name, value in method.learned().items()}
    seen, texts = [], []
    encode = clip.encode_prompts

    def watched(*args, **how):
        texts.append(method.prompt.context.requires_grad)
        return encode(*args, **how)

    def judge(_):
        seen.append({n: not torch.equal(v, start[n]) for n, v in method.learned().items()})
        return 0.0

    monkeypatch.setattr(clip, "encode_prompts", watched)
    tuning = Tuning(lr=0.01, epochs=2, batch_size=6, warmup_epochs=0)
    with method.texts_fixed():
        pass
    assert texts.count(False) == len(method.prompt.layouts)  # once, however long the stage is
    report = method.fit(shots, tuning=tuning, generator=torch.Generator().manual_seed(0))
    assert report.steps == len(report.losses) == 4
    assert texts.count(False) == 2 * len(method.prompt.layouts)
    judge(None)
    assert seen == [{"context": True, "image": True}]
    assert method.fixed is None


def test_phrases_give_contexts_and_no_phrases_as_many_as_visual_sets(clip, classes):
    worded = build(PLOTPlusPlus, clip, classes, context_init="a photo of a, the photo of a")
    random = build(PLOTPlusPlus, clip, classes, context_init="", image_prompts=3)
    assert len(worded.prompt.context) == 2
    assert len(random.prompt.context) == 3
    assert worded.image.shape == (4, 2, clip.image_tower.shape.width)


@pytest.mark.parametrize("name", ["plot", "plot-plus-plus"])
def test_images_that_are_classified_in_parts_have_the_same_logits(
    clip, classes, shots, monkeypatch, name
):
    method = build(METHODS[name], clip, classes).eval()
    whole = method.logits(shots.train).detach()
    monkeypatch.setattr(plot, "NUMBERS", 1)
    monkeypatch.setattr(f"{PLOTPlusPlus.__module__}.IMAGE_ROWS", 8)
    with torch.no_grad():
        torch.testing.assert_close(method.logits(shots.train), whole, rtol=1e-4, atol=1e-4)


def test_a_phrase_of_few_words_is_refused():
    given = {"context_init": "a photo of a, this is a"}
    with pytest.raises(ValueError, match="n_context=4, but context_init 'this is a' has 3 words"):
        resolve("plot-plus-plus", PLOTPlusPlus, given, protocol="few_shot", shots=4)


def test_plot_learns_on_a_resnet_as_it_was_published(clip_resnet, classes, drawn_pictures):
    source = drawn_pictures(clip_resnet, LABELS)
    batch = batch_of(source, np.arange(6), np.array(LABELS), range(4), torch.device("cpu"))
    method = build(PLOT, clip_resnet, classes, n_context=2)
    loss = method.loss(batch)
    loss.backward()
    assert float(method.prompt.context.grad.abs().max()) > 0
