"""Keywords: the words that tell a description from those of the other classes."""

import math

import pytest

from operators.methods.image_classification.text_prompts.keywords import FUNCTION_WORDS, keywords

NAMES = ("cat", "dog", "oak tree")
SAID = (
    ("A cat has soft fur.", "It purrs; soft paws, long tail."),
    ("The dog barks and has a long tail.",),
    ("An oak tree has leaves.", "Green leaves and a green crown."),
)


def test_words_rank_by_how_often_they_are_said_and_of_how_few_classes():
    found = keywords(NAMES, SAID, 10)
    assert found[0] == ("soft", "fur", "purrs", "paws", "long", "tail")
    assert found[2] == ("leaves", "green", "crown")


def test_the_rank_is_the_count_times_the_logarithm_of_rarity():
    said = (("x x x common. rare.",), ("x common.",), ("x.",), ("y.",))
    weight = {"x": 3 * math.log(4 / 3), "common": math.log(4 / 2), "rare": math.log(4)}
    wanted = tuple(sorted(weight, key=lambda word: -weight[word]))
    assert keywords(("a", "b", "c", "d"), said, 3)[0] == wanted == ("rare", "x", "common")


def test_the_first_said_is_first_among_equals_and_the_count_is_kept():
    assert keywords(NAMES, SAID, 2) == [("soft", "fur"), ("barks", "long"), ("leaves", "green")]
    assert keywords(NAMES, SAID, 0) == [(), (), ()]


def test_neither_the_name_nor_a_function_word_is_one():
    found = {word for words in keywords(NAMES, SAID, 99) for word in words}
    assert not found & {"cat", "dog", "oak", "tree"}
    assert not found & FUNCTION_WORDS


def test_what_is_said_of_all_is_said_of_none():
    assert keywords(("cat", "dog"), (("Soft fur.",), ("Fur, soft.",)), 4) == [(), ()]


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0)])
def test_the_order_of_classes_makes_no_difference(order):
    turned = keywords([NAMES[i] for i in order], [SAID[i] for i in order], 4)
    assert turned == [keywords(NAMES, SAID, 4)[i] for i in order]


def test_words_of_other_scripts_and_with_hyphens_are_whole():
    said = (("Ein weiß-grünes Blatt, l\u2019été.",), ("Nichts.",))
    assert keywords(("a", "b"), said, 4)[0] == ("ein", "weiß-grünes", "blatt", "l\u2019été")
