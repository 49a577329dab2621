"""What commands cost that compute little: mostly imports, servers and workers that start.

    python benchmarks/startup.py --store FOLDER          # a store in which quickstart is done
    python benchmarks/startup.py --store FOLDER --run    # and a run from an empty store, minutes
    python benchmarks/startup.py --store FOLDER --code OLD --json before.json

Commands are started as a user starts them. CPU seconds are those of their process and of all that
it starts, servers and workers included, looked up ten times a second; the least of some rounds.
`--code` starts the code of another folder instead, such as an older checkout, with the same Python.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from measuring import markdown_table, write_json
from PIL import Image

PROJECT = Path(__file__).resolve().parents[1]
LOOK_SECONDS = 0.1


def commands(home: Path, scratch: Path) -> dict[str, list[str]]:
    """Every command that is measured, as a user writes it.

    Args:
        home: A store in which the quickstart is done.
        scratch: Gets an image.
    """
    image = scratch / "image.png"
    Image.new("RGB", (64, 64), "red").save(image)
    trials = {path.name: json.loads((path / "trial.json").read_text()) for path in done(home)}
    tuned = min(name for name, trial in trials.items() if trial["spec"]["method"] == "coop")
    return {
        "run, nothing to do": ["run"],
        "predict": ["predict", tuned, str(image)],
        "plan": ["plan"],
        "board": ["board"],
        "methods": ["methods"],
        "datasets": ["datasets"],
        "sql": ["sql", "SELECT count(*) FROM trials"],
        "show": ["show", tuned],
    }


def done(home: Path) -> list[Path]:
    """Folders of the completed trials of a store."""
    return [path for path in (home / "trials").glob("*") if (path / "trial.json").is_file()]


def measure(arguments: list[str], home: Path, code: Path) -> dict[str, float]:
    """CPU and wall seconds of a command with all that it starts, and wall to its first trial.

    Args:
        arguments: Of `shotboard`.
        home: The store.
        code: Folder of the code.
    """
    environment = {**os.environ, "SHOTBOARD_HOME": str(home), "PYTHONPATH": str(code)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before, start = len(done(home)), time.perf_counter()
    seen: dict[tuple[int, float], float] = {}
    found: dict[str, float] = {}
    process = psutil.Popen(
        [sys.executable, "-c", "from flows.cli import main; main()", *arguments],
        env=environment,
        cwd=code,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None:
        for each in [process, *_below(process)]:
            try:
                times = each.cpu_times()
                seen[each.pid, each.create_time()] = times.user + times.system
            except psutil.Error:
                continue
        if "first trial" not in found and len(done(home)) > before:
            found["first trial"] = time.perf_counter() - start
        time.sleep(LOOK_SECONDS)
    if process.returncode:
        raise RuntimeError(f"shotboard {' '.join(arguments)} ended with {process.returncode}")
    return {**found, "cpu": sum(seen.values()), "wall": time.perf_counter() - start}


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def measure_all(home: Path, code: Path, rounds: int, *, run: bool) -> dict[str, dict[str, float]]:
    """What every command takes, by its name.

    Args:
        home: A store in which the quickstart is done.
        code: Folder of the code.
        rounds: Of each command; the one with the least CPU seconds counts.
        run: Whether the quickstart is run from an empty store, too, once.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked = commands(home, Path(folder))
        for arguments in asked.values():
            measure(arguments, home, code)  # what new code makes once is made
        found = {
            name: min((measure(arguments, home, code) for _ in range(rounds)), key=_cpu)
            for name, arguments in asked.items()
        }
        if run:
            found["run, empty store"] = measure(["run"], Path(folder) / "store", code)
    return found


def _cpu(measured: dict[str, float]) -> float:
    return measured["cpu"]


def markdown(report: dict[str, Any]) -> str:
    """A report as a table of docs/benchmarks.md."""
    before = report.get("before", {})
    heads = {"Command": "<", "CPU": ">", "Before": ">"}
    rows = [
        (f"`{name}`", f"{now['cpu']:.1f} s", f"{before[name]['cpu']:.1f} s" if before else "")
        for name, now in report["now"].items()
    ]
    return markdown_table(heads, rows)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--code", type=Path, default=PROJECT)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", action="store_true")
    parser.add_argument("--before", type=Path, help="a report of older code, to stand beside")
    parser.add_argument("--json", metavar="FILE", help="`-` for standard output")
    asked = parser.parse_args()
    report = {
        "benchmark": "startup",
        "now": measure_all(
            asked.store.resolve(), asked.code.resolve(), asked.rounds, run=asked.run
        ),
    }
    if asked.before:
        report["before"] = json.loads(asked.before.read_text())["now"]
    if asked.json != "-":
        print(markdown(report))
    write_json(report, asked.json)


if __name__ == "__main__":
    main()
