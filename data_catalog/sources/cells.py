"""What one cell of a table says, as a label or as text."""

from data_catalog.sources.base import SourceError


def whole(value: object, *, place: str) -> int | None:
    """Returns a label as an int, and None for a missing one.

    Args:
        value: Of a cell.
        place: What to call the table in errors.

    Raises:
        SourceError: `value` is not a whole number.
    """
    if value is None or value == "" or value != value:  # NaN is how pandas writes a gap
        return None
    try:
        value = float(value.replace(",", ".")) if isinstance(value, str) else value
        number = int(value)  # pyright: ignore[reportArgumentType]
        if number == value:
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise SourceError(
        f"{place}: label {value!r} is not a whole number. Write labels as 0, 1, .., or as words."
    )


def as_text(value: object) -> str | None:
    """What a cell says as text; None for a gap. Whole floats are written as whole numbers."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return None if value != value else f"{value:.17g}"
    return str(value)
