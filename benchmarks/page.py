"""What the board page of ten thousand trials weighs, what making it costs, and when it is seen.

    python benchmarks/page.py                        # makes the store first, some minutes
    python benchmarks/page.py --store FOLDER         # keeps it, or takes one that is there
    python benchmarks/page.py --trials 200 --json -

Making is in CPU seconds, the least of some rounds, and so are the views, of the page's own thread.
The first paint is what Chromium tells, on 1,600 pixels; without Chromium it is left out.
"""

import argparse
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from many_trials import make_store
from measuring import markdown_table, write_json

from tasks.pages.rebuilding import rebuild_board
from tasks.site import page
from tasks.storage.store import Store

GOALS = {"size": 5.0, "making": 10.0, "first paint": 1.0}
UNITS = {"size": "MB", "making": "s", "first paint": "s", "all there": "s", "view": "s"}
VIEWS = {
    "few-shot": "#/image-classification/few_shot",
    "base to new": "#/image-classification/base_to_new?split=*",
    "two methods": "#/compare?a=coop&b=maple",
    "two runs": "#/runs",
    "trials": "#/trials",
}
_PART = re.compile(rb"<script type='text/plain' id='(\w+)-[\w-]+'>([^<]*)</script>")


def measure(store: Store, rounds: int) -> dict[str, dict[str, float]]:
    """Size, CPU seconds of making it, and what a browser says, by kind and part."""
    page(store)  # packs the libraries, which is done once for each of their versions
    content, seconds = b"", []
    for _ in range(rounds):
        start = time.process_time()
        content = page(store)
        seconds.append(time.process_time() - start)
    parts: dict[str, float] = {}
    for kind, text in _PART.findall(content):
        name = kind.decode()
        parts[name] = parts.get(name, 0.0) + len(text) / 1e6
    found = {"size": {"": len(content) / 1e6, **parts}, "making": {"": min(seconds)}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "board.html"
        file.write_bytes(content)
        return found | in_browser(file, rounds)


def in_browser(file: Path, rounds: int) -> dict[str, dict[str, float]]:
    """First paint, all unpacked, and each view drawn; seconds. Empty without Chromium."""
    chromium = os.environ.get("SHOTBOARD_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        return {}
    from playwright.sync_api import sync_playwright

    paints, ready = [], []
    views: dict[str, list[float]] = {name: [] for name in VIEWS}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(rounds):
            tab = browser.new_page(viewport={"width": 1600, "height": 1000})
            tab.set_default_timeout(120_000)
            tab.goto(file.as_uri())
            tab.wait_for_selector("html[data-ready]", state="attached")
            ready.append(tab.evaluate("performance.now()") / 1000)
            paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
            paints.append(tab.evaluate(paint) / 1000)
            for name, address in VIEWS.items():
                took = tab.evaluate(
                    """async (address) => {
                      history.replaceState(null, "", address);
                      const start = performance.now();
                      await site.show();
                      return performance.now() - start;
                    }""",
                    address,
                )
                views[name].append(took / 1000)
            tab.close()
        browser.close()
    return {
        "first paint": {"": min(paints)},
        "all there": {"": min(ready)},
        "view": {name: min(taken) for name, taken in views.items()},
    }


def markdown(report: dict[str, Any]) -> str:
    """A report as a table of docs/benchmarks.md."""
    rows = [
        (kind, name, f"{value:.2f} {UNITS[kind]}", goal(kind) if not name else "")
        for kind, values in report["found"].items()
        for name, value in values.items()
    ]
    return markdown_table({"What": "<", "Part": "<", "Measured": ">", "Goal": ">"}, rows)


def goal(kind: str) -> str:
    """What is aimed at, with its unit."""
    return f"{GOALS[kind]:g} {UNITS[kind]}" if kind in GOALS else ""


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", type=Path, help="made here, or there already")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", help="`-` for standard output")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store.at(asked.store or Path(folder) / "store")
        if not store.done():
            make_store(store.home, asked.trials)
        rebuild_board(store)
        found = measure(store, asked.rounds)
        count = len(store.done())
    report = {"benchmark": "page", "trials": count, "found": found}
    if asked.json != "-":
        print(f"{count:,} trials\n")
        print(markdown(report))
    write_json(report, asked.json)


if __name__ == "__main__":
    main()
