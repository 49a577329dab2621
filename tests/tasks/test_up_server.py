"""What `shotboard up` asks of its server: that a night is caught up once, that somebody is told."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tasks.pages.regressions import Moves, tell_prefect
from tasks.services.children import free_port
from tasks.services.draining import close_queues
from tasks.services.notifying import NAME, address, notify_at
from tasks.services.pool import POOL, client, make_pool, skip_missed
from tasks.services.server import settings, start_server
from tasks.storage.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.served, pytest.mark.timeout(900)]
NIGHTLY = {"cron": "0 2 * * *", "timezone": "Europe/Berlin"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with its services, on which this process is set, and its log."""
    store = Store(tmp_path_factory.mktemp("up"))
    store.prefect.mkdir(parents=True)
    log = store.home / "server.log"
    child, url = start_server(store.prefect, log, port=free_port(), services=True)
    try:
        with settings(url, store.prefect):
            make_pool()
            yield log
            close_queues()
    finally:
        child.stop()


@pytest.fixture
def webhook(monkeypatch):
    """What is posted to a webhook whose path is a secret, which `SHOTBOARD_NOTIFY` names."""
    posted = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append((self.path, json.loads(body)))
            self.send_response(500 if b"refused" in body else 200)
            self.end_headers()

        def log_message(self, *_):
            pass

    receiver = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    monkeypatch.setenv("SHOTBOARD_NOTIFY", f"http://127.0.0.1:{receiver.server_port}/s3cret-path")
    yield posted
    receiver.shutdown()
    receiver.server_close()


def deploy(name, **fields):
    """A deployment in our pool with the schedule of the nightly; gives its id."""
    with client() as api:
        flow_id = api.create_flow_from_name("benchmark")
        return api.create_deployment(
            flow_id=flow_id,
            name=name,
            work_pool_name=POOL,
            schedules=[{"schedule": NIGHTLY, "slug": "nightly"}],  # pyright: ignore
            **fields,
        )


def miss(deployment_id, nights):
    """The scheduler makes the runs of the last nights, as it would have made them ahead."""
    start = datetime.now(UTC) - timedelta(days=nights)
    body = {"start_time": start.isoformat(), "end_time": datetime.now(UTC).isoformat()}
    with client() as api:
        api.request(
            "POST",
            "/deployments/{id}/schedule",
            path_params={"id": deployment_id},
            json=body | {"min_runs": nights, "max_runs": nights},
        )


def runs_of(deployment_id):
    from prefect.client.schemas.filters import DeploymentFilter
    from prefect.client.schemas.sorting import FlowRunSort

    chosen = DeploymentFilter.model_validate({"id": {"any_": [deployment_id]}})
    with client() as api:
        return api.read_flow_runs(
            deployment_filter=chosen, sort=FlowRunSort.EXPECTED_START_TIME_ASC
        )


def test_of_three_nights_that_were_missed_the_last_is_caught_up(server):
    nightly, other = deploy("nightly"), deploy("other")
    miss(nightly, 3)
    miss(other, 1)
    with client() as api:
        asked = api.create_flow_run_from_deployment(nightly)  # by a person, for now
    assert skip_missed() == 2
    past = [run for run in runs_of(nightly) if run.expected_start_time <= datetime.now(UTC)]
    first, second, third = (run for run in past if run.auto_scheduled)
    for skipped in (first, second):
        assert (skipped.state.type.value, skipped.state.name) == ("CANCELLED", "Skipped")
        assert f"the run of {third.expected_start_time:%Y-%m-%d}" in skipped.state.message
    for left in (third, next(run for run in past if run.id == asked.id), runs_of(other)[0]):
        assert left.state.type.value == "SCHEDULED"
    assert skip_missed() == 0


def test_nights_of_other_parameters_are_each_caught_up(server):
    deployment = deploy("by-hand", parameters={"suite": "a"})
    miss(deployment, 2)
    with client() as api:
        api.update_deployment(deployment, _with(parameters={"suite": "b"}))
    start = datetime.now(UTC) - timedelta(days=4)
    end = datetime.now(UTC) - timedelta(days=2, hours=12)
    with client() as api:
        api.request(
            "POST",
            "/deployments/{id}/schedule",
            path_params={"id": deployment},
            json={"start_time": start.isoformat(), "end_time": end.isoformat(), "max_runs": 1},
        )
    assert skip_missed() == 1
    left = [run for run in runs_of(deployment) if run.state.type.value == "SCHEDULED"]
    past = [run for run in left if run.expected_start_time <= datetime.now(UTC)]
    assert sorted(run.parameters["suite"] for run in past) == ["a", "b"]


def _with(**fields):
    from prefect.client.schemas.actions import DeploymentUpdate

    return DeploymentUpdate(**fields)


def row(**changes):
    values = {
        **{"suite": "nights", "protocol": "few_shot", "dataset": "pets", "backbone": "clip"},
        **{"method": "coop", "variant": "", "shots": 4, "split": "all", "metric": "accuracy"},
        **{"unit": "share", "verdict": "regressed", "cause": "hyperparameters lr 0.1 to 9.0"},
        **{"previous_mean": 0.7, "current_mean": 0.6, "p_images": 0.01, "moved_trials": 0},
        **{"previous_ci95_low": 0.65, "previous_ci95_high": 0.75, "cell_id": "c0"},
        **{"previous_run_id": "r1", "current_run_id": "r2"},
    }
    return values | changes


def wait(read):
    """What `read` gives once it gives something."""
    deadline = time.monotonic() + 300
    while not (found := read()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def told(posted, count):
    wait(lambda: len(posted) >= count)
    return posted


def events(name):
    with client() as api:
        body = {"filter": {"event": {"name": [name]}}}
        return api.request("POST", "/events/filter", json=body).json()["events"]


def night(*rows):
    """A flow run that tells of its moves."""
    from prefect import flow

    @flow(name="night")
    def told_of():
        tell_prefect(Moves(rows))

    told_of()


def test_a_regression_is_posted_to_the_webhook_and_its_address_is_in_no_log(server, webhook):
    notify_at(address())
    notify_at(address())  # as the next `shotboard up` does
    with client() as api:
        assert len(api.read_automations_by_name(NAME)) == 1
    night(row())
    ((path, message),) = told(webhook, 1)
    assert path == "/s3cret-path"
    assert message["title"] == "Shotboard, suite nights: 1 cell regressed"
    assert "coop on pets" in message["message"]
    assert "70.0 % to 60.0 %; hyperparameters lr 0.1 to 9.0" in message["message"]
    night(row(verdict="within", cause="by itself", moved_trials=1))
    _, (_, message) = told(webhook, 2)
    assert message["title"] == "Shotboard, suite nights: 1 moved by itself"
    night(row(dataset="refused"))
    told(webhook, 3)
    failed = "prefect.automation.action.failed"
    assert wait(lambda: events(failed)), "the refusal of the webhook is no event"
    assert "s3cret" not in server.read_text()
    notify_at(None)
    with client() as api:
        assert api.read_automations_by_name(NAME) == []
        documents = api.read_block_documents()
    assert NAME not in {document.name for document in documents}
