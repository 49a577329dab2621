"""Prompts with places for learned tokens: templates whose own words are learned."""

import pytest
import torch

from operators.methods.image_classification.text_prompts.template_groups import learned_template

TOWERS = ("clip", "siglip", "effnet")
TEMPLATES = (
    "a photo of a {}.",
    "a {} of a photo.",
    "{} a photo",
    "a photo of a {}, a photo of a dog.",
)


@pytest.fixture(params=TOWERS)
def backbone(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("template", [*TEMPLATES, "{}."])
def test_the_start_is_the_template_itself_without_stops(backbone, classes, template):
    prompts, words = learned_template(backbone, classes.names, template)
    written = [template.replace(".", "").replace("{}", name) for name in classes.names]
    wanted = backbone.whole_text_features(written)
    found = backbone.encode_prompts(prompts, words[None])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("template", TEMPLATES)
def test_all_words_are_learned_and_the_name_is_not(backbone, classes, template):
    prompts, words = learned_template(backbone, classes.names, template)
    filled = prompts.fill(torch.full_like(words, 7.0)[None])
    own = backbone.tokenize(list(classes.names))
    for row, end, name, last in zip(filled, prompts.end, own.ids, own.end, strict=True):
        learned = (row == 7).all(dim=1)
        name = name[backbone.text_start : int(last)]
        before = template.replace(".", "").partition("{}")[0].strip()
        head = int(backbone.tokenize([before]).end[0]) - backbone.text_start if before else 0
        spared = learned[backbone.text_start : int(end)].logical_not().nonzero()[:, 0].tolist()
        assert spared == list(range(head, head + len(name)))
        place = backbone.text_start + head
        torch.testing.assert_close(row[place : place + len(name)], backbone.embed(name[None])[0])
        assert not learned[int(end) :].any()


def test_a_template_that_leaves_no_room_for_a_name_is_refused(clip):
    with pytest.raises(ValueError, match="Shorten the class name"):
        learned_template(clip, ["cat"], "dog " * 38 + "{}")
