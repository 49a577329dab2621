"""The shell of `shotboard sql`, driven by keys as a terminal sends them."""

import json
import os
import pty
import shutil
import subprocess
import sys
import time

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

CTRL_C, CTRL_D, ENTER = "\x03", "\x04", "\r"


@pytest.fixture
def type_in(filled, tmp_path, monkeypatch, capsys):
    """Types keys into a shell and gives what it printed: standard output and errors."""
    from flows.cli.shell import Shell

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(keys, store=filled, mode=None, end=CTRL_D):
        from flows.cli.answers import Format

        with create_pipe_input() as pipe:
            pipe.send_text(keys + end)
            Shell(store, mode or Format.csv, input=pipe, output=DummyOutput()).run()
        return capsys.readouterr()

    return run


def test_a_question_ends_with_a_semicolon_and_may_have_several_lines(type_in):
    said = type_in(f"select 1 + 1{ENTER}as two;{ENTER}")
    assert "two\n2\n" in said.out
    assert said.err == ""


def test_ctrl_c_clears_and_ctrl_d_leaves(type_in):
    said = type_in(f"select nonsense{CTRL_C}select 3 as three;{ENTER}")
    assert "three\n3\n" in said.out
    assert "nonsense" not in said.out + said.err


def test_an_error_is_one_paragraph_and_the_next_question_is_answered(type_in):
    wrong = f"select metod from trials;{ENTER}selec 1;{ENTER}"
    said = type_in(f"{wrong}select 3 as three;{ENTER}")
    name, syntax, *excerpt = said.err.splitlines()
    assert name.startswith("error: ")
    assert "metod" in name
    assert syntax.startswith("error: ")
    assert excerpt[-1].strip(" ^") == ""
    assert "three\n3\n" in said.out


def test_commands(type_in, tmp_path):
    file = tmp_path / "answer.json"
    said = type_in(
        f".tables{ENTER}.schema averages{ENTER}.mode json{ENTER}select 7 as seven;{ENTER}"
        f".export {file}{ENTER}.help{ENTER}"
    )
    assert "\naverages,view,The primary metric averaged" in said.out
    assert '\nmissing,VARCHAR,"Names of the data sets' in said.out
    assert '"seven": 7' in said.out
    assert json.loads(file.read_text()) == [{"seven": 7}]
    assert "Ctrl-D leaves" in said.out


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (".schema avrages", "no table or view is called 'avrages'. Did you mean averages"),
        (".table", "no command is called '.table'. Did you mean .tables"),
        (".mode xml", "mode 'xml' is none of table, csv, json, markdown."),
        (".export x.csv", ".export FILE writes the last answer: name a file, and ask something"),
    ],
)
def test_what_a_command_cannot_do_it_says(type_in, command, told):
    said = type_in(f"{command}{ENTER}")
    assert said.err.startswith(f"error: {told}")
    assert len(said.err.splitlines()) == 1


def test_questions_are_kept_for_the_next_shell(type_in, tmp_path):
    type_in(f"select 'kept' as one;{ENTER}")
    up = "\x1b[A"
    said = type_in(f"{up}{ENTER}")
    assert "one\nkept\n" in said.out
    assert (tmp_path / "state/shotboard/sql_history").stat().st_mode & 0o077 == 0


def test_where_nothing_can_be_kept_the_shell_works(type_in, tmp_path):
    (tmp_path / "state").write_text("no folder")
    assert "one\n1\n" in type_in(f"select 1 as one;{ENTER}").out


def test_a_board_that_is_published_meanwhile_is_seen(filled, type_in, tmp_path):
    from flows.cli.shell import Shell
    from tasks.storage.store import Store

    store = Store(tmp_path / "store")
    store.home.mkdir()
    shutil.copyfile(filled.board, store.board)
    with create_pipe_input() as pipe:
        shell = Shell(store, input=pipe, output=DummyOutput())
        shell._look()
        before = shell.stamp
        assert "averages" in shell.completer.names.columns
        shutil.copyfile(filled.board, tmp_path / "next")
        (tmp_path / "next").replace(store.board)
        shell._look()
        assert shell.stamp != before


def test_without_a_board_the_shell_says_how_to_make_one(type_in, tmp_path):
    from tasks.storage.store import Store

    said = type_in(f"select 1;{ENTER}", store=Store(tmp_path / "none"))
    assert said.err.startswith("error: no board yet at ")
    assert "run `shotboard run`" in said.err


@pytest.fixture(scope="module")
def completed(filled):
    """Texts that are offered for what is typed, up to a mark `|`."""
    from flows.cli.completing import BoardCompleter, names_of

    completer = BoardCompleter(names_of(filled), [".tables", ".schema"])

    def offers(typed):
        before, _, after = typed.partition("|")
        document = Document(before + after, len(before))
        found = completer.get_completions(document, CompleteEvent())
        return [completion.text for completion in found]

    return offers


def test_tables_are_offered_after_from_and_join(completed):
    assert completed("select * from aver|") == ["averages"]
    assert completed("select * from trials join conf|") == ["confusion_counts", "confusions"]


def test_columns_are_those_of_the_tables_in_the_question(completed):
    assert "mean_rank" in completed("select mea| from ranks")
    assert "mean_rank" not in completed("select mea| from averages")
    assert "mean" in completed("select mea| from averages")
    assert "SELECT" in completed("sel|")


def test_values_are_offered_within_quotes(completed, filled):
    import duckdb

    with duckdb.connect(filled.board, read_only=True) as board:
        methods = {m for (m,) in board.execute("SELECT DISTINCT method FROM trials").fetchall()}
    assert {text.rstrip("'") for text in completed("from trials where method = '|")} == methods
    one = min(methods)
    assert f"{one}'" in completed(f"from trials where method in ('x', '{one[:2]}|")
    assert completed("from trials where protocol = 'few|") == ["few_shot'"]
    assert not completed("from trials where protocol = 'zzz|")


def test_commands_and_their_tables_are_offered(completed):
    assert completed(".ta|") == [".tables"]
    assert "averages" in completed(".schema aver|")


def test_what_is_piped_in_is_the_question(filled):
    done = subprocess.run(
        [sys.executable, "-m", "shotboard", "sql", "--format", "csv", "--home", filled.home],
        input="select 5 as five;",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "five\n5\n"), done.stderr


def test_a_terminal_gets_the_shell(filled, tmp_path):
    """In a real terminal: prompt, answer, and the end by Ctrl-D."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "shotboard", "sql", "--home", filled.home],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "XDG_STATE_HOME": str(tmp_path), "COLUMNS": "120"},
        close_fds=True,
    )
    os.close(theirs)
    try:
        said = _until(ours, "board>")
        os.write(ours, b"select 40 + 2 as answer;\r")
        said = _until(ours, " 42")
        assert "answer" in said
        _until(ours, "board>")
        os.write(ours, b"\x04")
        assert child.wait(60) == 0
    finally:
        child.kill()
        child.wait()
        os.close(ours)


def _until(terminal, text, seconds=60):
    """What a terminal shows until some text comes; questions for its cursor are answered."""
    said = ""
    end = time.monotonic() + seconds
    while text not in said:
        assert time.monotonic() < end, said
        part = os.read(terminal, 4096).decode(errors="replace")
        if "\x1b[6n" in part:
            os.write(terminal, b"\x1b[1;1R")
        said += part
    return said


@pytest.mark.parametrize("word", [".quit", ".exit", "quit", "exit;"])
def test_words_of_other_shells_leave(type_in, word):
    said = type_in(f"{word}{ENTER}select 7 as seven;{ENTER}")
    assert said.err == ""
    assert "seven" not in said.out


def test_help_needs_no_dot(type_in):
    said = type_in(f"help{ENTER}")
    assert said.err == ""
    assert ".schema NAME" in said.out
