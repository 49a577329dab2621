"""The suites that ship with Shotboard, and how one is found."""

from pathlib import Path

from data_catalog.wording import did_you_mean
from tasks.resolve import RequestError
from tasks.suite import Suite, read_suite

FOLDER = Path(__file__).parent


def shipped() -> dict[str, Path]:
    """Shipped suites by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def load_suite(name: str) -> Suite:
    """The suite of a shipped name or of a YAML file.

    Raises:
        RequestError: It is neither, or the file is wrong.
    """
    if name in shipped():
        return read_suite(shipped()[name])
    if name.endswith((".yaml", ".yml")) or "/" in name or Path(name).is_file():
        return read_suite(Path(name).expanduser())
    raise RequestError(
        f"no suite is called {name!r}. {did_you_mean(name, shipped())} "
        "The path of a YAML file will do as well."
    )
