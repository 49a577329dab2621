"""A user's own Python file: found, read, run as a module, and asked for a name in it.

`./my_method.py:MyMethod` is a file and a name. A file travels by its content, and is told by the
digest of that: so it means the same wherever it lies, and another when it is edited. It is one file
alone: what lies beside it is not there on other machines, and is not found here either.
"""

import hashlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from data_catalog.wording import did_you_mean
from operators.files import at_home
from tasks.planning.resolve import RequestError

PLACE = r".+\.py(:\w*)?"  # as forms check it
_PLACE = re.compile(r"(?P<file>.+\.py)(?::(?P<name>\w*))?")
DIGITS = 16  # of a digest


class Located(NamedTuple):
    """Where something of a user's own is.

    Attributes:
        file: As it was given.
        name: In the file; empty for the only one that fits.
    """

    file: Path
    name: str

    def __str__(self) -> str:
        return f"{self.file}:{self.name}" if self.name else str(self.file)


class Source(NamedTuple):
    """The content of a file.

    Attributes:
        file: Where it was read.
        text: All of it.
    """

    file: Path
    text: str

    @property
    def digest(self) -> str:
        """Sixteen hex digits of the content, wherever it lies."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:DIGITS]


def place_of(text: str) -> Located | None:
    """A file and a name in it; None where the text says neither, but is the name of something."""
    found = _PLACE.fullmatch(text)
    return Located(at_home(found["file"]), found["name"] or "") if found else None


def anchored(text: str, folder: Path) -> str:
    """A place with an absolute path; whatever is no place stays as it is.

    Args:
        text: As somebody wrote it.
        folder: What relative paths are relative to.
    """
    place = place_of(text)
    return text if place is None else str(place._replace(file=(folder / place.file).resolve()))


def read_source(file: Path) -> Source:
    """The content of a file.

    Raises:
        RequestError: It cannot be read.
    """
    try:
        return Source(file, file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RequestError(
            f"{file} cannot be read ({reason}). Give the path of a Python file, and a name in it, "
            "such as ./my_method.py:MyMethod."
        ) from error


def module_of(source: Source) -> ModuleType:
    """The file as a module, run once a process.

    Raises:
        RequestError: It is no Python, or raises; the line is named.
    """
    name = f"shotboard_own_{source.digest}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(source.file)
    sys.modules[name] = module  # dataclasses look their module up while it runs
    try:
        exec(compile(source.text, str(source.file), "exec"), module.__dict__)
    except SyntaxError as error:
        del sys.modules[name]
        where = f"{error.filename or source.file}, line {error.lineno}"
        raise RequestError(f"{where}: {error.msg}. The file cannot be run.") from error
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise RequestError(_raised(source, error)) from error
    return module


def pick(
    source: Source, name: str, fits: Callable[[Any], bool], what: str, kind: type | None = None
) -> tuple[str, Any]:
    """What a file has under a name, or the only thing in it that fits, and its name.

    Args:
        source: The file.
        name: In the file; empty where it need not be said.
        fits: Whether an object is of the kind that is looked for.
        what: The kind, for messages, as `a method`.
        kind: What a name must stand for; None where others look at it.

    Raises:
        RequestError: There is no such name, it stands for something else, or none or several
            things fit.
    """
    module = module_of(source)
    own = {
        key: value
        for key, value in vars(module).items()
        if fits(value) and (kind or value.__module__ == module.__name__)
    }
    if not name:
        if len(own) == 1:
            return next(iter(own.items()))
        there = f"has {', '.join(own)}" if own else f"has nothing that is {what}"
        raise RequestError(f"{source.file} {there}: say which, as {source.file}:NAME.")
    if name not in vars(module):
        raise RequestError(f"{source.file} has no {name}. {did_you_mean(name, own)}".strip())
    found = vars(module)[name]
    if kind is not None and not isinstance(found, kind):
        raise RequestError(
            f"{source.file}:{name} is a {type(found).__name__}, not {what}. "
            f"{did_you_mean(name, own)}".strip()
        )
    return name, found


def _raised(source: Source, error: BaseException) -> str:
    """What a file raised as it was run, with the line of the file where it did."""
    lines = []
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == str(source.file):
            lines.append(at.tb_lineno)
        at = at.tb_next
    where = f"{source.file}, line {lines[-1]}" if lines else str(source.file)
    told = f"{where}: {type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError):
        told += ". A file is taken by itself: put what it imports from beside it into it, or "
        told += "install that as a package"
    return f"{told}."
