"""Processes that end with their parent, on servers of the standard library."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.services.children import Child, ChildError, check_port, free_port, is_there, listener

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
TICKS = """
import signal, subprocess, sys, time
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, helper.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def start(tmp_path):
    """Starts a module of the standard library, or of `tmp_path`."""
    started = []

    def call(*command, **how):
        log, environment = tmp_path / "child.log", dict(os.environ)
        child = Child("the child", *command, log=log, folder=tmp_path, environment=environment)
        started.append(child)
        return child

    yield call
    for child in started:
        child.stop()


def silent(port):
    with socket.socket() as caller:
        return "nobody there" if caller.connect_ex(("127.0.0.1", port)) else None


def gone(pid):
    """Whether a process has ended; one that nobody has asked for its code yet has, too."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if not is_there(pid):
            return True
        time.sleep(0.05)
    return False


def test_a_server_is_there_until_it_is_stopped(start):
    port = free_port()
    server = start("http.server", str(port), "--bind", "127.0.0.1")
    server.wait(lambda: silent(port), SECONDS)
    server.check()
    server.stop()
    assert not server.alive
    assert silent(port)


def test_a_child_that_ends_is_reported_with_the_end_of_its_log(start):
    child = start("json.tool", "--nonsense")
    with pytest.raises(ChildError, match=r"(?s)the child ended with code 2 before it.*nonsense"):
        child.wait(lambda: "no answer", SECONDS)
    with pytest.raises(ChildError, match=r"the child ended with code 2 by itself\. /.*child\.log"):
        child.check()
    with pytest.raises(ChildError, match="the child failed with code 2"):
        child.finish(SECONDS)


def test_a_child_that_never_answers_is_given_up(start):
    with pytest.raises(ChildError, match=r"did not answer within 0 s \(no answer\)"):
        start("http.server", str(free_port())).wait(lambda: "no answer", 0)


def test_what_a_child_started_ends_with_it_and_ctrl_c_is_not_ignored(start, tmp_path):
    (tmp_path / "ticks.py").write_text(TICKS)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a job in the background
    try:
        child = start("ticks")
    finally:
        signal.signal(signal.SIGINT, before)
    child.wait(lambda: None if child.log.read_text().endswith("\n") else "no line", SECONDS)
    interruptible, helper = child.log.read_text().split()
    assert interruptible == "True"
    child.stop()
    assert gone(helper)


def test_a_child_ends_with_a_parent_that_is_killed(tmp_path):
    script = (
        "import os, time; from pathlib import Path; from tasks.services.children import Child\n"
        f"child = Child('it', 'http.server', '{free_port()}', log=Path('log').absolute(),\n"
        "    folder=Path.cwd(), environment=os.environ)\n"
        "print(child.process.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    pid = parent.stdout.readline().strip()
    assert Path(f"/proc/{pid}").exists()
    parent.kill()
    parent.wait()
    assert gone(pid)


def test_a_port_that_is_taken_is_refused_with_who_has_it():
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        mine.listen()
        port = mine.getsockname()[1]
        with pytest.raises(
            ValueError, match=rf"--port {port}: the page cannot .*--port\.$"
        ) as said:
            check_port("--port", port, "the page")
        assert f"used by process {os.getpid()} (" in str(said.value)
    check_port("--port", port, "the page")
    assert listener(port) == "another program"


def test_a_port_that_this_user_may_not_have_is_said_to_be_that(monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ValueError, match=r"^--port 80: the page .*for the administrator\.") as said:
        check_port("--port", 80, "the page")
    assert "used by" not in str(said.value)


def test_a_listener_is_named_whatever_bytes_its_command_has():
    script = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1])"
    process = subprocess.Popen(
        [sys.executable, "-uc", f"{script}; s.accept()", b"\xff"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert f"process {process.pid} (" in listener(int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()
