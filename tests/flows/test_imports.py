"""Commands that only read import nothing that takes longer to import than they take."""

import json
import os
import shutil
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
        ["clean", "--dry-run"],
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


@pytest.fixture
def whole(filled, clip_folder, tmp_path):
    """A copy of the store and a suite of which it misses nothing, in MLflow neither."""
    from tasks.publishing import receipts
    from tasks.storage.store import Store

    store = Store(shutil.copytree(filled.home, tmp_path / "store"))
    suite = tmp_path / "whole.yaml"
    suite.write_text(
        f"datasets: [pets]\nbackbones: ['{clip_folder}']\nmethods: [zero-shot, tip-adapter]\n"
        "shots: [1]\nseeds: [1, 2]\n"
    )
    store.mlflow_database.touch()
    for result in store.results():
        told = result["cell_id"], "a run", store.done()
        receipts.write(store, store.mlflow_uri, "whole", *told)
    return store, suite


def test_a_plan_that_was_made_before_and_a_run_with_nothing_to_do_load_nothing(shotboard, whole):
    store, suite = whole
    first = shotboard("plan", suite, "--home", store.home)
    assert "3 trials, 3 done, 0 to do" in first.out, first.err
    assert shotboard("run", suite, "--home", store.home).code == 0  # names the variants
    known = json.loads((store.home / ".variants.json").read_text())["cells"]
    assert set(known) >= {result["cell_id"] for result in store.results()}

    runs = len(list(store.runs.glob("*.json")))
    again = ["plan", str(suite)], ["run", str(suite)], ["run", str(suite), "--json"]
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(again), json.dumps(HEAVY)],
        env={**os.environ, "SHOTBOARD_HOME": str(store.home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout)
    assert [found[:2] for found in said.values()] == [[0, []]] * 3, said
    assert len(list(store.runs.glob("*.json"))) == runs + 2
    assert shotboard("plan", suite, "--home", store.home).out == first.out
    assert not store.prefect.exists()


def test_a_prediction_loads_neither_transformers_nor_what_it_would_load(
    whole, pictures, clip_folder
):
    store, _ = whole
    trial = next(r["trial_id"] for r in store.results() if r["spec"]["method"] == "tip-adapter")
    command = ["predict", trial, str(pictures / "cat" / "0.jpg"), "--backbone", str(clip_folder)]
    assert modules_of(command, store) == []


def modules_of(command, store):
    heavy = [name for name in HEAVY if name != "torch"] + ["sympy", "torch._dynamo"]
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([command]), json.dumps(heavy)],
        env={**os.environ, "SHOTBOARD_HOME": str(store.home)},
        capture_output=True,
        text=True,
        check=False,
    )
    ((code, loaded, said),) = json.loads(answer.stdout).values()
    assert code == 0, said
    return loaded


def test_a_worker_loads_neither_transformers_nor_what_it_would_load(whole, clip_folder):
    store, _ = whole
    program = (
        "import json, sys\nfrom pathlib import Path\n"
        "from operators.backbones import reference\n"
        "from operators.spec import TrialSpec\n"
        "from tasks.computing.context import Context\n"
        "from tasks.computing.worker import TrialWorker\n"
        "home, dataset, backbone, heavy, *specs = sys.argv[1:]\n"
        "features = next(Path(home, 'features').glob('*/pets-*'))\n"
        "context = Context(reference(backbone), Path(dataset), features, {'suite': 'mini'})\n"
        "worker = TrialWorker(Path(home), 'cpu')\n"
        "done = worker.compute([TrialSpec.from_json(json.loads(s)) for s in specs], context)\n"
        "print([d.error for d in done], [n for n in json.loads(heavy) if n in sys.modules])\n"
    )
    specs = [json.dumps(result["spec"]) for result in store.results()]
    (dataset,) = (path.parent for path in store.data.glob("pets/*/card.json"))
    for trial in store.done():
        shutil.rmtree(store.trial(trial))
    heavy = [name for name in HEAVY if name != "torch"] + ["sympy", "torch._dynamo"]
    answer = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            store.home,
            dataset,
            clip_folder,
            json.dumps(heavy),
            *specs,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout == "['', '', ''] []\n", answer.stdout + answer.stderr


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
