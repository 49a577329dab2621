"""A server of S3, from the package moto, and a proxy before it that does what networks do."""

import http.client
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

KEPT = ("content-length", "transfer-encoding", "connection", "server", "date")


class Faults:
    """What befalls the requests that pass: each fault is used up by the ones that it meets.

    Attributes:
        seen: Method and key of each request, in order.
        careless: Whether conditions are passed over, as by servers that do not know them.
    """

    def __init__(self):
        self.seen = []
        self.careless = False
        self._planned = []
        self._lock = threading.Lock()

    def plan(self, kind, method, part, times=1, wait=None):
        """`kind` befalls the next `times` requests of a method with `part` in their key.

        `busy`: 503. `cut`: the line is cut before the server hears of it. `lost`: the server does
        it, and the answer is lost. `twice`: it is delivered twice, and the second answer comes.
        `held`: it waits for the event `wait`.
        """
        self._planned.append(SimpleNamespace(**locals()))

    def heal(self):
        """Nothing befalls requests from now on."""
        self._planned.clear()

    def next(self, method, path):
        with self._lock:
            self.seen.append((method, path))
            for fault in self._planned:
                if fault.times and fault.method == method and fault.part in path:
                    fault.times -= 1
                    return fault
        return None

    def count(self, method="", part=""):
        return sum(method in m and part in path for m, path in self.seen)


def _handler(address, faults):  # noqa: C901
    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            fault = faults.next(self.command, self.path)
            kind = fault.kind if fault else ""
            if kind == "held":
                fault.wait.wait(60)
            if kind == "busy":
                return self.give(503, [], b"<Error><Code>SlowDown</Code></Error>")
            if kind != "cut":
                for _ in range(2 if kind == "twice" else 1):
                    answer = self.passed_on(body)
                if kind != "lost":
                    return self.give(*answer)
            self.close_connection = True
            return None

        def passed_on(self, body):
            connection = http.client.HTTPConnection(*address, timeout=60)
            left_out = {"connection"} | ({"if-none-match"} if faults.careless else set())
            headers = {k: v for k, v in self.headers.items() if k.lower() not in left_out}
            connection.request(self.command, self.path, body or None, headers)
            reply = connection.getresponse()
            content = reply.read()
            heads = [(k, v) for k, v in reply.getheaders() if k.lower() not in KEPT]
            if self.command == "HEAD":
                heads.append(("Content-Length", reply.getheader("content-length") or "0"))
            connection.close()
            return reply.status, heads, content

        def give(self, status, heads, content):
            self.send_response(status)
            for name, value in heads:
                self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

        def log_message(self, *_):
            pass

    return Proxy


@pytest.fixture(scope="module")
def s3_server():
    """Address of the server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch):
    """A bucket of its own behind a proxy: `url`, `faults`, `endpoint`, and `keys()` as they are."""
    bucket = f"b{uuid.uuid4().hex[:12]}"
    faults = Faults()
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _handler(s3_server, faults))
    proxy.daemon_threads = True
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.server_address[1]}",
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "no-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    connection = http.client.HTTPConnection(*s3_server, timeout=60)
    connection.request("PUT", f"/{bucket}")
    assert connection.getresponse().status == 200
    connection.close()
    yield SimpleNamespace(
        url=f"s3://{bucket}/store", bucket=bucket, faults=faults, environment=environment
    )
    proxy.shutdown()
    proxy.server_close()
    thread.join(60)


@pytest.fixture
def node(tmp_path, monkeypatch):
    """Makes this process a node of its own by name: its working copies are its own."""
    from tasks.storage import copies

    def become(name):
        monkeypatch.setenv("SHOTBOARD_CACHE", str(tmp_path / "nodes" / name))
        copies.copy_at.cache_clear()

    become("first")
    return become
