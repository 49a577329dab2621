"""What workers print, warn of and raise, in the log of the run, with the trial that it is of.

Ray keeps what each of its workers writes in files. They are read as they grow, so nothing is lost
with a worker that crashes, and a worker that writes much is held back here, not there. What is
written on other hosts of a cluster Ray's own log monitors send here.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.computing.deaths import NOISE, OF_RAY
from tasks.computing.ray_processes import this_node
from tasks.computing.traces import MARK
from tasks.plain_text import plain

LOOK_SECONDS = 1.0  # between two looks at the files
BURST = 60  # lines that are passed on in `BURST_SECONDS`; the others are counted
BURST_SECONDS = 10.0
LINE = 500  # most letters of one
PIECE = 1 << 16  # bytes of a file that are read at once
_JOB = ":job_id:"  # Ray writes it before all that a worker does; a worker is of one job


@dataclass
class _File:
    """How far a file has been read, and whose it is.

    Attributes:
        path: Of the file; of one elsewhere a name of ours.
        position: In bytes.
        begun: A line without an end so far.
        trial: That the next line is of.
        ours: Whether it is of this run; one that is not is read no further.
        host: Where it is; empty for this machine.
    """

    path: Path
    position: int = 0
    begun: bytes = b""
    trial: str = ""
    ours: bool = True
    host: str = ""


@dataclass
class WorkerLogs:
    """Reads the files of workers in a folder, and passes their lines on.

    Attributes:
        folder: Of Ray's logs.
        say: Takes a line.
        job: Of this process, in the words of Ray: others may have workers on the same Ray.
        clock: Seconds, for tests.
    """

    folder: Path
    say: Callable[[str], None]
    job: str = ""
    clock: Callable[[], float] = time.monotonic
    _files: dict[Path, _File] = field(default_factory=dict)
    _passed: list[float] = field(default_factory=list)
    _held: int = 0

    def look(self, last: bool = False) -> None:
        """Passes on what has been written since the last look.

        Args:
            last: Whether nobody looks again: then a line without an end counts too.
        """
        for path in sorted(self.folder.glob("worker-*.out")) + sorted(
            self.folder.glob("worker-*.err")
        ):
            file = self._files.setdefault(path, _File(path))
            if file.ours:
                with suppress(OSError):
                    self._read(file, last)
        if last or self._room():
            self._tell_held()

    def hear(self, sent: Mapping[str, Any]) -> None:
        """Passes on lines from another host, as Ray's log monitor sends them.

        Args:
            sent: `ip` and `pid` of their worker, `is_err`, and `lines`.
        """
        if isinstance(sent["pid"], int):  # else it is of Ray
            path = Path(f"{sent['ip']}-{sent['pid']}-{sent['is_err']}")
            file = self._files.setdefault(path, _File(path, host=sent["ip"]))
            for line in sent["lines"]:
                self._pass_on(file, line.rstrip())

    def _read(self, file: _File, last: bool) -> None:
        # On a cluster there may be days of what workers of other jobs have written.
        with file.path.open("rb") as opened:
            opened.seek(file.position)
            while file.ours and (piece := opened.read(PIECE)):
                file.position = opened.tell()
                *lines, file.begun = (file.begun + piece).split(b"\n")
                self._pass_on_all(file, lines)
        if last and file.ours and file.begun:
            lines, file.begun = [file.begun], b""
            self._pass_on_all(file, lines)

    def _pass_on_all(self, file: _File, lines: Iterable[bytes]) -> None:
        for line in lines:
            self._pass_on(file, line.decode(errors="replace").rstrip())

    def _pass_on(self, file: _File, line: str) -> None:
        if line.startswith(_JOB):
            file.ours = not self.job or line.removeprefix(_JOB) == self.job
        elif line.startswith(MARK):
            file.trial = line.removeprefix(MARK)
        elif not file.ours or NOISE.match(line) or OF_RAY.match(line):
            return
        elif self._room():
            self._tell_held()
            self._passed.append(self.clock())
            of = f"trial {file.trial}" if file.trial else "a worker"
            where = f" on {file.host}" if file.host else ""
            self.say(f"{of}{where}: {plain(line)[:LINE]}")
        else:
            self._held += 1

    def _room(self) -> bool:
        """Whether one more line may be passed on now."""
        since = self.clock() - BURST_SECONDS
        self._passed = [at for at in self._passed if at > since]
        return len(self._passed) < BURST

    def _tell_held(self) -> None:
        if self._held:
            self.say(f"{self._held} more lines of workers are in {self.folder}")
            self._held = 0


@contextmanager
def passed_on(say: Callable[[str], None]) -> Iterator[None]:
    """Passes on what workers write while the block runs, on this machine and others.

    Args:
        say: Takes a line; called from a thread.
    """
    node = this_node()
    if node is None:
        yield
        return
    import ray
    from ray._private.ray_logging import global_worker_stdstream_dispatcher as sent_here

    job = ray.get_runtime_context().get_job_id()
    logs, over = WorkerLogs(Path(node.get_logs_dir_path()), say, job), threading.Event()
    one_at_a_time = threading.Lock()

    def follow() -> None:
        while not over.wait(LOOK_SECONDS):
            with suppress(Exception), one_at_a_time:
                logs.look()

    def hear(sent: Mapping[str, Any]) -> None:
        if sent["ip"] != node.node_ip_address:  # here the files are read
            with suppress(Exception), one_at_a_time:
                logs.hear(sent)

    thread = threading.Thread(target=follow, name="logs of workers", daemon=True)
    thread.start()
    sent_here.add_handler(job, hear)
    try:
        yield
    finally:
        sent_here.remove_handler(job)
        over.set()
        thread.join()
        with suppress(Exception):
            logs.look(last=True)
