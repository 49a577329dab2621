"""`shotboard board --plot`: one plot of the board as a file, or in words."""

from collections.abc import Mapping
from pathlib import Path

from flows.cli.answers import refuse_store_files, write_file
from flows.cli.terminal import out
from tasks.storage.store import Store


def draw(
    store: Store, name: str, file: Path | None, filters: Mapping[str, str | None], theme: str
) -> None:
    """Writes a plot of the board in the format that the name of the file asks for.

    Without a file, what the plot shows is printed in words: its alternative text.

    Args:
        store: Whose board.
        name: Of the plot.
        file: Where it goes.
        filters: What it shows, by column; None for any.
        theme: `light` or `dark`.

    Raises:
        LookupError: There is no such plot, value or theme, or nothing to draw.
        ValueError: The file has no suffix of a picture, or there is no place for it.
    """
    from tasks.pages.pictures import MEDIA_TYPES, picture

    format = "json" if file is None else file.suffix.lower().lstrip(".")
    if format not in MEDIA_TYPES:
        raise ValueError(
            f"{file}: plots are written as {', '.join(MEDIA_TYPES)}. Name a file with one of these "
            "suffixes, such as -o curves.svg."
        )
    if file is not None:
        refuse_store_files(file, store.home)
    drawn = picture(store, name, filters, format=format, theme=theme)
    if file is not None:
        write_file(file, drawn.content)
    out.print(drawn.alt)
