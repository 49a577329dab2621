"""Functions that hyperparameters name: those that ship, a user's own, and what is refused."""

from typing import Annotated

import pytest

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
