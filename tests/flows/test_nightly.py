"""Nights as they come: `shotboard up`, its clock, and what is told of each night and to whom.

The module's fixture goes through them once: three nights were missed and are caught up by one run;
then a setting is made worse, another one, and a trial gets another number. The tests look at what
was reported. The schedule is one of seconds, until it has fired; all else is as a user has it.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.services.children import free_port
from tasks.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
SHOTBOARD = [sys.executable, "-c", "from flows.cli import main; main()"]
pytestmark = [pytest.mark.slow, pytest.mark.served, pytest.mark.timeout(1800)]

SETTINGS = {
    "coop": {"epochs": 20, "n_context": 4, "lr": 0.05},
    "tip-adapter": {"search_on": "none", "alpha": 2.0, "beta": 5.5},
}
ENDED = ("COMPLETED", "FAILED", "CRASHED")
EVERY_SECONDS = 15
SECONDS = 500  # of what takes some twenty where nothing else runs
SUITE = {
    "name": "nights",
    "datasets": ["digits"],
    "backbones": ["mini-clip"],
    "shots": [4],
    "seeds": [1, 2],
    "test_rows_per_class": 20,
    "views": "none",  # crops of digits are other digits: two seeds would not tell nights apart
}


@dataclass
class Night:
    """What a night left behind."""

    run: dict[str, Any]
    report: str | None

    @property
    def state(self):
        return self.run["state"]["name"]

    @property
    def told(self):
        """Method and cause of each section of the report."""
        text = (self.report or "").replace("\\", "")
        found = re.findall(
            r"^### regressed: (\S+) on digits$.*?^- cause: (.*?)$", text, re.M | re.S
        )
        assert len(found) == text.count("### ")
        return found


@dataclass
class Nights:
    store: Store
    runs: list[dict[str, Any]] = field(default_factory=list)
    nights: list[Night] = field(default_factory=list)
    posted: list[dict[str, Any]] = field(default_factory=list)
    board: str = ""
    logs: str = ""


def ask(url, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    for _ in range(20):
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            time.sleep(1)
    pytest.fail(f"{url} is busy")


def wait(read, what, logs):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if value := read():
            return value
        time.sleep(0.5)
    tails = [f"--- {f.name}\n{f.read_text(errors='replace')[-3000:]}" for f in logs.glob("*.log")]
    pytest.fail(f"{what} not seen within {SECONDS} s.\n" + "\n".join(tails))


def write_suite(path, **changes):
    settings = {name: SETTINGS[name] | changes.get(name, {}) for name in SETTINGS}
    methods = ["zero-shot", *({name: values} for name, values in settings.items())]
    path.write_text(yaml.safe_dump(SUITE | {"methods": methods}))


def project(folder, suite):
    """A checkout whose nightly runs a suite of ours every few seconds."""
    folder.mkdir()
    for name in ("shotboard", "flows", "tasks", "operators", "data_catalog"):
        (folder / name).symlink_to(ROOT / name)
    wanted = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    (nightly,) = (d for d in wanted["deployments"] if d["name"] == "nightly")
    nightly["parameters"] = {"suite": str(suite), "workers": 1}
    nightly["schedules"] = [{"interval": EVERY_SECONDS, "slug": "nightly", "active": True}]
    (folder / "prefect.yaml").write_text(yaml.safe_dump(wanted | {"deployments": [nightly]}))
    return nightly["parameters"]


def miss_three_nights(store, parameters):
    """Leaves what the scheduler of the evening before had made: runs whose time has passed."""
    from tasks.services.pool import POOL, client, make_pool
    from tasks.services.server import prefect_api

    with prefect_api(store):
        make_pool()
        with client() as api:
            nightly = api.create_deployment(
                flow_id=api.create_flow_from_name("benchmark"),
                name="nightly",
                work_pool_name=POOL,
                parameters=parameters,
                schedules=[{"schedule": {"cron": "0 2 * * *"}, "slug": "nightly"}],  # pyright: ignore
            )
            now = datetime.now(UTC)
            times = {
                "start_time": (now - timedelta(days=3)).isoformat(),
                "end_time": now.isoformat(),
            }
            url = "/deployments/{id}/schedule"
            counts = {"min_runs": 3, "max_runs": 3}
            api.request("POST", url, path_params={"id": nightly}, json=times | counts)


def move_a_number(store):
    """Gives the zero-shot trial other answers, as another machine or version might have."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from operators.metrics import scores_of

    (trial,) = (r for r in store.results() if r["spec"]["method"] == "zero-shot")
    folder = store.trial(trial["trial_id"])
    table = pq.read_table(folder / "predictions.parquet")
    labels = table["label"].to_pylist()
    asked = [(label + 1) % 10 for label in labels]
    place, column = table.column_names.index("predicted"), table.schema.field("predicted")
    table = table.set_column(place, column, pa.array(asked, column.type))
    pq.write_table(table, folder / "predictions.parquet")
    names = [metric["metric"] for metric in trial["metrics"]]
    trial["metrics"] = [
        {"split": s.split, "metric": s.metric, "value": s.value, "n": s.n}
        for s in scores_of(table, names)
    ]
    content = (folder / "predictions.parquet").read_bytes()
    trial["sha256"]["predictions.parquet"] = hashlib.sha256(content).hexdigest()
    (folder / "trial.json").write_text(json.dumps(trial, indent=1))


def live(nights, suite, process, output):
    logs = nights.store.up

    def printed():
        assert process.poll() is None, output.read_text()
        return re.findall(r"^(Board|Prefect API|Notified) +(\S.*)$", output.read_text(), re.M)

    found = wait(lambda: len(printed()) == 3 and printed(), "addresses", logs)
    where = dict(found)
    api, nights.board = where["Prefect API"], where["Board"]
    assert where["Notified"] == "JSON at 127.0.0.1"

    def runs(*states):
        """Those of some states, from the first to the last that started."""
        found = ask(f"{api}/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": states}}}})
        return sorted(found, key=lambda run: run["start_time"] or "")

    def keep(run):
        body = {
            "artifacts": {"key": {"any_": ["regressions"]}, "flow_run_id": {"any_": [run["id"]]}}
        }
        reports = ask(f"{api}/artifacts/filter", body)
        nights.nights.append(Night(run, reports[0]["data"] if reports else None))

    def night():
        """One that is started as by `Quick run` in the page; its time would only cost time."""
        made = ask(f"{deployment}/create_flow_run", {})["id"]
        ended = wait(lambda: [r for r in runs(*ENDED) if r["id"] == made], "its end", logs)
        keep(ended[0])

    wait(lambda: runs(*ENDED), "the first night", logs)
    nights.runs = ask(f"{api}/flow_runs/filter", {})
    wait(lambda: runs(*ENDED)[1:], "the second night", logs)
    for run in runs(*ENDED)[:2]:
        keep(run)
    nightly = ask(f"{api}/deployments/name/benchmark/nightly")
    deployment = f"{api}/deployments/{nightly['id']}"
    (schedule,) = nightly["schedules"]
    ask(f"{deployment}/schedules/{schedule['id']}", {"active": False}, "PATCH")
    wait(lambda: not runs("PENDING", "RUNNING"), "the end of a night that had begun", logs)
    write_suite(suite, coop={"lr": 1e-6})
    night()
    write_suite(suite, coop={"lr": 1e-6}, **{"tip-adapter": {"alpha": 0.01}})
    night()
    move_a_number(nights.store)
    night()
    wait(lambda: len(nights.posted) >= 3, "three notifications", logs)


@pytest.fixture(scope="module")
def nights():
    home = Path(tempfile.mkdtemp(prefix="sb-"))  # short: Ray's sockets have 107 characters
    nights = Nights(Store(home / "store"))

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self):
            nights.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    webhook = HTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=webhook.serve_forever, daemon=True).start()
    suite = home / "nights.yaml"
    write_suite(suite)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    env = kept | {
        "SHOTBOARD_PROJECT": str(home / "project"),
        "SHOTBOARD_NOTIFY": f"http://127.0.0.1:{webhook.server_port}/s3cret",
    }
    ports = (("--port", free_port()), ("--board-port", free_port()), ("--mlflow-port", free_port()))
    options = [str(word) for pair in ports for word in pair]
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("PREFECT_API_URL", raising=False)
            miss_three_nights(nights.store, project(home / "project", suite))
        with (home / "output").open("wb") as written:
            process = subprocess.Popen(
                [*SHOTBOARD, "up", *options, "--home", str(nights.store.home)],
                env=env,
                cwd=ROOT,
                stdout=written,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        try:
            live(nights, suite, process, home / "output")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(300)
        files = [home / "output", *nights.store.up.glob("*.log")]
        nights.logs = "\n".join(file.read_text(errors="replace") for file in files)
        yield nights
    finally:
        webhook.shutdown()
        webhook.server_close()
        shutil.rmtree(home, ignore_errors=True)


def test_three_nights_that_were_missed_are_caught_up_by_one_run(nights):
    skipped = [run for run in nights.runs if run["state"]["name"] == "Skipped"]
    assert len(skipped) == 2
    first = nights.nights[0].run
    assert (first["state"]["type"], first["auto_scheduled"]) == ("COMPLETED", True)
    assert all(run["expected_start_time"] < first["expected_start_time"] for run in skipped)


def test_the_schedule_fires_and_a_night_without_news_says_nothing(nights):
    second = nights.nights[1]
    assert second.run["auto_scheduled"]
    assert second.run["expected_start_time"] > nights.nights[0].run["start_time"]
    assert (second.state, second.report) == ("Completed", None)


@pytest.mark.parametrize(
    ("night", "method", "cause"),
    [
        (2, "coop", "hyperparameters lr 0.05 to 1e-06"),
        (3, "tip-adapter", "hyperparameters alpha 2.0 to 0.01"),
        (4, "zero-shot", "by itself"),
    ],
)
def test_a_night_names_exactly_what_it_made_worse_and_why(nights, night, method, cause):
    assert nights.nights[night].told == [(method, cause)]
    assert nights.nights[night].state == "Regressed"
    assert f"{method} " in nights.nights[night].run["state"]["message"]


def test_each_is_posted_once_with_a_link_to_the_board(nights):
    assert [post["title"] for post in nights.posted] == [
        "Shotboard, suite nights: 1 cell regressed",
        "Shotboard, suite nights: 1 cell regressed",
        "Shotboard, suite nights: 1 cell regressed, 1 moved by itself",
    ]
    for post, method in zip(nights.posted, ("coop", "tip-adapter", "zero-shot"), strict=True):
        assert f"regressed: {method} " in post["message"]
        assert f"{nights.board}/" in post["message"]
        assert "/runs/flow-run/" in post["message"]


def test_the_address_is_in_no_log(nights):
    assert "Notified" in nights.logs
    assert "s3cret" not in nights.logs
