"""Secrets that Shotboard is told, and every byte that it writes: none of them is in there.

One day of a user with a secret in every place that takes one: `shotboard up` behind a token, a run
that tells it and has its store in a bucket, one with private servers, trials that fail with a URL
in their error, servers that do not answer. Then all files are searched, and all databases row by
row, what was printed, the arguments of all processes, and the bucket.
"""

import json
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from base64 import b64encode
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from tasks.services.children import free_port
from tasks.storage.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.served, pytest.mark.timeout(1800)]
SHOTBOARD = [sys.executable, "-c", "from flows.cli import main; main()"]
SECONDS = 600
NOBODY = "127.0.0.1:1"  # where nobody listens
SECRETS = {  # letters and digits, so that they look alike in every file
    "the token": "T0kenxUsq4Zp7wLm2Rv9Kd",
    "the login": b64encode(b"shotboard:T0kenxUsq4Zp7wLm2Rv9Kd").decode(),
    "the user of notifications": "NpwQ8sHx3Vt6Yb1Mc5",
    "the path of notifications": "NpathJ2rGk9Lw4Xs7Dz",
    "the key of the bucket": "Awsq7Tn2Zk5Vb8Xm1Rp4Hs",
    "the session of the bucket": "AwsSession3Wd6Qf9Jn2Gy",
    "the key of Google": "GcsKeyP5vTz8Rk1Mb4",
    "the key of Azure": "AzureKeyL9xDw2Hn6Sq",
    "the token of the hub": "hf_Hub7Zr2Ck5Qm8Wt1Xv4Bp",
    "the password of the data": "DataPwV4kRt7Ys1Nz",
    "the signature of the data": "DataSigM8qXb3Lh6Wd",
    "the password of Prefect": "PrefectPwC2jTs9Fk5",
    "the key of Prefect": "pnu_PrefectKeyB6vLq1Xr8",
    "the password of MLflow": "MlflowPwG3nZd7Kt2",
    "the password of PostgreSQL": "PostgresPwS5wRm1Hv9",
    "the password of Ray": "RayPwE8xJc4Tb6",
    "the password in an error": "ErrorPwK1zNf5Vq8",
    "the signature in an error": "ErrorSigR7dHs3Ly9",
}
TYPED = {"the password of the data", "the signature of the data"}  # by the user
FAILING = f"""
from operators.methods import METHODS

class Failing(METHODS["zero-shot"]):
    def logits(self, batch):
        raise OSError(
            "https://anna:{SECRETS["the password in an error"]}@example.org/w.pt"
            "?sig={SECRETS["the signature in an error"]} answers 403"
        )
"""
SUITE = """
name: tiny
datasets: [pets]
views: none
backbones: [mini-clip]
methods: [zero-shot, ./failing.py:Failing, coop: {epochs: 1}]
shots: [1]
seeds: [1]
"""
TINY = {"suite": "quickstart", "datasets": ["digits"], "views": "none", "backbones": ["mini-clip"]}
TINY |= {"methods": ["zero-shot"], "protocols": ["few_shot"], "shots": [1], "seeds": [1]}
BUSY = 503  # of a database that others write to
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Day:
    """A user's folders, environment and terminal.

    Attributes:
        folder: Of all.
        env: What every command gets.
        said: What was printed, by command.
        listed: Secrets that stood among the arguments of a process.
    """

    def __init__(self, folder, env):
        self.folder = folder
        for name in ("home", "tmp", "work"):
            (folder / name).mkdir()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
        own = {"HOME": folder / "home", "TMPDIR": folder / "tmp", "RAY_TMPDIR": folder / "tmp"}
        self.env = {**kept, **{name: str(path) for name, path in own.items()}, **env}
        self.said, self.listed = {}, set()

    def start(self, *words, env=None, **how):
        return subprocess.Popen(
            [*SHOTBOARD, *map(str, words)],
            cwd=self.folder / "work",
            env={**self.env, **(env or {})},
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **how,
        )

    def ask(self, *words, code=0, env=None):
        """A command that ends with this code, or any if None; what it said is kept."""
        process = self.start(*words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=SECONDS)
        self.said[f"{len(self.said)}: {words} {sorted(env or {})}"] = out + err
        assert code in (None, process.returncode), (words, out, err)

    @contextmanager
    def watched(self):
        """Looks at the arguments of all processes, which all users of a machine can list."""
        over = threading.Event()
        typed = {value for name, value in SECRETS.items() if name not in TYPED}

        def look():
            while not over.wait(0.2):
                for file in Path("/proc").glob("[0-9]*/cmdline"):
                    with suppress(OSError):
                        content = file.read_bytes().decode(errors="replace")
                        self.listed |= {value for value in typed if value in content}

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def request(url, body=None):
    asked = urllib.request.Request(url, headers={"Authorization": f"Basic {SECRETS['the login']}"})
    if body is not None:
        asked.data = json.dumps(body).encode()
        asked.add_header("Content-Type", "application/json")
    for _ in range(60):
        try:
            with urllib.request.urlopen(asked, timeout=90) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != BUSY:
                raise
        time.sleep(1)
    raise TimeoutError(f"{url} is busy")


@contextmanager
def up(day, home):
    """`shotboard up`; yields what it printed."""
    file = day.folder / "up.out"
    ports = {name: str(free_port()) for name in ("--port", "--board-port", "--mlflow-port")}
    given = [word for pair in ports.items() for word in pair]
    with file.open("w") as written:
        process = day.start("up", *given, "--home", home, stdout=written, stderr=written)
    try:
        deadline = time.monotonic() + SECONDS
        while "Ctrl-C stops all" not in file.read_text():
            assert process.poll() is None, file.read_text()
            assert time.monotonic() < deadline, file.read_text()
            time.sleep(0.2)
        yield ports
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(SECONDS)


def started_in_page(api):
    """A run that the worker of `shotboard up` does, to its end."""
    found = request(f"{api}/deployments/name/benchmark/quickstart")
    made = request(f"{api}/deployments/{found['id']}/create_flow_run", {"parameters": TINY})
    deadline = time.monotonic() + SECONDS
    while (run := request(f"{api}/flow_runs/{made['id']}"))["state"]["type"] not in FINAL:
        assert time.monotonic() < deadline, run
        time.sleep(0.5)
    assert run["state"]["type"] == "COMPLETED", run["state"]


def zipped(folder):
    """A folder in a zip file."""
    file = folder.with_suffix(".zip")
    with zipfile.ZipFile(file, "w") as archive:
        for path in folder.rglob("*.jpg"):
            archive.write(path, path.relative_to(folder))
    return file.read_bytes()


@pytest.fixture(scope="module")
def bucket():
    """The server, its address and the name of a bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="tests",
        aws_secret_access_key="tests",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="days")
    yield f"http://{host}:{port}", client
    server.stop()


@pytest.fixture(scope="module")
def data(pictures, tmp_path_factory):
    """A URL of pictures, with a password and a signature."""
    content = zipped(shutil.copytree(pictures, tmp_path_factory.mktemp("data") / "pets"))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content if self.command == "GET" else b"")

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    login = f"anna:{SECRETS['the password of the data']}"
    query = f"sig={SECRETS['the signature of the data']}"
    yield f"http://{login}@127.0.0.1:{server.server_port}/pets.zip?{query}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def day(bucket, pictures, data):
    """The day, when it is over."""
    s = SECRETS
    folder = Path(tempfile.mkdtemp(prefix="sb-"))  # short: Ray's sockets have 107 characters
    hook = f"http://anna:{s['the user of notifications']}@{NOBODY}"
    env = {
        "SHOTBOARD_TOKEN": s["the token"],
        "SHOTBOARD_NOTIFY": f"{hook}/{s['the path of notifications']}",
        "AWS_ENDPOINT_URL": bucket[0],
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": s["the key of the bucket"],
        "AWS_SESSION_TOKEN": s["the session of the bucket"],
        "AWS_DEFAULT_REGION": "us-east-1",
        "GOOGLE_SERVICE_ACCOUNT_KEY": s["the key of Google"],
        "AZURE_STORAGE_ACCOUNT_KEY": s["the key of Azure"],
        "HF_TOKEN": s["the token of the hub"],
        "PREFECT_API_KEY": s["the key of Prefect"],
    }
    day = Day(folder, env)
    work = folder / "work"
    (work / "failing.py").write_text(FAILING)
    (work / "tiny.yaml").write_text(SUITE)
    mine, theirs, far = folder / "mine", folder / "theirs", "s3://days/store"
    try:
        with day.watched():
            day.ask("datasets", "add", "pets", "--path", data, "--home", mine)
            day.ask("run", "tiny.yaml", "--home", mine, "--workers", 1, "--json", code=1)
            with up(day, theirs) as ports:
                api = f"http://127.0.0.1:{ports['--port']}/api"
                mlflow = f"http://shotboard:{s['the token']}@127.0.0.1:{ports['--mlflow-port']}"
                told = {"PREFECT_API_URL": api, "MLFLOW_TRACKING_URI": mlflow}
                told["PREFECT_API_AUTH_STRING"] = f"shotboard:{s['the token']}"
                started_in_page(api)
                day.ask("datasets", "add", "pets", "--path", pictures, "--home", far)
                day.ask("run", "tiny.yaml", "--home", far, "--workers", 1, code=1, env=told)
                for home in (far, theirs):
                    day.ask("doctor", "--audit", "--json", "--home", home, env=told, code=None)
        errors(day, mine, data)
        for home in (mine, theirs, far):
            day.ask("board", "--json", "--home", home)
            day.ask("sql", "FROM trials", "--home", home)
            day.ask("runs", "--json", "--home", home)
        yield day
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def errors(day, home, data):
    """What cannot be reached is named."""
    s = SECRETS
    at = ("--home", home)
    prefect = f"http://anna:{s['the password of Prefect']}@{NOBODY}/api"
    mlflow = f"http://anna:{s['the password of MLflow']}@{NOBODY}"
    postgres = f"postgresql://anna:{s['the password of PostgreSQL']}@{NOBODY}/mlflow"
    ray = f"ray://anna:{s['the password of Ray']}@{NOBODY}"
    again = ("run", "tiny.yaml", *at, "--workers", 1)
    day.ask(*again, code=2, env={"PREFECT_API_URL": prefect})
    day.ask(*again, "--json", code=2, env={"MLFLOW_TRACKING_URI": mlflow})
    day.ask(*again, code=None, env={"MLFLOW_TRACKING_URI": postgres})
    day.ask(*again, "--ray-address", ray, code=2)
    day.ask("doctor", *at, code=None, env={"PREFECT_API_URL": prefect})
    for uri in (mlflow, postgres):
        day.ask("doctor", *at, code=None, env={"MLFLOW_TRACKING_URI": uri})
    day.ask("datasets", "show", "pets", *at)
    day.ask("datasets", "list", "--json", *at)
    away = re.sub(r"127\.0\.0\.1:\d+", NOBODY, data)
    day.ask("datasets", "add", "away", "--path", away, *at, code=None)
    day.ask("datasets", "ingest", "away", *at, code=None)
    day.ask("doctor", "--home", f"s3://anna:{s['the key of the bucket']}@days/store", code=None)


KEPT = {"mine/datasets/pets.yaml", "mine/datasets/away.yaml"}  # what fetches the data again


def forms(value):
    return {form.encode() for form in (value, quote(value), json.dumps(value)[1:-1])}


def found_in(content):
    """The names of the secrets in some bytes."""
    return {name for name, value in SECRETS.items() if any(f in content for f in forms(value))}


def cells(file):
    """All that a database says, where it is one: a file may break it into pages, or pack it."""
    start = file.read_bytes()[:16]
    if start[8:12] == b"DUCK":
        import duckdb

        with duckdb.connect(str(file), read_only=True) as board:
            tables = [row[0] for row in board.execute("SHOW TABLES").fetchall()]
            return repr([board.execute(f'FROM "{name}"').fetchall() for name in tables]).encode()
    if start == b"SQLite format 3\0":
        with closing(sqlite3.connect(file)) as database:
            database.text_factory = bytes
            named = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            tables = [name.decode() for (name,) in named.fetchall()]
            return b"".join(
                repr(database.execute(f'SELECT * FROM "{name}"').fetchall()).encode()
                for name in tables
            )
    return b""


def test_no_file_that_was_written_has_a_secret(day):
    files = [p for p in day.folder.rglob("*") if p.is_file() and not p.is_symlink()]
    written = [p for p in files if p.parent != day.folder / "work"]
    told = {}
    read = {file: found_in(file.read_bytes()) for file in written}  # before a database is opened
    for file in written:
        if found := read[file] | (found_in(cells(file)) if file.exists() else set()):
            told[str(file.relative_to(day.folder))] = found
    for name in KEPT & told.keys():
        assert stat.S_IMODE((day.folder / name).stat().st_mode) == 0o600
    assert {name: found for name, found in told.items() if name not in KEPT} == {}


def test_nothing_that_was_printed_has_one(day):
    said = {words: found for words, text in day.said.items() if (found := found_in(text.encode()))}
    assert said == {}


def test_none_stood_among_the_arguments_of_a_process(day):
    assert day.listed == set()


def test_none_is_in_the_bucket(day, bucket):
    _, client = bucket
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="days")
    names = [each["Key"] for page in pages for each in page.get("Contents", ())]
    assert any("/trials/" in name for name in names)
    for name in names:
        content = client.get_object(Bucket="days", Key=name)["Body"].read()
        assert found_in(content) == set(), name


def test_all_of_it_was_written(day):
    """The places that were searched are those that a run writes to."""
    for home in ("mine", "theirs"):
        for name in ("prefect/prefect.db", "mlflow.db", "leaderboard.duckdb", "trials"):
            assert (day.folder / home / name).exists(), (home, name)
    assert list((day.folder / "tmp").glob("ray/session_*/logs/*")), "no log of Ray"
    assert list((day.folder / "home" / ".cache").rglob("trial.json")), "no working copy"
    failed = [json.loads(f.read_text()) for f in Store(day.folder / "mine").failures.glob("*.json")]
    assert any("example.org" in json.dumps(each) for each in failed)
    assert "example.org" in "".join(day.said.values())
