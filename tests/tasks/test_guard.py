"""Who may ask our servers, asked over a real socket where a server is meant."""

import asyncio
import base64
import os
import stat
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from tasks.services.board_page import Answer, BoardPage, server
from tasks.services.guard import SHORTEST, Guard, guard_of
from tasks.services.guarded import Guarded
from tasks.storage.store import Store

TOKEN = "t0ken-of-a-test-that-is-long"
HERE = "127.0.0.1:4200"


def basic(login):
    return f"Basic {base64.b64encode(login.encode()).decode()}"


OPEN = Guard()
NAMED = Guard(
    frozenset({"127.0.0.1", "localhost", "box", "10.0.0.5"}), frozenset({"https://b.org"})
)
CLOSED = Guard(login=f"shotboard:{TOKEN}")


@pytest.mark.parametrize(
    "host", [HERE, "localhost:4200", "LOCALHOST", "localhost.", "[::1]:4200", "192.168.0.7:4200"]
)
def test_a_server_is_asked_by_its_names_and_by_addresses(host):
    assert OPEN.refusal(host, None, None) is None


@pytest.mark.parametrize(
    "host",
    [
        *(None, "", "evil.example", "localhost.evil.example:4200", "127.0.0.1.evil.example"),
        *("10.evil.example", "box", "a@127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999999", "\0"),
        *("[::1", "evil.example/127.0.0.1", "2130706433.evil", "localhost:80#@evil"),
    ],
)
def test_a_name_that_is_turned_to_this_machine_is_refused(host):
    refused = OPEN.refusal(host, None, None)
    assert refused is not None and refused.status == 421


@pytest.mark.parametrize(
    ("guard", "host", "origin", "may"),
    [
        (OPEN, HERE, f"http://{HERE}", True),
        (OPEN, HERE, "http://localhost:4200", True),  # a page of Prefect, opened by its other name
        (OPEN, HERE, "http://127.0.0.1:8888", False),  # of another server on this machine
        (OPEN, HERE, "https://evil.example", False),
        (OPEN, HERE, "null", False),  # of a file, or of a frame in a sandbox
        (OPEN, HERE, "", False),
        (OPEN, HERE, f"http://{HERE}@evil.example", False),
        (OPEN, "192.168.0.7:4200", "http://192.168.0.8:4200", False),
        (NAMED, "127.0.0.1:80", "https://b.org", True),  # a proxy that names us as it likes
        (NAMED, "box:4200", "http://10.0.0.5:4200", True),
        (NAMED, "box:4200", "http://10.0.0.5:4201", False),
        (NAMED, "127.0.0.1:80", "https://b.org.evil.example", False),
    ],
)
def test_pages_of_others_may_not_ask(guard, host, origin, may):
    refused = guard.refusal(host, origin, None)
    assert (refused is None) == may
    assert may or refused.status == 403


@pytest.mark.parametrize(
    "given",
    [
        *(None, "", "Basic", "Basic x", f"Bearer {TOKEN}", basic(TOKEN), basic("shotboard:")),
        *(basic(f"root:{TOKEN}"), basic(f"shotboard:{TOKEN} "), basic(f"shotboard:{TOKEN}")[:-2]),
        "Basic \xff",
    ],
)
def test_whoever_has_no_token_gets_nothing(given):
    refused = CLOSED.refusal(HERE, None, given)
    assert refused is not None and refused.status == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    assert TOKEN not in refused.text + repr(CLOSED)


def test_whoever_has_it_gets_in_but_not_by_another_name():
    good = basic(f"shotboard:{TOKEN}")
    assert CLOSED.refusal(HERE, None, good) is None
    assert CLOSED.refusal("evil.example", None, good).status == 421


def test_a_guard_travels_in_the_environment():
    guard = Guard(NAMED.names, NAMED.origins, CLOSED.login)
    assert Guard.of_environment(guard.environment()) == guard
    assert Guard.of_environment({}) == Guard()


def test_on_the_loopback_nobody_logs_in_unless_told(tmp_path, monkeypatch):
    monkeypatch.delenv("SHOTBOARD_TOKEN", raising=False)
    store = Store(tmp_path)
    guard = guard_of(store, "127.0.0.1", ["https://board.example.org/x", None])
    assert guard.login is None
    assert guard.origins == set()
    assert guard.at("https://board.example.org/x").origins == {"https://board.example.org"}
    assert guard.at(None) == guard
    assert "board.example.org" in guard.names
    monkeypatch.setenv("SHOTBOARD_TOKEN", TOKEN)
    assert guard_of(store, "127.0.0.1", []).login == f"shotboard:{TOKEN}"
    assert not (store.up / "token").exists()


def test_beyond_the_loopback_a_token_is_made_which_only_its_user_may_read(tmp_path, monkeypatch):
    monkeypatch.delenv("SHOTBOARD_TOKEN", raising=False)
    store = Store(tmp_path)
    first = guard_of(store, "0.0.0.0", [])
    file = store.up / "token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert first.login == f"shotboard:{file.read_text().strip()}"
    assert len(file.read_text()) > 2 * SHORTEST
    assert guard_of(store, "0.0.0.0", []).login == first.login
    file.chmod(0o644)  # somebody may have read it
    assert guard_of(store, "0.0.0.0", []).login != first.login


@pytest.mark.parametrize("named", ["", "short", "with blanks that are many", "x" * 201, "ä" * 20])
def test_a_token_that_is_none_is_refused_and_not_shown(tmp_path, monkeypatch, named):
    monkeypatch.setenv("SHOTBOARD_TOKEN", named)
    with pytest.raises(ValueError, match="SHOTBOARD_TOKEN is no token") as refused:
        guard_of(Store(tmp_path), "0.0.0.0", [])
    assert not named or named not in str(refused.value)


@contextmanager
def listening(guard):
    page = BoardPage(os.devnull, lambda: b"")  # pyright: ignore
    page.answer = Answer.of(b"<html>the board</html>")
    serving = server(page, 0, guard=guard)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{serving.server_port}"
    finally:
        serving.shutdown()
        serving.server_close()


def status(url, method="GET", **headers):
    asked = urllib.request.Request(url, headers=headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_board_page_answers_only_whom_its_guard_lets_through():
    with listening(CLOSED) as url:
        for path in ("/", "/index.html", "/health", "/none", "/?token=" + TOKEN):
            code, body = status(url + path)
            assert (code, b"the board" in body) == (401, False), path
        assert status(url, "HEAD")[0] == 401
        good = {"Authorization": basic(f"shotboard:{TOKEN}")}
        assert status(url, **good) == (200, b"<html>the board</html>")
        assert status(url, Host="evil.example", **good)[0] == 421
        assert status(url, Origin="https://evil.example", **good)[0] == 403
    with listening(OPEN) as url:
        assert status(url)[0] == 200
        assert status(url, Host="evil.example")[0] == 421


def through(app, kind, **headers):
    """What a guarded application sends for one request."""
    sent = []

    async def receive():
        return {"type": f"{kind}.connect"}

    async def send(message):
        sent.append(message)

    packed = [(name.encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(app({"type": kind, "headers": packed, "path": "/"}, receive, send))
    return sent


def test_an_application_behind_the_guard_sees_only_what_it_lets_through():
    asked = []

    async def app(scope, receive, send):
        asked.append(scope["type"])

    guarded = Guarded(app, CLOSED, own_sockets=True)
    (start, body) = through(guarded, "http", host=HERE)
    assert (start["status"], asked) == (401, [])
    assert (b"www-authenticate", b'Basic realm="Shotboard", charset="UTF-8"') in start["headers"]
    assert TOKEN.encode() not in body["body"]
    (closed,) = through(guarded, "websocket", host="evil.example")
    assert (closed["type"], asked) == ("websocket.close", [])
    (closed,) = through(guarded, "websocket", host=HERE, origin="https://evil.example")
    assert (closed["type"], asked) == ("websocket.close", [])
    assert through(guarded, "websocket", host=HERE) == []
    assert through(guarded, "http", host=HERE, authorization=basic(f"shotboard:{TOKEN}")) == []
    assert asked == ["websocket", "http"]
    (closed,) = through(Guarded(app, CLOSED), "websocket", host=HERE)
    assert closed["type"] == "websocket.close"
    through(guarded, "lifespan")
    assert asked[2:] == ["lifespan"]


def test_a_header_that_is_given_twice_is_none():
    async def app(scope, receive, send):
        raise AssertionError

    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"host", HERE.encode()), (b"host", b"evil.example")]
    asyncio.run(Guarded(app, OPEN)({"type": "http", "headers": headers}, None, send))
    assert sent[0]["status"] == 421
