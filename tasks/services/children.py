"""Servers as processes of our own: they end when we do, however we end, and leave a log."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tasks.environment import MachineError

POLL_SECONDS = 0.05
LOG_LINES = 15
STOP_SECONDS = 15.0  # what a child gets to end politely

# The child watches its standard input, which closes when its parent ends. It leads a group of its
# own, so whatever it starts there is told as well. A shell that starts us in the background has
# Ctrl-C ignored, and a Prefect worker that inherits this cannot be ended by SIGTERM either.
_WATCHED = """
import os, runpy, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
seconds = float(sys.argv[1])
def watch():
    os.read(0, 1)
    os.killpg(0, signal.SIGTERM)
    time.sleep(seconds)
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
del sys.argv[:2]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


class ChildError(MachineError):
    """A child ended or does not answer; the text goes on with the end of its log."""


class Child:
    """A Python module that runs as a process, as `python -m` would run it.

    Ctrl-C does not reach it: its parent stops it, when it is time.

    Attributes:
        name: As a person would say it: `the worker`.
        log: What it writes, made anew.
        process: The process.

    Args:
        name: See above.
        command: Name of the module and its arguments.
        log: See above; its folder is there.
        folder: Where it runs.
        environment: All of its environment.
        way_out: A sentence about what to do when it fails.
        stop_seconds: What it gets to end politely.
        sockets: Those of ours that it has too, under the same numbers.
    """

    def __init__(
        self,
        name: str,
        *command: str,
        log: Path,
        folder: Path,
        environment: Mapping[str, str],
        way_out: str = "",
        stop_seconds: float = STOP_SECONDS,
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        self.name = name
        self.log = log
        self.way_out = way_out
        self.stop_seconds = stop_seconds
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _WATCHED, str(stop_seconds), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,
                pass_fds=[each.fileno() for each in sockets],
            )

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def wait(self, trouble: Callable[[], str | None], seconds: float) -> None:
        """Returns when it answers.

        Args:
            trouble: Returns None once it does, else what is wrong.
            seconds: How long to wait.

        Raises:
            ChildError: It ended first, or takes too long.
        """
        deadline = time.monotonic() + seconds
        while found := trouble():
            self.check("before it answered")
            if time.monotonic() > deadline:
                raise self.error(f"did not answer within {seconds:.0f} s ({found})")
            time.sleep(POLL_SECONDS)

    def finish(self, seconds: float) -> None:
        """Returns when it has done its work and ended.

        Raises:
            ChildError: It failed, or takes too long.
        """
        try:
            code = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise self.error(f"did not end within {seconds:.0f} s") from None
        if code:
            raise self.error(f"failed with code {code}")

    def check(self, when: str = "by itself") -> None:
        """Raises ChildError unless it runs."""
        if not self.alive:
            raise self.error(f"ended with code {self.process.returncode} {when}")

    def error(self, trouble: str) -> ChildError:
        """The error that says what is wrong, what to do, and how the log ends."""
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])
        way_out = f" {self.way_out}" if self.way_out else ""
        return ChildError(f"{self.name} {trouble}.{way_out} {self.log} ends with:\n{tail}")

    def ask_to_stop(self) -> None:
        """Tells it, and what it started in its group, to end; `stop` waits for that."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGTERM)

    def stop(self) -> None:
        """Ends it: politely, so that it writes what it holds, then by force.

        An interrupt while we wait means that there is no time to be polite.
        """
        if self.alive:
            self.ask_to_stop()
        try:
            self.process.wait(timeout=self.stop_seconds)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            pass
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            if self.process.stdin:
                with suppress(OSError):
                    self.process.stdin.close()


def free_port() -> int:
    """Returns a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check_port(option: str, port: int, purpose: str, host: str = "127.0.0.1") -> None:
    """Raises unless we can listen on a port.

    Args:
        option: The option that chooses another, `--port`.
        port: The port.
        purpose: What would listen there.
        host: The address, or a name of this machine.

    Raises:
        ValueError: Another process listens there, which is named where this user may know it; or
            this user may not listen there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind((host, port))
        except (socket.gaierror, UnicodeError) as error:
            raise ValueError(_no_host(host)) from error
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise ValueError(_no_host(host)) from error
            refused = f"{option} {port}: {purpose} cannot listen there ({error.strerror})"
            if error.errno == errno.EADDRINUSE:
                used = f"the port is used by {listener(port)}. Stop that, or choose another"
                raise ValueError(f"{refused}; {used} with {option}.") from error
            if error.errno == errno.EACCES:
                refused += "; low ports are for the administrator"
            raise ValueError(f"{refused}. Choose another with {option}.") from error


def _no_host(host: str) -> str:
    return (
        f"--host {host}: no server can listen there, for it is no IPv4 address or name of this "
        "machine. Give one that it has, 0.0.0.0 for all of them, or leave --host out for this "
        "machine alone."
    )


def listener(port: int) -> str:
    """Names the process that listens on a port, by what Linux tells of this user's processes."""
    sockets = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if table.is_file():
            rows = [line.split() for line in table.read_text().splitlines()[1:]]
            here = [row for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")]
            sockets |= {f"socket:[{row[9]}]" for row in here}
    for link in Path("/proc").glob("[0-9]*/fd/*") if sockets else ():
        with suppress(OSError):
            if str(link.readlink()) in sockets:
                command = (link.parents[1] / "cmdline").read_bytes().split(b"\0")
                shown = b" ".join(word for word in command if len(word) < 80).strip()
                return f"process {link.parents[1].name} ({shown.decode(errors='replace')})"
    return "another program"


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and theirs, by what Linux tells; the process not."""
    below: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):  # it has just ended
            parent = int(status.read_text(errors="replace").rpartition(")")[2].split()[1])
            below.setdefault(parent, []).append(int(status.parent.name))
    found, waiting = [], [pid]
    while waiting:
        started = below.get(waiting.pop(), [])
        found += started
        waiting += started
    return found


def is_there(pid: int) -> bool:
    """Whether a process runs, by what Linux tells; one that nobody has asked after yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def process_name(pid: int) -> str:
    """The name of a process, as Linux tells; empty where it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
