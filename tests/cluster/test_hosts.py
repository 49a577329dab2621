"""What hosts of the rig have of their own, and that nothing of them is left."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])) as line:
    print(line.recv(100).decode())
"""
TELL = """
import socket
with socket.create_server(("0.0.0.0", 7000)) as server:
    print("listens", flush=True)
    while True:
        line, _ = server.accept()
        with line:
            line.sendall(socket.gethostname().encode())
"""


@pytest.fixture(scope="module")
def pair(rig):
    return rig.host("one"), rig.host("two", code=False)


@pytest.fixture(scope="module")
def told(pair):
    """A server on each host, which says where it is."""
    servers = [host.popen(sys.executable, "-c", TELL) for host in pair]
    for server in servers:
        assert server.stdout.readline() == "listens\n"
    yield
    for server in servers:
        server.kill()
        server.communicate()


def ask(host, address, seconds=60):
    answer = host.run(sys.executable, "-c", ASK, address, 7000, seconds, check=False)
    return answer.stdout.strip() or answer.stderr


def test_hosts_reach_each_other_and_this_machine(rig, pair, told):
    one, two = pair
    assert ask(one, two.address) == "two"
    assert ask(two, one.address) == "one"
    assert one.address != two.address
    with socket.create_connection((two.address, 7000), timeout=60) as line:
        assert line.recv(100) == b"two"
    with socket.create_server((rig.address, 0)) as server:
        port = server.getsockname()[1]
        asking = one.popen(sys.executable, "-c", ASK, rig.address, port, 60)
        line, (caller, _) = server.accept()
        with line:
            line.sendall(b"here")
        assert asking.communicate()[0] == "here\n"
        assert caller == one.address


def test_one_that_is_cut_off_reaches_nobody_until_it_rejoins(pair, told):
    one, two = pair
    two.cut()
    assert "timed out" in ask(one, two.address, 0.5) or "No route" in ask(one, two.address, 0.5)
    assert ask(two, one.address, 0.5) != "one"
    assert ask(two, two.address) == "two"
    two.rejoin()
    assert ask(one, two.address) == "two"


def test_a_host_has_places_processes_and_a_name_of_its_own(pair, tmp_path):
    one, two = pair
    (tmp_path / "store").mkdir()
    assert one.run("hostname").stdout == "one\n"
    one.put("given/suite.yaml", "name: tiny")
    assert one.run("cat", "given/suite.yaml").stdout == "name: tiny"
    one.run("touch", "/dev/shm/one")
    assert one.run("pwd").stdout.strip() == one.run("printenv", "HOME").stdout.strip()
    assert two.run("find", "/tmp", "/dev/shm", "-type", "f").stdout == ""
    assert not Path("/dev/shm/one").exists()
    assert two.run("ls", tmp_path, check=False).returncode != 0
    process = one.popen("sleep", 1000)
    code = "import psutil; print(sorted(p.name() for p in psutil.process_iter()))"
    assert "sleep" not in two.run(sys.executable, "-c", code).stdout
    process.terminate()
    assert process.wait(60) == -signal.SIGTERM
    assert "AWS_SECRET_ACCESS_KEY" not in one.run("env").stdout


def test_our_code_is_there_where_it_is_asked_for(pair):
    one, two = pair
    code = "import numpy, importlib.util as u; print(u.find_spec('tasks.environment'))"
    assert str(ROOT) in one.run(sys.executable, "-c", code).stdout
    without = two.run(sys.executable, "-c", code, check=False)
    assert "ModuleNotFoundError: No module named 'tasks'" in without.stderr
    assert (ROOT / "tasks" / "environment.py").exists()


def test_those_whose_parents_have_ended_do_not_stay_as_zombies(hosts_module, pair):
    one, _ = pair
    one.run("sh", "-c", "sleep 0.1 & exit 0")

    def names():
        found = []
        for process in one.processes():
            with suppress(psutil.NoSuchProcess):  # it ends as it is looked at
                found.append(process.name())
        return found

    hosts_module.wait_for(lambda: "sleep" not in names(), seconds=60, every=0.02)


def links():
    return {link["ifname"] for link in json.loads(subprocess.check_output(["ip", "-j", "link"]))}


KEPT = """
import os, sys, signal
sys.path.insert(0, sys.argv[1])
import hosts
with hosts.Rig() as rig:
    host = rig.host("lonely")
    host.run("sh", "-c", "sleep 1000 > /dev/null 2>&1 &")
    waits = host.popen("sleep", "2000")
    print(host.pid, rig._pid, rig.network, flush=True)
    if sys.argv[2] == "ends":
        sys.exit()
    signal.pause()
"""


@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_nothing_is_left_of_a_rig_whose_process(how, hosts_module):
    process = subprocess.Popen(
        [sys.executable, "-c", KEPT, str(Path(__file__).parent), how],
        stdout=subprocess.PIPE,
        text=True,
    )
    *pids, network = process.stdout.readline().split()
    mine = f"sbt{process.pid}-"
    keepers = [psutil.Process(int(pid)) for pid in pids]
    below = keepers
    if how == "is killed":
        assert [link for link in links() if link.startswith(mine)]
        assert network in subprocess.check_output(["ip", "route"], text=True)
        below = psutil.Process(process.pid).children(recursive=True)
        assert len(below) >= 5
        process.kill()
    assert process.wait(60) == (0 if how == "ends" else -signal.SIGKILL)
    _, alive = psutil.wait_procs([*below, *keepers], timeout=60)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]
    hosts_module.wait_for(lambda: not [link for link in links() if link.startswith(mine)], 60)
    assert network not in subprocess.check_output(["ip", "route"], text=True)


def test_two_rigs_at_once_have_networks_of_their_own(hosts_module, rig):
    with hosts_module.Rig() as other:
        assert not rig.network.overlaps(other.network)
        host = other.host("else")
        assert host.run("hostname").stdout == "else\n"


def test_a_machine_without_the_programs_is_told(hosts_module, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "ip, unshare, nsenter" in hosts_module.missing()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "root alone" in hosts_module.missing()
