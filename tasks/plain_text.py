"""Text of users and of their data, made harmless for the place where it is shown.

A class name, a path or an error may hold anything: escape sequences that a terminal obeys,
letters that turn the line around, markup. Everything that is printed goes through `plain`, what
becomes part of Markdown through `in_markdown`, a table of it through `markdown_table`, what becomes
part of a page through `in_html`.
"""

import html
import re
from collections.abc import Iterable, Sequence

# Controls but tab and line feed, line separators, letters that turn the direction of what
# follows, and halves of characters, which undecodable names of files have.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_MAY_TELL = re.compile(  # a URL, a query, or the beginning of a token
    r"://|[?&][\w.~-]+=|hf_|gh[pousr]_|github_pat_|glpat-|xox|sk-|AKIA|ASIA|[Bb]earer "
)
_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>#|~&!$]")


def without_secrets(text: str) -> str:
    """The text with `***` for passwords and tokens, as `data_catalog.secrets.redact` has it.

    That package is imported where a text may hold one: most commands print none.
    """
    if not _MAY_TELL.search(text):
        return text
    from data_catalog.secrets import redact

    return redact(text)


def plain(text: object) -> str:
    r"""The text as a terminal can show it: what it would obey is written out, such as `\x1b`.

    Passwords and tokens in URLs are `***`.
    """
    shown = without_secrets(str(text))
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), shown)


def in_markdown(text: object) -> str:
    """The text as a part of a line or of a table's cell in Markdown, shown as it is."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(plain(text).split()))


def in_code(text: object) -> str:
    """The text as code in a line or in a table's cell of Markdown, shown as it is."""
    words = " ".join(plain(text).split()).replace("|", r"\|")
    longest = max(map(len, re.findall("`+", words)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {words} {fence}" if longest else f"{fence}{words}{fence}"


def in_html(text: object) -> str:
    """The text as a part of an HTML page or of an attribute in it, shown as it is."""
    return html.escape(plain(text))


class Marked(str):
    """Text that is Markdown already and stays as it is in a cell of a table."""


def markdown_table(
    heads: Sequence[object], rows: Iterable[Iterable[object]], numeric: Sequence[bool] = ()
) -> str:
    """A table in Markdown, with a line feed at its end; texts are shown as they are.

    Args:
        heads: Of the columns; a `Marked` one is Markdown, as in cells.
        rows: A value for each column; None is an empty cell.
        numeric: Which columns hold numbers, which stand to the right; default: none does.
    """
    marks = ("---:" if number else "---" for number in numeric or [False] * len(heads))
    return f"{_line(heads)}|{'|'.join(marks)}|\n{markdown_lines(rows)}"


def markdown_lines(rows: Iterable[Iterable[object]]) -> str:
    """More rows of a table in Markdown."""
    return "".join(map(_line, rows))


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |\n"


def _cell(value: object) -> str:
    if isinstance(value, Marked):
        return " ".join(value.split())
    return "" if value is None else in_markdown(value)
