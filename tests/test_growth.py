"""What the soak calls growth: leaks that are made are found, and what is none is not."""

import os
import random
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

GROWTH = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "growth.py"))
Sample, judged = GROWTH["Sample"], GROWTH["judged"]
TRIALS = 2500
SECONDS = 120
LEAKS = """
import os, sys, time
memory, every, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
kept = []
for number in range(400):
    if memory:
        kept.append(os.urandom(memory))
    if every and number % every == 0:
        kept.append(open(os.devnull))
    open(f"{folder}/{number}", "w").close()
    time.sleep(0.004)
"""


def process(bytes_a_trial=0.0, handles_a_trial=0.0, seed=1):
    """Samples of a process that loads for some time, and works with noise."""
    chance = random.Random(seed)
    for done in range(0, TRIALS, 20):
        memory = min(460e6, 100e6 + done * 1e6)  # imports and caches
        memory += 150e6 if done > 0.3 * TRIALS else 0  # a library that is imported late
        memory += done * bytes_a_trial + chance.choice((0, 0, 8e6))  # a batch under way
        handles = 43 + chance.choice((0, 0, 2, 7)) + int(done * handles_a_trial)
        yield Sample(done, int(memory), handles)


@pytest.mark.parametrize("seed", range(10))
def test_a_process_that_warms_up_and_then_works_with_noise_does_not_grow(seed):
    growth = judged([*process(seed=seed)], TRIALS)
    assert growth.fault == ""
    assert abs(growth.bytes_a_trial) < 2000
    assert growth.handles == 0


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("leak", "said"),
    [
        ({"bytes_a_trial": 30_000}, "memory by"),
        ({"handles_a_trial": 0.01}, "open files by"),
        ({"bytes_a_trial": 1e6, "handles_a_trial": 1}, "and open files by"),
    ],
)
def test_a_leak_is_found_whatever_the_noise(leak, said, seed):
    assert said in judged([*process(**leak, seed=seed)], TRIALS).fault


def test_a_process_that_was_there_for_a_moment_is_not_judged():
    samples = [*process()]
    assert judged(samples[:60], TRIALS) is None
    assert judged(samples[-10:], TRIALS) is None
    assert judged([], TRIALS) is None


@pytest.mark.parametrize(
    ("memory", "every", "said"),
    [(0, 0, None), (64_000, 0, "memory by"), (0, 20, "open files by")],
)
def test_a_real_process_that_leaks_is_found_by_watching_it(memory, every, said, tmp_path):
    command = [sys.executable, "-c", LEAKS, str(memory), str(every), str(tmp_path)]
    child = subprocess.Popen(command)
    watch = GROWTH["Watch"]({child.pid: "it"}.copy, lambda: GROWTH["entries"](tmp_path))
    deadline = time.monotonic() + SECONDS
    with watch.looking(every=0.005):
        while child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
    assert child.wait() == 0
    (growth,) = watch.growth().values()
    assert (said or "") in growth.fault
    assert bool(growth.fault) == bool(said)


def test_what_is_hidden_or_not_there_is_no_trial(tmp_path):
    assert GROWTH["entries"](tmp_path / "none") == 0
    for name in ("one", ".draft"):
        (tmp_path / name).mkdir()
    assert GROWTH["entries"](os.fspath(tmp_path)) == 1
