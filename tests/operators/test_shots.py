"""Shots as a number, as a word, and in order."""

import pytest

from operators.episodes.shots import ALL_SHOTS, shots_of, shots_order, shots_said, shots_word
from operators.methods import METHODS
from operators.methods.hyperparameters import published


def test_all_is_minus_one_and_comes_after_every_number():
    assert (shots_of("all"), shots_of("16"), shots_of(0)) == (ALL_SHOTS, 16, 0) == (-1, 16, 0)
    assert sorted([ALL_SHOTS, 100_000, 0, 2], key=shots_order) == [0, 2, 100_000, ALL_SHOTS]
    assert [shots_word(k) for k in (0, 16, ALL_SHOTS)] == ["0", "16", "all"]
    assert [shots_said(k) for k in (1, 16, ALL_SHOTS)] == ["1 shot", "16 shots", "all shots"]


def test_another_word_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="shots 'every': give a whole number, or all"):
        shots_of("every")


def test_with_all_shots_published_settings_are_those_of_many():
    for name in ("coop", "prograd"):
        place = {"protocol": "few_shot", "dataset": "eurosat"}
        assert published(METHODS[name], shots=ALL_SHOTS, **place) == published(
            METHODS[name], shots=16, **place
        )
