"""What workers print, warn of and raise, in the log of the run, with the trial that it is of.

Ray keeps what each of its workers writes in files. They are read as they grow, so nothing is lost
with a worker that crashes, and a worker that writes much is held back here, not there.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tasks.computing.deaths import NOISE
from tasks.computing.ray_start import this_node
from tasks.computing.traces import MARK
from tasks.plain_text import plain

LOOK_SECONDS = 1.0  # between two looks at the files
BURST = 60  # lines that are passed on in `BURST_SECONDS`; the others are counted
BURST_SECONDS = 10.0
LINE = 500  # most letters of one
_JOB = ":job_id:"  # Ray writes it before what a worker does for a job
_OF_RAY = re.compile(r"^:(actor_name|task_name):")


@dataclass
class _File:
    """How far a file has been read."""

    path: Path
    position: int = 0
    begun: bytes = b""
    trial: str = ""
    ours: bool = True


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
            with suppress(OSError):
                self._read(self._files.setdefault(path, _File(path)), last)
        if last or self._room():
            self._tell_held()

    def _read(self, file: _File, last: bool) -> None:
        with file.path.open("rb") as opened:
            opened.seek(file.position)
            content = file.begun + opened.read()
            file.position = opened.tell()
        *lines, file.begun = content.split(b"\n")
        if last and file.begun:
            lines.append(file.begun)
            file.begun = b""
        for line in lines:
            self._pass_on(file, line.decode(errors="replace").rstrip())

    def _pass_on(self, file: _File, line: str) -> None:
        if line.startswith(_JOB):
            file.ours = not self.job or line.removeprefix(_JOB) == self.job
        elif line.startswith(MARK):
            file.trial = line.removeprefix(MARK)
        elif not file.ours or NOISE.match(line) or _OF_RAY.match(line):
            return
        elif self._room():
            self._tell_held()
            self._passed.append(self.clock())
            of = f"trial {file.trial}" if file.trial else "a worker"
            self.say(f"{of}: {plain(line)[:LINE]}")
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
    """Passes on what workers of this machine write while the block runs.

    Those of a cluster that was joined write on machines of their own, where Ray keeps it.

    Args:
        say: Takes a line; called from a thread.
    """
    node = this_node()
    if node is None:
        yield
        return
    import ray

    job = ray.get_runtime_context().get_job_id()
    logs, over = WorkerLogs(Path(node.get_logs_dir_path()), say, job), threading.Event()

    def follow() -> None:
        while not over.wait(LOOK_SECONDS):
            with suppress(Exception):
                logs.look()

    thread = threading.Thread(target=follow, name="logs of workers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with suppress(Exception):
            logs.look(last=True)
