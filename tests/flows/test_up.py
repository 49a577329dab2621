"""`shotboard up`, as a user runs it: a real Prefect server, a real worker, the MLflow UI.

The module's fixture goes through a day of it once: the nightly gets its runs, a run is asked for
over REST and completes, another is under way when Ctrl-C comes. The tests look at what is left.
"""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flows.cli.common import signals_as_interrupts
from tasks.services.children import free_port
from tasks.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
SHOTBOARD = [sys.executable, "-c", "from flows.cli import main; main()"]
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
TOKEN = "t0ken-of-a-test-that-is-long"
KNOWN = {"Authorization": f"Basic {b64encode(f'shotboard:{TOKEN}'.encode()).decode()}"}
SLOW = [pytest.mark.slow, pytest.mark.served, pytest.mark.timeout(1500)]
TINY: dict[str, Any] = {
    "suite": "quickstart",
    "datasets": ["digits"],
    "views": "none",
    "backbones": ["mini-clip"],
    "methods": ["zero-shot"],
    "protocols": ["few_shot"],
    "shots": [1],
    "seeds": [1],
    "workers": 1,
}
# Enough to be under way still when its first trials are there.
LONG = {
    **TINY,
    "methods": ["coop"],
    "seeds": list(range(1, 49)),
    "hyperparameters": {"coop": {"epochs": 20}},
}


@dataclass
class Day:
    """What happened."""

    store: Store
    printed: str = ""
    api: str = ""
    board: str = ""
    pages: tuple[str, ...] = ()
    mlflow: str = ""
    deployments: list[dict[str, Any]] = field(default_factory=list)
    cleaned: tuple[dict[str, Any], list[dict[str, Any]], list[Path]] | None = None
    nightly_runs: list[dict[str, Any]] = field(default_factory=list)
    first: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    experiments: list[dict[str, Any]] = field(default_factory=list)
    second_up: str = ""
    strangers: list[int] = field(default_factory=list)
    interrupted: str = ""
    trials: tuple[set[str], ...] = ()
    processes: set[int] = field(default_factory=set)
    left: set[int] = field(default_factory=set)
    code: int | None = None


def call(url, body=None):
    """Asks an API, again where it says that it is busy."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **KNOWN})
    for _ in range(20):
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            time.sleep(1)
    pytest.fail(f"{url} is busy")


def read(url):
    """A page, whatever its status."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=KNOWN), timeout=90
        ) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def strange(url):
    """The status that somebody without the token gets."""
    try:
        with urllib.request.urlopen(url, timeout=90) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def wait(read, seconds, what, logs):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = read()
        if value:
            return value
        time.sleep(0.3)
    pytest.fail(f"{what} not seen within {seconds} s.\n{tails(logs)}")


def tails(folder):
    files = sorted(folder.glob("*.log"))
    lines = [[f"--- {f.name}", *f.read_text(errors="replace").splitlines()[-30:]] for f in files]
    return "\n".join(line for some in lines for line in some)


def descendants(root):
    """A process and all below it."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = int(state(folder.name)[1])
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return set(found)


def state(pid):
    """The letter of a process's state, its parent, ..; see proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def runs(pid):
    with suppress(OSError):
        return state(pid)[0] not in "ZX"
    return False


def ended_run(day, run_id):
    """A flow run that has ended; nothing before."""
    found = call(f"{day.api}/flow_runs/{run_id}")
    return found if found["state"]["type"] in FINAL else None


def start_run(day, parameters, name="benchmark/quickstart"):
    deployment = call(f"{day.api}/deployments/name/{name}")
    url = f"{day.api}/deployments/{deployment['id']}/create_flow_run"
    return call(url, {"parameters": parameters})["id"]


def live(day, process, output):
    """The day; `process` is `shotboard up`."""
    logs = day.store.up

    def printed():
        assert process.poll() is None, output.read_text() + tails(logs)
        return output.read_text() if "Ctrl-C stops all" in output.read_text() else ""

    day.printed = wait(printed, 400, "`Ctrl-C stops all`", logs)
    day.api = re.findall(r"^Prefect API +(\S+)$", day.printed, re.M)[0]
    day.board = re.findall(r"^Board +(\S+)$", day.printed, re.M)[0]
    day.mlflow = re.findall(r"^MLflow UI +(\S+)$", day.printed, re.M)[0]
    day.deployments = call(f"{day.api}/deployments/filter", {})
    day.strangers = [strange(day.api), strange(day.board), strange(day.mlflow)]
    again = subprocess.run(
        [*SHOTBOARD, "up", "--home", str(day.store.home)], cwd=ROOT, capture_output=True, text=True
    )
    day.second_up = f"{again.returncode} {again.stderr}"

    def run():
        return call(f"{day.api}/flow_runs/{first}")

    before = read(day.board)
    first = start_run(day, TINY)
    wait(lambda: run()["state"]["type"] in FINAL, 700, "the end of the first run", logs)
    day.first = run()
    assert day.first["state"]["type"] == "COMPLETED", f"{day.first['state']}\n{tails(logs)}"
    wait(lambda: read(day.board) != before, 60, "another board page", logs)
    day.pages = (before, read(day.board))
    of_run = {"artifacts": {"flow_run_id": {"any_": [first]}}}
    left = call(f"{day.api}/artifacts/filter", of_run)
    day.artifacts = {artifact["key"]: artifact for artifact in left}
    day.experiments = call(f"{day.mlflow}/api/2.0/mlflow/experiments/search", {"max_results": 10})[
        "experiments"
    ]
    cleaning = start_run(day, {"older_than": "0", "keep": ["ray"]}, "clean/clean")
    ended = wait(lambda: ended_run(day, cleaning), 300, "the end of the cleaning", logs)
    of_run = {"artifacts": {"flow_run_id": {"any_": [cleaning]}}}
    (artifact,) = call(f"{day.api}/artifacts/filter", of_run)
    day.cleaned = (ended, json.loads(artifact["data"]), sorted(day.store.features.rglob("*.npy")))
    nightly = next(d for d in day.deployments if d["name"] == "nightly")
    body = {
        "deployments": {"id": {"any_": [nightly["id"]]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
    }
    day.nightly_runs = wait(
        lambda: call(f"{day.api}/flow_runs/filter", body), 240, "a scheduled run", logs
    )

    before = day.store.done()
    day.interrupted = start_run(day, LONG)
    wait(lambda: day.store.done() > before, 400, "a trial of the second run", logs)
    day.processes = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    day.code = process.wait(300)
    day.trials = (before, day.store.done())
    deadline = time.monotonic() + 200  # what Ray started takes a moment
    while (left := {p for p in day.processes if runs(p)}) and time.monotonic() < deadline:
        time.sleep(0.2)
    day.left = left


def hears_ctrl_c():
    """A shell starts jobs in the background deaf to it, tests and their children among them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def day():
    home = Path(tempfile.mkdtemp(prefix="sb-"))  # short: Ray's sockets have 107 characters
    output = home / "output"
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    env["SHOTBOARD_TOKEN"] = TOKEN
    ports = [
        *("--port", str(free_port()), "--board-port", str(free_port())),
        *("--mlflow-port", str(free_port())),
    ]
    command = [*SHOTBOARD, "up", *ports, "--home", str(home / "store")]
    try:
        with output.open("wb") as written:
            process = subprocess.Popen(
                command,
                env=env,
                cwd=home,
                stdout=written,
                stderr=subprocess.STDOUT,
                preexec_fn=hears_ctrl_c,
            )
        day = Day(Store(home / "store"))
        try:
            live(day, process, output)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(300)
        yield day
    finally:
        shutil.rmtree(home, ignore_errors=True)


class TestUp:
    pytestmark = SLOW

    def test_every_deployment_is_there(self, day):
        assert {d["name"] for d in day.deployments} == {
            "quickstart",
            "nightly",
            "ingest",
            "pretrain",
            "clean",
        }
        for name in ("benchmark/quickstart", "ingest/ingest", "pretrain/pretrain"):
            assert f"\n  {name}\n" in day.printed
        assert re.search(r"\n  clean/clean +30 5 \* \* \* Europe/Berlin\n", day.printed)
        assert re.search(r"\n  benchmark/nightly +0 2 \* \* \* Europe/Berlin\n", day.printed)

    def test_the_nightly_gets_scheduled_runs(self, day):
        assert day.nightly_runs[0]["parameters"]["suite"] == "nightly"

    def test_the_nightly_cleaning_frees_what_comes_back_and_no_trial(self, day):
        run, table, features = day.cleaned
        assert (run["name"], run["state"]["type"]) == ("older than 0", "COMPLETED")
        freed = {row["kind"]: row["count"] for row in table}
        assert freed["features"] == 1
        assert features == []
        assert "trials" not in freed and "ray" not in freed
        assert len(day.trials[0]) == 1

    def test_a_run_over_rest_completes_and_is_called_by_what_it_did(self, day):
        assert day.first["name"] == (
            "quickstart: zero-shot on digits with mini-clip, few_shot, 1 shot, seed 1, views none"
        )
        assert day.first["state"]["message"].startswith("1 trials: 1 computed")

    def test_it_leaves_the_board_of_its_trials_with_links_and_each_with_a_description(self, day):
        own = {key: one for key, one in day.artifacts.items() if not key.startswith("trials-")}
        assert set(own) >= {"board", "summary", "changes", "board-page", "mlflow"}
        assert all(artifact["description"] for artifact in own.values())
        board = own["board"]["data"]
        assert "## few\\_shot, all" in board
        assert re.search(r"^\| zero-shot[^|]*\| \d+\.\d \|  \| 1 \|$", board, re.M)
        assert day.mlflow in own["mlflow"]["data"]

    def test_the_board_and_mlflow_lie_in_the_store_and_mlflow_shows_the_suite(self, day):
        assert day.store.board.is_file()
        assert "quickstart" in {experiment["name"] for experiment in day.experiments}

    def test_the_board_page_is_served_made_anew_after_a_run_and_links_to_the_others(self, day):
        before, after = day.pages
        assert "There is no board yet" in before
        assert "zero-shot" in after
        served = {
            "board": day.board,
            "mlflow": day.mlflow,
            "prefect": day.api.removesuffix("/api"),
        }
        assert json.dumps(served)[1:-1] in after

    def test_a_second_one_is_refused_with_where_the_first_is(self, day):
        assert day.second_up.startswith("2 error: `shotboard up` serves the store")
        assert day.api.removesuffix("/api") in day.second_up

    def test_a_token_is_asked_for_printed_nowhere_and_written_nowhere(self, day):
        assert day.strangers == [401, 401, 401]
        assert "name shotboard, password SHOTBOARD_TOKEN\n" in day.printed
        assert TOKEN not in day.printed
        files = [file for file in day.store.home.rglob("*") if file.is_file()]
        assert [str(file) for file in files if TOKEN.encode() in file.read_bytes()] == []
        assert stat.S_IMODE((day.store.prefect / "prefect.db").stat().st_mode) == 0o600

    def test_ctrl_c_is_a_good_end(self, day):
        assert day.code == 0

    def test_ctrl_c_ends_every_process(self, day):
        assert len(day.processes) > 8  # ours, server, worker, MLflow, the flow run, its Ray
        assert day.left == set()

    def test_ctrl_c_ends_the_flow_run_under_way_and_says_so_to_the_server(self, day):
        with closing(sqlite3.connect(day.store.prefect / "prefect.db")) as database:
            states = dict(database.execute("SELECT replace(id, '-', ''), state_type FROM flow_run"))
            slots = database.execute("SELECT sum(active_slots) FROM concurrency_limit_v2")
            assert slots.fetchone() == (0,)  # else the deployment would never run again
        assert states[day.interrupted.replace("-", "")] in ("CANCELLED", "CRASHED")

    def test_ctrl_c_loses_nothing_that_was_computed(self, day):
        before, after = day.trials
        assert len(after) > len(before) > 0


@pytest.fixture
def refused(shotboard, tmp_path):
    """Calls `shotboard up` on an empty store, and returns the sentence of its refusal."""

    def call(*arguments):
        answer = shotboard("up", *arguments, "--home", tmp_path / "store")
        assert answer.code == 2, (answer.out, answer.err, answer.trouble)
        assert not list((tmp_path / "store").glob("up/*.log"))  # nothing was started
        return answer.sentence

    return call


def test_a_port_that_is_taken_is_refused(refused):
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        mine.listen()
        port = str(mine.getsockname()[1])
        free = {name: free_port() for name in ("--port", "--board-port", "--mlflow-port")}
        for option, purpose in (
            ("--port", "the Prefect server"),
            ("--board-port", "the board page"),
            ("--mlflow-port", "the MLflow UI"),
        ):
            given = [word for pair in (free | {option: port}).items() for word in pair]
            said = refused(*given)
            assert said.startswith(f"{option} {port}: {purpose} cannot listen there")


def test_one_port_for_two_servers_is_refused(refused):
    assert "--port and --mlflow-port are both 4321" in refused(
        "--port", 4321, "--mlflow-port", 4321
    )


def test_a_host_of_another_machine_and_a_token_that_is_none_are_refused(refused, monkeypatch):
    assert refused("--host", "192.0.2.1").startswith("--host 192.0.2.1: no server can listen there")
    monkeypatch.setenv("SHOTBOARD_TOKEN", "short")
    assert refused().startswith("SHOTBOARD_TOKEN is no token (its value is not shown)")


def test_a_project_without_prefect_yaml_is_refused(refused, monkeypatch, tmp_path):
    monkeypatch.setenv("SHOTBOARD_PROJECT", str(tmp_path))
    assert f"there is no prefect.yaml in {tmp_path}" in refused()


@pytest.mark.parametrize("ignored", [True, False])
def test_a_hangup_is_ctrl_c_unless_nohup_has_it_ignored(ignored):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with signals_as_interrupts():
            if ignored:
                signal.raise_signal(signal.SIGHUP)
            else:
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(signal.SIGHUP)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, before)
