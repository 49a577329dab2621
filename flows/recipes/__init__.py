"""The recipes that ship with Shotboard."""

from pathlib import Path

from flows.shipped import find
from tasks.pretraining.recipe import Pretraining, read_recipe

FOLDER = Path(__file__).parent


def load_recipe(name: str) -> Pretraining:
    """The recipe of a shipped name or of a YAML file.

    Raises:
        RequestError: It is neither, or the file is wrong.
    """
    return read_recipe(find("recipe", name, FOLDER))
