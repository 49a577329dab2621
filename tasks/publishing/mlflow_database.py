"""The SQLite file of MLflow: whether it can be used, before anything is computed for it."""

import importlib.util
import re
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path

HALF_MADE = re.compile(
    r"(?i)(table|index) \S+ already exists|no such (table|column|index)|duplicate column"
    r"|out-of-date database schema"
)
# What setting one up writes: its revision, the experiment and the workspace that are always there.
_OF_SETUP = ("alembic_version", "experiments", "workspaces")
_VERSIONS = Path("store", "db_migrations", "versions")  # of the schema, in MLflow's package
_REVISION = re.compile(r"^(down_)?revision\b.*?=\s*(.*)$", re.M)


def is_current(database: Path) -> bool:
    """Whether a file has the schema of the MLflow that is installed, or none yet.

    Only MLflow itself can tell what it does about an older one, and to import it takes seconds.
    """
    try:
        with closing(_opened(database)) as connection:
            found = _revisions(connection)
            return found == _newest() if found else not _tables(connection)
    except sqlite3.Error:  # somebody is setting it up
        return False


def stranger(database: Path) -> str:
    """Why a file is none of the MLflow that is installed; empty where it is, or may become one.

    MLflow itself would make its tables in it before it stumbles over those that are there.
    """
    try:
        with closing(_opened(database)) as connection:
            found = _revisions(connection)
    except sqlite3.Error:
        return ""
    made, _ = _known()
    if found and made and not found <= made:
        return f"{database} was written by a newer MLflow, or by another program"
    if not found and holds_anything(database):
        return f"{database} was written by another program"
    return ""


def holds_anything(database: Path) -> bool:
    """Whether anything is in a file but what setting it up has put there, or may be."""
    try:
        with closing(_opened(database)) as connection:
            tables = _tables(connection)
            for name in tables:
                most = 1 if name in _OF_SETUP and "alembic_version" in tables else 0
                query = f'SELECT count(*) FROM (SELECT 1 FROM "{name}" LIMIT 2)'
                if connection.execute(query).fetchone()[0] > most:
                    return True
    except sqlite3.Error:
        return True
    return False


def _opened(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)


def _tables(connection: sqlite3.Connection) -> list[str]:
    asked = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    return [row[0].replace('"', '""') for row in connection.execute(asked)]


def _revisions(connection: sqlite3.Connection) -> set[str]:
    """What a file says of its schema; nothing where no setup of MLflow has come so far."""
    if "alembic_version" not in _tables(connection):
        return set()
    return {str(row[0]) for row in connection.execute("SELECT version_num FROM alembic_version")}


def _newest() -> set[str]:
    """The revision of MLflow's schema that no other one follows."""
    made, followed = _known()
    return made - followed


@cache
def _known() -> tuple[set[str], set[str]]:
    """Revisions of MLflow's schema, and those that others follow, by the files that make them."""
    package = importlib.util.find_spec("mlflow")
    places = package.submodule_search_locations if package else None
    made: set[str] = set()
    followed: set[str] = set()
    for file in Path(next(iter(places or ["."])), _VERSIONS).glob("*.py"):
        for down, names in _REVISION.findall(file.read_text(encoding="utf-8")):
            (followed if down else made).update(re.findall(r"['\"](\w+)['\"]", names))
    return made, followed
