"""Whatever is typed, or written into a suite, is done or refused in a sentence.

Examples are drawn; `--hypothesis-profile=long` draws many more.
"""

import keyword
import runpy
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st

from flows.cli.common import class_names, names, numbers, one_each, pairs
from tasks.pages.asking import BoardError, rows
from tasks.planning.own_files import module_of, pick, place_of, read_source
from tasks.planning.resolve import RequestError
from tasks.planning.suite import Suite, read_suite

BAD = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "bad_input.py")))
SOME, WORDS, VALUES, DEEP = BAD.fewer(2), BAD.WORDS, BAD.values(max_leaves=6), BAD.deep(3_000)
is_a_sentence = partial(BAD.is_a_sentence, longest=20_000)
surroundings = BAD.surroundings

KEYS = st.one_of(st.sampled_from(sorted(Suite.model_fields)), WORDS)
SUITES = st.dictionaries(KEYS, VALUES, max_size=4).map(yaml.safe_dump)


@given(st.one_of(SUITES, st.text(max_size=40), st.binary(max_size=40)))
@example("!!python/object/apply:os.system ['touch trapped']")
@example("methods: [{coop: {epochs: .nan}}]")
@example("seeds: [1.5]")
@example("shots: [1e999]")
@example("methods: &a [*a]")
@example(DEEP)
@example(b"\xff\xfe")
def test_a_suite_is_read_or_refused_in_a_sentence(tmp_path_factory, text):
    with surroundings(tmp_path_factory) as around:
        file = around.place / "mine.yaml"
        file.write_bytes(BAD.as_bytes(text))
        try:
            read_suite(file)
        except RequestError as error:
            is_a_sentence(error)
        assert [path.name for path in around.place.iterdir()] == ["mine.yaml"]


PIECES = st.sampled_from(
    [
        *(
            "select",
            "*",
            "from",
            "leaderboard",
            "trials",
            "where",
            "(",
            ")",
            ",",
            "'",
            '"',
            ";",
            "--",
        ),
        *(
            "/*",
            "*/",
            "1",
            "method",
            "=",
            "union",
            "all",
            "with",
            "as",
            "x",
            "pivot",
            "on",
            "$1",
            "?",
        ),
        *("copy", "to", "'out.csv'", "attach", "'out.db'", "install", "load", "httpfs", "pragma"),
        *("read_csv('/etc/passwd')", "read_text('/etc/passwd')", "getenv('HOME')", "set", "call"),
        *(
            "enable_external_access",
            "true",
            "export",
            "database",
            "'out'",
            "from '/etc/passwd'",
            "#1",
        ),
        *(
            "{",
            "}",
            "[",
            "]",
            "::",
            "unnest",
            "range(3)",
            "e'\\x00'",
            "\0",
            "\ud800",
            "null",
            "limit",
        ),
    ]
)
SQL = st.one_of(st.lists(PIECES, max_size=10).map(" ".join), st.text(max_size=30))


@given(SQL)
@example("copy trials to 'out.csv'")
@example("attach 'out.db'")
@example("select * from read_text('/etc/passwd')")
@example("select content from glob('/etc/*')")
@example("set enable_external_access = true")
@example("select " + "(" * 2_000)
@example("select getenv('HOME')")
@example("install httpfs")
@example("\ud800")
@example("\udcff")
def test_sql_is_answered_or_refused_in_a_sentence_and_reaches_no_file(
    filled, tmp_path_factory, sql
):
    with surroundings(tmp_path_factory, filled.home) as around:
        try:
            answer = rows(filled, sql)
        except BoardError as error:
            is_a_sentence(error)
        else:
            assert "root:" not in str(answer)
            assert str(around.folder) not in str(answer)  # where home is


LISTS = st.one_of(st.text(max_size=20), st.lists(st.text(max_size=4), max_size=4).map(",".join))


@given(LISTS)
@example("@/dev/null")
@example("@.")
@example("@\0")
@example("@~nobody-is-called-that/x")
@example('"a')
def test_lists_are_taken_or_refused_in_a_sentence(text):
    readers = (
        names,
        class_names,
        lambda text: numbers("--shots", text),
        lambda text: one_each("--columns", pairs("--columns", text)),
    )
    for read in readers:
        try:
            read(text)
        except ValueError as error:
            is_a_sentence(error)


WRITES = {"--html", "--csv", "--plot", "-o", "--output", "--export", "--preview", "--to", "--out"}
# Those that compute, serve or fetch are left out, and what is asked here may write nothing.
ASKED = [
    *(["plan"], ["board"], ["sql"], ["show"], ["runs"], ["compare"], ["clean", "--dry-run"]),
    *(["datasets", "list"], ["datasets", "show"], ["methods", "list"], ["methods", "show"]),
    *(["backbones", "list"], ["backbones", "show"], ["verify"], ["predict"], ["up"], ["nonsense"]),
]


def parameters(command):
    """Options and arguments of a command, as `click` knows them."""
    from typer.main import get_group

    from flows.cli.app import app

    found = get_group(app)
    for word in command:
        if word.startswith("-"):
            break
        found = found.get_command(None, word)  # pyright: ignore
        if found is None:
            return []
    return found.params


@st.composite
def lines(draw):
    """A command line that is nearly right."""
    command = draw(st.sampled_from(ASKED))
    words = list(command)
    word = st.one_of(
        WORDS.filter(lambda text: "\0" not in text),
        st.sampled_from(
            ("coop", "digits", "mini-clip", "few_shot", "1", "-1", "1e9", "quickstart")
        ),
    )
    options = [
        option
        for option in parameters(command)
        if option.param_type_name == "option" and not WRITES.intersection(option.opts)
    ]
    for option in draw(st.lists(st.sampled_from(options), max_size=3) if options else st.just([])):
        if option.name in ("home", "help", "rebuild"):
            continue
        words.append(draw(st.sampled_from(option.opts)))
        if not option.is_flag:
            words.append(draw(word))
    if command == ["up"]:
        return [*words, "--port", "0"]  # so that nothing ever starts
    return [*words, *draw(st.lists(word, max_size=2))]


@SOME
@given(lines())
@example(["sql", "select \ud800"])
@example(["show", "../../etc"])
@example(["show", ""])
@example(["plan", "/dev/null"])
@example(["plan", "--shots", "1" * 5000])
@example(["board", "--protocol", "\ud800"])
@example(["predict", "", ""])
@example(["clean", "--dry-run", "--older-than", "9" * 400])
def test_a_command_line_is_done_or_refused_in_a_sentence(filled, shotboard, tmp_path_factory, line):
    with (
        surroundings(tmp_path_factory, filled.home.parent),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("SHOTBOARD_HOME", str(filled.home))
        answer = shotboard(*line)
    assert answer.trouble is None or isinstance(answer.trouble, SystemExit), line
    assert answer.code in (0, 1, 2, 3), (line, answer.err)
    assert "Traceback" not in answer.err
    if answer.code == 2:
        assert answer.err.startswith(("error: ", "Usage: ")), (line, answer.err)


@given(st.text(max_size=20))
@example("./a.py:B")
@example("a.py:")
@example(":")
@example("\0.py:x")
@example("~nobody-is-called-that/x.py:A")
def test_a_place_in_a_file_is_one_or_none(text):
    place = place_of(text)
    if place is not None:
        assert isinstance(place.file, Path)


CODE = st.one_of(
    st.text(max_size=30),
    st.lists(st.sampled_from([*keyword.kwlist, "x", ":", "(", ")", "\n", " ", "=", "1"]))
    .map(" ".join)
    .filter(lambda text: "import" not in text),
)
RAISED = [
    *("raise SystemExit(0)", "raise GeneratorExit", "raise BaseException('x')", "1 / 0"),
    *("import sys; sys.exit(3)", "raise MemoryError", "raise Exception", "import nowhere"),
    *("(" * 500, "x = " + "-" * 100_000 + "1", "\0", "assert False", "raise StopIteration"),
    *("def f(): f()\nf()", "class A(metaclass=1): pass", "raise type('E', (BaseException,), {})"),
]


@given(st.one_of(CODE, st.binary(max_size=20)))
@example(b"\xff")
def test_a_plug_in_is_taken_or_refused_in_a_sentence(tmp_path_factory, text):
    content = BAD.as_bytes(text)
    assume(b"while" not in content)
    with surroundings(tmp_path_factory) as around:
        file = around.place / "mine.py"
        file.write_bytes(content)
        try:
            pick(read_source(file), "Mine", lambda value: False, "a method")
        except RequestError as error:
            is_a_sentence(error)


@pytest.mark.parametrize("text", RAISED)
def test_whatever_a_plug_in_raises_is_a_sentence(tmp_path, text):
    file = tmp_path / "mine.py"
    file.write_text(text)
    for _ in range(2):  # the second time it is no half-made module
        with pytest.raises(RequestError, match=r"mine\.py"):
            module_of(read_source(file))


def test_ctrl_c_in_a_plug_in_is_ctrl_c(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        module_of(read_source(file))
