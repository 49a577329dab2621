"""Phrases that error messages share, so that all of them name value, rule and way out."""

import re
from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns `Did you mean a, b or c?`, or the whole list when nothing is near.

    Args:
        name: What was asked for.
        known: What there is.
    """
    choices = sorted(known)
    *others, last = get_close_matches(name, choices) or [""]
    if last:
        return f"Did you mean {' or '.join([', '.join(others), last] if others else [last])}?"
    return f"There is: {', '.join(choices) or 'none'}."


def some(items: Iterable[object], limit: int = 5) -> str:
    """Returns the first `limit` items, comma-separated, and how many more there are.

    Args:
        items: What to list.
        limit: Of those that are shown.
    """
    listed = [str(item) for item in items]
    more = len(listed) - limit
    shown = ", ".join(listed[:limit])
    return f"{shown} and {more} more" if more > 0 else shown


def plural(count: int, noun: str) -> str:
    """Returns `1 image`, `2 images`; `noun` takes a plain s.

    Args:
        count: How many.
        noun: What one of them is called.
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def folded(sentences: Iterable[str]) -> tuple[str, ...]:
    """Sentences of the form `METHOD on PLACE: reason`, one for all that say the same.

    A reason that names its place has PLACE there where it is of several.
    """
    parts = [(text, re.match(r"(\S+) (on|in) (\S+): ", text)) for text in sentences]
    places: dict[tuple[str, str, str], list[str]] = {}  # by method, preposition and reason
    for text, found in parts:
        if found:
            method, where, place = found.groups()
            named = rf"(?<![\w-]){re.escape(place)}(?![\w-])"
            reason = re.sub(named, "PLACE", text[found.end() :])
            places.setdefault((method, where, reason), []).append(place)
    methods: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (method, where, reason), of in places.items():
        methods.setdefault((where, reason, tuple(of)), []).append(method)
    said = []
    for (where, reason, of), names in methods.items():
        why = reason.replace("PLACE", of[0]) if len(of) == 1 else reason
        said.append(f"{', '.join(names)} {where} {', '.join(of)}: {why}")
    return (*said, *(text for text, found in parts if not found))
