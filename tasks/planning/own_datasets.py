"""Datasets of a user's own file: a card in it, as `./my_data.py:CARD`.

What is ingested is told by its content, so the file is needed no more once it is in the store.
"""

from collections.abc import Iterable
from typing import Any

from data_catalog import DatasetCard
from tasks.planning.own_files import Located, pick, place_of, read_source
from tasks.planning.resolve import add_card
from tasks.storage.store import Store


def load_card(store: Store, place: Located) -> DatasetCard:
    """The card at a place, known to this process under its own name from now on.

    Args:
        store: No dataset of it may have that name.
        place: File and name.

    Raises:
        RequestError: The file cannot be read or run, has no such card, or its name is taken.
    """

    def fits(value: Any) -> bool:
        return isinstance(value, DatasetCard)

    name, card = pick(read_source(place.file), place.name, fits, "a dataset card", DatasetCard)
    add_card(store, card, f"{place.file}:{name}")
    return card


def with_own_cards(store: Store, names: Iterable[str]) -> tuple[str, ...]:
    """Names of datasets, with that of its card for each place.

    Args:
        store: As for `load_card`.
        names: Of a suite.

    Raises:
        RequestError: As `load_card`.
    """
    return tuple(
        name if (place := place_of(name)) is None else load_card(store, place).name
        for name in names
    )
