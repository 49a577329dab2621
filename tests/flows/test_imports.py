"""Commands that only read import nothing that takes longer to import than they take."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "prefect", "ray", "mlflow", "transformers", "pandas", "sklearn", "scipy")
# All in one process: what one of them imports, all of them are charged for.
PROGRAM = """
import json, sys
from flows.cli.app import app
from typer.testing import CliRunner
found = {}
for command in json.loads(sys.argv[1]):
    answer = CliRunner().invoke(app, command)
    loaded = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
    found[" ".join(command)] = [answer.exit_code, loaded, answer.stderr]
print(json.dumps(found))
"""


def test_reading_imports_no_heavy_module(filled, tmp_path):
    from tasks.pages.known import kept

    kept()  # as after the first command on new code
    commands = [
        ["--help"],
        ["board"],
        ["board", "--protocol", "few_shot", "--html", str(tmp_path / "board.html")],
        ["board", "--json"],
        ["board", "--plot", "intervals", "-o", str(tmp_path / "board.svg")],
        ["sql", "SELECT * FROM leaderboard LIMIT 1"],
        ["sql", "SELECT * FROM trials", "--format", "csv"],
        ["sql", "SELECT * FROM trials", "-o", str(tmp_path / "trials.parquet")],
        ["show", min(filled.done())],
        ["runs"],
        ["methods"],
        ["methods", "show", "coop"],
        ["methods", "page"],
        ["datasets"],
        ["datasets", "show", "pets"],
        ["backbones"],
        ["backbones", "show", "mini-clip"],
    ]
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands), json.dumps(HEAVY)],
        env={**os.environ, "SHOTBOARD_HOME": str(filled.home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert len(found) == len(commands)
    assert {command: said for command, said in found.items() if said[:2] != [0, []]} == {}


def test_a_command_imports_no_other_and_help_names_all_of_them():
    program = (
        "import sys\nfrom flows.cli.app import COMMANDS, app\nfrom typer.testing import CliRunner\n"
        "ask = lambda *words: CliRunner().invoke(app, words)\n"
        "assert ask('board', '--help').exit_code == 0\n"
        "loaded = {name for name in COMMANDS.values() if f'flows.cli.{name}' in sys.modules}\n"
        "assert loaded == {'reading'}, loaded\n"
        "assert 'tasks.planning.suite' not in sys.modules\n"
        "said = ask('--help').stdout.split()\n"
        "assert set(COMMANDS) <= set(said), said\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr


def test_import_shotboard_imports_no_library_and_none_of_our_packages():
    program = (
        "import sys\nbefore = set(sys.modules)\nimport shotboard\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names)))\nassert 'board' in dir(shotboard)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert answer.stdout == "['shotboard']\n", answer.stderr


def test_what_is_kept_of_the_code_is_what_the_code_says():
    from tasks.pages.known import backbone_rows, kept, method_rows
    from tasks.pages.zoo import PARTS

    said = kept()
    assert said == json.loads(json.dumps({part: rows() for part, rows in PARTS.items()}))
    assert (method_rows(), backbone_rows()) == (said["methods"], said["backbones"])


def test_code_that_has_changed_is_read_again(tmp_path, monkeypatch):
    from tasks.pages import zoo
    from tasks.pages.known import kept

    root, folder = tmp_path / "code", tmp_path / "kept"
    for name in (
        "operators/methods/image_classification/text_prompts/coop.py",
        "tasks/pages/zoo.py",
        "tasks/pages/known.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    said = []
    monkeypatch.setattr(zoo, "PARTS", {"methods": lambda: said.append(1) or len(said)})

    def read():
        kept.cache_clear()
        return kept(root, folder)["methods"]

    assert [read(), read()] == [1, 1]
    (root / "operators/methods/image_classification/text_prompts/coop.py").write_text("x = 1\n")
    assert [read(), read()] == [2, 2]
    (root / "operators/methods/new.py").write_text("")
    assert [read(), read()] == [3, 3]
    assert len(list(folder.iterdir())) == 1  # what is old is gone
    next(folder.iterdir()).write_text("{")
    assert [read(), read()] == [4, 4]
    kept.cache_clear()


def test_where_nothing_can_be_kept_the_code_is_read(tmp_path, monkeypatch):
    from tasks.pages import zoo
    from tasks.pages.known import kept

    (tmp_path / "a file").write_text("")
    monkeypatch.setattr(zoo, "PARTS", {"methods": lambda: ["coop"]})
    kept.cache_clear()
    assert kept(folder=tmp_path / "a file" / "kept") == {"methods": ["coop"]}
    kept.cache_clear()


@pytest.mark.parametrize("name", ["mini-clip", "effnet-minilm"])
def test_a_backbone_of_the_installation_is_shown_as_its_files_are(name):
    from operators.backbones import reference
    from tasks.pages.known import backbone_rows
    from tasks.pages.zoo import backbone_row

    (row,) = (row for row in backbone_rows() if row["backbone"] == name)
    assert row == json.loads(json.dumps(backbone_row(reference(name).describe())))
