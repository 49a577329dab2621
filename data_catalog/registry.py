"""Cards that users registered: one YAML file each, `<store>/datasets/<name>.yaml`."""

from collections.abc import Container
from pathlib import Path

from data_catalog.card import DatasetCard
from data_catalog.naming import check_prompts
from data_catalog.secrets import holds_secret
from data_catalog.writing import write_text


def read_cards(
    folder: Path, embedded: Container[str], faults: dict[str, str] | None = None
) -> dict[str, DatasetCard]:
    """Reads every card in `folder`, by name and in order of name.

    Args:
        folder: `<store>/datasets`.
        embedded: Names that are taken.
        faults: Where given, it is told what is wrong with a file, by its stem, and the others
            are read all the same.

    Raises:
        ValueError: A file is no card, is not called like its card, or takes an embedded name.
    """
    cards: dict[str, DatasetCard] = {}
    for file in sorted(folder.glob("*.yaml")):
        try:
            card = _read_card(file, embedded)
        except ValueError as error:
            if faults is None:
                raise
            faults[file.stem] = str(error)
            continue
        cards[card.name] = card
    return cards


def _read_card(file: Path, embedded: Container[str]) -> DatasetCard:
    try:
        card = DatasetCard.from_yaml(file.read_text("utf-8"))
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"{file}: {error}") from error
    if card.name != file.stem:
        raise ValueError(
            f"{file}: the card inside is called {card.name!r}. Name file and card alike."
        )
    if card.name in embedded:
        raise ValueError(
            f"{file}: {card.name!r} is an embedded dataset. Rename file and card, or delete it."
        )
    return card


def refuse_taken(
    card: DatasetCard, folder: Path, embedded: Container[str], *, replace: bool = False
) -> None:
    """Refuses a card that `write_card` would not write.

    Args:
        card: Of a user.
        folder: Where cards are kept.
        embedded: Cards whose names are taken.
        replace: Whether it may take the place of another card of its name.

    Raises:
        ValueError: The name is taken, two class names make one prompt, or the card cannot be
            written to a file.
    """
    if card.name in embedded:
        raise ValueError(f"{card.name!r} is an embedded dataset. Choose another name.")
    if card.classes is not None:
        check_prompts(card.name, card.classes, duplicates=card.duplicate_class_names)
    text = card.to_yaml()
    file = folder / f"{card.name}.yaml"
    if file.exists() and not replace and file.read_text("utf-8") != text:
        raise ValueError(
            f"{card.name!r} is registered already, with another card: {file}. Choose another name, "
            "or replace it."
        )


def write_card(
    card: DatasetCard, folder: Path, embedded: Container[str], *, replace: bool = False
) -> Path:
    """Writes a card, so that it is found from now on; the same card again changes nothing.

    Where its URL holds a secret, only the owner of the file may read it. Arguments and errors are
    those of `refuse_taken`.

    Args:
        card: Of a user.
        folder: Where cards are kept.
        embedded: Cards whose names are taken.
        replace: Whether it may take the place of another card of its name.
    """
    refuse_taken(card, folder, embedded, replace=replace)
    text = card.to_yaml()
    file = folder / f"{card.name}.yaml"
    write_text(file, text, private=holds_secret(text))
    return file
