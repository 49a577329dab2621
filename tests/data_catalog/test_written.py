"""Sets of sentences that a grammar writes."""

from dataclasses import replace

import pytest

from data_catalog import CATALOG
from data_catalog.datasets import mini_reviews, mini_topics

WRITTEN = ("mini-reviews", "mini-topics")


def sentences(source, split):
    return [row.content.decode() for row in source.examples() if row.split == split]


@pytest.mark.parametrize("name", WRITTEN)
def test_no_sentence_is_there_twice(name):
    texts = [row.content for row in CATALOG[name].source.examples()]
    assert len(set(texts)) == len(texts) == CATALOG[name].source.total()


@pytest.mark.parametrize("name", WRITTEN)
def test_a_card_says_that_its_sentences_are_generated(name):
    card = CATALOG[name]
    assert "Generated" in card.description
    assert "Generated" in card.trouble


@pytest.mark.parametrize("module", [mini_reviews, mini_topics])
def test_what_is_held_out_for_test_is_in_no_other_split(module):
    for name in module.CLASSES:
        assert not set(module.SEEN[name]) & set(module.HELD_OUT[name])
    held_out = {word for words in module.HELD_OUT.values() for word in words}
    for split in ("train", "val"):
        for text in sentences(module.SOURCE, split):
            assert not [word for word in held_out if f" {word} " in f" {text.lower().strip('.')} "]


@pytest.mark.parametrize("module", [mini_reviews, mini_topics])
def test_every_sentence_of_test_has_a_word_that_is_held_out(module):
    held_out = {word.lower() for words in module.HELD_OUT.values() for word in words}
    for text in sentences(module.SOURCE, "test"):
        assert any(word in text.lower() for word in held_out), text


def test_a_grammar_that_runs_out_of_sentences_says_so():
    source = replace(CATALOG["mini-topics"].source, per_class={"train": 100_000})
    with pytest.raises(ValueError, match="too few sentences for 100000 of food in train"):
        list(
            replace(source, write=lambda rng, name, split: f"{name} {rng.randrange(3)}").examples()
        )
