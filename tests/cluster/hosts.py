"""Hosts of a cluster on one machine: namespaces of Linux, joined by a switch.

A host has what a machine of its own has: an address and a name, processes that see none of another
host's, `/tmp`, `/dev/shm` and a home of its own. It shares the installed files with this machine:
all else of this machine's users and runs is covered. This machine has an address at the switch as
well, so that servers of a test can be asked by hosts.

Everything hangs on one process a host, and on one for the switch, and these end with the process
that has made them, however it ends. The kernel then frees namespaces, links and mounts, since
nothing of them has a name in the file system: there is nothing to sweep.

    with Rig() as rig:
        head, other = rig.host("head"), rig.host("other")
        head.start_ray()
        other.start_ray(head=head)
        head.run("shotboard", "run", "nightly", "--ray-address", f"{head.address}:6379")
"""

import ipaddress
import itertools
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tasks.computing.ray_start import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
CODE = ("shotboard", "flows", "tasks", "operators", "data_catalog")
PROGRAMS = ("ip", "unshare", "nsenter", "setpriv", "mount")
APART = ("--net", "--mount", "--ipc", "--uts", "--pid", "--fork", "--mount-proc")
HOME = "/tmp/home"  # of each host, where its commands run
RAY_PORT = 6379
STARTS = 3  # of Ray, which may give up where the machine is busy
SECONDS = 600.0  # of what takes a moment where nothing else runs
TMP_BYTES = 2 * 2**30  # of a host; taken from memory as it is filled
SHARED_BYTES = 128 * 2**20  # of Ray's object store, through which names and paths travel
_rigs = itertools.count()
PORT, UPLINK = "eth0", "uplink"
BRIDGE = "switch"

# The first process of a host, which takes in those whose parents have ended.
_INIT = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
print("ready", flush=True)
while True:
    signal.sigwait({signal.SIGCHLD})
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""


def missing() -> str | None:
    """Why no rig can be built here; None where one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "hosts are namespaces of Linux, which root alone may make"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"hosts need the programs {', '.join(absent)} (iproute2, util-linux)"
    tried = subprocess.run(
        ["unshare", *APART, "sh", "-c", "mount -t tmpfs tmpfs /tmp && ip link add type bridge"],
        capture_output=True,
        text=True,
    )
    return f"no namespaces here: {tried.stderr.strip()}" if tried.returncode else None


class Inside(subprocess.Popen):
    """A process on a host: what is sent to it reaches it, not only who waits for it here."""

    def send_signal(self, sig: int) -> None:
        """Sends a signal to the process on the host."""
        inner = self.inner
        if inner is not None:
            with suppress(ProcessLookupError):
                os.kill(inner, sig)
        elif self.poll() is None:
            super().send_signal(sig)

    @property
    def inner(self) -> int | None:
        """Its id as this machine sees it; None where it has not begun, or has ended."""
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.pid).children():
                return child.pid
        return None


class Host:
    """One host; see `Rig.host`.

    Attributes:
        name: Its name, as `hostname` says it.
        address: Its address at the switch.
        pid: Of its first process, as this machine sees it.
    """

    def __init__(
        self, rig: "Rig", name: str, address: str, *, code: bool, hidden: tuple[Path, ...]
    ) -> None:
        self.rig, self.name, self.address = rig, name, address
        covered = [*map(Path, rig.hidden), *hidden]
        if not code:
            covered += [ROOT / part for part in CODE]
        script = [
            "set -e",
            f"echo {name} > /proc/sys/kernel/hostname",
            f"mount -t tmpfs -o size={TMP_BYTES},mode=1777 tmpfs /dev/shm",
            *_empty_tmp(),
            *(f"mount -t tmpfs tmpfs '{path}'" for path in covered if path.is_dir()),
            f"mkdir {HOME}",
            "ip link set lo up",
            'exec "$0" -I -S -c "$1"',
        ]
        self._keeper, self.pid = _kept(
            [*APART, "sh", "-c", "\n".join(script), sys.executable, _INIT], f"host {name}"
        )
        self._link = f"{name}-port"
        rig.plug(self, self._link)

    def __repr__(self) -> str:
        return f"<host {self.name} at {self.address}>"

    def popen(self, *command: Any, env: Mapping[str, str] | None = None, **how: Any) -> Inside:
        """Starts a command here, with the environment of the rig and `env`, in the host's home.

        Args:
            command: The program and its arguments.
            env: Variables beside those of the rig; nothing is inherited from this process.
            how: What `subprocess.Popen` takes; output is text, and goes to pipes unless told.
        """
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        enter = ["nsenter", f"--target={self.pid}", "--all", f"--wdns={HOME}", "--"]
        # Whoever ends the process that waits ends the one on the host, too.
        enter += ["setpriv", "--pdeathsig", "KILL", "--"]
        return Inside(
            [*enter, *map(str, command)],
            **{"stdin": subprocess.DEVNULL, **piped, **how},
            env={**self.rig.env, "HOSTNAME": self.name, **(env or {})},
        )

    def run(
        self,
        *command: Any,
        env: Mapping[str, str] | None = None,
        timeout: float = SECONDS,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command here, see `popen`; what it said is in the answer.

        Raises:
            AssertionError: It ended with another code than 0, and `check` is not False.
            subprocess.TimeoutExpired: It took longer; it has been ended.
        """
        process = self.popen(*command, env=env)
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if check:
            said = f"{self}: {command} ended with {process.returncode}: {err or out}"
            assert process.returncode == 0, said
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def shotboard(self, *arguments: Any, **how: Any) -> subprocess.CompletedProcess[str]:
        """Runs a command of ours here; for `how` see `run`."""
        return self.run("shotboard", *arguments, **how)

    def path(self, path: str | Path) -> Path:
        """Where a file of this host is seen from this machine; relative ones are in its home."""
        return Path(f"/proc/{self.pid}/root") / (Path(HOME) / path).relative_to("/")

    def put(self, path: str | Path, content: str | Path) -> str:
        """Writes a text, or copies a file or folder of this machine; returns the path there."""
        to = self.path(path)
        to.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            to.write_text(content)
        elif content.is_dir():
            shutil.copytree(content, to)
        else:
            shutil.copy(content, to)
        return str(Path(HOME) / path)

    def processes(self) -> list[psutil.Process]:
        """All that run here, but the first one."""
        found = []
        for process in psutil.process_iter():
            with suppress(OSError, psutil.NoSuchProcess):
                if process.pid != self.pid and _namespace(process.pid) == _namespace(self.pid):
                    found.append(process)
        return found

    def start_ray(
        self,
        head: "Host | None" = None,
        num_cpus: int = 1,
        resources: Mapping[str, float] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """Starts Ray here as its users do, as a head or at that of another host.

        Args:
            head: Where the head runs; None makes this host one.
            num_cpus: Cores that it tells Ray of.
            resources: What else it tells of, by name.
            env: Variables beside those of the rig.

        Returns:
            The address of the head, for `--ray-address`.
        """
        own = ["--head", f"--port={RAY_PORT}", "--include-dashboard=false"]
        address = f"{(head or self).address}:{RAY_PORT}"
        command = [
            *("ray", "start", f"--node-ip-address={self.address}", f"--num-cpus={num_cpus}"),
            *(own if head is None else [f"--address={address}"]),
            *(f"--object-store-memory={SHARED_BYTES}", "--disable-usage-stats"),
            *([f"--resources={json.dumps(dict(resources))}"] if resources else ()),
        ]
        for _ in range(STARTS):
            answer = self.run(*command, env=env, check=False)
            if "timed out during startup" not in answer.stderr:
                break
            self.stop_ray(force=True)
        assert answer.returncode == 0, f"{self}: {answer.stderr or answer.stdout}"
        return address

    def stop_ray(self, force: bool = False) -> None:
        """Ends the Ray of this host; others have processes of the same names, which stay."""
        self.run("ray", "stop", *(["--force"] if force else []))

    def cut(self) -> None:
        """Pulls the plug at the switch: what is sent is lost without a word, both ways."""
        self.rig.switch("ip", "link", "set", self._link, "nomaster")

    def rejoin(self) -> None:
        """Puts the plug back in."""
        self.rig.switch("ip", "link", "set", self._link, "master", BRIDGE)

    def stop(self) -> None:
        """Ends the host as if its power had gone: nobody is told, and nothing of it stays."""
        if self._keeper.poll() is None:
            with suppress(subprocess.CalledProcessError):
                self.cut()
            _end(self._keeper, self.pid)


class Rig:
    """Hosts at a switch, with this machine among them.

    Attributes:
        address: Of this machine at the switch, where servers for the hosts listen.
        env: The whole environment of what is started on hosts.
        hidden: Folders of this machine that hosts see empty.

    Args:
        env: Variables beside those that every host has.
        hidden: Folders that are covered on all hosts, such as the driver's store. Those of the
            user's home and the working folder are without being named.
    """

    def __init__(self, env: Mapping[str, str] | None = None, hidden: tuple[Path, ...] = ()) -> None:
        trouble = missing()
        if trouble:
            raise RuntimeError(trouble)
        found = Path.home()
        theirs = [found / name for name in (".ray", ".cache", ".prefect", ".mlflow")]
        self.hidden = [*theirs, ROOT / ".shotboard", *hidden]
        self.hosts: list[Host] = []
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": HOME,
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),  # our code, where it is not installed
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            **PATIENCE,
            # Of one secret, as docs/cluster.md tells: whoever asks a port of Ray without it is
            # refused.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            **(env or {}),
        }

    def __enter__(self) -> "Rig":
        self._keeper, self._pid = _kept(
            ["--net", sys.executable, "-I", "-S", "-c", _INIT], "switch"
        )
        try:
            self.switch("ip", "link", "add", "name", BRIDGE, "type", "bridge")
            self.switch("ip", "link", "set", BRIDGE, "up")
            self.network = _free_network()
            self.address = str(self.network[1])
            # Ends with the switch, as the other end of the line does.
            link = f"sbt{os.getpid()}-{next(_rigs)}"
            _ip(
                "link",
                "add",
                "name",
                link,
                "type",
                "veth",
                "peer",
                "name",
                UPLINK,
                "netns",
                str(self._pid),
            )
            self.switch("ip", "link", "set", UPLINK, "master", BRIDGE, "up")
            _ip("address", "add", f"{self.address}/{self.network.prefixlen}", "dev", link)
            _ip("link", "set", link, "up")
        except BaseException:
            _end(self._keeper, self._pid)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.hosts:
            host.stop()
        _end(self._keeper, self._pid)

    def host(self, name: str, *, code: bool = True, hidden: tuple[Path, ...] = ()) -> Host:
        """Adds a host.

        Args:
            name: Letters, digits and `-`, ten at most.
            code: Whether our packages are there; without them `.venv` has all others.
            hidden: Folders that it sees empty, beside those of the rig.
        """
        address = str(self.network[10 + len(self.hosts)])
        host = Host(self, name, address, code=code, hidden=hidden)
        self.hosts.append(host)
        return host

    def plug(self, host: Host, link: str) -> None:
        """Lays a line from a host to the switch."""
        inside = ("nsenter", f"--target={host.pid}", "--net", "ip")
        self.switch(
            *("ip", "link", "add", "name", link, "type", "veth"),
            *("peer", "name", PORT, "netns", str(host.pid)),
        )
        self.switch("ip", "link", "set", link, "master", BRIDGE, "up")
        _call(*inside, "address", "add", f"{host.address}/{self.network.prefixlen}", "dev", PORT)
        _call(*inside, "link", "set", PORT, "up")

    def switch(self, *command: str) -> None:
        """Runs a command where the switch is."""
        _call("nsenter", f"--target={self._pid}", "--net", *command)


def _empty_tmp() -> list[str]:
    """Commands that cover `/tmp`, but for the project and its Python where they lie there."""
    needed = {ROOT, Path(sys.prefix), Path(sys.base_prefix)}
    kept = [path for path in needed if path.is_relative_to("/tmp")]
    kept = [path for path in kept if not any(path != k and path.is_relative_to(k) for k in kept)]
    aside = [(f"/dev/shm/kept{number}", path) for number, path in enumerate(kept)]
    return [
        *(f"mkdir {place} && mount --rbind '{path}' {place}" for place, path in aside),
        f"mount -t tmpfs -o size={TMP_BYTES},mode=1777 tmpfs /tmp",
        *(f"mkdir -p '{path}' && mount --move {place} '{path}'" for place, path in aside),
    ]


def _kept(apart: list[str], what: str) -> tuple[subprocess.Popen[str], int]:
    """Starts the process that namespaces hang on.

    Returns:
        Who waits for it, and its own id. Both end with this process.
    """
    keeper = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", "--kill-child=KILL", *apart],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert keeper.stdout is not None
    if keeper.stdout.readline() != "ready\n":
        keeper.kill()
        raise RuntimeError(f"{what} does not start: {keeper.communicate()[1].strip()}")
    children = psutil.Process(keeper.pid).children()
    return keeper, children[0].pid if children else keeper.pid


def _end(keeper: subprocess.Popen[str], pid: int) -> None:
    """Ends a keeper, and waits until all that ran in its namespaces has gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    keeper.wait()
    for pipe in (keeper.stdout, keeper.stderr):
        if pipe:
            pipe.close()


def _free_network() -> ipaddress.IPv4Network:
    """A network of 10.0.0.0/8 that this machine has no way to, another for each process."""
    ways = json.loads(_call("ip", "-json", "route", "show"))
    taken = [ipaddress.ip_network(w["dst"]) for w in ways if w["dst"] != "default"]
    for number in range(os.getpid(), os.getpid() + 2**15, 2**7 + 1):
        network = ipaddress.IPv4Network(((10 << 24) + ((64 << 8) + number % 2**15 << 8), 24))
        if not any(network.overlaps(other) for other in taken):
            return network
    raise RuntimeError("no network of 10.64.0.0/9 is free")


def _namespace(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/pid").readlink())


def _ip(*arguments: str) -> str:
    return _call("ip", *arguments)


def _call(*command: str) -> str:
    """What a command of this machine says.

    Raises:
        subprocess.CalledProcessError: It fails; the note has what it said.
    """
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr)
        raise


def wait_for(condition: Any, seconds: float = SECONDS, every: float = 0.1) -> Any:
    """Asks until the answer is true, and returns it.

    Raises:
        TimeoutError: It never was.
    """
    ends = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > ends:
            raise TimeoutError(f"{condition} was not true within {seconds:.0f} s")
        time.sleep(every)
    return answer
