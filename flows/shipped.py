"""YAML files that ship with Shotboard, and how one is found by name or path."""

from pathlib import Path

from data_catalog.wording import did_you_mean
from operators.files import at_home
from tasks.planning.resolve import RequestError


def shipped(folder: Path) -> dict[str, Path]:
    """Shipped files by name."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(kind: str, name: str, folder: Path) -> Path:
    """The file of a shipped name, or any YAML file.

    Args:
        kind: What it is, for the error: `suite`, `recipe`.
        name: As a user wrote it.
        folder: Where the shipped ones are.

    Raises:
        RequestError: There is neither.
    """
    known = shipped(folder)
    if name in known:
        return known[name]
    path = at_home(name)
    if path.is_file():
        return path
    is_path = "/" in name or path.suffix in (".yaml", ".yml")
    what = f"file at {path}" if is_path else f"is called {name!r}"
    raise RequestError(
        f"no {kind} {what}. {did_you_mean(path.stem, known)} "
        "The path of a YAML file will do as well."
    )
