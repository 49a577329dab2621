"""Pages in a real browser: Chromium as the system has it, driven by playwright.

What a page says to its console, and every request that leaves it, is a fault of the test.
"""

import os
import shutil
from pathlib import Path

import pytest

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SCREENS = {"phone": (400, 860), "tablet": (800, 1000), "wide": (1600, 1000)}
PATIENCE = 240_000  # ms, of what takes a few seconds where nothing else runs
# Prefect draws a run with WebGL as often as a screen shows it: without a GPU that takes a core from
# the run itself. Five times a second do.
UNHURRIED = "window.requestAnimationFrame = f => setTimeout(() => f(performance.now()), 200);"


def pytest_collection_modifyitems(items) -> None:
    """Everything here drives a browser."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium():
    """Chromium without a window; SHOTBOARD_CHROMIUM names another one."""
    named = os.environ.get("SHOTBOARD_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(
            "no Chromium here: install the system's chromium, or name it in SHOTBOARD_CHROMIUM"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def new_page(chromium):
    """Opens an empty page for whoever does not ask what it sends: `new_page(viewport=..)`."""
    contexts = []

    def open_page(**how):
        contexts.append(chromium.new_context(**how))
        contexts[-1].set_default_timeout(PATIENCE)
        contexts[-1].add_init_script(UNHURRIED)
        return contexts[-1].new_page()

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def board_page(drawn_board, tmp_path_factory) -> Path:
    """The page of `drawn_board` as a file."""
    from tasks.site import page

    file = tmp_path_factory.mktemp("page") / "board.html"
    file.write_bytes(page(drawn_board))
    return file


@pytest.fixture
def opened(chromium, board_page):
    """Opens a file at a fragment: `opened("#/methods", screen="phone", scheme="dark")`."""
    contexts, faults = [], []

    def open_page(fragment="", *, screen="wide", scheme="light", file=board_page, scripts=True):
        width, height = SCREENS[screen]
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            java_script_enabled=scripts,
            accept_downloads=True,
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("console", lambda said: faults.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on(
            "request",
            lambda asked: (
                faults.append(f"request: {asked.url[:200]}")
                if asked.url.split(":")[0] not in ("file", "data", "blob", "about")
                else None
            ),
        )
        page.goto(f"{file.as_uri()}{fragment}")
        if scripts:
            page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []
