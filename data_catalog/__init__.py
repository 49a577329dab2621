"""What is known of each dataset, how it is read raw, and what ingestion makes of it.

Adding a dataset that ships is one file in `datasets/` with a `CARD`, and one line in `CATALOG`; one
that users bring, one file in `published/` and one line in `PUBLISHED`.
"""

from pathlib import Path

from data_catalog.card import DatasetCard
from data_catalog.dataset import Dataset, current
from data_catalog.datasets import (
    digits,
    mini_reviews,
    mini_topics,
    textiles,
    world_domains,
    world_icons,
    world_letters,
    world_novel,
    world_pairs,
    world_scenes,
)
from data_catalog.ingestion import IngestionError, ingest, unchanged
from data_catalog.kinds import KINDS
from data_catalog.known import known_card, lies_packed, with_counts
from data_catalog.outline import Outline, outline
from data_catalog.registry import read_cards, refuse_taken, write_card
from data_catalog.sources import (
    SOURCES,
    Archive,
    Example,
    HuggingFace,
    ImageFolder,
    Manifest,
    ParquetImages,
    Source,
    SourceError,
    SourceUnavailable,
    TextTables,
    holds,
    source_for,
)

CATALOG: dict[str, DatasetCard] = {
    "digits": digits.CARD,
    "mini-reviews": mini_reviews.CARD,
    "mini-topics": mini_topics.CARD,
    "textiles": textiles.CARD,
    "world-domains": world_domains.CARD,
    "world-icons": world_icons.CARD,
    "world-letters": world_letters.CARD,
    "world-novel": world_novel.CARD,
    "world-pairs": world_pairs.CARD,
    "world-scenes": world_scenes.CARD,
}


def registered_cards(folder: Path, faults: dict[str, str] | None = None) -> dict[str, DatasetCard]:
    """Cards that users registered in `folder`, `<store>/datasets`, by name.

    Args:
        folder: Where they are.
        faults: As for `read_cards`.

    Raises:
        ValueError: A file there is no card, or takes an embedded name; the message names it.
    """
    return read_cards(folder, CATALOG, faults)


def register(card: DatasetCard, folder: Path, *, replace: bool = False) -> Path:
    """Keeps a user's card in `folder`, `<store>/datasets`, and returns its file.

    Args:
        card: Of the dataset.
        folder: Where it is kept.
        replace: Whether it may take the place of another card of its name.

    Raises:
        ValueError: The name is embedded, or registered with another card and `replace` is off.
    """
    return write_card(card, folder, CATALOG, replace=replace)


def refuse_registering(card: DatasetCard, folder: Path, *, replace: bool = False) -> None:
    """Refuses a card that `register` would not keep.

    Args:
        card: Of the dataset.
        folder: Where it would be kept.
        replace: Whether it may take the place of another card of its name.

    Raises:
        ValueError: As `register`.
    """
    refuse_taken(card, folder, CATALOG, replace=replace)


__all__ = [
    "CATALOG",
    "KINDS",
    "SOURCES",
    "Archive",
    "Dataset",
    "DatasetCard",
    "Example",
    "HuggingFace",
    "ImageFolder",
    "IngestionError",
    "Manifest",
    "Outline",
    "ParquetImages",
    "Source",
    "SourceError",
    "SourceUnavailable",
    "TextTables",
    "current",
    "holds",
    "ingest",
    "known_card",
    "lies_packed",
    "outline",
    "refuse_registering",
    "register",
    "registered_cards",
    "source_for",
    "unchanged",
    "with_counts",
]
