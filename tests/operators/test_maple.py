"""MaPLe's coupling: the image prompts are linear maps of the text prompts, and nothing else."""

import pytest
import torch

from operators.backbones import DeepPrompts
from operators.blocks.deep_prompts import LayerMaps
from operators.blocks.prompt_tokens import worded_context
from operators.episodes.episode import Batch
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve

MaPLe = METHODS["maple"]


def build(clip, classes, **given):
    return MaPLe(clip, classes, generator=torch.Generator().manual_seed(0), **given)


@pytest.fixture
def batch(clip, drawn_pictures):
    rows = torch.arange(4)
    return Batch(drawn_pictures(clip, [0, 1, 2, 3]), rows.numpy(), rows)


def test_image_prompts_are_the_mapped_text_prompts_layer_by_layer(clip, classes, batch):
    method = build(clip, classes)
    text, weight, bias = (
        method.prompt.text,
        method.prompt.coupling.weight,
        method.prompt.coupling.bias,
    )
    mapped = torch.stack([text[j] @ weight[j].T + bias[j] for j in range(3)])
    deep = DeepPrompts(mapped[1:], start=-2)
    wanted = clip.encode_images(batch.pixels, prompts=mapped[0], deep_prompts=deep)
    torch.testing.assert_close(method.image_features(batch), wanted, rtol=1e-5, atol=1e-5)


def test_images_teach_the_text_prompts_of_every_layer(clip, classes, batch):
    method = build(clip, classes).train()
    method.image_features(batch).square().sum().backward()
    assert (method.prompt.text.grad.abs().sum(dim=(1, 2)) > 0).tolist() == [True, True, True]


def test_two_of_four_words_are_learned_and_the_others_stay(clip, classes):
    method = build(clip, classes)
    assert method.prompt.text.shape == (3, 2, 32)
    assert torch.equal(method.prompt.text.detach()[:1], worded_context(clip, "a photo"))
    words = clip.tokenize(["a photo of a cat."]).ids[0]
    assert torch.equal(method.prompt.layout.ids[0, : len(words)], words)
    assert method.prompt.layout.slots[0].tolist() == [1, 2]


def test_depth_one_is_the_shallow_form(clip, classes, batch):
    method = build(clip, classes, depth=1)
    assert method.prompt.text.shape == (1, 2, 32)
    assert method.prompt.coupling.weight.shape == (1, 48, 32)
    wanted = clip.encode_images(batch.pixels, prompts=method.prompt.coupling(method.prompt.text)[0])
    torch.testing.assert_close(method.image_features(batch), wanted)


def test_at_the_published_size_it_learns_as_many_numbers_as_published():
    coupling = LayerMaps(
        9, 512, 768, generator=torch.Generator().manual_seed(0), device=torch.device("cpu")
    )
    learned = 9 * 2 * 512 + sum(p.numel() for p in coupling.parameters())
    assert learned == 3_555_072  # 3.55 million in table 6 of the paper


def test_other_datasets_are_asked_about_with_the_published_shallow_recipe():
    assert MaPLe.recipe(protocol="base_to_new", shots=16, dataset="digits") == {}
    wanted = {"lr": 0.0026, "epochs": 2, "depth": 3}
    assert MaPLe.recipe(protocol="cross_dataset", shots=16, dataset="digits") == wanted


def test_more_tokens_than_words_are_refused_before_anything_starts():
    with pytest.raises(ValueError, match="n_context=5, but context_init 'a photo of a' has 4"):
        resolve("maple", MaPLe, {"n_context": 5}, protocol="few_shot", shots=4)
