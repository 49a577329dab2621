"""Names become objects here, once, before anything expensive starts."""

import logging
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from data_catalog import CATALOG, Dataset, DatasetCard, current, registered_cards
from data_catalog.descriptions import Descriptions, described
from data_catalog.secrets import redact
from data_catalog.wording import did_you_mean
from tasks.planning.installed import DATASETS, installed
from tasks.storage.store import Store

if TYPE_CHECKING:  # they take torch, and listings of datasets do not
    from operators.episodes.protocols import Protocol
    from operators.methods import Method

T = TypeVar("T")


class RequestError(ValueError):
    """A request that cannot be carried out; its text names the value, the rule and the way out.

    Nothing has been started when it is raised. Secrets in URLs are taken out of it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


_WAYS_OUT = {
    "dataset": "Register your own with `shotboard datasets add NAME --path URL`.",
    "method": "One of your own is a file and a class, as ./mine.py:Mine.",
    "backbone": "A folder or a hub id of a CLIP will do as well.",
}


def resolve(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Returns `table[name]`.

    Raises:
        RequestError: There is no such name; the nearest ones are offered.
    """
    if name in table:
        return table[name]
    from data_catalog.published import PUBLISHED  # only who asks in vain needs them

    near = did_you_mean(name, table)
    if kind == "dataset" and get_close_matches(name, PUBLISHED):
        near = did_you_mean(name, {*table, *PUBLISHED})
    text = f"no {kind} is called {name!r}. {near} {_WAYS_OUT.get(kind, '')}"
    raise RequestError(_known(kind, name) or text.strip())


def _known(kind: str, name: str) -> str:
    """How to bring a published dataset that is known; empty for other names."""
    from data_catalog.published import PUBLISHED

    if kind != "dataset" or name not in PUBLISHED:
        return ""
    return (
        f"{name} is known and not registered here: `shotboard datasets get {name}` fetches it, or "
        f"`shotboard datasets add {name} --path FOLDER` registers what you have."
    )


_OWN_CARDS: dict[str, DatasetCard] = {}  # of users' own files, by name


def add_card(store: Store, card: DatasetCard, where: str) -> None:
    """Makes the card of a user's own file known to this process.

    Args:
        store: Where others are registered.
        card: The card.
        where: It was found, for messages.

    Raises:
        RequestError: Its name is that of another dataset.
    """
    if card.name in {**CATALOG, **registered_cards(store.cards, {})}:
        raise RequestError(
            f"{where}: a dataset is called {card.name} already. Give the card another name."
        )
    _OWN_CARDS[card.name] = card


def _fault_of_card(name: str, card: object) -> str:
    """Why the card of a package cannot be known under a name; empty where it can."""
    if not isinstance(card, DatasetCard):
        return f"it is a {type(card).__name__}, not a DatasetCard."
    if name in CATALOG:
        return "that is the name of a dataset of Shotboard."
    return "" if card.name == name else f"its card is called {card.name}."


def dataset_cards(store: Store) -> dict[str, DatasetCard]:
    """All datasets by name: embedded, of packages, of users' own files, and of the store.

    A card that cannot be read is named in a warning and left out.
    """
    faults: dict[str, str] = {}
    known = {**CATALOG, **installed(DATASETS, _fault_of_card), **_OWN_CARDS}
    cards = {**known, **registered_cards(store.cards, faults)}
    for fault in faults.values():
        _warn(fault)
    return cards


@cache
def _warn(fault: str) -> None:
    """Says something once a process."""
    logging.getLogger("shotboard").warning("left out: %s", fault)


def dataset_card(store: Store, name: str) -> DatasetCard:
    """The card of a dataset.

    Raises:
        RequestError: There is no such dataset, or its card cannot be read.
    """
    return resolve("dataset", name, _cards_with(store, name))


def imagined_card(store: Store, name: str) -> DatasetCard:
    """The card of a dataset; of a published one that is not registered, what it will be like.

    Args:
        store: Has what users registered.
        name: Of the dataset.

    Raises:
        RequestError: As `dataset_card`.
    """
    from data_catalog.known import imagined
    from data_catalog.published import PUBLISHED

    cards = _cards_with(store, name)
    if name not in cards and name in PUBLISHED:
        return imagined(PUBLISHED[name])
    return resolve("dataset", name, cards)


def _cards_with(store: Store, name: str) -> dict[str, DatasetCard]:
    """Cards by name; those of packages, which take a while, where `name` is none of the others.

    Args:
        store: Has what users registered.
        name: That is looked for.

    Raises:
        RequestError: The card of that name cannot be read.
    """
    faults: dict[str, str] = {}
    cards = {**CATALOG, **_OWN_CARDS, **registered_cards(store.cards, faults)}
    if name in faults:
        raise RequestError(faults[name])
    if name not in cards:
        cards |= installed(DATASETS, _fault_of_card)
    return cards


def ingested(store: Store, name: str) -> Dataset | None:
    """The dataset that a name stands for now, or None before its ingestion.

    One that is damaged is as good as none: the next run ingests it again, and says so.
    """
    try:
        return current(store.bring_current(name))
    except (ValueError, OSError):
        return None


def descriptions(store: Store, name: str) -> tuple[Descriptions, Path] | None:
    """What is said of the classes of a dataset, and in which file; None where nothing is.

    Raises:
        RequestError: The file cannot be read.
    """
    try:
        return described(name, store.cards)
    except ValueError as error:
        raise RequestError(str(error)) from error


def methods() -> "Mapping[str, type[Method]]":
    """All methods by name."""
    from operators.methods import METHODS

    return METHODS


def method(name: str) -> "type[Method]":
    """The class of a method.

    Raises:
        RequestError: There is no such method.
    """
    from operators.methods import find_method

    return find_method(name) or resolve("method", name, methods())


def protocols() -> "Mapping[str, Protocol]":
    """All protocols by name."""
    from operators.episodes.protocols import PROTOCOLS

    return PROTOCOLS


def protocol(name: str) -> "Protocol":
    """A protocol.

    Raises:
        RequestError: There is no such protocol.
    """
    return resolve("protocol", name, protocols())
