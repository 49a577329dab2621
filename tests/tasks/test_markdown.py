"""One way to write a table in Markdown, whatever its texts hold."""

import re
from pathlib import Path

from tasks.plain_text import Marked, markdown_lines, markdown_table

PROJECT = Path(__file__).parents[2]


def test_texts_of_users_stay_in_their_cells():
    odd = "a|b\n| c | `d` [e](f)"
    table = markdown_table(("name", odd), [(odd, 1)], numeric=(False, True))
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()] == [3, 3, 3]
    assert r"a\|b \| c \| \`d\` \[e\](f)" in table.splitlines()[2]


def test_a_table_has_a_head_marks_and_a_line_a_row():
    table = markdown_table(("a", "b"), [("x", 1), (None, 2.5)], numeric=(False, True))
    assert table == "| a | b |\n|---|---:|\n| x | 1 |\n|  | 2.5 |\n"
    assert markdown_table(("a", "b"), ()) + markdown_lines([("x", 1)]) == (
        "| a | b |\n|---|---|\n| x | 1 |\n"
    )


def test_what_is_markdown_already_stays_as_it_is_but_for_line_feeds():
    assert markdown_lines([(Marked("**1.0**\n[a](b)"),)]) == "| **1.0** [a](b) |\n"


def test_no_other_place_draws_the_lines_of_a_table():
    """Marks of a table, as a string of the code has them."""
    marks = re.compile(r"""\| ?-{3}|-{3}:? ?\||["']-{3}:|\["---"\]""")
    found = [
        str(path.relative_to(PROJECT))
        for part in ("shotboard", "flows", "tasks", "operators", "data_catalog", "benchmarks")
        for path in (PROJECT / part).rglob("*.py")
        if "|" in (text := path.read_text(encoding="utf-8")) and marks.search(text)
    ]
    assert found == ["tasks/plain_text.py"]
