"""The recipes that ship with Shotboard, and how one is found."""

from pathlib import Path

from data_catalog.wording import did_you_mean
from tasks.recipe import Pretraining, read_recipe
from tasks.resolve import RequestError

FOLDER = Path(__file__).parent


def shipped() -> dict[str, Path]:
    """Shipped recipes by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def load_recipe(name: str) -> Pretraining:
    """The recipe of a shipped name or of a YAML file.

    Raises:
        RequestError: It is neither, or the file is wrong.
    """
    if name in shipped():
        return read_recipe(shipped()[name])
    if name.endswith((".yaml", ".yml")) or "/" in name or Path(name).is_file():
        return read_recipe(Path(name).expanduser())
    raise RequestError(
        f"no recipe is called {name!r}. {did_you_mean(name, shipped())} "
        "The path of a YAML file will do as well."
    )
