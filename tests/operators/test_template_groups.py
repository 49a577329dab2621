"""Groups of templates: what goes together, in which order, and the features of a group."""

import torch

from operators.backbones import unit
from operators.blocks.imagenet_templates import IMAGENET_60, PHOTOS_8
from operators.methods.image_classification.text_prompts.template_groups import (
    group_vectors,
    template_groups,
)


def sizes(*templates):
    return [len(group) for group in template_groups(templates)]


def test_the_photos_are_grouped_as_the_authors_do():
    assert sizes(*PHOTOS_8) == [1, 1, 4, 2]
    assert sizes("{} texture.", *PHOTOS_8) == [1, 1, 1, 4, 2]  # DTD
    assert sizes("a photo of a person doing {}.", "a {} in a video game.", *PHOTOS_8) == [
        *(1, 1, 1, 1, 4, 2),
    ]  # UCF101


def test_their_longer_lists_are_grouped_as_they_do():
    sized = ("a photo of the large {}.", "a photo of a large {}.")
    small = ("a photo of the small {}.", "a photo of a small {}.")
    eurosat = ("a centered satellite photo of {}.", PHOTOS_8[0], *sized, *small, *PHOTOS_8[2:])
    assert sizes(*eurosat) == [1, 1, 2, 2, 4, 2]
    worse = (
        "a jpeg corrupted photo of the {}.",
        "a blurry photo of a {}.",
        "a bad photo of the {}.",
    )
    assert sizes(*PHOTOS_8[2:6], *worse) == [7]  # ImageNet
    assert sizes("art of the {}.", "a rendering of a {}.", "a rendering of the {}.") == [3]


def test_articles_and_stops_make_no_difference_and_other_words_do():
    assert sizes("itap of a {}.", "itap of the {}", "Itap of {}.") == [3]
    assert (
        sizes("a photo of a {}.", "a photo of my {}.", "a photo of a {}, a type of pet.") == [1] * 3
    )
    assert sizes("a badly lit {}.", "a cartoon {}.", "a bad {}.", "art of a {}.") == [1] * 4


def test_groups_stand_where_their_first_template_does_and_keep_every_template_once():
    groups = template_groups(["b {}", "a bad {}", "the b {}", "c {}", "a blurry {}", "b {}"])
    assert groups == (("b {}", "the b {}"), ("a bad {}", "a blurry {}"), ("c {}",))
    of_imagenet = template_groups(IMAGENET_60)
    assert sorted(t for group in of_imagenet for t in group) == sorted(IMAGENET_60)
    assert max(map(len, of_imagenet)) == 9
    assert len(of_imagenet) == 33


def test_a_group_has_the_mean_of_its_templates(clip, classes):
    groups = (("a {}.",), ("a bad photo of a {}.", "a blurry {}.", "a dark {}."))
    found = group_vectors(clip, classes, groups)
    assert found.shape == (2, len(classes), clip.feature_width)
    for place, name in enumerate(classes.names):
        for vectors, group in zip(found, groups, strict=True):
            own = clip.text_features([template.replace("{}", name) for template in group])
            torch.testing.assert_close(vectors[place], unit(own.mean(0)), rtol=1e-4, atol=1e-5)
