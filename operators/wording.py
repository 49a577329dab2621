"""How names are put into sentences."""

from collections.abc import Sequence


def either(names: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`.

    Args:
        names: One at least.
    """
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
