"""Runs on machines that lack nearly everything, and stores that can only be read.

What is missing is really missing: mounts of a namespace of its own, a control group, limits.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.pages.asking import rows
from tasks.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
SHOTBOARD = [sys.executable, "-c", "from flows.cli import main; main()"]
FULL, ROOM, MEMORY = 7 * 2**20, 64 * 2**20, 2 * 2**30
GROUPS = Path("/sys/fs/cgroup/memory")
TINY = """
name: tiny
datasets: [digits]
views: none
backbones: [mini-clip]
methods: [zero-shot, coop: {epochs: 2, n_context: 4}]
shots: [1]
seeds: [1]
test_rows_per_class: 5
"""
HUNGRY = """
import resource

from operators.methods import METHODS


class Hungry(METHODS["zero-shot"]):
    def logits(self, batch):
        if not LIMITED:
            resource.setrlimit(resource.RLIMIT_AS, (2 << 30, resource.RLIM_INFINITY))
        kept = [b"x" * (64 << 20) for _ in range(64)]
        return super().logits(batch)
"""


def may_mount():
    """Whether a namespace with mounts of its own can be had here, as for root."""
    asked = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"]
    return (
        bool(shutil.which("unshare")) and not subprocess.run(asked, capture_output=True).returncode
    )


pytestmark = pytest.mark.skipif(not may_mount(), reason="needs mounts of its own: be root on Linux")


def in_namespace(script, *words, **environ):
    """Runs a script of the shell in a namespace of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *map(str, words)],
        env={**kept, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=1200,
    )


ASKED = """
import json, subprocess, sys
from pathlib import Path
from typer.testing import CliRunner
from flows.cli.app import app
from tasks.storage.store import Store

home = Path(sys.argv[1])
ask = lambda *words: CliRunner().invoke(app, [*words, "--home", str(home)])
told = {}

def mount(place, name, *commands):
    subprocess.run(["mount", "--bind", place, place], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
    for words in commands:
        said = ask(*words)
        told[f"{name}: {words[0]}"] = [said.exit_code, said.stdout, said.stderr]
    subprocess.run(["umount", place], check=True)

run = ("run", sys.argv[2])
reads = ("plan", sys.argv[2]), ("board",), ("sql", "SELECT count(*) AS n FROM trials"), ("runs",)
mount(home, "all", *reads, ("datasets", "show", "pets"), ("doctor",), ("clean",), run)
for place in (path for path in Store(home).written if path.is_dir()):
    mount(place, place.name, run)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def read_only(filled, tmp_path_factory):
    """What commands say of a store whose disk, or part of whose disk, is read-only."""
    folder = tmp_path_factory.mktemp("read-only")
    suite = folder / "tiny.yaml"
    suite.write_text(TINY)
    home = shutil.copytree(filled.home, folder / "store")
    for name in ("prefect", "leases", "mlartifacts", "runs"):
        (home / name).mkdir(exist_ok=True)
    before = sorted(home.rglob("*"))
    done = in_namespace('exec "$@"', sys.executable, "-c", ASKED, home, suite)
    assert done.returncode == 0, done.stderr
    assert sorted(home.rglob("*")) == before
    return json.loads(done.stdout)


def test_a_store_that_is_read_only_is_read(read_only):
    for command in ("plan", "board", "sql", "runs", "datasets"):
        code, _, errors = read_only[f"all: {command}"]
        assert (code, errors) == (0, ""), command
    assert "tip-adapter" in read_only["all: board"][1]
    assert "Traceback" not in read_only["all: doctor"][2]


def test_what_writes_to_it_is_refused_in_a_sentence_before_anything_starts(read_only):
    refused = {
        name: told for name, told in read_only.items() if name.endswith((": run", ": clean"))
    }
    places = {name.partition(":")[0] for name in refused}
    assert places >= {"all", "trials", "features", "data", "runs", "failures", "prefect", "leases"}
    for name, (code, _, errors) in refused.items():
        assert code == 2, (name, errors)
        assert errors.startswith("error: the store "), name
        assert "cannot be written" in errors and len(errors.splitlines()) == 1, errors


POOR = """
store=$1 suites=$2 group=$3 out=$4; shift 4
if [ $group ]; then echo $$ >$group/cgroup.procs; mount --bind $group $GROUPS; fi
mount -t tmpfs -o size=$FULL tmpfs $store
"$@" run $suites/tiny.yaml --home $store >$out/full.out 2>$out/full.err; echo $? >$out/full.code
cp -r $store $out/full
mount -o remount,size=$ROOM $store
mount -t tmpfs -o size=16m tmpfs /dev/shm
mount --bind /dev/null /etc/passwd
unset HOME; ulimit -n 256; cd /proc
taskset -c 0 "$@" run $suites/hungry.yaml --home $store >$out/poor.out 2>$out/poor.err
echo $? >$out/poor.code
cp -r $store $out/poor
"""


class Told:
    """What a run said, and its store."""

    def __init__(self, folder, name):
        self.code = int((folder / f"{name}.code").read_text())
        self.out, self.err = ((folder / f"{name}.{end}").read_text() for end in ("out", "err"))
        self.store = Store(folder / name)


@pytest.fixture
def group():
    """A control group with little memory, or nothing where none can be made."""
    own = [
        line for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line
    ]
    folder = GROUPS / own[0].rpartition(":")[2].lstrip("/") / f"poor-{os.getpid()}" if own else None
    try:
        assert folder
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(MEMORY))
    except (AssertionError, OSError):
        folder = None
    yield folder
    if folder:
        folder.rmdir()


@pytest.mark.slow
@pytest.mark.served
@pytest.mark.timeout(1500)
def test_a_run_on_a_machine_that_lacks_nearly_everything(tmp_path, group):
    """First its disk is full; then it has one core, 2 GiB and 256 files, and nobody is at home.

    One trial of the suite takes all the memory that it can get.
    """
    home, out = tmp_path / "store", tmp_path / "out"
    home.mkdir()
    out.mkdir()
    (tmp_path / "hungry.py").write_text(f"LIMITED = {bool(group)}\n{HUNGRY}")
    (tmp_path / "tiny.yaml").write_text(TINY)
    hungry = TINY.replace("[zero-shot,", "[./hungry.py:Hungry, zero-shot,")
    (tmp_path / "hungry.yaml").write_text(hungry)
    limits = {"FULL": str(FULL), "ROOM": str(ROOM), "GROUPS": str(GROUPS)}
    done = in_namespace(POOR, home, tmp_path, group or "", out, *SHOTBOARD, **limits)
    assert done.returncode == 0, done.stderr

    full = Told(out, "full")
    assert full.code in (1, 2)
    assert "Traceback" not in full.err
    assert "make room" in next(line for line in full.err.splitlines() if line.startswith("error: "))
    kept = full.store.done()
    assert len(list(full.store.results())) == len(kept)  # each is whole

    poor = Told(out, "poor")
    assert poor.code == 1, poor.err
    for words in ("Traceback", "WARNING", "descriptor"):
        assert words not in poor.err
    assert "workers: 1 on this machine" in poor.err
    assert kept <= poor.store.done()
    found = rows(poor.store, "SELECT method, status, error FROM trials ORDER BY method")
    status = {row["method"]: row["status"] for row in found}
    (lost,) = [row for row in found if row["status"] != "completed"]
    assert status == {"coop": "completed", "zero-shot": "completed", lost["method"]: "failed"}
    assert "Hungry" in lost["method"]
    assert "emory" in lost["error"]
    assert lost["error"][:60] in poor.err
