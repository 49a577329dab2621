"""Somebody on another machine: what of ours is reached from there, and with which words.

One host has Shotboard, another the stranger. Listeners are those that the kernel knows of in the
network of the host, whatever process they are of, and each is tried from the other host.
"""

import json
import re
import secrets
import signal
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.served, pytest.mark.timeout(1800)]
SUITE = """
name: tiny
datasets: [digits]
views: none
backbones: [mini-clip]
methods: [coop: {epochs: 20}]
shots: [1]
seeds: [1, 2, 3, 4, 5, 6]
test_rows_per_class: 5
"""
TINY = {"suite": "quickstart", "datasets": ["digits"], "views": "none", "backbones": ["mini-clip"]}
TINY |= {"methods": ["coop"], "protocols": ["few_shot"], "shots": [1], "seeds": [1, 2, 3]}
TINY |= {"workers": 1, "hyperparameters": {"coop": {"epochs": 20}}}
LISTENS = "0A"  # in /proc/net/tcp
WAITS = "07"  # in /proc/net/udp: everything that hears whoever speaks
PORTS = {"prefect": 4200, "board": 4280, "mlflow": 5000}
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
SEARCH = "/api/2.0/mlflow/experiments/search"
BUSY = 503  # of a database that others write to
EVIL = "evil.example"
PLACES = [  # server, path, body
    *(("board", path, None) for path in ("/", "/health", "/index.html", "/none")),
    *(("prefect", path, None) for path in ("/", "/v2/", "/ui-settings", "/docs", "/openapi.json")),
    *(("prefect", f"/api/{path}", None) for path in ("health", "ready", "admin/version", "hello")),
    *(("prefect", f"/api/{path}/filter", {}) for path in ("flows", "flow_runs", "variables")),
    ("prefect", "/api/block_documents/filter", {"include_secrets": True}),
    ("prefect", "/api/flows/", {"name": "theirs"}),
    *(("mlflow", path, None) for path in ("/", "/health", "/version", "/static-files/x")),
    ("mlflow", SEARCH, {"max_results": 1}),
    ("mlflow", f"/ajax-api{SEARCH.removeprefix('/api')}", {"max_results": 1}),
    ("mlflow", "/api/2.0/mlflow/experiments/create", {"name": "theirs"}),
    ("mlflow", "/api/2.0/mlflow-artifacts/artifacts", None),
    ("mlflow", "/graphql", {"query": "{__typename}"}),
]
SOCKETS = ("events/in", "events/out", "logs/out", "task_runs/subscriptions/scheduled")
RUDE = [  # what browsers never send
    "GET / HTTP/1.0\r\n\r\n",
    "GET /api/flows/filter HTTP/1.1\r\n\r\n",
    f"GET http://{EVIL}/ HTTP/1.1\r\nHost: {EVIL}\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "TRACE / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "CONNECT 127.0.0.1:4200 HTTP/1.1\r\nHost: 127.0.0.1:4200\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "\r\n\r\n",
    "\x16\x03\x01\x00\x05hello",
]


class Stranger:
    """Who asks from a host of the rig."""

    def __init__(self, host):
        self.host = host
        script = Path(__file__).with_name("stranger.py")
        self.process = host.popen(sys.executable, script, stdin=subprocess.PIPE)

    def __call__(self, name, *given):
        self.process.stdin.write(json.dumps({name: given}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, self.process.stderr.read()
        return json.loads(answer)

    def ask(self, url, body=None, login=None, **headers):
        """The status and the text of an answer."""
        if login:
            headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
        return self("http", url, "GET" if body is None else "POST", headers, body)


class Box:
    """The host that has Shotboard, and what its neighbour reaches there."""

    def __init__(self, host, stranger):
        self.host, self.stranger = host, stranger
        self.tried, self.reached = {}, {}

    @property
    def addresses(self):
        """Where its neighbour finds it: IPv4, and IPv6 of the line between them if there is one."""
        lines = Path(f"/proc/{self.host.pid}/net/if_inet6").read_text().split("\n")
        own = [line.split()[0] for line in lines if line.endswith("eth0")]
        parts = [":".join(re.findall("....", address)) for address in own]
        (index,) = self.host.run("cat", "/sys/class/net/eth0/ifindex").stdout.split()
        return [(self.host.address,), *((part, 0, int(index)) for part in parts)]

    def listeners(self):
        """Ports that anything in the network of the host listens on, TCP and UDP."""
        found = set()
        for table in ("tcp", "tcp6", "udp", "udp6"):
            rows = Path(f"/proc/{self.host.pid}/net/{table}").read_text().splitlines()[1:]
            state = LISTENS if table.startswith("tcp") else WAITS
            for row in map(str.split, rows):
                place, port = row[1].split(":")
                if row[3] == state:
                    found.add((table, place, int(port, 16)))
        return found

    def scan(self):
        """Tries, from the neighbour, each listener that has come since the last time."""
        for table, place, port in self.listeners() - self.tried.keys():
            self.tried[table, place, port] = port
            if table.startswith("udp"):  # a neighbour is heard where it is not on the loopback
                heard = place not in ("0100007F", "0" * 24 + "01000000")
            else:
                heard = any(
                    self.stranger("connect", [address, port, *rest])
                    for address, *rest in self.addresses
                )
            if heard:
                self.reached[port] = self.whose(port)

    def whose(self, port):
        """The process, for who reads a failure."""
        said = self.host.run("ss", "-Hlnptu", f"sport = :{port}", check=False).stdout
        return said.strip()


@contextmanager
def up(host, *options, **env):
    """`shotboard up` on a host, with what it printed."""
    process = host.popen("shotboard", "up", *options, env=env, stderr=subprocess.STDOUT)
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C stops all" in line:
                break
        else:
            pytest.fail("".join(said))
        yield "".join(said)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)


@pytest.fixture(scope="module")
def pair(rig):
    return rig.host("box"), rig.host("other")


@pytest.fixture(scope="module")
def stranger(pair):
    stranger = Stranger(pair[1])
    yield stranger
    stranger.process.kill()
    stranger.process.communicate()


def run_scanned(box, *words):
    """A command of ours on the box, which is scanned until it ends."""
    process = box.host.popen("shotboard", *words)
    while process.poll() is None:
        box.scan()
        time.sleep(0.2)
    out, err = process.communicate()
    assert process.returncode == 0, err or out


@pytest.fixture(scope="module")
def alone(pair, stranger):
    """The box after `shotboard up`, a flow run of it and another run, all without `--host`."""
    box = Box(pair[0], stranger)
    box.host.put("tiny.yaml", SUITE)
    with up(box.host, "--home", "mine"):
        box.scan()
        run_scanned(box, "run", "tiny.yaml", "--home", "mine", "--workers", "1")
        box.scan()
    return box


def test_without_host_nothing_is_reached_from_another_machine(alone):
    assert alone.reached == {}


def test_there_was_something_to_reach(alone):
    """Ours, Prefect's private server, and the many parts of Ray."""
    ports = set(alone.tried.values())
    assert ports >= set(PORTS.values())
    assert len(ports) > len(PORTS) + 5


def test_a_listener_at_all_addresses_is_seen(pair, stranger):
    """The scan, held against a server that is to be reached, and one that is not."""
    script = "import socket,sys;s=socket.create_server((sys.argv[1],0));print(s.getsockname()[1],"
    script += "flush=True);input()"
    box = Box(*pair[:1], stranger)
    opened = [
        box.host.popen(sys.executable, "-c", script, place, stdin=subprocess.PIPE)
        for place in ("0.0.0.0", "127.0.0.1")
    ]
    try:
        there, not_there = (int(each.stdout.readline()) for each in opened)
        box.scan()
    finally:
        for each in opened:
            each.communicate("\n")
    assert there in box.reached
    assert not_there in box.tried.values() and not_there not in box.reached


@pytest.fixture(scope="module")
def served(pair, stranger):
    """The box while `shotboard up --host 0.0.0.0` serves; its login, and what it printed."""
    box = Box(pair[0], stranger)
    with up(box.host, "--host", "0.0.0.0", "--home", "theirs") as printed:
        token = box.host.path("theirs/up/token").read_text().strip()
        box.scan()
        yield box, f"shotboard:{token}", printed


def url_of(served, server, path=""):
    return f"http://{served[0].host.address}:{PORTS[server]}{path}"


@pytest.mark.parametrize(("server", "path", "body"), PLACES)
def test_nobody_gets_a_page_or_an_answer_without_the_token(served, stranger, server, path, body):
    url, login = url_of(served, server, path), served[1]
    wrong = f"shotboard:{secrets.token_urlsafe(32)}"
    for known in (None, wrong, login.replace("shotboard", "root"), login[:-1]):
        status, text = stranger.ask(url, body, known)
        assert status == 401
        assert text.startswith("Log in as shotboard")
    assert stranger.ask(url, body, login, Host=f"{EVIL}:{PORTS[server]}")[0] == 421
    assert stranger.ask(url, body, login, Origin=f"http://{EVIL}")[0] == 403
    others = [url_of(served, other) for other in PORTS if other != server]
    theirs = f"http://{stranger.host.address}:{PORTS[server]}"
    for origin in (*others, theirs, "null"):
        assert stranger.ask(url, body, login, Origin=origin)[0] == 403


@pytest.mark.parametrize("server", PORTS)
@pytest.mark.parametrize("text", RUDE)
def test_who_is_rude_gets_nothing(served, stranger, server, text):
    line = stranger("raw", [served[0].host.address, PORTS[server]], text)
    assert not re.match(r"HTTP/\S+ [123]", line), line


@pytest.mark.parametrize("path", SOCKETS)
def test_no_web_socket_tells_a_stranger_anything(served, stranger, path):
    url = url_of(served, "prefect", f"/api/{path}").replace("http", "ws")
    login = served[1]
    assert stranger("web_socket", url, None, {}) == "closed"
    assert stranger("web_socket", url, "shotboard:wrong", {}) == "closed"
    assert stranger("web_socket", url, login, {"Origin": f"http://{EVIL}"}) == 403
    assert stranger("web_socket", url, login, {"Host": EVIL}) in (400, 403)
    assert stranger("web_socket", url, login, {}) == "auth_success"


def test_whoever_has_the_token_is_served_at_the_address_and_the_name(served, stranger):
    login = served[1]
    for server, path, body in (
        *(("board", "/", None), ("prefect", "/api/flows/filter", {}), ("prefect", "/v2/", None)),
        *(("mlflow", "/", None), ("mlflow", SEARCH, {"max_results": 1})),
    ):
        url = url_of(served, server, path)
        good = (200, 503) if server == "board" else (200,)  # there is no board yet
        assert stranger.ask(url, body, login)[0] in good
        assert stranger.ask(url, body, login, Host=f"box:{PORTS[server]}")[0] in good


def test_what_is_printed_for_others_is_what_they_reach(served, stranger):
    _, login, printed = served
    for server, label in (("board", "Board"), ("prefect", "Prefect UI"), ("mlflow", "MLflow UI")):
        assert re.search(rf"^{label} +http://\S+:{PORTS[server]}$", printed, re.M)
    assert login.partition(":")[2] not in printed


def test_a_run_that_a_stranger_starts_with_the_token_opens_no_other_port(served, stranger):
    box, login, _ = served
    api = url_of(served, "prefect", "/api")
    _, found = stranger.ask(f"{api}/deployments/name/benchmark/quickstart", None, login)
    start = f"{api}/deployments/{json.loads(found)['id']}/create_flow_run"
    status = BUSY
    while status == BUSY:
        status, made = stranger.ask(start, {"parameters": TINY}, login)
    assert status == 201, made
    run, state = f"{api}/flow_runs/{json.loads(made)['id']}", {"type": None}
    while state["type"] not in FINAL:
        box.scan()
        status, found = stranger.ask(run, None, login)
        if status != BUSY:
            state = json.loads(found)["state"]
        time.sleep(0.2)
    assert state["type"] == "COMPLETED", state
    assert len(set(box.tried.values())) > len(PORTS) + 5  # Ray's
    assert set(box.reached) == set(PORTS.values()), box.reached
    for port in PORTS.values():  # nor do they listen on anything but IPv4
        assert ("tcp", "00000000", port) in box.tried


def test_the_loopback_asks_for_the_token_too(served):
    box, *_ = served
    script = "import sys,urllib.request,urllib.error\ntry: urllib.request.urlopen(sys.argv[1])\n"
    script += "except urllib.error.HTTPError as error: print(error.code)"
    for port in PORTS.values():
        said = box.host.run(sys.executable, "-c", script, f"http://127.0.0.1:{port}/")
        assert said.stdout == "401\n"
