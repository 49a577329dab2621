"""docs/architecture.md draws the house as it stands."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
TEXT = (PROJECT / "docs" / "architecture.md").read_text()
FLOORS = ("flows", "tasks", "operators", "data_catalog")
ROOMS = [
    folder.relative_to(PROJECT)
    for floor in FLOORS
    for folder in sorted((PROJECT / floor).iterdir())
    if (folder / "__init__.py").is_file()
]
PATHS = sorted(
    set(re.findall(r"(?<![\w/])((?:flows|tasks|operators|data_catalog)/[\w/]+(?:\.\w+)?)", TEXT))
)


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_every_room_is_drawn(room):
    drawing = TEXT[TEXT.index("### The house") : TEXT.index("## The store")]
    floor = drawing.split(f"{room.parts[0]}/\n", 1)[1]
    assert f"  {room.name}/" in floor or f" {room.name}/ " in floor


@pytest.mark.parametrize("path", PATHS)
def test_every_path_that_is_named_is_there(path):
    """A path may end where a placeholder begins, as in `operators/methods/<track>`."""
    assert (PROJECT / path).exists()
