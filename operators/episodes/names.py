"""Class names as keys: two classes of a dataset may share one, as two pairs of ImageNet do."""

from collections import Counter
from collections.abc import Sequence


def keyed(names: Sequence[str]) -> list[tuple[str, int]]:
    """Each name without its case, and how often it stood before: two of ImageNet are missile."""
    seen: Counter[str] = Counter()
    keys = []
    for name in names:
        key = name.casefold()
        keys.append((key, seen[key]))
        seen[key] += 1
    return keys
