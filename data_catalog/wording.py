"""Phrases that error messages share, so that all of them name value, rule and way out."""

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
