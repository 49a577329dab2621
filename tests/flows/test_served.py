"""The deployments of prefect.yaml on a real Prefect server with a real worker."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tasks.environment import QUIET
from tasks.server import free_port, reachable

ROOT = Path(__file__).resolve().parents[2]
PREFECT = [sys.executable, "-m", "prefect"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


class Served:
    """A server with a worker and the deployments of prefect.yaml."""

    def __init__(self, url, home):
        self.url = url
        self.home = home

    def call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=90) as answer:
            return json.load(answer)

    def wait(self, read, seconds, what):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = read()
            if value:
                return value
            time.sleep(0.5)
        pytest.fail(f"{what} not seen within {seconds} s.\n{self.logs()}")

    def logs(self):
        tails = []
        for name in ("server", "worker"):
            lines = (self.home / f"{name}.log").read_text(errors="replace").splitlines()
            tails.append("\n".join([f"--- {name}.log", *lines[-40:]]))
        return "\n".join(tails)


@contextmanager
def running(home, name, *command, env):
    """Runs a command in a session of its own, which is ended with all that is in it."""
    with (home / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=env, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def served():
    home = Path(tempfile.mkdtemp(prefix="sb-"))  # short: Ray's sockets have 107 characters
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    env = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    env |= QUIET | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "SHOTBOARD_PROJECT": str(ROOT),
        "SHOTBOARD_HOME": str(home / "store"),
    }

    def prefect(*arguments):
        done = subprocess.run(
            [*PREFECT, *arguments], env=env, cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, f"prefect {' '.join(arguments)}\n{done.stdout}{done.stderr}"

    worker = [*PREFECT, "worker", "start", "--pool", "shotboard"]
    try:
        with running(home, "server", *PREFECT, "server", "start", env=env) as server:
            deadline = time.monotonic() + 240
            while reachable(url) and server.poll() is None and time.monotonic() < deadline:
                time.sleep(0.2)
            assert reachable(url) is None, (home / "server.log").read_text()
            prefect("work-pool", "create", "shotboard", "--type", "process")
            prefect("--no-prompt", "deploy", "--all")
            with running(home, "worker", *worker, env=env):
                yield Served(url, home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_every_deployment_is_there(served):
    names = {deployment["name"] for deployment in served.call("/deployments/filter", {})}
    assert names == {"quickstart", "nightly", "ingest", "pretrain"}


def test_the_nightly_gets_scheduled_runs(served):
    nightly = served.call("/deployments/name/benchmark/nightly")
    body = {
        "deployments": {"id": {"any_": [nightly["id"]]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
    }
    runs = served.wait(lambda: served.call("/flow_runs/filter", body), 240, "a scheduled run")
    assert runs[0]["parameters"]["suite"] == "nightly"
    assert nightly["schedules"][0]["schedule"]["timezone"] == "Europe/Berlin"


def test_a_run_over_rest_completes_and_leaves_the_board(served):
    deployment = served.call("/deployments/name/benchmark/quickstart")
    parameters = {
        "suite": "quickstart",
        "datasets": ["digits"],
        "backbones": ["effnet-minilm"],
        "methods": ["zero-shot"],
        "protocols": ["few_shot"],
        "home": str(served.home / "store"),
        "workers": 1,
    }
    run = served.call(
        f"/deployments/{deployment['id']}/create_flow_run", {"parameters": parameters}
    )

    def finished():
        state = served.call(f"/flow_runs/{run['id']}")["state"]
        return state if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

    state = served.wait(finished, 700, f"the end of run {run['name']}")
    assert state["type"] == "COMPLETED", f"{state['name']}: {state['message']}\n{served.logs()}"
    artifact = served.call("/artifacts/board/latest")
    assert artifact["type"] == "table"
    rows = json.loads(artifact["data"])
    assert {row["method"] for row in rows} == {"zero-shot"}
