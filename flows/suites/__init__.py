"""The suites that ship with Shotboard."""

from pathlib import Path

from flows.shipped import find
from tasks.planning.suite import Suite, read_suite

FOLDER = Path(__file__).parent


def load_suite(name: str) -> Suite:
    """The suite of a shipped name or of a YAML file.

    Raises:
        RequestError: It is neither, or the file is wrong.
    """
    return read_suite(find("suite", name, FOLDER))
