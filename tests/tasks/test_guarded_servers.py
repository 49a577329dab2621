"""Real servers of Prefect and MLflow behind the guard, asked by strangers."""

import asyncio
import json
import os
import urllib.error
import urllib.request
from base64 import b64encode
from contextlib import ExitStack

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tasks.pages.links import Pages
from tasks.services.children import free_port
from tasks.services.guard import Guard
from tasks.services.page_servers import start_board, start_mlflow
from tasks.services.pool import client
from tasks.services.ports import Ports
from tasks.services.server import reachable, settings, start_server
from tasks.storage.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.served, pytest.mark.timeout(900)]
TOKEN = "t0ken-of-a-test-that-is-long"
LOGIN = f"shotboard:{TOKEN}"
KNOWN = {"Authorization": f"Basic {b64encode(LOGIN.encode()).decode()}"}


def servers(home, guard, monkeypatch):
    """URLs of the three servers of a store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store(home)
    for folder in (store.prefect, store.up):
        folder.mkdir(parents=True)
    ports = Ports(free_port(), free_port(), free_port())
    with ExitStack() as stack:
        shown = [
            start_board(store, ports, Pages(), guard),
            start_mlflow(store, ports, Pages(), guard),
        ]
        for each in shown:
            stack.callback(each.child.stop)
        log = store.up / "server.log"
        server, url = start_server(store.prefect, log, port=ports.prefect, guard=guard)
        stack.callback(server.stop)
        for each in shown:
            each.child.wait(lambda each=each: reachable(each.url, seconds=2), 300)
        yield {"board": shown[0].url, "mlflow": shown[1].url, "prefect": url.ui}, store


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def closed(tmp_path_factory, patch):
    yield from servers(tmp_path_factory.mktemp("closed") / "store", Guard(login=LOGIN), patch)


@pytest.fixture(scope="module")
def loopback(tmp_path_factory, patch):
    yield from servers(tmp_path_factory.mktemp("open") / "store", Guard(), patch)


def status(url, body=None, **headers):
    asked = urllib.request.Request(
        url, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    if body is not None:
        asked.data = json.dumps(body).encode()
        asked.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            answer.read()
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


BROWSER = {"Accept-Encoding": "gzip, deflate"}
SEARCH = "/api/2.0/mlflow/experiments/search"
PLACES = [  # server, path, body
    *(("board", path, None) for path in ("/", "/health", "/x")),
    *(("mlflow", path, None) for path in ("/", "/health", "/version", "/static-files/x")),
    ("mlflow", SEARCH, {"max_results": 1}),
    ("mlflow", "/ajax-api/2.0/mlflow/experiments/search", {"max_results": 1}),
    ("mlflow", "/api/2.0/mlflow/experiments/create", {"name": "theirs"}),
    ("mlflow", "/api/2.0/mlflow-artifacts/artifacts", None),
    ("mlflow", "/graphql", {"query": "{__typename}"}),
    *(("prefect", path, None) for path in ("/", "/v2/", "/ui-settings", "/api/health", "/docs")),
    *(("prefect", path, None) for path in ("/api/ready", "/api/admin/version", "/openapi.json")),
    ("prefect", "/api/flows/filter", {}),
    ("prefect", "/api/flows/", {"name": "theirs"}),
    ("prefect", "/api/../api/flows/filter", {}),
]


@pytest.mark.parametrize(("server", "path", "body"), PLACES)
def test_no_page_and_no_api_answers_a_stranger(closed, loopback, server, path, body):
    url = closed[0][server] + path
    assert status(url, body) == 401
    assert status(url, body, Authorization="Basic eDp5") == 401
    assert status(url, body, Host="evil.example", **KNOWN) == 421
    assert status(url, body, Origin="https://evil.example", **KNOWN) == 403
    url = loopback[0][server] + path
    assert status(url, body, Host="evil.example") == 421
    assert status(url, body, Host="10.evil.example") == 421
    assert status(url, body, Origin="https://evil.example") == 403
    assert status(url, body, Origin="http://127.0.0.1:1") == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "192.0.2.7"])
def test_prefects_pages_call_the_address_that_they_were_asked_for_at(closed, host):
    """A browser refuses what a page asks of another."""
    asked = f"{host}:{closed[0]['prefect'].rpartition(':')[2]}"
    request = urllib.request.Request(
        closed[0]["prefect"] + "/ui-settings", headers={"Host": asked, **KNOWN, **BROWSER}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["api_url"] == f"http://{asked}/api"


def test_whoever_has_the_token_is_served(closed):
    urls, _ = closed
    assert status(urls["mlflow"] + SEARCH, {"max_results": 1}, **KNOWN) == 200
    assert status(urls["mlflow"] + "/", **KNOWN) == 200
    assert status(urls["prefect"] + "/api/flows/filter", {}, **KNOWN) == 200
    assert status(urls["prefect"] + "/ui-settings", **KNOWN) in (200, 404)
    assert status(urls["board"] + "/", **KNOWN) in (200, 503)  # there is no board yet
    own = urls["mlflow"]
    assert status(own + SEARCH, {"max_results": 1}, Origin=own, **KNOWN) == 200


SOCKETS = ("events/in", "events/out", "logs/out", "task_runs/subscriptions/scheduled")


def knock(url, token=None, **headers):
    """What becomes of a WebSocket: the status of its refusal, or what the server says."""

    async def ask():
        async with connect(url, subprotocols=["prefect"], additional_headers=headers) as socket:  # pyright: ignore
            await socket.send(json.dumps({"type": "auth", "token": token}))
            return json.loads(await socket.recv())["type"]

    try:
        return asyncio.run(ask())
    except InvalidStatus as error:
        return error.response.status_code
    except ConnectionClosed:
        return "closed"


@pytest.mark.parametrize("path", SOCKETS)
def test_web_sockets_ask_for_the_token_and_for_where_the_page_is_from(closed, path):
    urls, _ = closed
    url = f"{urls['prefect'].replace('http', 'ws')}/api/{path}"
    assert knock(url) == "closed"
    assert knock(url, "shotboard:wrong") == "closed"
    assert knock(url, LOGIN, Origin="https://evil.example") == 403
    assert knock(url, LOGIN, Host="evil.example") in (403, 400)
    assert knock(url, LOGIN) == "auth_success"


def test_clients_log_in_and_no_file_that_others_may_read_has_the_token(closed):
    from mlflow import MlflowClient

    urls, store = closed
    with settings(f"{urls['prefect']}/api", store.prefect, LOGIN), client() as api:
        assert os.environ["PREFECT_API_AUTH_STRING"] == LOGIN
        api.create_flow_from_name("ours")
    assert "PREFECT_API_AUTH_STRING" not in os.environ
    with pytest.MonkeyPatch.context() as login:
        login.setenv("MLFLOW_TRACKING_USERNAME", "shotboard")
        login.setenv("MLFLOW_TRACKING_PASSWORD", TOKEN)
        found = MlflowClient(urls["mlflow"]).search_experiments()
    assert [each.name for each in found] == ["Default"]
    for file in store.home.rglob("*"):
        if file.is_file():
            assert TOKEN.encode() not in file.read_bytes(), file
