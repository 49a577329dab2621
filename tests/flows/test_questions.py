"""The questions of docs/sql.md: each is answered by any board, with the columns that are shown."""

import re
import runpy
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def documents():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROJECT / "benchmarks")
        yield runpy.run_path(str(PROJECT / "benchmarks" / "documents.py"))


def blocks(document):
    return re.findall(r"^```sql\n(.*?)^```", (PROJECT / document).read_text(), re.M | re.S)


def test_there_are_ten_and_every_one_is_answered(documents):
    asked = documents["questions"]()
    assert len(asked) == 10
    record = documents["read"]("sql")
    assert {name: record[name]["sql"] for name in asked} == asked, (
        "run `python benchmarks/documents.py answers`"
    )
    assert set(record) == set(asked)


def test_every_question_has_the_columns_that_are_shown(documents, filled):
    from tasks.pages.asking import ask

    record = documents["read"]("sql")
    for name, sql in documents["questions"]().items():
        with ask(filled, sql) as answer:
            assert [column.name for column in answer.columns] == record[name]["columns"], name
            assert isinstance([row for batch in answer.values() for row in batch], list)


def test_what_else_is_shown_runs(documents, filled):
    from tasks.pages.asking import ask

    asked = documents["questions"]().values()
    more = [sql for sql in blocks("docs/sql.md") if sql not in asked and "attach" not in sql]
    assert len(more) == 9
    for sql in more:
        with ask(filled, sql) as answer:
            rows = [row for batch in answer.values() for row in batch]
        assert bool(rows) or "reference" not in sql, sql


def test_what_the_readme_asks_is_one_of_them(documents):
    asked = list(documents["questions"]().values())
    found = blocks("README.md")
    assert found
    assert [sql for sql in found if sql not in asked] == []


def test_the_first_answer_is_of_one_metric_and_one_protocol(documents):
    first = next(iter(documents["questions"]().values()))
    assert "is_primary" in first
    assert first.count("protocol = ") == 1


def test_a_question_that_was_edited_is_not_answered_by_the_old_answer(documents, monkeypatch):
    text = "<!-- figures: sql answer nobody-asked -->\n<!-- end of figures -->"
    with pytest.raises(ValueError, match="nobody-asked is not answered"):
        documents["written"](text)
