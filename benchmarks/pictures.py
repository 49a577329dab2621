"""Draws the pictures of README and docs: the board page, Prefect's UI and MLflow's, as they are.

    python benchmarks/pictures.py STORE              # all of them, into docs/pictures/
    python benchmarks/pictures.py STORE page         # those of the board page alone
    python benchmarks/pictures.py STORE servers      # those of what `shotboard up` serves

STORE holds what `shotboard run` and `shotboard run zoo` leave. Servers are given a copy of it, in
which a flow run is started; since all is done there, it takes seconds. Chromium is the system's;
`SHOTBOARD_CHROMIUM` names another.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tasks.pages import asking
from tasks.site import page
from tasks.storage.store import Store

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
QUALITY = 80
PATIENCE = 300.0  # seconds for servers to answer, and for a flow run to end
SETTLED = 5000  # milliseconds until a page of others has drawn what it fetched
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
MODEL = "coop-mini-clip-digits-few_shot"
# A trial that was tuned and makes mistakes: of the method that everybody knows.
TRIAL = """
SELECT trial_id FROM trials
WHERE method = 'coop' AND dataset = 'digits' AND protocol = 'base_to_new' AND shots = 16
  AND status = 'completed'
ORDER BY seed, trial_id LIMIT 1
"""


@contextmanager
def chromium() -> Iterator[Any]:
    """Opens pages: `open_page(width, height, dark)`; they are twice as sharp as their size."""
    program = os.environ.get("SHOTBOARD_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(FLAGS))

        def open_page(width: int, height: int, dark: bool = False) -> Page:
            return browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
                device_scale_factor=2,
            )

        try:
            yield open_page
        finally:
            browser.close()


def keep(shown: Page, name: str) -> None:
    """Writes what is seen of a page as `docs/pictures/NAME.webp`."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with Image.open(BytesIO(shown.screenshot())) as picture:
        picture.convert("RGB").save(PICTURES / f"{name}.webp", quality=QUALITY, method=6)
    print(f"docs/pictures/{name}.webp")


def draw_page(store: Store) -> None:
    """The board page: wide, dark, on a phone; its plots; a comparison; a trial."""
    few, both = "#/image-classification/few_shot", "#/image-classification/base_to_new"
    trial = asking.rows(store, TRIAL)[0]["trial_id"]
    views = (
        ("board", few, 1280, 820, False),
        ("board-dark", both, 1280, 820, True),
        ("board-phone", few, 400, 820, False),
        ("compare", "#/compare?a=coop&b=kgcoop", 1280, 820, False),
        ("trial", f"#/trial/{trial}", 1280, 1400, False),
    )
    with tempfile.TemporaryDirectory() as folder, chromium() as open_page:
        file = Path(folder) / "board.html"
        file.write_bytes(page(store, "few_shot"))
        for name, route, width, height, dark in views:
            shown = open_page(width, height, dark)
            shown.goto(file.as_uri() + route)
            shown.wait_for_selector("html[data-ready]", state="attached")
            shown.wait_for_timeout(SETTLED)
            keep(shown, name)
            shown.close()
        for name, route in (("curves", few), ("base-to-new", both)):
            shown = open_page(1280, 900)
            shown.goto(file.as_uri() + route)
            shown.wait_for_selector("html[data-ready]", state="attached")
            shown.locator(f"#section-{name}").scroll_into_view_if_needed()
            shown.wait_for_timeout(SETTLED)
            keep(shown, f"plot-{name}")
            shown.close()


@contextmanager
def served(home: Path) -> Iterator[dict[str, str]]:
    """What `shotboard up` serves of a store, by what it calls it: `Prefect UI` and so on."""
    ports = [free_port() for _ in range(3)]
    options = ("--port", "--board-port", "--mlflow-port")
    command = [str(Path(sys.executable).with_name("shotboard")), "up", "--home", str(home)]
    command += [word for pair in zip(options, map(str, ports), strict=True) for word in pair]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield addresses(process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def addresses(process: "subprocess.Popen[str]") -> dict[str, str]:
    """Reads what `shotboard up` prints until it has named what it serves."""
    found: dict[str, str] = {}
    assert process.stdout is not None
    for line in process.stdout:
        if named := re.match(r"(\w[\w ]*?)\s{2,}(http://\S+)$", line.rstrip()):
            found[named[1]] = named[2]
        if line.startswith("The schedules run"):
            return found
    raise RuntimeError("shotboard up has ended before it served anything.")


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def asked(url: str, body: dict[str, Any] | None = None) -> Any:
    """The JSON that a URL answers, posted to where there is a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def until_completed(flow_run: str) -> None:
    """Waits for a flow run.

    Raises:
        RuntimeError: It ended otherwise, or takes too long.
    """
    deadline = time.monotonic() + PATIENCE
    while (state := asked(flow_run)["state"])["type"] != "COMPLETED":
        if state["type"] in ("FAILED", "CRASHED", "CANCELLED") or time.monotonic() > deadline:
            raise RuntimeError(f"the flow run is {state['name']}: {state['message']}")
        time.sleep(1)


def draw_servers(store: Store) -> None:
    """Prefect's form, a flow run and its artifacts; the prompts and a run of MLflow."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "store"
        shutil.copytree(store.home, home)
        with served(home) as pages, chromium() as open_page:
            ui, api = pages["Prefect UI"], pages["Prefect API"]
            deployment = asked(f"{api}/deployments/name/benchmark/quickstart")["id"]
            run = asked(f"{api}/deployments/{deployment}/create_flow_run", {"parameters": {}})
            deadline = time.monotonic() + PATIENCE
            while asked(f"{api}/flow_runs/{run['id']}")["state_type"] not in (
                "COMPLETED",
                "FAILED",
            ):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the flow run {run['id']} has not ended.")
                time.sleep(1)
            mine = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
            left = {each["key"]: each["id"] for each in asked(f"{api}/artifacts/filter", mine)}
            mlflow = pages["MLflow UI"]
            alias = f"{mlflow}/api/2.0/mlflow/registered-models/alias?name={MODEL}&alias=best"
            version = asked(alias)["model_version"]["version"]
            views = (
                ("prefect-form", f"{ui}/deployments/deployment/{deployment}/run", 900),
                ("prefect-run", f"{ui}/runs/flow-run/{run['id']}", 820),
                ("prefect-artifact", f"{ui}/artifacts/artifact/{left['board']}", 900),
                ("prefect-pictures", f"{ui}/artifacts/artifact/{left['pictures']}", 900),
                ("mlflow", f"{mlflow}/#/models/{MODEL}/versions/{version}", 900),
            )
            for name, url, height in views:
                shown = open_page(1280, height)
                shown.goto(url)
                shown.wait_for_timeout(2 * SETTLED)
                shown.keyboard.press("Escape")  # MLflow greets with what is new in it
                for closing in shown.get_by_role("button", name="Close").all():
                    closing.click()
                shown.wait_for_timeout(SETTLED // 4)
                keep(shown, name)
                shown.close()


PARTS = {"page": draw_page, "servers": draw_servers}


def main() -> None:
    """Draws what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path, help="folder of the store")
    parser.add_argument("part", nargs="?", choices=PARTS, help="default: all")
    given = parser.parse_args()
    for part in [given.part] if given.part else PARTS:
        PARTS[part](Store.at(given.store))


if __name__ == "__main__":
    main()
