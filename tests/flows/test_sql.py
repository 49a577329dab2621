"""`shotboard sql`: every column with its own values, every value in every format."""

import csv
import io
import json
import os
import shutil
import sys

import duckdb
import pyarrow.parquet as pq
import pytest

# A value, and it as a table or CSV and as JSON have it.
ODD = [
    ("'infinity'::TIMESTAMP", "infinity", "infinity"),
    ("'-infinity'::TIMESTAMPTZ", "-infinity", "-infinity"),
    ("'infinity'::DATE", "infinity", "infinity"),
    ("'290000-01-01'::DATE", "290000-01-01", "290000-01-01"),
    ("'44-03-15 (BC)'::DATE", "0044-03-15 (BC)", "0044-03-15 (BC)"),
    ("TIMESTAMPTZ '2026-01-02 00:00:00+02'", "2026-01-01 22:00:00+00", "2026-01-01T22:00:00+00"),
    ("TIMESTAMP_NS '2026-01-01 00:00:00.123456789'", *["2026-01-01 00:00:00.123456789"] * 2),
    ("TIME '10:00'", "10:00:00", "10:00:00"),
    ("TIMETZ '10:00:00+02'", "10:00:00+02", "10:00:00+02"),
    ("INTERVAL 3 DAY", "3 days", "3 days"),
    ("170141183460469231731687303715884105727", *[170141183460469231731687303715884105727] * 2),
    ("18446744073709551615::UBIGINT", *[18446744073709551615] * 2),
    ("12345678901234567.50::DECIMAL(38, 2)", "12345678901234567.50", 12345678901234567.5),
    ("'nan'::DOUBLE", "nan", None),
    ("'-inf'::FLOAT", "-inf", None),
    ("0.1::FLOAT", 0.1, 0.1),
    (r"'\xAA'::BLOB", r"\xAA", r"\xAA"),
    ("'101'::BIT", "101", "101"),
    ("'a'::ENUM('a', 'b')", "a", "a"),
    (
        "'00000000-0000-0000-0000-000000000001'::UUID",
        *["0" * 8 + "-0000" * 3 + "-" + "0" * 11 + "1"] * 2,
    ),
    ("union_value(k := 1)", "1", {"k": 1}),
    ("{'a': 'nan'::DOUBLE, 'b': [1, 2]}", "{'a': nan, 'b': [1, 2]}", {"a": None, "b": [1, 2]}),
    ("MAP {'x': 'infinity'::TIMESTAMP}", "{x=infinity}", {"x": "infinity"}),
    ("[1, 2]::INTEGER[2]", "[1, 2]", [1, 2]),
    ("NULL", "", None),
    ("true", "true", True),
    ("'a [/b] c'", "a [/b] c", "a [/b] c"),
    ("'[red]cat :smile:'", "[red]cat :smile:", "[red]cat :smile:"),
]


@pytest.fixture
def sql(shotboard, filled):
    """What a query says in one format; it must be understood."""

    def ask(query, *options):
        answer = shotboard("sql", query, "--home", filled.home, *options)
        assert answer.code == 0, answer.err
        return answer.out

    return ask


def read_csv(text):
    return list(csv.reader(io.StringIO(text)))


@pytest.mark.parametrize(
    ("query", "names", "values"),
    [
        ("select 1 as a, 2 as a", ["a", "a_1"], [1, 2]),
        ("select 1 as a, 2 as A", ["a", "A_1"], [1, 2]),
        ("select 1 as a, 2 as a, 3 as a_1, 4 as a", ["a", "a_2", "a_1", "a_3"], [1, 2, 3, 4]),
        ("select 1 as a, 2 as a_1, 3 as a; -- the é;nd\n; ;", ["a", "a_1", "a_2"], [1, 2, 3]),
        ('select 1 as "x""y", 2 as "x""y"', ['x"y', 'x"y_1'], [1, 2]),
    ],
)
def test_columns_of_one_name_have_their_own_values_in_every_format(
    sql, tmp_path, query, names, values
):
    head, row = sql(query).splitlines()
    assert (head.split(), row.split()) == (names, [str(value) for value in values])
    assert read_csv(sql(query, "--format", "csv")) == [names, [str(value) for value in values]]
    assert json.loads(sql(query, "--json")) == [dict(zip(names, values, strict=True))]
    for suffix in ("csv", "json", "parquet"):
        sql(query, "-o", tmp_path / f"rows.{suffix}")
        read = duckdb.sql(f"FROM '{tmp_path}/rows.{suffix}'")
        assert (read.columns, read.fetchall()) == (names, [tuple(values)])


def test_a_join_of_tables_that_share_names_is_shown(sql, tmp_path):
    query = "select * from trials t join metrics m on t.trial_id = m.trial_id limit 1"
    assert len(sql(query).splitlines()) == 2
    names, row = read_csv(sql(query, "--format", "csv"))
    assert row[names.index("trial_id_1")] == row[names.index("trial_id")]
    assert sql(query.replace("on t.trial_id = m.trial_id", "using (trial_id)"), "--json")


@pytest.mark.parametrize(("value", "text", "plain"), ODD)
def test_every_value_is_shown_and_written(sql, tmp_path, value, text, plain):
    query = f"SELECT {value} AS x, 1 AS end_"
    assert sql(query).splitlines()[1].split() == [*str(text).split(), "1"]
    assert read_csv(sql(query, "--format", "csv"))[1] == [str(text), "1"]
    found = json.loads(sql(query, "--json"), parse_constant=pytest.fail)[0]["x"]
    assert found == (
        plain.replace(" 00:00:00.1", "T00:00:00.1") if isinstance(plain, str) else plain
    )
    sql(query, "-o", tmp_path / "rows.parquet")
    assert pq.read_metadata(tmp_path / "rows.parquet").num_rows == 1


def test_null_and_an_empty_text_are_told_apart_in_csv(sql):
    query = "SELECT NULL AS a, '' AS b, 'x,y' AS c, 'say \"no\"' AS d, ' blank' AS e, 1 AS f"
    assert sql(query, "--format", "csv") == ('a,b,c,d,e,f\n,"","x,y","say ""no"""," blank",1\n')


@pytest.mark.parametrize(
    ("query", "head"),
    [
        ("EXPLAIN SELECT 1", "explain_key"),
        ("PRAGMA version", "library_version"),
        ("CALL duckdb_settings()", "name"),
        ("DESCRIBE trials", "column_name"),
        ("SUMMARIZE metrics", "column_name"),
        ("PIVOT metrics ON split USING avg(value) GROUP BY metric", "metric"),
        ("VALUES (1)", "col0"),
        ("FROM range(3) LIMIT 0", "range"),
    ],
)
def test_what_is_no_plain_select_is_answered_too(sql, query, head):
    assert sql(query).split()[0] == head
    assert read_csv(sql(query, "--format", "csv"))[0][0] == head
    json.loads(sql(query, "--json"))


def test_only_what_is_on_the_board_is_listed(sql):
    listed = sql("SHOW TABLES").split()
    assert {"trials", "leaderboard"} < set(listed)
    assert "answer" not in listed


@pytest.mark.parametrize(
    ("query", "excerpt"),
    [
        ("SELEC 1", ["LINE 1: SELEC 1", "        ^^^^^"]),
        ("SELECT *\nFRM trials", ["LINE 2: FRM trials", "            ^^^^^^"]),
        ("SELECT nope FROM trials", []),  # DuckDB names it and shows no place
        ("SELECT 'x'::INTEGER FROM trials", []),  # while it runs the place would be one in ours
    ],
)
def test_wrong_sql_is_a_sentence_and_the_place(shotboard, filled, query, excerpt):
    answer = shotboard("sql", query, "--home", filled.home)
    sentence, *place = answer.err.splitlines()
    assert answer.code == 2
    assert sentence.startswith("error: ")
    assert place == excerpt


def test_a_terminal_gets_the_first_rows_and_is_told_of_the_others(shotboard, filled, monkeypatch):
    from flows.cli.terminal import Terminal

    monkeypatch.setattr(Terminal, "is_terminal", True)
    answer = shotboard("sql", "FROM range(12345)", "--home", filled.home)
    assert len(answer.out.splitlines()) == 201
    assert answer.err.startswith("the first 200 of 12,345 rows. All of them: add -o FILE")
    monkeypatch.setattr(Terminal, "is_terminal", False)
    answer = shotboard("sql", "FROM range(12345)", "--home", filled.home)
    assert (len(answer.out.splitlines()), answer.err) == (12346, "")


def test_a_line_that_a_terminal_has_no_room_for_is_folded(sql, monkeypatch):
    from flows.cli.terminal import Terminal, out

    monkeypatch.setattr(Terminal, "is_terminal", True)
    monkeypatch.setattr(out, "_width", 40)
    shown = sql("SELECT repeat('[b]', 30) AS a, 7 AS b")
    assert shown.replace(" ", "").replace("\n", "").count("[") == 30
    assert max(map(len, shown.splitlines())) <= 40


def test_a_pipe_that_nobody_reads_any_more_ends_the_command_quietly(monkeypatch):
    from flows.cli.terminal import out, print_table, write_out

    for write in (
        lambda: write_out("x"),
        lambda: out.print("x"),
        lambda: print_table(["a"], [[1]]),
    ):
        read, write_end = os.pipe()
        os.close(read)
        with os.fdopen(write_end, "w") as pipe:
            monkeypatch.setattr(sys, "stdout", pipe)
            with pytest.raises(SystemExit) as ended:
                write()
            monkeypatch.undo()
        assert ended.value.code == 0


def test_a_file_is_whole_or_as_it_was(shotboard, filled, tmp_path):
    target = tmp_path / "rows.csv"
    target.write_text("before")
    wrong = "SELECT CASE WHEN range > 5000 THEN error('late') ELSE 'x' END FROM range(6000)"
    assert shotboard("sql", wrong, "-o", target, "--home", filled.home).code == 2
    assert (target.read_text(), list(tmp_path.glob(".*"))) == ("before", [])
    answer = shotboard("sql", "FROM range(3)", "-o", target, "--home", filled.home)
    assert answer.err == f"wrote {target}: 3 rows as csv\n"


@pytest.mark.parametrize("place", ["", "a file/rows.csv"])
def test_a_file_that_cannot_be_is_one_sentence(shotboard, filled, tmp_path, place):
    (tmp_path / "a file").write_text("")
    answer = shotboard("sql", "SELECT 1", "-o", tmp_path / place, "--home", filled.home)
    assert answer.code == 2
    assert "cannot be written" in answer.sentence


@pytest.mark.parametrize(
    ("value", "text"),
    [("3.14e-8", "3.1e-08"), ("-0.00004", "-4e-05"), ("-0.0", "0"), ("0.05", "0.05")],
)
def test_a_small_number_is_not_shown_as_none(sql, value, text):
    assert sql(f"SELECT {value}::DOUBLE AS p").split()[-2:] == ["p", text]


@pytest.mark.parametrize("command", [("sql", "SELECT 1", "-o"), ("board", "--html")])
@pytest.mark.parametrize("name", ["leaderboard.duckdb", "trials/*/trial.json"])
def test_no_answer_takes_the_place_of_a_file_of_the_store(shotboard, filled, command, name):
    file = next(filled.home.glob(name))
    before = file.read_bytes()
    options = () if command[0] == "board" else ("--format", "csv")
    answer = shotboard(*command, file, *options, "--home", filled.home)
    assert answer.code == 2
    assert f"{file} is a part of the store" in answer.sentence
    assert file.read_bytes() == before


def test_the_name_of_a_file_says_its_format_or_is_refused(shotboard, sql, filled, tmp_path):
    sql("SELECT 1 AS x", "-o", tmp_path / "ROWS.JSON")
    assert json.loads((tmp_path / "ROWS.JSON").read_text()) == [{"x": 1}]
    wrong = tmp_path / "rows.xlsx"
    answer = shotboard("sql", "SELECT 1", "-o", wrong, "--home", filled.home)
    assert (answer.code, wrong.exists()) == (2, False)
    assert ".xlsx is not written here" in answer.sentence
    assert sql("SELECT 1 AS x", "--format", "csv", "-o", "-") == "x\n1\n"


def test_a_table_is_written_before_the_answer_is_read_to_its_end(monkeypatch):
    from flows.cli import terminal

    read, written = [], []

    def rows():
        for number in (1, 22, 333, 4444, 5):
            read.append(number)
            yield (number, "x")

    monkeypatch.setattr(terminal, "write_out", lambda text: written.append((len(read), text)))
    terminal.print_table(["n", "k"], rows(), numeric=[True, False], ahead=2)
    assert written == [
        (2, "  1  x\n 22  x\n"),
        (4, " 333  x\n 4444  x\n"),  # wider than all that the columns were made for
        (5, "  5  x\n"),
    ]


def test_sql_that_is_not_utf_8_is_refused(filled, shotboard):
    said = shotboard("sql", "SELECT '\udcff'", "--home", filled.home).sentence
    assert "character 9 is the byte ff" in said


def test_what_a_board_of_another_version_lacks_leads_to_its_remedy(filled, shotboard, tmp_path):
    home = tmp_path / "store"
    home.mkdir()
    shutil.copyfile(filled.board, home / "leaderboard.duckdb")
    ask = ("sql", "SELECT * FROM leader_board", "--home", home)
    assert "--rebuild" not in shotboard(*ask).err
    with duckdb.connect(home / "leaderboard.duckdb") as connection:
        connection.execute("UPDATE schema_version SET version = 'old'")
    assert (
        "made by another version of Shotboard: `shotboard board --rebuild`" in shotboard(*ask).err
    )
    assert shotboard("sql", "SELECT 1 AS a", "--home", home).code == 0


def test_a_statement_that_ctrl_c_stops_is_no_fault_of_the_board(filled):
    from tasks.pages.asking import reading

    with pytest.raises(KeyboardInterrupt), reading(filled):
        raise RuntimeError("Query interrupted")  # as DuckDB says it
    with pytest.raises(RuntimeError, match="else"), reading(filled):
        raise RuntimeError("something else")
