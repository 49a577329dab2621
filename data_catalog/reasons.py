"""Why an example cannot be used, in words that begin its error, and the way out."""

from collections import Counter
from collections.abc import Iterable

from data_catalog.wording import some

MISSING = "missing"
FOLDER = "a folder"
FORBIDDEN = "unreadable"
EMPTY = "empty"
DAMAGED = "damaged"
UNKNOWN_SCALE = "of unknown scale"
NOT_UTF8 = "not UTF-8"
CONTROLS = "with control characters"
TOO_LONG = "too long"

_REMEDIES = {
    MISSING: "Correct the paths, or put the files where they say.",
    FOLDER: "Name the files in it.",
    FORBIDDEN: "Give this user the right to read them.",
    EMPTY: "Fetch the data again, or leave these out.",
    DAMAGED: "Fetch the data again.",
    UNKNOWN_SCALE: "Save them as PNG or TIFF of 8 bits.",
    NOT_UTF8: "Save the data as UTF-8.",
    CONTROLS: "Look for text that was cut or joined by bytes, and take such characters out.",
    TOO_LONG: "Look for a quote that is never closed, or split the documents.",
}


_OF_ONE = {
    EMPTY: "Give another one.",
    DAMAGED: "Save it again in a usual format, or give another one.",
    UNKNOWN_SCALE: "Save it as PNG or TIFF of 8 bits.",
    NOT_UTF8: "Give it as UTF-8.",
    CONTROLS: "Take these characters out.",
    TOO_LONG: "Give a part of it.",
}


def remedy(error: str) -> str:
    """The way out for one example that somebody names, where `remedies` speaks of a dataset."""
    return _OF_ONE.get(kind_of(error), _OF_ONE[DAMAGED])


def kind_of(error: str) -> str:
    """The word that an error begins with."""
    return error.partition(":")[0]


def counted(errors: Iterable[tuple[str, str]], limit: int = 3) -> str:
    """Says how many examples cannot be used for which reason, with examples.

    Args:
        errors: Path and error of each.
        limit: Examples of each reason.
    """
    kinds: Counter[str] = Counter()
    first: dict[str, list[str]] = {}
    for path, error in errors:
        word, _, detail = error.partition(": ")
        kinds[word] += 1
        if kinds[word] <= limit:
            first.setdefault(word, []).append(f"{path} ({detail})" if detail else path)
    return "; ".join(
        f"{count:,} {word}: {some([*first[word], *[''] * (count - limit)], limit)}"
        for word, count in kinds.items()
    )


def remedies(errors: Iterable[str]) -> str:
    """The ways out of some errors, each once."""
    kinds = dict.fromkeys(kind_of(error) for error in errors)
    return " ".join(dict.fromkeys(_REMEDIES.get(kind, _REMEDIES[DAMAGED]) for kind in kinds))
