"""Functions that hyperparameters name: those that ship, a user's own, and what is refused."""

from typing import Annotated

import numpy as np
import pytest
import torch

from operators import functions
from operators.bounds import described, read
from operators.functions import Functions, add_own, is_known, own_name

ROLE = Functions("a judge", ("text", "count"), "a number", {"length": lambda text, count: count})
NAME = own_name("mine:judge", "0123456789abcdef")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(functions, "_OWN", {})


def test_a_function_that_ships_is_found_by_its_name():
    assert ROLE.find("length")("cat", 3) == 3
    assert read("judge", "length", Annotated[str, ROLE], "length") == "length"


def test_a_users_own_is_found_once_its_file_is_loaded():
    with pytest.raises(ValueError, match="is not a judge"):
        ROLE.find(NAME)
    add_own(NAME, lambda text, count: text * count)
    assert is_known(NAME)
    assert ROLE.find(NAME)("ab", 2) == "abab"


def test_an_unknown_name_says_what_there_is_and_how_ones_own_is_given():
    with pytest.raises(ValueError) as refused:
        read("m.judge", "lenght", Annotated[str, ROLE], "length")
    said = str(refused.value)
    assert said == (
        "m.judge: 'lenght' is not a judge: give length or a function of your own as "
        "./FILE.py:NAME, which is called with (text, count) and gives a number. "
        "Did you mean length?"
    )


def test_a_function_of_other_arguments_is_refused():
    add_own(NAME, lambda text: text)
    with pytest.raises(ValueError, match=r"called with \(text, count\): too many positional"):
        ROLE.find(NAME)


def test_lists_show_both_ways():
    told = described(Annotated[str, ROLE])
    assert told == "length or a function of your own as ./FILE.py:NAME"


@pytest.mark.parametrize(
    ("reads", "given", "said"),
    [
        (functions.texts_of, "a {}.", "gave 'a {}.'"),
        (functions.texts_of, None, "gave None"),
        (functions.texts_of, ["a {}.", 3.0], "gave a list with 3.0 in it"),
        (functions.nats_of, "5", "gave '5'"),
        (functions.nats_of, float("nan"), "gave nan"),
        (functions.nats_of, float("inf"), "gave inf"),
        (functions.nats_of, -1, "gave -1"),
        (functions.nats_of, None, "gave None"),
    ],
)
def test_what_a_users_own_gives_amiss_is_told_with_its_name(reads, given, said):
    role = Functions("a judge", ("text",), "what is right", {}, reads=reads)
    add_own(NAME, lambda text: given)
    with pytest.raises(ValueError) as refused:
        role.find(NAME)("cat")
    assert str(refused.value) == f"{NAME} {said}: a judge gives what is right."


def test_what_a_users_own_gives_may_be_of_another_kind_that_says_the_same():
    assert functions.texts_of(text for text in ("a", "b")) == ["a", "b"]
    assert functions.nats_of(torch.tensor(2.0)) == 2.0
    assert isinstance(functions.nats_of(np.float32(2)), float)


@pytest.mark.parametrize("error", [KeyError("k"), OSError("no network"), RuntimeError("no key")])
def test_what_a_users_own_raises_is_told_with_its_name(error):
    def broken(text, count):
        raise error

    add_own(NAME, broken)
    with pytest.raises(ValueError) as refused:
        ROLE.find(NAME)("cat", 3)
    assert str(refused.value) == (
        f"{NAME} raised {type(error).__name__}: {error}. A judge is called with (text, count) and "
        "gives a number."
    )
    assert refused.value.__cause__ is error
