"""ATPrompt: its prompts written out under each host, its attributes, and what it refuses."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from operators.backbones import DeepPrompts, unit
from operators.episodes.episode import batch_of
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve

ATPrompt = METHODS["atprompt"]
LABELS = [0, 1, 2, 3, 1]


def build(backbone, classes, **given):
    return ATPrompt(backbone, classes, generator=torch.Generator().manual_seed(0), **given)


@pytest.fixture
def batch(clip, drawn_pictures):
    pictures = drawn_pictures(clip, LABELS)
    return batch_of(pictures, np.arange(5), np.array(LABELS), range(4), clip.device)


def written_out(method, clip, name, words, shift=0.0):
    """The feature of one prompt, put together piece by piece and encoded on its own."""
    m, prompt = 2, method.prompt
    context = prompt.text[0] if method.host.reads_images else prompt.context.view(m, -1) + shift
    pieces = [clip.embed(clip.tokenize(["X"]).ids)[0, :1]]
    for place, word in enumerate(words):
        tokens = clip.tokenize([word])
        own = method.attribute_tokens[m * place : m * place + m]
        pieces += [own, clip.embed(tokens.ids)[0, 1 : int(tokens.end)]]
    start = sum(map(len, pieces))
    tokens = clip.tokenize([f"{name}."])
    pieces += [context, clip.embed(tokens.ids)[0, 1 : int(tokens.end) + 1]]
    whole = torch.cat(pieces)
    deep = DeepPrompts(prompt.text[1:], start=start) if method.host.reads_images else None
    return clip.encode_text(whole[None], torch.tensor([len(whole) - 1]), deep)[0]


@pytest.mark.parametrize("host", ["coop", "cocoop", "maple"])
@pytest.mark.parametrize("words", [["color"], ["playful", "red"], ["color", "red", "size"]])
def test_a_step_is_that_of_prompts_written_out(clip, classes, batch, moved, host, words):
    method = moved(build(clip, classes, host=host, attributes=", ".join(words))).train()
    images = batch.features
    shifts = [0.0] * len(images)
    if host == "maple":
        images = method.prompt.image_features(batch)
    if host == "cocoop":
        p = method.prompt
        shifts = list(p.widen(F.relu(p.narrow(unit(images)))))
    rows = [0] if host != "cocoop" else range(len(images))
    texts = [
        torch.stack([written_out(method, clip, name, words, shifts[i]) for name in classes.names])
        for i in rows
    ]
    texts = unit(torch.stack(texts)).expand(len(images), -1, -1)
    logits = clip.logit_scale * (unit(images)[:, None] * texts).sum(dim=-1)
    wanted = F.cross_entropy(logits, torch.tensor(LABELS))
    learned = list(method.parameters())
    gradients = torch.autograd.grad(wanted, learned)
    loss = method.loss(batch)
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-5)
    for found, gradient in zip(torch.autograd.grad(loss, learned), gradients, strict=True):
        limit = 1e-4 * max(1e-3, float(gradient.abs().max()))
        torch.testing.assert_close(found, gradient, rtol=0, atol=limit)


def test_published_attributes_are_those_of_the_dataset_and_imagenet_s_elsewhere():
    def found(dataset, protocol="few_shot"):
        return resolve("atprompt", ATPrompt, {}, protocol=protocol, shots=16, dataset=dataset)

    assert found("flowers102")["attributes"] == "color, habitat, growth"
    assert found("imagenet")["attributes"] == found("digits")["attributes"] == "color, shape"
    elsewhere = found("imagenet", "cross_dataset")
    assert (elsewhere["n_context"], elsewhere["epochs"]) == (4, 10)


def test_attributes_without_a_word_are_refused():
    with pytest.raises(ValueError, match="attributes=' ,' has no word"):
        resolve("atprompt", ATPrompt, {"attributes": " ,"}, protocol="few_shot", shots=4)


def test_a_depth_is_refused_where_the_host_has_one_layer():
    assert "Ask for host=maple" in ATPrompt.idle({"host": "coop"})["depth"]
    assert ATPrompt.idle({"host": "maple"}) == {}
