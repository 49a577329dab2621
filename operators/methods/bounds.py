"""Refusals of hyperparameters that are out of bounds, in the words that all methods use."""

from collections.abc import Mapping
from typing import Any


def refuse_below_one(hyperparameters: Mapping[str, Any], *names: str) -> None:
    """Raises where a number of things, such as tokens or layers, is below 1.

    Raises:
        ValueError: Names it.
    """
    for name in names:
        if not hyperparameters[name] >= 1:
            raise ValueError(f"{name}={hyperparameters[name]}: give at least 1.")


def refuse_negative(hyperparameters: Mapping[str, Any], *names: str) -> None:
    """Raises where a weight, or a number of things that may be none, is below 0.

    Raises:
        ValueError: Names it.
    """
    for name in names:
        if not hyperparameters[name] >= 0:
            raise ValueError(f"{name}={hyperparameters[name]}: give 0 or more.")


def refuse_not_positive(hyperparameters: Mapping[str, Any], *names: str) -> None:
    """Raises where something that is divided by, or a length, is 0 or less.

    Raises:
        ValueError: Names it.
    """
    for name in names:
        if not hyperparameters[name] > 0:
            raise ValueError(f"{name}={hyperparameters[name]}: must be above 0.")


def refuse_no_share(hyperparameters: Mapping[str, Any], *names: str) -> None:
    """Raises where the share of something is none.

    Raises:
        ValueError: Names it.
    """
    for name in names:
        if not 0 <= hyperparameters[name] <= 1:
            raise ValueError(f"{name}={hyperparameters[name]}: give 0 to 1.")
