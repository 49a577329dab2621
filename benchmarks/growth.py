"""Whether a process grows with the trials that it has done, told from samples of a run.

What is imported and cached comes with the first trials, so the second half of them is looked at.
"""

import os
import statistics
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

import psutil

STEADY = 0.5, 0.98  # of all trials: after warming up, and before what ends a run
SAMPLES = 20  # of these, for a judgement
APART = 0.25  # of the steady part: nearer samples say more of noise than of growth
BYTES = 16_000.0  # a trial, at most, for a process; 300 to 4,500 were measured
HANDLES = 2  # more at the end than before, at most, in what is open between trials
EVERY = 0.25  # seconds


class Sample(NamedTuple):
    """What a process has at a moment.

    Attributes:
        done: Trials of the run so far.
        memory: Resident bytes.
        handles: Open files and sockets.
    """

    done: int
    memory: int
    handles: int


class Growth(NamedTuple):
    """How a process has changed while trials were done.

    Attributes:
        bytes_a_trial: The median slope of its memory.
        handles: How many more are open all the time in the last part than in the first.
    """

    bytes_a_trial: float
    handles: int

    @property
    def fault(self) -> str:
        """What is too much; empty where nothing is."""
        found = []
        if self.bytes_a_trial > BYTES:
            found.append(f"memory by {self.bytes_a_trial:,.0f} bytes a trial")
        if self.handles > HANDLES:
            found.append(f"open files by {self.handles}")
        return " and ".join(found)


def judged(samples: Sequence[Sample], trials: int) -> Growth | None:
    """How a process grew; None where it was not there long enough to tell.

    Args:
        samples: In order.
        trials: Of the whole run.
    """
    steady = [s for s in samples if STEADY[0] * trials <= s.done <= STEADY[1] * trials]
    apart = APART * (STEADY[1] - STEADY[0]) * trials
    slopes = [
        (two.memory - one.memory) / (two.done - one.done)
        for one, two in combinations(steady, 2)
        if two.done - one.done >= max(apart, 1)
    ]
    if len(steady) < SAMPLES or not slopes:
        return None
    quarter = len(steady) // 4
    floors = [min(s.handles for s in part) for part in (steady[:quarter], steady[-quarter:])]
    return Growth(statistics.median(slopes), floors[1] - floors[0])


@dataclass
class Watch:
    """Samples of processes while a run goes on.

    Attributes:
        processes: Says which there are, by id, and what they are called.
        done: Counts trials.
        samples: By process.
    """

    processes: Callable[[], Mapping[int, str]]
    done: Callable[[], int]
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    @contextmanager
    def looking(self, every: float = EVERY) -> Iterator[None]:
        """Takes samples in the block."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(every):
                done = self.done()
                for pid, name in self.processes().items():
                    with suppress(psutil.Error):  # it has just ended
                        process = psutil.Process(pid)
                        sample = Sample(done, process.memory_info().rss, process.num_fds())
                        self.samples.setdefault(f"{name} {pid}", []).append(sample)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def growth(self) -> dict[str, Growth]:
        """Of each process that was there long enough."""
        trials = self.done()
        found = {name: judged(samples, trials) for name, samples in self.samples.items()}
        return {name: growth for name, growth in found.items() if growth is not None}


def entries(folder: str | os.PathLike[str]) -> int:
    """How many visible entries a folder has; none where it is not there."""
    with suppress(FileNotFoundError), os.scandir(folder) as found:
        return sum(not entry.name.startswith(".") for entry in found)
    return 0
