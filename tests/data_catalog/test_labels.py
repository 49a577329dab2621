"""How labels and names of a source meet those of a card."""

import pytest

from data_catalog import DatasetCard, ImageFolder
from data_catalog.labels import resolve_labels


def resolve(labels, names, **fields):
    card = DatasetCard(name="pets", source=ImageFolder("/nowhere"), **fields)
    size = len(labels or names)
    paths = [f"{row}.png" for row in range(size)]
    return resolve_labels(card, labels or [None] * size, names or [None] * size, paths)


def test_names_alone_are_sorted():
    assert resolve(None, ["dog", "cat", "dog"])[:2] == ([1, 0, 1], ("cat", "dog"))


def test_names_that_are_numbers_are_sorted_by_value():
    assert resolve(None, ["10", "2", "1"]).classes == ("1", "2", "10")


def test_names_are_matched_to_the_card_whatever_their_underscores():
    found = resolve(None, ["Baseball_Glove", "cat"], classes=("cat", "baseball glove"))
    assert found[:2] == ([1, 0], ("cat", "baseball glove"))


def test_wordnet_folders_take_the_names_of_the_card_in_sorted_order():
    found = resolve(None, ["n01443537", "n01440764"], classes=("tench", "goldfish"))
    assert found.labels == [1, 0]


def test_words_that_are_not_those_of_the_card_are_never_matched_by_position():
    with pytest.raises(ValueError, match=r"has no class 'cat' \(2 of 2 names are unknown\)"):
        resolve(None, ["cat", "dog"], classes=("tabby", "poodle"))


def test_labels_with_names_are_taken_as_they_are():
    assert resolve([1, 0], ["b", "a"])[:2] == ([1, 0], ("a", "b"))


def test_labels_from_one_are_renumbered_and_the_card_says_so():
    found = resolve([1, 3, 1], ["a", "c", "a"])
    assert found[:2] == ([0, 1, 0], ("a", "c"))
    assert "1, 3 of the source renumbered" in found.rule


def test_the_card_may_write_a_class_as_a_person_would():
    assert resolve([0, 1], ["cls_a", "cls_b"], classes=("cat", "dog")).classes == ("cat", "dog")


def test_a_card_in_another_order_than_the_source_is_refused():
    with pytest.raises(ValueError, match="calls label 0 'dog', which the card has at 1"):
        resolve([0, 1], ["dog", "cat"], classes=("cat", "dog"))


def test_a_label_with_two_names_is_refused():
    with pytest.raises(ValueError, match="label 0 has two class names, 'cat' and 'kitten'"):
        resolve([0, 0, 1], ["cat", "kitten", "dog"])


def test_two_labels_of_one_name_need_a_declaration():
    with pytest.raises(ValueError, match="declare duplicate_class_names"):
        resolve([0, 1], ["crane", "crane"])
    assert resolve([0, 1], ["crane", "crane"], duplicate_class_names=True).labels == [0, 1]


def test_labels_without_any_name_are_refused():
    with pytest.raises(ValueError, match="labels 0, 1 have no class name"):
        resolve([0, 1], None)


def test_a_label_beyond_the_card_is_refused():
    with pytest.raises(ValueError, match="label 2 is found, while the card names 2 classes"):
        resolve([0, 2], None, classes=("cat", "dog"))


@pytest.mark.parametrize(
    ("labels", "names"), [([0, -1], ["a", "b"]), ([0, None], ["a", None]), (None, ["a", " "])]
)
def test_a_row_without_label_is_refused_by_path(labels, names):
    with pytest.raises(ValueError, match=r"1 of 2 rows have no label: 1\.png"):
        resolve(labels, names)
