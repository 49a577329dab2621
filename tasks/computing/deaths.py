"""Why a worker died, in words: from what Ray, the worker's log and Linux tell."""

import re
import threading
from contextlib import suppress
from pathlib import Path

from tasks.computing.ray_processes import this_node
from tasks.computing.traces import MARK
from tasks.environment import MachineError

LAST_WORDS = 3  # lines of a worker's log that are shown
LINE = 300  # most letters of each
LESS = "Run fewer workers (--workers), or what needs less memory."
_DETAIL = re.compile(r"Worker exit type: (\w+) Worker exit detail: (.*?)(?: Some common causes|$)")
_SIGNAL = re.compile(r"\*\*\* (SIG[A-Z]+) received|Fatal Python error: (.+)")
_FRAME = re.compile(r'^  File "')  # the first is where it was
NOISE = re.compile(r"^\[[\d\- :,]+ [A-Z] .*|^\[\S+ (?:I|W) .*|^\s*$")  # Ray's own lines
_NODE = re.compile(  # whoever ends a host tells all its processes, as systemd and Slurm do
    r"(?i)\bnode\b[^.]*\b(died|dead|terminated|failed|drained|preempted)|\bSIGTERM\b"
)
OF_RAY = re.compile(r"^:(job_id|actor_name|task_name):")  # what Ray writes before what is printed
_KILLS = ("/sys/fs/cgroup/memory.events", "/proc/vmstat")  # where Linux counts whom it ends


class WorkerDied(MachineError):
    """Every try of a call ended with the death of its worker.

    Attributes:
        cause: Why, as far as it is known.
    """

    def __init__(self, method: str, tries: int, cause: str) -> None:
        often = f"at every one of {tries} tries of" if tries > 1 else "in a call of"
        super().__init__(f"a worker died {often} {method}: {cause}")
        self.cause = cause


class HostLost(WorkerDied):
    """A call was lost with the host of its worker, or the way there; the call is not to blame."""

    def __init__(self, method: str, host: str) -> None:
        super().__init__(method, 1, f"its host {host} is gone, or cannot be reached.")


class HostUnfit(HostLost):
    """A call was lost with its host, which was left out; the call is not to blame.

    Args:
        method: Of the call.
        host: Its address.
        reason: Why it was left out, in a sentence.
    """

    def __init__(self, method: str, host: str, reason: str) -> None:
        WorkerDied.__init__(self, method, 1, f"its host {host} was left out: {reason}")


class OutOfTime(MachineError):
    """A call took longer than it may; its worker was ended.

    Attributes:
        seconds: What it had.
    """

    def __init__(self, method: str, seconds: float) -> None:
        super().__init__(f"a call of {method} was ended after {seconds:.0f} s, its time limit.")
        self.seconds = seconds


class Deaths:
    """Tells why workers died; remembers how many processes Linux had ended for want of memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kills = _kills()

    def cause(self, error: BaseException | None, pid: int | None, *, here: bool) -> str:
        """One or two sentences.

        Args:
            error: What Ray raised.
            pid: Of the worker; None where it never ran.
            here: Whether it was one of this machine: else neither its log nor its memory is known.
        """
        from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError

        with self._lock:
            before, self._kills = self._kills, _kills()
        text = " ".join(str(error).split())
        if isinstance(error, OutOfMemoryError):
            return f"Ray ended it for want of memory: {_clipped(text)} {LESS}"
        if isinstance(error, ActorDiedError) and error.actor_init_failed:
            cause = error.__cause__
            named = cause if isinstance(cause, RayTaskError) else error
            return f"Its start failed: {_clipped(_last_line(str(named)))}."
        words = last_words(pid) if here else []
        if found := _SIGNAL.search("\n".join(words)):
            frame = next((line.strip() for line in words if _FRAME.match(line)), "")
            return f"it crashed ({found[1] or found[2]}){f' in {frame}' if frame else ''}."
        if here and self._kills > before:
            how = f"the system ended it for want of memory. {LESS}".rstrip(".")
        elif detail := _DETAIL.search(text):
            how = f"its process ended ({detail[1]}: {_clipped(detail[2]).rstrip('. ')})"
            if "SYSTEM_ERROR" in detail[1]:
                how = "its process ended without a word, as by SIGKILL or os._exit"
        else:
            how = _clipped(text).rstrip(".")
        said = [_clipped(line) for line in words if not NOISE.match(line)][-LAST_WORDS:]
        return f"{how}." + (f" Its log ends with: {' | '.join(said)}" if said else "")


def of_the_host(error: BaseException | None) -> bool:
    """Whether Ray says that a worker is gone with its host, or that nobody can reach it."""
    from ray.exceptions import (
        ActorDiedError,
        ActorUnavailableError,
        ActorUnschedulableError,
        NodeDiedError,
        ObjectLostError,
    )

    lost = (ActorUnavailableError, ActorUnschedulableError, NodeDiedError, ObjectLostError)
    if isinstance(error, ActorDiedError):
        return bool(_NODE.search(" ".join(str(error).split())))
    return isinstance(error, lost)


def last_words(pid: int | None) -> list[str]:
    """The last lines that a worker of this machine wrote of what it died with."""
    lines: list[str] = []
    with suppress(Exception):
        for log in Path(this_node().get_logs_dir_path()).glob(f"worker-*-{pid}.err"):
            lines += log.read_text(errors="replace")[-20_000:].splitlines()
    marks = [place for place, line in enumerate(lines) if line.startswith(MARK)]
    of_it = lines[marks[-1] + 1 :] if marks else lines  # what is before is of other trials
    return [line for line in of_it if not OF_RAY.match(line)]


def _kills() -> int:
    """Processes that Linux has ended for want of memory, since it started."""
    found = 0
    for file in map(Path, _KILLS):
        with suppress(OSError):
            counted = re.search(r"^oom_kill (\d+)", file.read_text(), re.MULTILINE)
            found += int(counted[1]) if counted else 0
    return found


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason given"


def _clipped(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LINE else f"{text[: LINE - 3]}..."
