"""Where descriptions lie: those that ship in this folder, a user's own beside the card."""

from collections.abc import Sequence
from pathlib import Path

from data_catalog.descriptions.form import Descriptions
from data_catalog.writing import write_text

_HERE = Path(__file__).parent


def kept_file(name: str, folder: Path) -> Path:
    """Where a user's descriptions of a dataset lie, whether or not they are there.

    Args:
        name: Of the dataset.
        folder: Of the cards that users registered, `<store>/datasets`.
    """
    return folder / f"{name}.descriptions.json"


def described(name: str, folder: Path) -> tuple[Descriptions, Path] | None:
    """Descriptions of a dataset and their file: a user's own, else those that ship.

    Args:
        name: Of the dataset.
        folder: As in `kept_file`.

    Returns:
        None where nobody has described it.

    Raises:
        ValueError: The file cannot be read; names it.
    """
    for file in (kept_file(name, folder), _HERE / f"{name}.json"):
        if file.is_file():
            try:
                return Descriptions.from_json(file.read_text("utf-8")), file
            except ValueError as error:
                raise ValueError(f"{file}: {error}") from error
    return None


def describe(
    name: str,
    classes: Sequence[str],
    given: Descriptions,
    folder: Path,
    *,
    replace: bool = False,
) -> Path:
    """Keeps a user's descriptions of a dataset; the same again changes nothing.

    Args:
        name: Of the dataset.
        classes: Its class names.
        given: At least one sentence on each of them, and on no other.
        folder: As in `kept_file`.
        replace: Whether others that a user gave before may give way.

    Raises:
        ValueError: A class is missing or unknown, or others were given and `replace` is off.
    """
    given.of(classes)
    file, text = kept_file(name, folder), given.to_json()
    if file.exists() and not replace and file.read_text("utf-8") != text:
        raise ValueError(
            f"others were given before: {file}. Replace them with --replace; trials that read "
            "them stay as they are."
        )
    write_text(file, text)
    return file
