"""Kills the parts of runs at random, again and again, and counts what is lost: nothing may be.

    python benchmarks/soak.py                     # 20 minutes
    python benchmarks/soak.py --minutes 5         # fewer
    python benchmarks/soak.py --seed 7            # other moments
    python benchmarks/soak.py --leak              # with a method that leaks: must be found out
    python benchmarks/soak.py --json -            # for machines

A suite of tiny trials runs undisturbed: some of them raise, yield NaN, flood their output or kill
their worker, each as its seed says. Memory and file handles of the run are watched. Then a shorter
one runs in other stores, where a part of each run gets SIGKILL at a random moment: the driver,
while it computes or writes to MLflow, a worker, Ray's raylet or head, the Prefect server. Whatever
ends is started again, as a person would, until the suite is done. Then the store is held against
one that was left in peace.
"""

import argparse
import hashlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from growth import Growth, Watch, entries

from operators.files import DRAFT
from tasks.storage.drafts import sweep
from tasks.storage.store import Store

ROOT = Path(__file__).resolve().parents[1]
MINUTES = float(os.environ.get("SOAK_MINUTES", "20"))
SEEDS = 160  # of the long run, at least: fewer trials are over before anything can be judged
TARGETS = ("driver", "worker", "publishing", "raylet", "gcs_server", "prefect")
PATIENCE = 600.0  # seconds that a run gets to end after a part of it was killed
GONE_SECONDS = 150.0  # that its processes get after that: two agents of Ray wait for a minute
FAULTS = '''
"""Nearest cached image, which fails as its seed says. Source: ours, 2026."""
import os
import sys

import torch

from operators.methods import METHODS


class Unkind(Exception):
    """Can neither be shown nor pickled."""

    def __init__(self, *_):
        self.file = open(os.devnull)

    def __str__(self):
        raise SystemExit("not even shown")

    __repr__ = __str__


class Faulty(METHODS["tip-adapter"]):
    """See the file."""

    def fit(self, *given, **how):
        report = super().fit(*given, **how)
        generator = next(v for v in (*given, *how.values()) if isinstance(v, torch.Generator))
        number = generator.initial_seed() % 64
        if number == 1:
            raise Unkind
        if number == 2:
            raise ValueError("as asked for")
        if number == 3:
            raise KeyboardInterrupt
        if number == 4:
            sys.exit("enough")
        if number == 5:
            bytearray(1 << 50)
        if number == 6:
            print("flood " * 20_000)
        if number == 7:
            self.cache.alpha = float("nan")
        return report


class Deadly(METHODS["zero-shot"]):
    """Ends its worker."""

    def logits(self, batch):
        os._exit(3)


class Leaking(METHODS["tip-adapter"]):
    """Leaves 256 kB behind with every fit, and an open file with every 50th."""

    left = []

    def fit(self, *given, **how):
        self.left.append(bytearray(os.urandom(1 << 18)))
        if len(self.left) % 50 == 0:
            self.left.append(open(os.devnull))
        return super().fit(*given, **how)
'''
# Of methods whose seeds are never tuned together: of others equal bits are not promised.
SUITE = """
name: soak
datasets: [pets]
views: none
backbones: [mini-clip]
methods: [zero-shot, tip-adapter, tip-adapter-f: {{epochs: 2}}, clip-adapter: {{epochs: 2}}{more}]
shots: {shots}
seeds: {seeds}
"""


@dataclass(frozen=True)
class Size:
    """How many trials a suite has.

    Attributes:
        shots: Of each method.
        seeds: Of each.
        faults: Whether some fail.
        leak: Whether some leave memory and open files behind.
    """

    shots: int
    seeds: int
    faults: bool = True
    leak: bool = False


@dataclass
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code; below 0 for a signal.
        out: Its standard output.
        err: Its standard error.
        seconds: What it took.
    """

    code: int
    out: str
    err: str
    seconds: float


@dataclass
class Place:
    """A store, and a suite over it.

    Attributes:
        folder: Holds both, and what they need.
        size: Of the suite.
        at_url: Whether the store is at a URL, and what runs here is a working copy.
    """

    folder: Path
    size: Size
    at_url: bool = False

    def __post_init__(self) -> None:
        self.objects = self.folder / "objects"
        home = self.objects.as_uri() if self.at_url else str(self.folder / "store")
        self.store = self.seen_from("cache", home)
        self.suite = self.folder / "soak.yaml"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
        own = {"SHOTBOARD_HOME": home, "SHOTBOARD_CACHE": str(self.folder / "cache")}
        self.env = {**kept, **own, "OMP_NUM_THREADS": "1"}
        if self.suite.exists():
            return
        self.objects.mkdir(exist_ok=True)
        write_images(self.folder / "pets")
        (self.folder / "faulty.py").write_text(FAULTS)
        more = ", ./faulty.py:Faulty, ./faulty.py:Deadly" if self.size.faults else ""
        more += ", ./faulty.py:Leaking" if self.size.leak else ""
        shots = [2**power for power in range(self.size.shots)]
        text = SUITE.format(more=more, shots=shots, seeds=[*range(1, self.size.seeds + 1)])
        self.suite.write_text(text)
        self.call("datasets", "add", "pets", "--path", str(self.folder / "pets"))

    def seen_from(self, machine: str, home: str | None = None) -> Store:
        """The store as a machine with working copies of its own has it.

        Args:
            machine: Its name.
            home: Where the store is, if that is not known yet.
        """
        before = os.environ.get("SHOTBOARD_CACHE")
        os.environ["SHOTBOARD_CACHE"] = str(self.folder / machine)
        try:
            return Store.named(home or self.store.place)
        finally:
            os.environ.pop("SHOTBOARD_CACHE")
            if before is not None:
                os.environ["SHOTBOARD_CACHE"] = before

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Starts a command in this store."""
        return subprocess.Popen(
            [sys.executable, "-c", "from shotboard import main; main()", *command],
            cwd=self.folder,
            env={**self.env, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def call(self, *command: str) -> str:
        """What a command prints; it must go well."""
        ended = finished(self.start(*command), PATIENCE)
        if ended.code:
            raise RuntimeError(f"{command}: {ended.err}")
        return ended.out

    def run(self) -> subprocess.Popen[str]:
        """Starts a run of the suite."""
        return self.start("run", str(self.suite), "--workers", "2", "--json")

    def processes(self, agents: bool = False) -> dict[int, str]:
        """Ids and names of the processes of this store, told by their environment.

        Args:
            agents: Whether Ray's two agents count, which wait a minute for who was killed.
        """
        mark = f"SHOTBOARD_HOME={self.store.place}\0".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has just ended, or is somebody else's
                if mark not in (folder / "environ").read_bytes():
                    continue
                name = (folder / "comm").read_text().strip()
                words = (folder / "cmdline").read_bytes()
                name = "prefect" if b"tasks.services.guarded" in words else name
                if agents or not name.startswith(("ray::Dash", "ray::Runtime")):
                    found[int(folder.name)] = name
        return found

    def find(self, target: str, driver: int) -> int | None:
        """A process to kill; None where there is none now.

        Args:
            target: One of `TARGETS`.
            driver: Process of the run.
        """
        if target == "publishing":
            marks = self.store.published.glob("unfinished-*")
            return driver if any(marks) else None
        if target == "driver":
            return driver
        there = self.processes()
        workers = sorted(p for p, name in there.items() if name.startswith("ray::TrialWorke"))
        if target == "worker":
            return next(iter(workers), None)
        return min((p for p, name in there.items() if name.startswith(target)), default=None)


def write_images(folder: Path) -> None:
    """Forty tiny pictures of four classes."""
    import numpy as np
    from PIL import Image

    for label, name in enumerate(("cat", "dog", "boat", "tree")):
        for number in range(10):
            pixels = np.random.default_rng([label, number]).integers(0, 80, (24, 24, 3), np.uint8)
            path = folder / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels + np.uint8(label * 50)).save(path)


def finished(process: subprocess.Popen[str], seconds: float) -> Ended:
    """Waits for a command, and ends it and its group after a while."""
    began = time.monotonic()
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        err += f"\nhung for {seconds:.0f} s"
    return Ended(process.returncode, out, err, time.monotonic() - began)


def faults_of(ended: Ended, killed: str) -> list[str]:
    """What is wrong with how a run ended of which a part was killed.

    Args:
        ended: Its end.
        killed: The part; empty where none was.
    """
    faults = []
    if "Traceback" in ended.err or re.search(r"^\[.*(logging|\.cc):\d+", ended.err, re.MULTILINE):
        faults.append(f"the text of a library and no sentence, after {killed}: {ended.err[-600:]}")
    if "hung for" in ended.err:
        faults.append(f"it hung after {killed}: {ended.err[-300:]}")
    gone = -signal.SIGKILL if killed in ("driver", "publishing") else None
    if ended.code not in (0, 1, gone):
        faults.append(f"exit code {ended.code} after {killed}: {ended.err[-600:]}")
    return faults


def trials_of(store: Store) -> dict[str, tuple[str, ...]]:
    """What each trial left, by id: digests of its files, and its scores."""
    found = {}
    for trial in sorted(store.done()):
        folder = store.bring(store.trial(trial))
        files = sorted(path for path in folder.iterdir() if path.name != "trial.json")
        digests = [f"{f.name} {hashlib.sha256(f.read_bytes()).hexdigest()}" for f in files]
        metrics = json.dumps(json.loads((folder / "trial.json").read_text())["metrics"])
        found[trial] = (*digests, metrics)
    return found


def board_of(store: Store) -> list[Any]:
    """The leaderboard, row by row, but for when its trials were computed."""
    from tasks.pages.asking import rows

    query = "SELECT * EXCLUDE (rank, latest_at) FROM leaderboard ORDER BY ALL"
    return [repr(row) for row in rows(store, query)]


def mlflow_of(place: Place) -> tuple[Counter[str], Counter[str]]:
    """How many runs each cell has in MLflow, and how many runs each status."""
    query = """
        SELECT status, value FROM runs LEFT JOIN tags
        ON tags.run_uuid = runs.run_uuid AND tags.key = 'cell_id'
        WHERE lifecycle_stage = 'active'
    """
    with closing(sqlite3.connect(place.store.home / "mlflow.db")) as database:
        rows = database.execute(query).fetchall()
    return Counter(cell for _, cell in rows if cell), Counter(status for status, _ in rows)


def lost(place: Place, reference: Place) -> list[str]:
    """What differs between a disturbed store and an undisturbed one, and what was left lying."""
    faults = []
    seen = place.store
    if place.at_url:  # by a machine that has computed nothing of it
        seen = place.seen_from("elsewhere")
        seen.refresh()
        waiting = place.store.home / ".waiting"
        faults += [f"trial {path.name} was never sent" for path in waiting.glob("*")]
    ours, theirs = trials_of(seen), trials_of(reference.store)
    faults += [f"trial {trial} is missing" for trial in theirs.keys() - ours.keys()]
    faults += [f"trial {trial} is one too many" for trial in ours.keys() - theirs.keys()]
    both = ours.keys() & theirs.keys()
    faults += [f"trial {trial} differs" for trial in both if ours[trial] != theirs[trial]]
    rows, others = (Counter(board_of(store)) for store in (seen, reference.store))
    faults += [f"the board has a row of its own: {row}" for row in rows - others]
    faults += [f"the board lacks a row: {row}" for row in others - rows]
    stores = seen, reference.store
    failed = [{path.stem for path in store.failures.glob("*.json")} for store in stores]
    if failed[0] - ours.keys() != failed[1] - theirs.keys():
        faults.append(f"other trials failed: {failed[0] ^ failed[1]}")
    cells, states = mlflow_of(place)
    if cells != mlflow_of(reference)[0]:
        faults.append(f"MLflow has other cells, or one twice: {cells.most_common(2)}")
    if states.get("RUNNING"):
        faults.append(f"{states['RUNNING']} runs of MLflow are running for ever")
    for run in place.store.runs.glob("*.json"):
        values = json.loads(run.read_text())
        from tasks.storage.runs import RUNNING, state

        if state(values, run) == RUNNING:
            faults.append(f"run {run.stem} is running for ever")
    return faults + left_lying(place)


def left_lying(place: Place) -> list[str]:
    """Drafts and leases that nobody will take away."""
    leases = place.objects / "leases" if place.at_url else place.store.leases
    faults = [f"lease {path.name}" for path in leases.glob("*")]
    drafts = [path for path in place.store.home.rglob(".*") if DRAFT.fullmatch(path.name)]
    for draft in drafts:  # they are swept when nothing has changed for ten minutes
        for path in (draft, *draft.rglob("*")):
            os.utime(path, (time.time() - 3600,) * 2)
    sweep(place.store)
    return faults + [f"draft {path}" for path in drafts if path.exists()]


def orphans(places: Sequence[Place]) -> list[str]:
    """Processes of some stores that do not end, whose runs have ended all."""
    deadline = time.monotonic() + GONE_SECONDS
    while True:
        found = {k: v for place in places for k, v in place.processes(agents=True).items()}
        if not found or time.monotonic() > deadline:
            return [f"process {pid} ({name}) is left" for pid, name in found.items()]
        time.sleep(0.5)


@dataclass
class Tally:
    """What was done, and what came of it.

    Attributes:
        injected: Kills, by target.
        runs: Commands that were started.
        trials: Committed in the disturbed stores.
        lost: A sentence for each thing that was lost or wrong.
        growth: Of memory and handles, by process.
        seconds: The longest that a run went on after a kill, by target.
    """

    injected: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    trials: int = 0
    lost: list[str] = field(default_factory=list)
    growth: dict[str, Growth] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> Mapping[str, Any]:
        """For machines."""
        kills = sum(self.injected.values())
        return {
            "injected": {**self.injected, "all": kills},
            "survived": kills if not self.lost else None,
            "runs": self.runs,
            "trials": self.trials,
            "growth": {name: growth._asdict() for name, growth in self.growth.items()},
            "seconds_after": {name: round(took, 1) for name, took in self.seconds.items()},
            "lost": self.lost,
        }


def undisturbed(place: Place, tally: Tally, judge: bool = False) -> float:
    """Runs the suite once in peace; returns its seconds.

    Args:
        place: Its store.
        tally: Counts.
        judge: Whether driver and workers may not grow; shorter runs are all beginning.
    """
    process = place.run()

    def processes() -> dict[int, str]:
        workers = {p: n for p, n in place.processes().items() if n.startswith("ray::Trial")}
        return {process.pid: "driver", **dict.fromkeys(workers, "worker")}

    watch = Watch(processes, lambda: entries(place.store.trials))
    with watch.looking():
        ended = finished(process, 20 * PATIENCE)
    tally.runs += 1
    if judge:
        tally.growth = watch.growth()
        told = [f"{name} grew: {grown.fault}" for name, grown in tally.growth.items()]
        tally.lost += [text for text in told if not text.endswith(": ")]
        for part in ("driver", "worker"):
            if not any(name.startswith(part) for name in tally.growth):
                tally.lost.append(f"no {part} was there long enough to be judged")
    if ended.code != int(place.size.faults):
        raise RuntimeError(f"the undisturbed run ended with {ended.code}: {ended.err[-2000:]}")
    tally.lost += faults_of(ended, "")
    return ended.seconds


def disturbed(
    place: Place,
    chance: random.Random,
    tally: Tally,
    seconds: float,
    kills: int,
    until: float,
    targets: tuple[str, ...] = TARGETS,
) -> None:
    """Runs the suite until it is done, with a part of each of the first runs killed.

    Args:
        place: A store of its own.
        chance: Says what is killed, and when.
        tally: Counts.
        seconds: What a run takes in peace.
        kills: Runs that are disturbed.
        until: Monotonic time after which none is.
        targets: What is killed, in turn.
    """
    order = [*targets]
    chance.shuffle(order)
    for number in range(kills):
        if time.monotonic() > until:
            break
        target = order[number % len(order)]
        process = place.run()
        tally.runs += 1
        at = time.monotonic() + chance.uniform(0.1, 0.7) * seconds  # then it shuts down
        while process.poll() is None and time.monotonic() < at:
            time.sleep(0.05)
        deadline = time.monotonic() + seconds
        victim = None
        while process.poll() is None and victim is None and time.monotonic() < deadline:
            victim = place.find(target, process.pid)
            time.sleep(0.01)
        if victim is not None:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                tally.injected[target] += 1
        ended = finished(process, PATIENCE)
        if victim is not None:
            tally.seconds[target] = max(ended.seconds, tally.seconds.get(target, 0.0))
        tally.lost += faults_of(ended, target if victim else "")
        if victim is None:
            break  # all is done, and a run that has nothing to do starts nothing that can be killed
    ended = finished(place.run(), 20 * PATIENCE)
    tally.runs += 1
    if ended.code != int(place.size.faults):
        tally.lost.append(f"the last run ended with {ended.code}: {ended.err[-1000:]}")


def soak(
    folder: Path,
    minutes: float,
    seed: int,
    leak: bool = False,
    say: Callable[[str], None] = print,
) -> Tally:
    """Everything, for some minutes.

    Args:
        folder: Gets the stores.
        minutes: About how long; what has begun is brought to its end.
        seed: Of all that is random.
        leak: Whether the long run has a method that leaks, which is to be found out.
        say: Takes lines for people.
    """
    chance, tally = random.Random(seed), Tally()
    began = time.monotonic()
    seeds = max(SEEDS, int(40 * (minutes - 1)))
    long = Place(made(folder / "long"), Size(4, seeds, faults=True, leak=leak))
    seconds = undisturbed(long, tally, judge=True)
    say(f"{len(long.store.done()):,} trials in peace, in {seconds:.0f} s")
    short = Size(3, 8, faults=True)
    reference = Place(made(folder / "reference"), short)
    seconds = undisturbed(reference, Tally())
    # On a busy machine peace takes most of the time, and what is killed is what counts.
    until = max(began + 60 * minutes, time.monotonic() + 30 * minutes)
    number = 0
    places = [long, reference]
    while not number or time.monotonic() < until:
        place = Place(made(folder / f"store-{number}"), short, at_url=bool(number % 2))
        places.append(place)
        disturbed(place, chance, tally, seconds, len(TARGETS), until)
        tally.trials += len(place.store.done())
        tally.lost += lost(place, reference)
        number += 1
        kills = sum(tally.injected.values())
        say(f"{number} stores, {kills} kills, {tally.trials} trials, {len(tally.lost)} lost")
    tally.lost += orphans(places)
    return tally


def made(folder: Path) -> Path:
    """The folder, which is there now."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--leak", action="store_true", help="with a method that leaks")
    parser.add_argument("--keep", metavar="FOLDER", help="leave the stores there")
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - for here")
    asked = parser.parse_args()
    with ExitStack() as stack:
        kept = asked.keep and Path(asked.keep).absolute()
        folder = kept or stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-"))
        how = asked.minutes, asked.seed, asked.leak
        tally = soak(Path(folder), *how, lambda text: print(text, flush=True))
    from measuring import write_json

    write_json(tally.to_json(), asked.json)
    for part, grown in tally.growth.items():
        print(f"{part}: {grown.bytes_a_trial:+,.0f} bytes a trial, {grown.handles:+} open files")
    for target, seconds in sorted(tally.seconds.items()):
        print(f"longest run with a kill of {target}: {seconds:.0f} s in all after it")
    kills = ", ".join(f"{count} {name}" for name, count in sorted(tally.injected.items()))
    survived = "all" if not tally.lost else "not all"
    print(f"killed: {kills or 'nothing'}; {survived} survived; lost: {len(tally.lost)}")
    for text in tally.lost:
        print(f"  {text}")
    sys.exit(bool(tally.lost))


if __name__ == "__main__":
    main()
