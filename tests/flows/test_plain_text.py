"""Names, paths and errors are shown as they are, wherever they are shown."""

import ast
from pathlib import Path

import pytest

# What a class could be called, and how a terminal has to show it.
ODD = {
    "cat [/b]": "cat [/b]",
    "[red]dog": "[red]dog",
    ":smile:": ":smile:",
    "[link=http://x]y[/link]": "[link=http://x]y[/link]",
    "\x1b[31mred": r"\x1b[31mred",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "a\rb": r"a\rb",
    "a\x9bb": r"a\x9bb",
    "a\u202eb": r"a\u202eb",
    "file\udcff": r"file\udcff",
    "é ± 猫": "é ± 猫",
}


@pytest.mark.parametrize(("text", "shown"), ODD.items())
def test_a_terminal_is_given_nothing_to_obey(capsys, text, shown):
    from flows.cli.terminal import err, out, print_table

    out.print(f"class {text}")
    out.print(text, style="dim")
    err.print(f"error: {text}")
    print_table([text, "n"], [[text, 1]], title=f"title {text}")
    said = capsys.readouterr()
    assert said.out.splitlines()[:3] == [f"class {shown}", shown, f"title {shown}"]
    head, row = said.out.splitlines()[3:]
    assert (head.split("  ")[0].strip(), row[:-2].strip()) == (shown.split("  ")[0], shown)
    assert said.err == f"error: {shown}\n"


@pytest.mark.parametrize("text", ODD)
def test_progress_shows_names_as_they_are(capsys, text, monkeypatch):
    from flows.cli.display import TerminalReporter
    from flows.cli.terminal import Terminal, err

    monkeypatch.setattr(Terminal, "is_terminal", True)
    with TerminalReporter(err) as reporter:
        reporter.begin(f"ingest {text}", 3)
        reporter.note(f"ingest {text}", text)
        reporter.progress.refresh()
        reporter.end(f"ingest {text}", text)
        reporter.say(text)
    said = capsys.readouterr().err
    assert f"  ingest {ODD[text]}: {ODD[text]}\n" in said
    assert "\x07" not in said
    assert "\x1b[31m" not in said


def test_a_command_line_that_holds_an_escape_sequence_is_refused_harmlessly(shotboard):
    answer = shotboard("sql", "--\x1b[31m")
    assert answer.code == 2
    assert r"\x1b[31m" in answer.sentence


def test_a_page_and_markdown_show_names_as_they_are():
    from tasks.plain_text import in_code, in_html, in_markdown

    assert in_html("<b a='x'>") == "&lt;b a=&#x27;x&#x27;&gt;"
    assert in_markdown("a|b `c` *d* <e>\n# f [g](h)") == (r"a\|b \`c\` \*d\* \<e\> \# f \[g\](h)")
    assert [in_code("a|b"), in_code("`"), in_code("a``b`c")] == [
        r"`a\|b`",
        "`` ` ``",
        "``` a``b`c ```",
    ]


def test_only_one_place_prints():
    """Every other way out of the process would need the same care again."""
    root = Path(__file__).resolve().parents[2]
    allowed = {
        ("flows/cli/terminal.py", "sys.stdout.write"),
        ("flows/cli/app.py", "typer.echo"),  # of help, and of an error that is made plain
        ("tasks/computing/traces.py", "print"),  # ids of trials, into the file of a worker
    }
    found = set()
    for layer in ("flows", "tasks", "operators", "data_catalog"):
        for path in sorted((root / layer).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call):
                    called = ast.unparse(node.func)
                    if called in ("print", "rich.print", "click.echo", "typer.echo", "typer.secho"):
                        found.add((path.relative_to(root).as_posix(), called))
                    if called.endswith((".stdout.write", ".stderr.write", ".from_markup")):
                        found.add((path.relative_to(root).as_posix(), called))
                    if called.rsplit(".", 1)[-1] == "Console":
                        found.add((path.relative_to(root).as_posix(), called))
                    named = {each.arg: ast.unparse(each.value) for each in node.keywords}
                    if named.get("markup") == "True" or named.get("emoji") == "True":
                        found.add((path.relative_to(root).as_posix(), "markup"))
    assert found == allowed


def test_names_in_what_a_flow_leaves_in_prefect_are_text(monkeypatch):
    from types import SimpleNamespace

    from tasks.pages import artifacts
    from tasks.storage.store import Store

    left = {}
    monkeypatch.setattr(
        artifacts, "create_markdown_artifact", lambda **a: left.update({a["key"]: a})
    )
    monkeypatch.setattr(artifacts, "create_link_artifact", lambda **a: None)
    monkeypatch.setattr(artifacts, "board_rows", lambda *_: [])
    monkeypatch.setattr(artifacts, "changes_markdown", lambda *_: "")
    plan = SimpleNamespace(
        specs=(), suite=SimpleNamespace(name="a|b"), skipped=["pets: <img src=x>"], notices=["`x`"]
    )
    failed = [("1", "# head\n- more | x")]
    artifacts.publish_artifacts(Store.at("store"), plan, failed, "done [x](y)")  # pyright: ignore
    text = left["summary"]["markdown"]
    assert text.startswith("# a\\|b\n\ndone \\[x\\](y)\n")
    assert "- failed: 1: \\# head - more \\| x\n" in text
    assert "| 1 |  |  | \\# head - more \\| x |" in left["failures"]["markdown"]
    assert all(artifact["description"] for artifact in left.values())
    assert "- skipped: pets: \\<img src=x\\>\n- note: \\`x\\`" in text
