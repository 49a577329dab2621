"""A Ray that starts on this machine, or a cluster that is joined: how, and what to do if it fails.

Ray looks for modules of the user in the working folder, and for a cluster in its own variable; it
starts several processes, and leaves them behind where it gives up waiting for one of them. None of
this is wanted here.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from data_catalog.kinds.pool import cores
from tasks.computing.joining import join
from tasks.computing.ray_processes import (
    HEAD,
    RAYLET,
    WITHOUT_HEAD,
    abandoned,
    end_left_over,
    noted,
    started_here,
    trouble_with_start,
)
from tasks.computing.witness import witnessed
from tasks.environment import MachineError, for_workers, set_defaults, set_local_ray

START_SECONDS = 240.0  # some 5 where nothing else runs; Ray's own 30 are few on a busy machine
STARTS = 2  # tries to start a Ray on this machine
# For a Ray that starts on a busy machine.
PATIENCE = {
    "RAY_gcs_server_port_wait_time_s": f"{START_SECONDS:.0f}",
    # The raylet gives up on its own agents, Python processes that start slowly, after 30 s.
    "RAY_raylet_start_wait_time_s": f"{START_SECONDS:.0f}",
    "RAY_agent_register_timeout_ms": f"{1000 * START_SECONDS:.0f}",
    # What a worker may take to import what it needs; Ray's own are 60.
    "RAY_worker_register_timeout_seconds": "300",
}
# What Ray asks for while it starts, beside modules of its own.
_IMPORTED = (
    "ray",
    "ray._common.pydantic_compat",
    "ray._common.usage.usage_lib",
    "ray.dashboard.optional_deps",
    "joblib",
    "pyarrow.json",
    "pydantic.v1",
    "starlette.datastructures",
)
# Sockets lie in `ray/session_<time>_<process>/sockets/plasma_store` there, 107 bytes in all.
FOLDER_BYTES = 107 - len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")


def connect(address: str | None, cpus: int | None, shared_bytes: int) -> bool:
    """Starts or joins Ray; returns whether this process must leave it again.

    Args:
        address: `host:port` of a cluster's head, `ray://..` or `auto`; None starts one here.
        cpus: Cores that a local Ray uses; None means all that this process may use.
        shared_bytes: Shared memory of a Ray that starts here.

    Raises:
        ConnectionError: No Ray answers at `address`.
        MachineError: It did not start, however often it was tried.
    """
    import_ray(address)
    import ray

    if ray.is_initialized():  # by who calls us from Python; it is theirs to leave
        return False
    if why := abandoned():
        raise MachineError(f"{why} Ray cannot start again in this process: start another.")
    _hush()
    _init(address, cpus, shared_bytes)
    return True


def import_ray(address: str | None) -> None:
    """Imports what a start of Ray needs, before other threads import something beside it.

    Modules of pydantic.v1 and of opentelemetry import each other in circles. Where two threads come
    to such a circle at once, Python gives one of them a module that is half made; so a thread in
    which Ray starts has to find there what Prefect, which is imported meanwhile, asks for as well.

    Args:
        address: See `connect`; Ray reads some variables when it is imported.
    """
    set_defaults()
    if address is None:
        set_local_ray()
    for name in _IMPORTED:
        with suppress(Exception):  # whoever asks for it next is told
            import_module(name)


def _init(address: str | None, cpus: int | None, shared_bytes: int) -> None:
    """See `connect`."""
    variables = for_workers()
    if address:
        # A client has a job of its own making: a process at the head is started and registered.
        if address.startswith("ray://"):
            join(address, variables)
            return
        with witnessed(dict):
            join(address, variables, job_config=_job())
        return
    # It tells every local Ray that it has a password, which is so and needs no reader.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    variables |= PATIENCE
    # Where the head ends, this process tells of it, and puts away what it has before Ray ends it.
    variables.setdefault(WITHOUT_HEAD, f"{START_SECONDS:.0f}")
    with _set(variables):  # a local Ray hands its environment on, which is faster than asking it to
        _start_local(cpus, shared_bytes)


@contextmanager
def own_sigterm() -> Iterator[None]:
    """Puts the handler of SIGTERM back that was there, after a start that this thread waited for.

    Ray sets one that ends the process, and one in C before it that aborts it after three seconds,
    whatever Python does: too few to put away what a run has computed.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _hush() -> None:
    """Keeps Ray from writing its own tales of dead workers to our standard output.

    Nor need anybody know that it leaves SIGTERM to us where a thread starts it, that it keeps what
    processes share in a file where /dev/shm is small, which costs nothing that can be measured
    here, or that 256 files are few for a server: `shotboard doctor` says so.
    """
    from ray._private import services, worker

    told = ("SIGTERM", "File descriptor limit", "instead of /dev/shm")
    for logger in (worker.logger, services.logger):
        logger.addFilter(lambda record: not any(words in str(record.msg) for words in told))

    worker.print_to_stdstream = lambda *_, **__: None


def _start_local(cpus: int | None, shared_bytes: int) -> None:
    """Starts Ray.

    Raises:
        MachineError: See `connect`.
    """
    import ray
    from ray._private import services
    from ray._private.node import Node

    folder = _sockets_folder()
    trouble: str | None = None
    for _ in range(STARTS):
        started_here.clear()
        try:
            with ExitStack() as stack:
                for owner, name, value in (
                    (services, "get_node", _patient(services.get_node)),
                    (services, "start_gcs_server", noted(HEAD, services.start_gcs_server)),
                    (services, "start_raylet", noted(RAYLET, services.start_raylet)),
                    # Nobody looks at its pages, scales it or reads what workers print: three
                    # processes less, which import for longer than a short run computes.
                    (services, "start_api_server", lambda *_, **__: (None, None)),
                    (Node, "start_monitor", lambda _: None),
                    (Node, "start_log_monitor", lambda _: None),
                ):
                    stack.enter_context(_replaced(owner, name, value))
                stack.enter_context(witnessed(_ids))
                ray.init(
                    "local",  # whatever RAY_ADDRESS says, or an earlier `ray start` has noted
                    num_cpus=cpus or cores(),
                    include_dashboard=False,
                    object_store_memory=shared_bytes,
                    log_to_driver=False,
                    configure_logging=False,
                    job_config=_job(),
                    _temp_dir=folder,
                )
            return
        except BaseException as error:  # an interrupt, too, would leave its processes behind
            trouble = trouble_with_start()
            end_left_over(error)
            ray.shutdown()
            if not isinstance(error, Exception):
                raise
            text = " ".join(str(error).split())
            # Only a start that took too long, or lost a process, is worth another: what is wrong
            # stays wrong. Ray raises no narrower class here.
            if not trouble and "timed out" not in text.lower():
                raise MachineError(
                    f"Ray did not start on this machine: {text} Run `shotboard doctor`, or join a "
                    "cluster with --ray-address."
                ) from error
    if trouble:
        raise MachineError(f"{trouble} It was so {STARTS} times over, while Ray started.")
    raise MachineError(
        f"Ray did not start within {START_SECONDS:.0f} s, {STARTS} times over: the machine is too "
        "busy. Run again when it is not, or join a cluster with --ray-address."
    )


def _ids() -> dict[str, int]:
    """The processes of the last try to start a Ray, by name."""
    return {name: process.pid for name, process in started_here.items()}


def _patient(ask: Callable[..., Any]) -> Callable[..., Any]:
    """Ray's question for its own node, asked for as long as the node is there.

    Ray itself gives up after 30 seconds, a number that nothing can change.
    """
    deadline = time.monotonic() + START_SECONDS

    def answer(*args: Any, **kwargs: Any) -> Any:
        while True:
            try:
                return ask(*args, **kwargs)
            except RuntimeError:  # it has not registered yet
                if time.monotonic() > deadline or trouble_with_start():
                    raise
                time.sleep(0.5)

    return answer


def _job() -> Any:
    """What Ray is told of us as a job: nothing of where we were started."""
    from ray.job_config import JobConfig

    class Job(JobConfig):
        """Puts neither the working folder nor that of the script on the workers' search path.

        Ray leaves them out for a job that brings a folder of its own. Ours brings none: what a
        worker imports is in its environment, see `own_code`.
        """

        def _runtime_env_has_working_dir(self) -> bool:
            return True

    return Job()


def _sockets_folder() -> str | None:
    """Where Ray keeps its sockets and logs; None for the place that it would choose itself.

    Raises:
        MachineError: No folder for temporary files has a short name and may be written to.
    """
    chosen = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    for parent in dict.fromkeys((chosen, "/tmp", "/var/tmp", "/dev/shm")):
        for name in ("ray", f"ray-{os.getuid()}"):
            folder = Path(parent).absolute() / name
            there = folder if folder.exists() else folder.parent
            # `ray` in /tmp is often another user's, who was first on this machine.
            fits = len(os.fsencode(folder)) <= FOLDER_BYTES
            if fits and there.is_dir() and os.access(there, os.W_OK | os.X_OK):
                return None if (parent, name) == (chosen, "ray") else str(folder)
    raise MachineError(
        f"Ray keeps sockets in a folder for temporary files, whose path may have {FOLDER_BYTES} "
        f"bytes with `/ray` at its end. {chosen} is longer or may not be written to, and so is "
        "/tmp: set RAY_TMPDIR to a folder that does."
    )


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _set(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]
