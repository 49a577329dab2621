"""A cluster that is joined: its token, and what ends while a run goes on."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.computing.joining import nobody_listens
from tasks.computing.ray_start import PATIENCE
from tasks.services.children import descendants, free_port, process_name

pytestmark = pytest.mark.timeout(1500)
ROOT = Path(__file__).resolve().parents[2]
SECONDS = 600  # of what takes some ten where nothing else runs
OTHER = "cd" * 32
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
CHECK = """
import sys
from tasks.computing.joining import check_address
try:
    check_address(sys.argv[1])
    print("answers")
except ConnectionError as error:
    print(error)
"""


RUN = """
import faulthandler, sys, time
faulthandler.dump_traceback_later(500, exit=True)  # where it hangs, if it does
from tasks.computing.ray_cluster import ray_cluster

class Worker:
    def wait(self):
        time.sleep(1)

try:
    with ray_cluster(sys.argv[1], workers=1) as cluster:
        pool = cluster.pool(Worker)
        while True:
            pool.run("wait")
            print("at work", flush=True)
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


@contextmanager
def started():
    """Starts a head as a person does on a machine with a token.

    Gives address, environment, and the process with its log.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with tempfile.TemporaryDirectory(prefix="r-") as folder:  # Ray's sockets want a short path
        env = {**kept, **PATIENCE, "HOME": folder, "RAY_TMPDIR": folder}
        env["RAY_USAGE_STATS_ENABLED"] = "0"
        token = Path(folder, ".ray", "auth_token")
        token.parent.mkdir()
        token.write_text("ab" * 32)
        port, others = free_port(), ["dashboard-port", "dashboard-agent-listen-port"]
        others += ["ray-client-server-port", "runtime-env-agent-port", "metrics-export-port"]
        command = ["start", "--head", "--block", f"--port={port}", "--node-ip-address=127.0.0.1"]
        command += [f"--{name}={free_port()}" for name in others]
        command += ["--include-dashboard=false", "--num-cpus=1", "--object-store-memory=80000000"]
        log = Path(folder, "log")
        with log.open("w") as file:
            process = subprocess.Popen([*RAY, *command], env=env, stdout=file, stderr=file)
        try:
            address = f"127.0.0.1:{port}"
            health = [*RAY, "health-check", "--address", address]
            asking = {**env, "RAY_AUTH_MODE": "token"}

            def healthy():
                answer = subprocess.run(health, env=asking, capture_output=True, timeout=SECONDS)
                return answer.returncode == 0

            deadline = time.monotonic() + SECONDS
            while nobody_listens(address) or not healthy():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield address, env, process
        finally:
            process.terminate()
            process.wait(SECONDS)


@pytest.fixture(scope="module")
def head():
    with started() as (address, env, _):
        yield address, env


def asked(address, env):
    return subprocess.run(
        [sys.executable, "-c", CHECK, address],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.mark.slow
@pytest.mark.served
def test_a_cluster_that_asks_for_the_token_of_this_machine_is_joined_without_a_word(head):
    address, env = head
    told = asked(address, env)
    assert (told.stdout, told.stderr) == ("answers\n", "")


@pytest.mark.slow
@pytest.mark.served
@pytest.mark.parametrize(
    "more",
    [{"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": OTHER}, {"RAY_AUTH_MODE": "disabled"}],
    ids=["another", "none"],
)
def test_a_cluster_that_asks_for_another_token_says_how_to_give_it(head, more):
    address, env = head
    told = asked(address, env | more)
    assert told.stdout.startswith(f"the Ray cluster at {address} asks for a token, and this")
    assert "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN" in told.stdout
    assert told.stderr == ""


@pytest.mark.slow
@pytest.mark.served
@pytest.mark.parametrize(
    ("name", "said"),
    [("raylet", "of this machine has ended"), ("gcs_server", "has (ended|gone)")],
)
def test_a_run_whose_ray_or_head_ends_is_a_sentence(name, said):
    with started() as (address, env, head):
        run = subprocess.Popen(
            [sys.executable, "-c", RUN, address],
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert run.stdout is not None
        assert run.stdout.readline() == "at work\n"
        victims = [pid for pid in descendants(head.pid) if process_name(pid) == name]
        assert len(victims) == 1
        os.kill(victims[0], signal.SIGKILL)
        out, err = run.communicate(timeout=SECONDS)
    assert re.match(f"MachineError: the Ray .*{said}", out.splitlines()[-1]), (out, err)
    assert "Traceback" not in err
    assert run.returncode == 0
