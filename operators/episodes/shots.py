"""Shots, the labelled examples a class: a number, 0 for none, or the whole train split.

All of it is -1 where a number is kept, as in trials and on the board, and the word `all` wherever
people read or write it; it comes after every number.

Source: Dassl, `dassl/config/defaults.py`, `DATASET.NUM_SHOTS`: -1 uses the full dataset.
"""

import sys

ALL_SHOTS = -1
ALL_WORD = "all"


def shots_of(value: int | str) -> int:
    """The number that is kept of a number or of `all`.

    Raises:
        ValueError: It is another word.
    """
    try:
        return ALL_SHOTS if value == ALL_WORD else int(value)
    except ValueError as error:
        raise ValueError(
            f"shots {value!r}: give a whole number, or {ALL_WORD} for the whole train split."
        ) from error


def shots_word(shots: int) -> str:
    """`16`, or `all`."""
    return ALL_WORD if shots == ALL_SHOTS else str(shots)


def shots_said(shots: int) -> str:
    """`1 shot`, `16 shots` or `all shots`."""
    return f"{shots_word(shots)} shot{'s' * (shots != 1)}"


def shots_order(shots: int) -> int:
    """What numbers of shots are compared by: all of the rows are more than any number of them."""
    return sys.maxsize if shots == ALL_SHOTS else shots
