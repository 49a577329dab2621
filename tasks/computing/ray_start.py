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
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from data_catalog.kinds.pool import cores
from tasks.computing.joining import join, nobody_listens
from tasks.environment import MachineError, for_workers, set_defaults, set_local_ray
from tasks.services.children import descendants

START_SECONDS = 240.0  # some 5 where nothing else runs; Ray's own 30 are few on a busy machine
STARTS = 2  # tries to start a Ray on this machine
LOOK_SECONDS = 0.5  # between looks
LOOKS = 3  # at a cluster that does not answer, before it counts as gone
_HEAD, _RAYLET = "gcs_server", "raylet"
_WITHOUT_HEAD = "RAY_gcs_rpc_server_reconnect_timeout_s"  # after which Ray ends a process
_abandoned = ""  # why a start of Ray hangs in a thread of this process; nothing can end that
_started_here: dict[str, Any] = {}  # by name: processes of the last try to start a Ray
REGISTER_SECONDS = "300"  # what a worker may take to import what it needs; Ray's own are 60
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
    set_defaults()
    if address is None:
        set_local_ray()
    import ray

    if ray.is_initialized():  # by who calls us from Python; it is theirs to leave
        return False
    if _abandoned:
        raise MachineError(f"{_abandoned} Ray cannot start again in this process: start another.")
    _hush()
    _init(address, cpus, shared_bytes)
    return True


def _init(address: str | None, cpus: int | None, shared_bytes: int) -> None:
    """See `connect`."""
    variables = for_workers()
    if address:
        # A client (`ray://`) has a job of its own making: its process is started at the head.
        own = {} if address.startswith("ray://") else {"job_config": _job()}
        join(address, variables, **own)
        return
    # It tells every local Ray that it has a password, which is so and needs no reader.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    variables |= {
        "RAY_gcs_server_port_wait_time_s": f"{START_SECONDS:.0f}",
        # The raylet gives up on its own agents, Python processes that start slowly, after 30 s.
        "RAY_raylet_start_wait_time_s": f"{START_SECONDS:.0f}",
        "RAY_agent_register_timeout_ms": f"{1000 * START_SECONDS:.0f}",
        "RAY_worker_register_timeout_seconds": REGISTER_SECONDS,
    }
    # Where the head ends, this process tells of it, and puts away what it has before Ray ends it.
    variables.setdefault(_WITHOUT_HEAD, f"{START_SECONDS:.0f}")
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


def leave() -> None:
    """Ends the Ray that started here, or leaves the one that was joined."""
    import ray

    below = _below(this_node())  # while it is known whose children they are
    if trouble_with_ray():  # it would wait for what is not there
        _end_processes(this_node())
    ray.shutdown()
    _started_here.clear()
    # Agents that take the end of their raylet for a crash would stay for a minute to tell it.
    _kill(below)


def abandon(why: str) -> None:
    """Ends a Ray whose start hangs in another thread, which holds what Ray's own end waits for.

    Args:
        why: A sentence.
    """
    import atexit

    from ray._private import worker

    global _abandoned
    _abandoned = why
    atexit.unregister(worker.shutdown)
    for process in _started_here.values():
        _kill(descendants(process.pid))
        process.kill()
        process.wait()


def trouble_with_start() -> str | None:
    """Returns None while what has been started of a Ray here is there, else what became of it."""
    for name, process in tuple(_started_here.items()):
        if process.poll() is not None:
            return _ended(name, process)
    return None


def _ended(name: str, process: Any) -> str:
    return (
        f"Ray's own process {name} has ended (code {process.returncode}), and the workers with it, "
        "as where memory is short or somebody stopped it."
    )


def _noted(name: str, start: Callable[..., Any]) -> Callable[..., Any]:
    """A function of Ray that starts a process, which is noted before anybody waits for it."""

    def noted(*args: Any, **kwargs: Any) -> Any:
        ours = os.environ.pop(_WITHOUT_HEAD)  # Ray's own processes end as ever
        try:
            info = start(*args, **kwargs)
        finally:
            os.environ[_WITHOUT_HEAD] = ours
        _started_here[name] = info.process
        return info

    return noted


def this_node() -> Any:
    """What Ray knows of its processes here; None where it was joined through a client."""
    from ray._private import worker

    return worker._global_node


def trouble_with_ray() -> str | None:
    """Returns None while Ray is there, else what became of it.

    Ray itself waits for a minute, and then ends this process.
    """
    import ray

    if not ray.is_initialized():
        return "Ray has been stopped in the middle of the run."
    node = this_node()
    # Asked of the system, not of Ray, whose own calls wait for what may be gone.
    for name, process in node.dead_processes() if node else ():
        if name in (_HEAD, _RAYLET):
            return _ended(name, process)
    if node and not node.all_processes:  # it was joined
        address = ray.get_runtime_context().gcs_address
        for look in range(LOOKS):
            time.sleep(LOOK_SECONDS if look else 0.0)
            if not nobody_listens(address):
                return None
        return f"the Ray cluster at {address} has gone."
    return None


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
        _started_here.clear()
        try:
            with ExitStack() as stack:
                for owner, name, value in (
                    (services, "get_node", _patient(services.get_node)),
                    (services, "start_gcs_server", _noted(_HEAD, services.start_gcs_server)),
                    (services, "start_raylet", _noted(_RAYLET, services.start_raylet)),
                    # Nobody looks at its pages, scales it or reads what workers print: three
                    # processes less, which import for longer than a short run computes.
                    (services, "start_api_server", lambda *_, **__: (None, None)),
                    (Node, "start_monitor", lambda _: None),
                    (Node, "start_log_monitor", lambda _: None),
                ):
                    stack.enter_context(_replaced(owner, name, value))
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
            _end_left_over(error)
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


def _end_left_over(error: BaseException) -> None:
    """Ends what Ray has started before it raised an error; else it would be there as long as we.

    Ray keeps no other trace of it than the frames of the error.
    """
    from ray._private.node import Node

    # It was raised by the constructor of the node, before any variable of Ray refers to it. What
    # does is `self` in the frames that the error passed through.
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    nodes = {id(n): n for f in frames if isinstance(n := f.f_locals.get("self"), Node)}
    for node in nodes.values():
        _end_processes(node)


def _end_processes(node: Any) -> None:
    """Ends the processes of a Ray that started here, and what they have started."""
    _kill(_below(node))
    for process in _started(node):
        process.kill()
        process.wait()


def _started(node: Any) -> list[Any]:
    """The processes that Ray has started here by itself; none where it was joined."""
    return [i.process for each in getattr(node, "all_processes", {}).values() for i in each]


def _below(node: Any) -> list[int]:
    """Ids of the processes that these have started: agents and workers."""
    return [below for process in _started(node) for below in descendants(process.pid)]


def _kill(processes: Iterable[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)


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
