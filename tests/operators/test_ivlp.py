"""IVLP's prompts: where they start, what they count, and what is refused."""

import pytest
import torch

from operators.blocks.deep_tokens import prompted_images, prompted_texts
from operators.blocks.prompt_tokens import worded_context
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve

IVLP = METHODS["ivlp"]


def build(clip, classes, **given):
    return IVLP(clip, classes, generator=torch.Generator().manual_seed(0), **given)


def test_the_first_text_layer_starts_from_the_words_and_all_others_near_zero(clip, classes):
    method = build(clip, classes)
    assert torch.equal(method.prompt.text.detach()[:1], worded_context(clip, "a photo of a"))
    rest = torch.cat(
        [method.prompt.text.detach()[1:].flatten(), method.prompt.image.detach().flatten()]
    )
    assert float(rest.std()) == pytest.approx(0.02, rel=0.1)


def test_both_towers_are_prompted_in_all_their_layers_where_there_are_fewer_than_nine(
    clip, classes
):
    method = build(clip, classes)
    assert method.prompt.text.shape == (3, 4, 32)
    assert method.prompt.image.shape == (3, 4, 48)


def test_depths_and_lengths_of_the_towers_are_apart(clip, classes):
    method = build(clip, classes, text_tokens=2, image_tokens=5, text_depth=1, image_depth=2)
    assert method.prompt.text.shape == (1, 2, 32)
    assert method.prompt.image.shape == (2, 5, 48)


def test_logits_are_scaled_cosines_of_prompted_images_and_texts(
    clip, classes, drawn_pictures, few_shot
):
    method = build(clip, classes).eval()
    batch = few_shot(24, [0, 1, 2, 3]).train
    batch._source = drawn_pictures(clip, [0, 1, 2, 3])
    with torch.no_grad():
        images = prompted_images(clip, batch, method.prompt.image)
        texts = prompted_texts(clip, method.prompt.layout, method.prompt.text)
        found = method.logits(batch)
    cosine = torch.nn.functional.cosine_similarity(images[:, None], texts[None], dim=2)
    torch.testing.assert_close(found, clip.logit_scale * cosine, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"text_tokens": 5}, "text_tokens=5, but context_init 'a photo of a' has 4 words"),
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_starts(given, message):
    with pytest.raises(ValueError, match=message):
        resolve("ivlp", IVLP, given, protocol="few_shot", shots=4)
