"""One HTML file from the published board: first tables as HTML, all else packed, scripts last."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.pages.asking import BoardError, reading
from tasks.pages.links import served_pages
from tasks.plain_text import in_html, plain
from tasks.site.attention import attention
from tasks.site.examples import examples
from tasks.site.extras import EXTRAS, Ask
from tasks.site.headline import Table, first_tables, in_page
from tasks.site.libraries import libraries
from tasks.site.payload import Column, compressed, packed
from tasks.site.tables import DIGITS, IDS, JSON, ROUGH, SCORES, TABLES
from tasks.storage.store import Store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ASSETS = Path(__file__).resolve().parent / "assets"
SCRIPTS = tuple(  # in the order in which they need each other
    f"{name}.js"
    for name in (
        *("core", "payload", "format", "table", "exports", "chart", "scores", "columns"),
        *("protocol", "cards", "published", "compare", "runs", "trials", "trial", "plots", "start"),
    )
)
_SLOT = re.compile(r"<!--(\w+)-->")

# What the head of the page says of the board.
ABOUT = """
SELECT
    count(*) FILTER (status = 'completed') AS trials,
    count(*) FILTER (status = 'failed') AS failed,
    count(DISTINCT method) FILTER (status = 'completed') AS methods,
    count(DISTINCT dataset) FILTER (status = 'completed') AS datasets,
    max_by(git_commit, started_at) AS git_commit,
    strftime(max(started_at), '%Y-%m-%d %H:%M') AS latest
FROM trials
WHERE tested_on = 'test'
"""


def page(store: Store, begin: str | None = None) -> bytes:
    """The board as one HTML file that needs no other, no network and no server.

    Args:
        store: Whose published board.
        begin: The protocol that is seen first; default: the one with the most methods.

    Raises:
        BoardError: There is no board, it cannot be read, or it is of another version.
    """
    import duckdb

    with reading(store) as connection:
        try:
            tables = {name: _asked(connection, sql) for name, sql in TABLES.items()}
            tables["examples"] = examples(store, connection)
            tables["attention"] = attention(store, connection)
            extras = {name: of(_asker(connection)) for name, of in EXTRAS.items()}
            first = first_tables(connection, SCORES)
            (values,) = connection.sql(ABOUT).fetchall()
            about = dict(zip(connection.sql(ABOUT).columns, values, strict=True))
            titles = dict(connection.sql("SELECT protocol, title FROM protocols").fetchall())
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            raise BoardError(
                f"the board {store.board} was made by another version of Shotboard: `shotboard "
                "board --rebuild` makes it anew from the trials, whose numbers stay."
            ) from error
    about["made"] = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
    about["version"] = version("shotboard")
    names = [table.choice.protocol for table in sorted(first, key=lambda t: -len(t.lines))]
    about["home"] = begin if begin in names else next(iter(names), None)
    about["served"] = asdict(served_pages())
    about["choices"] = {table.choice.protocol: table.choice._asdict() for table in first}
    first.sort(key=lambda table: table.choice.protocol != about["home"])
    slots = {
        "style": f"<style>{_asset('style.css')}</style>",
        "stamp": in_html(f"{about['trials']:,} trials · {about['made']} UTC"),
        "provenance": in_html(_provenance(about)),
        "first": _first(first, titles),
        "about": _data("about", json.dumps(_plain(about))),
        "tables": "\n".join(_data(f"table-{name}", text) for name, text in _packed(tables)),
        "extras": "\n".join(
            _data(f"extra-{name}", compressed(json.dumps(_plain(value)).encode()))
            for name, value in extras.items()
        ),
        "libraries": "\n".join(_data(f"library-{k}", v) for k, v in libraries().items()),
        "scripts": "\n".join(f"<script>{_asset(name)}</script>" for name in SCRIPTS),
    }
    text = _SLOT.sub(lambda found: slots[found[1]], _asset("page.html"))
    return text.encode("utf-8", "backslashreplace")


def _asker(connection: "DuckDBPyConnection") -> Ask:
    def ask(sql: str) -> list[dict[str, Any]]:
        found = connection.sql(sql)
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]

    return ask


def _asked(connection: "DuckDBPyConnection", sql: str) -> dict[str, Column]:
    """The answer, by column, in which Arrow's types are text, truth or numbers."""
    relation = connection.sql(sql)
    kept = {"varchar", "boolean", "double", "integer", "bigint"}
    columns = [
        f'"{name}"' if str(kind).lower() in kept else f'"{name}"::VARCHAR AS "{name}"'
        for name, kind in zip(relation.columns, relation.types, strict=True)
    ]
    table = relation.project(", ".join(columns)).to_arrow_table()
    return dict(zip(table.column_names, table.columns, strict=True))


def _packed(tables: Mapping[str, Mapping[str, Column]]) -> Iterable[tuple[str, str]]:
    names = {column for table in tables.values() for column in table}
    digits = dict.fromkeys(names, DIGITS) | ROUGH
    return packed(tables, json_columns=JSON, digits=digits, ids=IDS).items()


def _first(tables: list[Table], titles: dict[str, str]) -> str:
    if not tables:
        return "<p>The board is empty: <code>shotboard run</code> fills it.</p>"
    heading = "<h1 class='unseen'>Shotboard</h1>\n"
    return heading + "\n".join(in_page(t, titles[t.choice.protocol]) for t in tables)


def _provenance(about: dict[str, Any]) -> str:
    commit = f" at commit {about['git_commit'][:10]}" if about["git_commit"] else ""
    count = f"{about['trials']:,} trials, {about['methods']} methods, {about['datasets']} data sets"
    return f"{count} · made {about['made']} UTC by Shotboard {about['version']}{commit}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return plain(value) if isinstance(value, str) else value


def _data(name: str, content: str) -> str:
    """Content that scripts find by id; nothing in it can end the element early."""
    return (
        f"<script type='text/plain' id='{name}'>{content.replace('<', chr(92) + 'u003c')}</script>"
    )


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")
