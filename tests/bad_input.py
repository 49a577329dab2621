"""What tests of bad input share: drawn values, what a refusal is, a trap, a watch on all around.

Three folders have such tests, and each says its own bounds. None of them is a package, so they read
this file with `runpy`.
"""

import os
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st

WORDS = st.text(max_size=12)


def values(max_leaves: int) -> st.SearchStrategy[Any]:
    """Plain values as YAML and JSON have them, lists and mappings among them."""
    plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS)
    return st.recursive(
        plain,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)
        ),
        max_leaves=max_leaves,
    )


def deep(depth: int) -> str:
    """Lists in lists that nobody closes; a reader that calls itself for each has no stack left."""
    return "[" * depth


def fewer(by: int) -> settings:
    """Of what takes long, a part of the examples that others have, 5 at least."""
    return settings(max_examples=max(5, settings.default.max_examples // by))


def as_bytes(content: str | bytes) -> bytes:
    """A drawn file; half of a pair of UTF-16 is written as it is."""
    return content if isinstance(content, bytes) else content.encode(errors="surrogatepass")


def is_a_sentence(error: object, longest: int) -> None:
    """A refusal says something to a person: no traceback, and no more characters than these."""
    text = str(error)
    assert text.strip()
    assert "Traceback" not in text
    assert len(text) < longest


class Trap:
    """A pickle of it makes a file where it is read.

    Args:
        place: Of the file.
    """

    def __init__(self, place: Path) -> None:
        self.place = str(place)

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (Path(self.place),)

    def check(self) -> None:
        """Nobody has read it; and it is one, as who reads it sees."""
        assert not Path(self.place).exists()
        pickle.loads(pickle.dumps(self))
        assert Path(self.place).exists(), "the trap is none"


class Surroundings(NamedTuple):
    """A folder of a user, with the place in it where bad input may be at work.

    Attributes:
        folder: All of it.
        place: Empty; what is in here may change.
    """

    folder: Path
    place: Path


@contextmanager
def surroundings(factory: pytest.TempPathFactory, *also: Path) -> Iterator[Surroundings]:
    """Fails where anything outside of the place was made, changed or removed.

    All that a program writes to without being told where lies around the place: the working folder,
    the home, that of temporary files.

    Args:
        factory: Makes the folder.
        also: Folders and files beside it that must stay as they are.
    """
    folder = factory.mktemp("around")
    place = folder / "up" / "place"
    for path in (place, *(folder / name for name in ("home", "working", "temporary", "up/beside"))):
        path.mkdir(parents=True)
    for path in (folder / "file", folder / "up" / "beside" / "file", folder / "home" / ".profile"):
        path.write_text("somebody's")
    before = [tree(each, without=place) for each in (folder, *also)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "working")
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("TMPDIR", str(folder / "temporary"))
        patch.setattr(tempfile, "tempdir", None)  # which is looked up once, and then kept
        yield Surroundings(folder, place)
    for known, each in zip(before, (folder, *also), strict=True):
        assert tree(each, without=place) == known


def tree(folder: Path, without: Path | None = None) -> dict[str, tuple[Any, ...]]:
    """All that lies below a folder, by path: kind and mode, size and time of files, aim of links.

    Args:
        folder: Or a file.
        without: What lies below this one is left out.
    """
    found: dict[str, tuple[Any, ...]] = {}
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        looked = path.lstat()
        aim = os.readlink(path) if path.is_symlink() else ""  # noqa: PTH115  # as it is written
        is_folder = path.is_dir() and not aim
        size = () if is_folder else (looked.st_size, looked.st_mtime_ns)
        found[str(path)] = (looked.st_mode, aim, *size)
        if is_folder and path != without:
            waiting += path.iterdir()
    return found
