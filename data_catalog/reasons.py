"""Why an image cannot be used, in words that begin each error of an `Example`, and the way out."""

from collections.abc import Iterable, Sequence

from data_catalog.wording import some

MISSING = "missing"
FOLDER = "a folder"
FORBIDDEN = "unreadable"
EMPTY = "empty"
DAMAGED = "damaged"
UNKNOWN_SCALE = "of unknown scale"

_REMEDIES = {
    MISSING: "Correct the paths, or put the files where they say.",
    FOLDER: "Name the files in it.",
    FORBIDDEN: "Give this user the right to read them.",
    EMPTY: "Fetch the data again.",
    DAMAGED: "Fetch the data again.",
    UNKNOWN_SCALE: "Save them as PNG or TIFF of 8 bits.",
}


def kind_of(error: str) -> str:
    """The word that an error begins with."""
    return error.partition(":")[0]


def counted(errors: Iterable[tuple[str, str]], limit: int = 3) -> str:
    """Says how many images cannot be used for which reason, with examples.

    Args:
        errors: Path and error of each.
        limit: Examples of each reason.
    """
    kinds: dict[str, list[str]] = {}
    for path, error in errors:
        word, _, detail = error.partition(": ")
        kinds.setdefault(word, []).append(f"{path} ({detail})" if detail else path)
    return "; ".join(
        f"{len(found):,} {word}: {some(found, limit)}" for word, found in kinds.items()
    )


def remedies(errors: Sequence[str]) -> str:
    """The ways out of some errors, each once."""
    kinds = dict.fromkeys(kind_of(error) for error in errors)
    return " ".join(dict.fromkeys(_REMEDIES.get(kind, _REMEDIES[DAMAGED]) for kind in kinds))
