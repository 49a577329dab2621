"""Where a Ray of this machine has its sockets, and what is ended where it does not start."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.computing import deaths, ray_processes, ray_start
from tasks.computing.deaths import Deaths
from tasks.computing.ray_processes import end_left_over, trouble_with_ray
from tasks.computing.ray_start import FOLDER_BYTES, _sockets_folder, _start_local
from tasks.environment import MachineError
from tasks.services.children import descendants, free_port, is_there

SECONDS = 60


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)


def test_sockets_lie_where_ray_puts_them_as_long_as_they_fit():
    assert _sockets_folder() is None


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
@pytest.mark.parametrize("there", [True, False])
def test_a_folder_with_a_long_path_or_none_at_all_is_passed_over(
    name, there, tmp_path, monkeypatch
):
    deep = tmp_path / ("x" * 100)
    if there:
        deep.mkdir()
    monkeypatch.setenv(name, str(deep if there else "/nowhere"))
    folder = _sockets_folder()
    assert folder is not None
    assert len(folder) <= FOLDER_BYTES
    assert Path(folder).parent.is_dir()


def test_no_place_for_sockets_is_a_sentence(monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(MachineError, match=r"/tmp: set RAY_TMPDIR to a folder that does\.$"):
        _sockets_folder()


@pytest.fixture
def stuck(monkeypatch):
    """A Ray that starts a process, which starts another, and gives up; keeps both."""
    import ray
    from ray._private.node import Node

    started = []

    class Stuck(Node):
        def __init__(self):
            script = "import subprocess, time; subprocess.Popen(['sleep', '600']); time.sleep(600)"
            process = subprocess.Popen([sys.executable, "-c", script])
            self.all_processes = {"raylet": [type("Info", (), {"process": process})]}
            deadline = time.monotonic() + SECONDS
            while not descendants(process.pid) and time.monotonic() < deadline:
                time.sleep(0.02)
            started.extend([process.pid, *descendants(process.pid)])
            raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", lambda *_, **__: Stuck())
    return started


def test_what_a_start_that_gave_up_left_behind_is_ended_and_it_is_tried_again(stuck, monkeypatch):
    monkeypatch.setattr(ray_start, "START_SECONDS", 7.0)
    with pytest.raises(MachineError, match=r"did not start within 7 s, 2 times over.*too busy"):
        _start_local(1, 10**8)
    assert len(stuck) == 4
    deadline = time.monotonic() + SECONDS
    while any(map(is_there, stuck)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_there, stuck))


def test_an_error_that_no_ray_raised_ends_nothing():
    with pytest.raises(ValueError, match="other") as other:
        raise ValueError("other")
    end_left_over(other.value)


def test_want_of_memory_is_said_where_ray_or_linux_says_so(monkeypatch):
    from ray.exceptions import ActorDiedError, OutOfMemoryError

    low = OutOfMemoryError("Task was killed due to the node running low on memory.\nMemory: 95 %")
    said = Deaths().cause(low, None, here=True)
    assert "want of memory: Task was killed" in said
    assert "--workers" in said
    counted = iter([3, 4, 4, 5])
    monkeypatch.setattr(deaths, "_kills", lambda: next(counted))
    deaths_here = Deaths()

    def cause(here=True):
        return deaths_here.cause(ActorDiedError(), None, here=here)

    assert "the system ended it for want of memory" in cause()
    assert "memory" not in cause()
    assert "memory" not in cause(here=False)  # this machine's memory, not that of its host


class Joined:
    """What Ray knows of its processes here; some have ended."""

    def __init__(self, *ended):
        self.ended = ended
        self.raylet_socket_name = "/nowhere"
        self.all_processes = {"gcs_server": [], "raylet": []}

    def dead_processes(self):
        return [(name, type("Process", (), {"returncode": -9})) for name in self.ended]


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (["gcs_server"], "Ray's own process gcs_server has ended (code -9)"),
        (["monitor", "raylet"], "Ray's own process raylet has ended (code -9)"),
        (["monitor"], None),
    ],
)
def test_a_ray_whose_own_processes_end_is_noticed(ended, said, monkeypatch):
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr(ray_processes, "this_node", lambda: Joined(*ended))
    trouble = trouble_with_ray()
    assert trouble == said if said is None else said in str(trouble)


def test_a_ray_of_this_machine_that_ends_is_noticed_by_who_has_joined_it(monkeypatch, tmp_path):
    node = Joined()
    node.all_processes = {}
    node.raylet_socket_name = str(tmp_path / "raylet")
    context = type("Context", (), {"gcs_address": "127.0.0.1:1"})
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("ray.get_runtime_context", lambda: context)
    monkeypatch.setattr(ray_processes, "this_node", lambda: node)
    monkeypatch.setattr(ray_processes, "nobody_listens", lambda _: None)
    assert trouble_with_ray() is None  # it is out of sight, as from a container
    with socket.socket(socket.AF_UNIX) as raylet:
        raylet.bind(node.raylet_socket_name)
        raylet.listen()
        assert trouble_with_ray() is None
    assert "the Ray of this machine has ended" in str(trouble_with_ray())


def test_a_cluster_that_goes_is_noticed(monkeypatch):
    address = f"127.0.0.1:{free_port()}"
    node = Joined()
    node.all_processes = {}
    context = type("Context", (), {"gcs_address": address})
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("ray.get_runtime_context", lambda: context)
    monkeypatch.setattr(ray_processes, "this_node", lambda: node)
    assert trouble_with_ray() == f"the Ray cluster at {address} has gone."
