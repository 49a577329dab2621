"""A Ray whose head ends while it starts: the start is given up, in a sentence, within seconds."""

import os
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

from tasks.computing import ray_processes, ray_start, starting
from tasks.computing.starting import Starting
from tasks.environment import MachineError

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
RUN = """
import os, sys, threading, time
from tasks.computing.ray_cluster import started_ahead, ray_cluster
from tasks.services.children import descendants, process_name

class Worker:
    def hello(self):
        return 1

def kill(name, seconds):
    while not (found := [p for p in descendants(os.getpid()) if process_name(p) == name]):
        time.sleep(0.002)
    time.sleep(seconds)
    os.kill(found[0], 9)

threading.Thread(target=kill, args=(sys.argv[1], float(sys.argv[2])), daemon=True).start()
asked = {"gpus_per_worker": 0.0, "workers": 2}
try:
    with started_ahead(Worker, address=None, **asked), ray_cluster(**asked) as cluster:
        cluster.pool(Worker).run("hello")
except Exception as error:
    print(f"{type(error).__name__}: {error}")
print("left:", descendants(os.getpid()))
try:
    with ray_cluster(**asked) as cluster:
        cluster.pool(Worker)
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""

BESIDE = """
import sys, threading
seen = []

class Witness:
    def find_spec(self, name, path=None, target=None):
        seen.append((threading.current_thread() is threading.main_thread(), name))

sys.meta_path.insert(0, Witness())
from tasks.computing.ray_cluster import ray_cluster, started_ahead

class Worker:
    def hello(self):
        return 1

asked = {"gpus_per_worker": 0.0, "workers": 1}
with started_ahead(Worker, address=None, **asked), ray_cluster(**asked) as cluster:
    ahead = len(seen)
    import flows.benchmark
    cluster.pool(Worker).run("hello")
for ours in (True, False):
    found = {name.partition(".")[0] for main, name in seen[ahead:] if main == ours}
    print(*sorted(found & sys.modules.keys() - sys.stdlib_module_names))
"""


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(starting, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(starting, "GRACE_SECONDS", 0.1)


def test_what_is_asked_is_answered_in_one_thread_that_is_not_ours(hurried):
    starts = Starting(lambda: None)
    first = starts.call(threading.current_thread)
    assert first is not threading.current_thread()
    assert starts.call(lambda: starts.call(threading.current_thread)) is first
    with pytest.raises(ValueError, match="as it is"):
        starts.call(lambda: int("as it is"))
    starts.settle()
    assert starts.given_up is None
    starts.end()
    first.join(SECONDS)
    assert not first.is_alive()


def test_a_start_that_hangs_without_a_head_is_given_up_and_asked_nothing_more(hurried):
    hangs = threading.Event()
    starts = Starting(lambda: "the head has ended.")
    for function in (lambda: hangs.wait(SECONDS), lambda: 1):
        with pytest.raises(MachineError, match=r"^the head has ended\.$"):
            starts.call(function)
    starts.settle()
    hangs.set()
    starts.end()


def test_a_start_is_left_alone_as_long_as_its_head_is_there_or_comes_back(hurried):
    looks = iter([None] * 5 + ["it has ended."] * 3 + [None] * 5)
    over = threading.Event()

    def trouble():
        try:
            return next(looks)
        except StopIteration:
            over.set()
            return None

    assert Starting(trouble).call(lambda: over.wait(SECONDS)) is True


def test_a_start_that_lost_a_process_is_tried_again_and_then_told(monkeypatch):
    import ray

    tries = []

    class Process:
        pid, returncode = 2**30, -9

        def poll(self):
            return self.returncode

    def fails(*_, **__):
        ray_processes.started_here["raylet"] = Process()
        tries.append(1)
        raise RuntimeError("The current node has not registered.")

    monkeypatch.setattr(ray, "init", fails)
    monkeypatch.setattr(ray_start, "started_here", {})
    monkeypatch.setattr(ray_processes, "started_here", ray_start.started_here)
    with pytest.raises(MachineError, match=r"raylet has ended \(code -9\).*2 times over"):
        ray_start._start_local(1, 10**8)
    assert len(tries) == ray_start.STARTS


@pytest.mark.slow
@pytest.mark.served
@pytest.mark.parametrize(("name", "seconds"), [("gcs_server", 0.5), ("raylet", 1.0)])
def test_a_head_that_is_killed_while_it_starts_is_a_sentence_and_leaves_no_process(name, seconds):
    told = subprocess.run(
        [sys.executable, "-c", RUN, name, str(seconds)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert told.returncode == 0
    assert "Traceback" not in told.stderr
    first, left, second = told.stdout.splitlines()
    assert first.startswith(f"MachineError: Ray's own process {name} has ended (code -9)")
    assert left == "left: []"
    assert second.endswith("Ray cannot start again in this process: start another.")


REGISTER = """
import os, sys
from ray import _raylet
from tasks.computing.ray_cluster import ray_cluster
from tasks.computing.ray_processes import started_here

register = _raylet.CoreWorker

def without(*args, **kwargs):
    os.kill(started_here[sys.argv[1]].pid, 9)
    return register(*args, **kwargs)

_raylet.CoreWorker = without
with ray_cluster(workers=2) as cluster:
    cluster.start()
"""


@pytest.mark.slow
@pytest.mark.served
@pytest.mark.parametrize("name", ["gcs_server", "raylet"])
def test_a_head_that_is_killed_before_ray_registers_this_process_is_a_sentence(name):
    """Ray keeps all threads of the process waiting there, and ends it."""
    mark = f"marked-{uuid.uuid4()}"
    told = subprocess.run(
        [sys.executable, "-c", REGISTER, name],
        cwd=ROOT,
        env={**os.environ, "MARK": mark},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert told.returncode == 1
    first, second = told.stderr.splitlines()
    assert first.startswith(f"error: Ray's own process {name} has ended, and the workers with it")
    assert second == "What was computed stays; the same command goes on from here."
    deadline = time.monotonic() + 5 * SECONDS
    while (left := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []


def _marked(mark: str) -> list[str]:
    """Names of the processes with a text in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "comm").read_text().strip())
    return found


@pytest.mark.slow
def test_no_package_is_imported_by_ray_while_prefect_is_imported_beside_it():
    """Of a circle of modules that two threads import at once, one gets a part that is half made."""
    done = subprocess.run(
        [sys.executable, "-c", BESIDE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=10 * SECONDS,
    )
    assert done.returncode == 0, done.stderr
    beside, by_ray = (line.split() for line in done.stdout.splitlines()[-2:])
    assert {"prefect", "opentelemetry"} <= {*beside}
    assert by_ray == ["ray"]
