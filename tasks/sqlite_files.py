"""The SQLite files of a store: how they are named in URLs, and what is wrong with one."""

import os
import re
import shlex
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote

HEADER = b"SQLite format 3\0"
SQLITE = re.compile(r"sqlite(\+\w+)?:///(?P<place>.*)", re.DOTALL)
ROOM = 1 << 20  # bytes that SQLite wants beside a database
MEANS_SOMETHING = set("?#%")  # in a URL, to SQLAlchemy, Alembic or MLflow


def database_url(database: Path, driver: str = "pysqlite") -> str:
    """What SQLAlchemy calls a SQLite file, whatever characters its path has.

    A path with characters that mean something in a URL is given as the `file:` URI of SQLite,
    which decodes them. The driver is named then, as MLflow makes folders for what it does not.
    """
    path = str(database)
    if MEANS_SOMETHING & set(path):
        return f"sqlite+{driver}:///file:{quote(path)}?uri=true"
    return f"sqlite:///{path}" if driver == "pysqlite" else f"sqlite+{driver}:///{path}"


def database_of(url: str) -> Path | None:
    """The file that a URL of SQLAlchemy names; None where it names none."""
    named = SQLITE.fullmatch(url)
    if named is None:
        return None
    place = named["place"]
    if place.startswith("file:"):
        place = unquote(place.removeprefix("file:").partition("?")[0])
    return None if place in ("", ":memory:") else Path(place)


def is_full(folder: Path) -> bool:
    """Whether the disk of a folder has less room than SQLite wants."""
    return shutil.disk_usage(folder).free < ROOM


def remedy(database: Path, anew: str) -> str:
    """What to do about a SQLite file that cannot be used, as sentences.

    Args:
        database: The file.
        anew: What the next run does once it is out of the way.
    """
    name = shlex.quote(str(database))
    if is_full(database.parent):  # an I/O error, to SQLite
        return f"The disk of {database.parent} is full: make room, and run the same command again."
    if database.is_file() and not os.access(database, os.R_OK | os.W_OK):
        return f"`chmod u+rw {name}`, unless its disk is read-only."
    return f"`mv {name} {shlex.quote(f'{database}.damaged')}`; the next run {anew}."


def fault_of(database: Path) -> str:
    """Why a SQLite file cannot be used; empty if it can, or is not there yet."""
    if not database.exists():
        return ""
    if not database.is_file():
        return f"{database} is a folder, and a database is a file"
    if not os.access(database, os.R_OK | os.W_OK):
        return f"{database} cannot be written"
    try:
        with database.open("rb") as file:
            start = file.read(len(HEADER))
        if not start:
            return ""  # SQLite makes a database of an empty file
        if start != HEADER:
            return f"{database} is not a SQLite database"
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except (OSError, sqlite3.Error) as error:
        if "locked" in str(error):
            return ""  # by a program that is using it: it will wait for that
        return f"{database} cannot be read: {error}"
    return ""
