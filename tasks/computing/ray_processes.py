"""Processes of a Ray that started here: whether they are there, and how they are ended.

Ray keeps track of them only once all have started, waits a minute for one that has ended, and then
ends the process that waits.
"""

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.computing.joining import nobody_listens
from tasks.services.children import descendants

LOOK_SECONDS = 0.5  # between looks
LOOKS = 3  # at a cluster that does not answer, before it counts as gone
HEAD, RAYLET = "gcs_server", "raylet"
WITHOUT_HEAD = "RAY_gcs_rpc_server_reconnect_timeout_s"  # after which Ray ends a process
started_here: dict[str, Any] = {}  # by name: processes of the last try to start a Ray
looking_on: list[Any] = []  # processes that look on while a Ray registers this one
_LISTED = Path("/proc/net/unix")  # sockets that are files
_listened: set[str] = set()  # those of them at which a Ray has been seen
_abandoned = ""  # why a start of Ray hangs in a thread of this process; nothing can end that


def this_node() -> Any:
    """What Ray knows of its processes here; None where it was joined through a client."""
    from ray._private import worker

    return worker._global_node


def trouble_with_start() -> str | None:
    """Returns None while what has been started of a Ray here is there, else what became of it."""
    for name, process in tuple(started_here.items()):
        if process.poll() is not None:
            return ended(name, process.returncode)
    return None


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
        if name in (HEAD, RAYLET):
            return ended(name, process.returncode)
    if node and not node.all_processes:  # it was joined
        if _has_ended(node.raylet_socket_name):
            return (
                "the Ray of this machine has ended, through which this run asks its cluster for "
                "everything: start it again."
            )
        address = ray.get_runtime_context().gcs_address
        for look in range(LOOKS):
            time.sleep(LOOK_SECONDS if look else 0.0)
            if not nobody_listens(address):
                return None
        return f"the Ray cluster at {address} has gone."
    return None


def _has_ended(socket: str) -> bool:
    """Whether nobody listens any more at a socket of this machine, where somebody did.

    A process that shares a folder with Ray and no network, as in containers, sees nobody at all.
    """
    with suppress(OSError):  # another system has no such list
        if any(line.endswith(f" {socket}") for line in _LISTED.read_text().splitlines()):
            _listened.add(socket)
            return False
    return socket in _listened


def ended(name: str, code: int | None = None) -> str:
    """The sentence about a process of Ray that has ended."""
    coded = "" if code is None else f" (code {code})"
    return (
        f"Ray's own process {name} has ended{coded}, and the workers with it, as where memory is "
        "short or somebody stopped it."
    )


def noted(name: str, start: Callable[..., Any]) -> Callable[..., Any]:
    """A function of Ray that starts a process, which is noted before anybody waits for it."""

    def noted(*args: Any, **kwargs: Any) -> Any:
        ours = os.environ.pop(WITHOUT_HEAD)  # Ray's own processes end as ever
        try:
            info = start(*args, **kwargs)
        finally:
            os.environ[WITHOUT_HEAD] = ours
        started_here[name] = info.process
        return info

    return noted


def leave() -> None:
    """Ends the Ray that started here, or leaves the one that was joined."""
    import ray

    below = _below(this_node())  # while it is known whose children they are
    if trouble_with_ray():  # it would wait for what is not there
        _end_processes(this_node())
    ray.shutdown()
    started_here.clear()
    # Agents that take the end of their raylet for a crash would stay for a minute to tell it.
    kill(below)


def abandoned() -> str:
    """Why no Ray can start in this process any more; empty where one can."""
    return _abandoned


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
    for process in (*looking_on, *started_here.values()):
        kill([*descendants(process.pid), process.pid])
        process.wait()


def end_left_over(error: BaseException) -> None:
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
    kill(_below(node))
    for process in _started(node):
        process.kill()
        process.wait()


def _started(node: Any) -> list[Any]:
    """The processes that Ray has started here by itself; none where it was joined."""
    return [i.process for each in getattr(node, "all_processes", {}).values() for i in each]


def _below(node: Any) -> list[int]:
    """Ids of the processes that these have started: agents and workers."""
    return [below for process in _started(node) for below in descendants(process.pid)]


def kill(processes: Iterable[int]) -> None:
    """Ends processes at once, those that are there."""
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)
