"""A process that Ray ends while it registers it: another one says why, and ends what is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.services.children import is_there

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120
WORDS = "[2026-01-01 00:00:00,000 E 1 2] core_worker_process.cc:247: Failed to register: no socket"
# Ray's part is a stand-in, which keeps other threads out as Ray does: by a long call with the lock.
SCRIPT = """
import ctypes, os, subprocess, sys, types
ray, raylet = types.ModuleType("ray"), types.ModuleType("ray._raylet")
ray._raylet = raylet
sys.modules.update({"ray": ray, "ray._raylet": raylet})
held = ctypes.PyDLL(None)  # its functions keep Python's lock
words, how = sys.argv[1].encode(), sys.argv[2]
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
started = {n: subprocess.Popen(["sleep", "600"], **quiet) for n in ("gcs_server", "raylet")}

def register(given):
    os.write(2, words)
    print(os.getpid(), *(p.pid for p in started.values()), flush=True)
    if how in started:  # as Ray does where its head has gone: it waits for its other process
        started[how].kill()
        other = (started.keys() - {how}).pop()
        held.waitpid(started[other].pid, None, 0)
    if how == "hangs":
        held.sleep(600)
    if how != "goes on":
        os._exit(1)
    return given

raylet.CoreWorker = register
from tasks.computing.witness import witnessed
with witnessed(lambda: {name: process.pid for name, process in started.items()}):
    assert raylet.CoreWorker(7) == 7
assert raylet.CoreWorker is register
for process in started.values():
    assert process.poll() is None
    process.kill()
print("went on")
"""


def started(how: str, words: str = WORDS) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, words, how],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("name", ["gcs_server", "raylet"])
def test_a_process_of_ray_that_ends_is_told_of_at_once_and_the_other_is_ended(name):
    process = started(name)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    told, kept = err.splitlines()
    assert told.startswith(f"error: Ray's own process {name} has ended, and the workers with it")
    assert kept == "What was computed stays; the same command goes on from here."
    assert not any(is_there(int(pid)) for pid in out.split())


def test_a_process_that_ray_ends_for_a_reason_of_its_own_says_it_in_a_sentence():
    process = started("ends", f"first words\n{WORDS}\n\n")
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    told = f"error: Ray has ended this process while it registered it: {WORDS}"
    assert err.splitlines()[0] == told
    assert "first words" not in err
    for pid in out.split()[1:]:  # these are Ray's to end
        os.kill(int(pid), signal.SIGKILL)


def test_a_process_that_is_registered_goes_on_and_what_it_wrote_is_not_lost():
    process = started("goes on", "a warning\n")
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    assert out.endswith("went on\n")
    assert err == "a warning\n"


def test_a_process_that_is_killed_by_others_is_none_of_the_witness(tmp_path):
    process = started("hangs", "")
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    time.sleep(0.5)  # the witness looks on
    process.kill()
    _, err = process.communicate(timeout=SECONDS)
    assert err == ""
    for pid in pids[1:]:
        os.kill(pid, signal.SIGKILL)
