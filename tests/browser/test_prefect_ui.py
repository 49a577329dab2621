"""A benchmark from Prefect's own pages, as a user clicks: form, run, artifacts, cancel.

`shotboard up --host` runs as a process, on a store of its own, and asks for the login.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest

from tasks.services.children import free_port
from tasks.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "t0ken-of-a-test-that-is-long"
LOGIN = f"shotboard:{TOKEN}"
KNOWN = {"Authorization": f"Basic {b64encode(LOGIN.encode()).decode()}"}
SECONDS = 500  # of what takes half a minute where nothing else runs
pytestmark = [pytest.mark.slow, pytest.mark.served, pytest.mark.timeout(1800)]
BUSY = 503  # of a database that others write to
SEEDS = 40  # more than are tuned before somebody can click
CHOSEN = {
    "datasets": "digits",
    "backbones": "mini-clip",
    "methods": "zero-shot",
    "protocols": "few_shot",
    "shots": "1",
    "seeds": "1",
}


def hears_ctrl_c():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def served(chromium):
    """Address of Prefect's pages, and the store."""
    home = Path(tempfile.mkdtemp(prefix="sb-"))  # short: Ray's sockets have 107 characters
    output, port = home / "output", free_port()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    env["SHOTBOARD_TOKEN"] = TOKEN
    command = [sys.executable, "-c", "from flows.cli import main; main()", "up"]
    command += ["--host", "0.0.0.0"]
    ports = ["--port", str(port), "--mlflow-port", str(free_port())]
    ports += ["--board-port", str(free_port())]
    with output.open("wb") as written:
        process = subprocess.Popen(
            [*command, *ports, "--home", str(home / "store")],
            cwd=ROOT,
            env=env,
            stdout=written,
            stderr=subprocess.STDOUT,
            preexec_fn=hears_ctrl_c,
        )
    try:
        deadline = time.monotonic() + SECONDS
        while "Ctrl-C stops all" not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v2", Store(home / "store")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(300)
        shutil.rmtree(home, ignore_errors=True)


class Pages:
    """What a user does."""

    def __init__(self, new_page, address):
        self.address = address
        known = {"username": "shotboard", "password": TOKEN}
        size = {"width": 1400, "height": 1200}
        self.page = new_page(viewport=size, http_credentials=known)
        self.log_in()

    def log_in(self):
        """Prefect's page asks once more, after the browser."""
        from playwright.sync_api import TimeoutError

        asked = self.page.get_by_placeholder("admin:pass")
        for _ in range(5):  # Chromium drops what it loads where the machine's network changes
            self.page.goto(f"{self.address}/deployments")
            with contextlib.suppress(TimeoutError):
                asked.wait_for()
                break
        asked.fill(LOGIN)
        self.page.get_by_role("button", name="Login").click()
        self.page.get_by_role("link", name="quickstart", exact=True).wait_for()

    def form(self):
        """From the list of deployments to the form."""
        self.page.goto(f"{self.address}/deployments")
        self.page.get_by_role("link", name="quickstart", exact=True).click()
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Custom run").click()
        self.field("suite").wait_for()

    def field(self, name):
        label = self.page.get_by_text(f"{name} (Optional)", exact=True)
        return label.locator("xpath=ancestor::div[contains(@class, 'group')][1]")

    def choose(self, name, value):
        from playwright.sync_api import expect

        self.field(name).get_by_role("button").filter(has_text="Select").or_(
            self.field(name).get_by_role("combobox")
        ).first.click()
        self.page.get_by_role("option", name=value, exact=True).click()
        self.page.keyboard.press("Escape")
        expect(self.page.get_by_role("option")).to_have_count(0)

    def write(self, name, way, value):
        self.field(name).get_by_text(way, exact=True).click()
        self.field(name).get_by_role("textbox").fill(value)

    def submit(self):
        """The answer of the server; where it is too busy for one, a user clicks again."""
        deadline = time.monotonic() + SECONDS
        while True:
            with self.page.expect_response(re.compile("create_flow_run")) as answered:
                self.page.get_by_role("button", name="Submit").click()
            if answered.value.status != BUSY or time.monotonic() > deadline:
                return answered.value
            time.sleep(2)

    def run(self, answer):
        """Opens the page of the run that was made; returns its id."""
        assert answer.status == 201, answer.text()
        made = answer.json()["id"]
        self.page.goto(f"{self.address}/runs/flow-run/{made}")
        return made

    def ask(self, path, body=None):
        """The answer of the server that the pages ask, again where it is too busy for one."""
        api = self.address.removesuffix("/v2") + "/api"
        data = None if body is None else json.dumps(body).encode()
        headers = {**KNOWN, "Content-Type": "application/json"}
        asked = urllib.request.Request(f"{api}/{path}", data, headers)
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                with urllib.request.urlopen(asked) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(2)

    def message(self, flow_run):
        """What the state of a flow run says."""
        return self.ask(f"flow_runs/{flow_run}")["state"]["message"] or ""

    def started(self, parameters):
        """Starts a run as another program does, and opens its page; returns its id."""
        found = self.ask("deployments/name/benchmark/quickstart")
        made = self.ask(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})
        self.page.goto(f"{self.address}/runs/flow-run/{made['id']}")
        return made["id"]

    def wait_for(self, text):
        self.page.get_by_text(text, exact=True).first.wait_for(timeout=1000 * SECONDS)


@pytest.fixture
def pages(new_page, served):
    return Pages(new_page, served[0])


def test_nobody_sees_a_page_without_the_login(new_page, served):
    from playwright.sync_api import Error

    for known in ({}, {"http_credentials": {"username": "shotboard", "password": "x" * 20}}):
        page = new_page(**known)
        try:
            answer = page.goto(f"{served[0]}/deployments")
        except Error as error:  # Chromium may call it one of the network
            assert "AUTH" in error.message
        else:
            assert answer.status == 401


def test_the_form_offers_what_there_is_and_a_wrong_value_is_refused_in_it(pages):
    pages.form()
    pages.write("suite", "file", "quickstrat")
    assert pages.submit().status == 409
    pages.page.get_by_text("'quickstrat' is not valid").first.wait_for()
    assert "/run" in pages.page.url  # still at the form


def test_a_run_is_chosen_watched_and_leaves_its_artifacts(pages):
    pages.form()
    for name, value in CHOSEN.items():
        pages.choose(name, value)
    pages.run(pages.submit())
    pages.wait_for("quickstart: zero-shot on digits with mini-clip, few_shot, 1 shot, seed 1")
    pages.wait_for("Completed")
    pages.page.get_by_role("tab", name="Artifacts").click()
    for key in ("board", "summary", "pictures"):
        pages.page.get_by_text(key, exact=True).first.wait_for()


def test_a_run_that_is_cancelled_in_the_page_says_what_is_kept(pages, served):
    _, store = served
    pages.form()
    for name, value in {**CHOSEN, "methods": "coop", "shots": "16"}.items():
        if name != "seeds":
            pages.choose(name, value)
    pages.field("seeds").get_by_text("write", exact=True).click()
    for number in range(SEEDS):
        pages.field("seeds").get_by_role("button", name="Add item").click()
        pages.field("seeds").get_by_role("spinbutton").nth(number).fill(str(number + 11))
    before = store.done()
    made = pages.run(pages.submit())
    until(lambda: store.done() != before, "no trial")
    pages.page.get_by_role("button", name=re.compile("menu|more|open", re.I)).last.click()
    pages.page.get_by_role("menuitem", name="Cancel").click()
    pages.page.get_by_role("button", name="Cancel Flow Run").click()
    pages.wait_for("Cancelled")
    said = re.compile(rf"stopped: (\d+) of {SEEDS} trials are kept and on the board")
    kept = until(lambda: said.search(pages.message(made)), "what is kept is not said")
    assert int(kept[1]) == len(store.done() - before) > 0


BROKEN = """
import os

from operators.methods import METHODS


class Cold(METHODS["zero-shot"]):
    def logits(self, batch):
        raise ValueError("the oven is cold")


class Deadly(METHODS["zero-shot"]):
    def logits(self, batch):
        os._exit(3)
"""
BROKEN_SUITE = """
name: broken
datasets: [digits]
views: none
backbones: [mini-clip]
methods: [zero-shot, "./broken.py:Cold", "./broken.py:Deadly"]
shots: [1]
seeds: [1]
test_rows_per_class: 5
"""


def test_the_page_of_a_run_says_which_trials_failed_and_why(pages, tmp_path):
    """One fails by an error, one costs each worker that tries it and is left alone after that."""
    (tmp_path / "broken.py").write_text(BROKEN)
    (tmp_path / "broken.yaml").write_text(BROKEN_SUITE)
    parameters = {"suite": str(tmp_path / "broken.yaml"), "workers": 1}
    ends = ("the next run tries it once, alone", "no run tries it again unless told by")
    for tried, end in zip((r"all of \d tries", "its one try"), ends, strict=True):
        pages.started(parameters)
        pages.wait_for("Failed")
        pages.page.get_by_role("tab", name="Details").click()
        failed = r"[0-9a-f]{16}: the oven is cold; "
        died = rf"[0-9a-f]{{16}}: its worker died in {tried}: its process ended without a word"
        said = re.compile(rf"3 trials: .*2 failed\. {failed}{died}.* It is in quarantine: {end}")
        message = pages.page.get_by_text(said).first
        message.wait_for()
        for foreign in ("Its log", ":job_id:", "::shotboard"):  # it said nothing
            assert foreign not in message.inner_text()


def until(true, otherwise):
    """What `true` answers, as soon as it is."""
    deadline = time.monotonic() + SECONDS
    while not (found := true()):
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)
    return found
