"""What a trial costs beside its own work: Prefect, Ray, trial folders, MLflow and the board.

    python benchmarks/orchestration.py                  # 2,000 trials of 5 ms, some minutes
    python benchmarks/orchestration.py --trials 200     # fewer
    python benchmarks/orchestration.py --seeds 100      # fewer and larger cells in MLflow
    python benchmarks/orchestration.py --json -         # for machines

Runs the flow that `shotboard run` runs, in a store of its own, on trials of a throw-away method
that sleeps. Then runs it again, when everything is done, and plans a suite whose trials are all
in the store. Start-up (server, Ray, workers, ingestion, features) is shown apart; everything
else counts, the sleep included.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.environment import set_defaults

set_defaults()
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("MLFLOW_TRACKING_URI", "")

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402
from measuring import write_json  # noqa: E402
from torch import nn  # noqa: E402

import flows.benchmark as flow  # noqa: E402
import flows.steps as steps  # noqa: E402
from data_catalog import CATALOG, DatasetCard, Example  # noqa: E402
from data_catalog.png import stored_png  # noqa: E402
from flows.suites import load_suite  # noqa: E402
from operators.methods import METHODS, MethodCard, StaticClassifier  # noqa: E402
from operators.metrics import Score  # noqa: E402
from operators.metrics.predictions import PREDICTIONS  # noqa: E402
from operators.spec import TrialSpec  # noqa: E402
from operators.trials.results import Cost, Provenance, TrialResult  # noqa: E402
from operators.tuning import FitReport  # noqa: E402
from tasks.computing.worker import TrialWorker  # noqa: E402
from tasks.ingestion.ingest import ingest_dataset  # noqa: E402
from tasks.planning.choices import check  # noqa: E402
from tasks.planning.plan import make_plan  # noqa: E402
from tasks.planning.planned import Plan  # noqa: E402
from tasks.progress import reporting_to  # noqa: E402
from tasks.services.server import prefect_api  # noqa: E402
from tasks.storage.store import Store  # noqa: E402

CLASSES = ("cat", "dog", "boat", "tree")
ROWS = {"train": 16, "val": 4, "test": 25}  # images of each class
SHOTS = (1, 2, 4, 8, 16)
STARTING = ("ingest", "workers", "encode")  # stages that do not grow with the trials
GOAL_MILLISECONDS = 10.0
GOAL_RECOGNITION_SECONDS = 5.0


class Sleeper(StaticClassifier):
    """Learns nothing, in a given time.

    Args:
        backbone: Says how wide a feature is.
        classes: What to choose from.
        generator: Draws the class vectors.
        seconds: What `fit` takes.
        variant: Tells cells apart.
    """

    card = MethodCard(
        title="Sleeper",
        family="feature_heads",
        tunes="nothing",
        source="benchmarks/orchestration.py",
    )

    def __init__(
        self, backbone, classes, *, generator, seconds: float = 0.005, variant: int = 0
    ) -> None:
        super().__init__(backbone, classes)
        self.seconds = seconds
        width = backbone.feature_width
        self.vectors = nn.Parameter(torch.randn(len(classes), width, generator=generator))

    def fit(self, shots, *, tuning, generator) -> FitReport:
        """Sleeps."""
        time.sleep(self.seconds)
        return FitReport()

    def class_features(self):
        """Random vectors."""
        return self.vectors


class SleepingWorker(TrialWorker):
    """Knows the throw-away method; travels to the workers by value, since this is a script."""

    def __init__(self, home: Path) -> None:
        from operators.methods import METHODS as there

        there["sleeper"] = Sleeper
        super().__init__(home)


class Squares:
    """Grey squares, a brightness for each class."""

    def examples(self) -> Iterator[Example]:
        """Yields each as a PNG."""
        for split, count in ROWS.items():
            for label, name in enumerate(CLASSES):
                for number in range(count):
                    generator = np.random.default_rng([label, number, len(split)])
                    pixels = generator.integers(0, 40, (8, 8), dtype=np.uint8)
                    image = stored_png(pixels + np.uint8(label * 60))
                    yield Example(image, f"{split}/{name}/{number}.png", label, name, split)

    def total(self) -> int:
        """Images of all splits."""
        return len(CLASSES) * sum(ROWS.values())

    def signature(self) -> str:
        """They never change."""
        return "squares 1"

    def describe(self) -> str:
        """Where they come from."""
        return "squares drawn by benchmarks/orchestration.py"


class Stopwatch:
    """A reporter that notes how long each stage takes, and the CPU time of this process in it."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, float]] = {}
        self._began: dict[str, tuple[float, float]] = {}

    def begin(self, stage: str, total: int | None) -> None:
        """See `Reporter`."""
        self._began[stage] = time.perf_counter(), time.process_time()

    def advance(self, stage: str, done: int, total: int | None) -> None:
        """See `Reporter`."""

    def note(self, stage: str, text: str) -> None:
        """See `Reporter`."""

    def end(self, stage: str, summary: str) -> None:
        """See `Reporter`; stages of one kind are added up."""
        wall, cpu = self._began.pop(stage)
        row = self.stages.setdefault(stage.split()[0], {"seconds": 0.0, "driver_cpu_seconds": 0.0})
        row["seconds"] += time.perf_counter() - wall
        row["driver_cpu_seconds"] += time.process_time() - cpu

    def say(self, text: str) -> None:
        """See `Reporter`."""


@contextmanager
def timed(watch: Stopwatch, stage: str) -> Iterator[None]:
    """Notes a stage that the flow does not report itself."""
    watch.begin(stage, None)
    try:
        yield
    finally:
        watch.end(stage, "")


@dataclass(frozen=True)
class Size:
    """How many trials, of which length, and how many of them are one cell of the board."""

    trials: int
    milliseconds: float
    seeds: int

    def suite(self, folder: Path, name: str) -> Path:
        """Writes the suite and returns its file."""
        variants = self.trials // (len(SHOTS) * self.seeds)
        if variants * len(SHOTS) * self.seeds != self.trials:
            raise SystemExit(
                f"--trials {self.trials}: give a multiple of {len(SHOTS)} shots x {self.seeds} "
                "seeds, or other --seeds."
            )
        seconds = self.milliseconds / 1000
        methods = [{"sleeper": {"seconds": seconds, "variant": v}} for v in range(variants)]
        values = {"datasets": ["squares"], "backbones": ["mini-clip"], "methods": methods}
        values |= {"shots": list(SHOTS), "seeds": list(range(1, self.seeds + 1))}
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(values))
        return path


def run(store: Store, suite: Path, workers: int | None) -> tuple[flow.Summary, dict]:
    """Runs the flow under a server of its own; returns what it did and seconds by stage."""
    watch = Stopwatch()
    with reporting_to(watch):
        watch.begin("server", None)
        with prefect_api(store):
            watch.end("server", "")
            with timed(watch, "flow"):
                summary = flow.benchmark(str(suite), home=str(store.home), workers=workers)
            watch.begin("stop", None)
        watch.end("stop", "")
    return summary, watch.stages


def beyond_start(stages: Mapping[str, Mapping[str, float]]) -> float:
    """Seconds of a run that are not start-up: planning, trials, MLflow, board, artifacts."""
    started = sum(stages[name]["seconds"] for name in STARTING if name in stages)
    return stages["flow"]["seconds"] - started


def plan_of(store: Store, suite: Path) -> Plan:
    """What `shotboard plan` asks for."""
    request = check(store, load_suite(str(suite)))
    return make_plan(store, request, {"squares": ingest_dataset("squares", store)})


def write_done(store: Store, specs: tuple[TrialSpec, ...]) -> None:
    """Puts a made-up result of every trial into the store, quickly: nothing is synced."""
    rows = len(CLASSES) * ROWS["test"]
    columns = {"split": ["all"] * rows, "confidence": [1.0] * rows}
    columns |= {name: list(range(rows)) for name in ("row_id", "label", "predicted")}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns).select(PREDICTIONS.names).cast(PREDICTIONS), sink)
    cost = Cost(
        tune_seconds=0.005,
        evaluate_seconds=0.001,
        peak_memory_bytes=1,
        trainable_parameters=1,
        steps=0,
    )
    origin = Provenance(started_at="2026-01-01T00:00:00+00:00", device="cpu", torch_version="2")
    for spec in specs:
        result = TrialResult(
            spec=spec,
            metrics=(Score("all", "accuracy", 1.0, rows),),
            cost=cost,
            provenance=origin,
            episode_fingerprint="0" * 16,
        )
        folder = store.trial(spec.trial_id)
        folder.mkdir(parents=True)
        (folder / "predictions.parquet").write_bytes(sink.getvalue())
        (folder / "prompt.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
        (folder / "trial.json").write_text(json.dumps(result.to_json()))


def recognition(folder: Path, size: Size) -> dict[str, float]:
    """Seconds to plan a suite whose trials are all in the store."""
    store = Store(folder / "done")
    ingest_dataset("squares", store)
    suite = size.suite(folder, "done")
    write_done(store, plan_of(store, suite).specs)
    wall, cpu = time.perf_counter(), time.process_time()
    plan = plan_of(store, suite)
    assert len(plan.done) == size.trials and not plan.missing
    return {
        "trials": size.trials,
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "goal_seconds": GOAL_RECOGNITION_SECONDS,
    }


def measure(folder: Path, size: Size, done: int, workers: int | None) -> dict:
    """All three measurements."""
    CATALOG["squares"] = DatasetCard(
        name="squares", source=Squares(), classes=CLASSES, template="a photo of a {}."
    )
    METHODS["sleeper"] = Sleeper
    steps.TrialWorker = SleepingWorker
    store, suite = Store(folder / "store"), size.suite(folder, "sleepers")
    first, stages = run(store, suite, workers)
    assert (first.computed, len(first.failed)) == (size.trials, 0), first.failed[:3]
    assert len(store.done()) == size.trials
    second, again = run(store, suite, workers)
    assert (second.computed, len(second.plan.done)) == (0, size.trials)
    report: dict = {
        "trials": size.trials,
        "trial_milliseconds": size.milliseconds,
        "cells": size.trials // size.seeds,
        "cores": os.cpu_count(),
        "first_run": {
            "stages": stages,
            "milliseconds_a_trial": 1000 * beyond_start(stages) / size.trials,
            "goal_milliseconds": GOAL_MILLISECONDS,
        },
        "second_run": {"stages": again, "seconds_beyond_start": beyond_start(again)},
    }
    if done:
        report["recognition"] = recognition(folder, Size(done, size.milliseconds, size.seeds))
    return report


def table(report: Mapping) -> str:
    """The report as a person reads it."""
    first, second = report["first_run"], report["second_run"]
    lines = [
        f"{report['trials']} trials of {report['trial_milliseconds']:g} ms in {report['cells']} "
        f"cells, {report['cores']} cores",
        f"{'stage':<10} {'first run':>10} {'driver CPU':>11} {'again':>8}   (seconds)",
    ]
    nothing = {"seconds": 0.0, "driver_cpu_seconds": 0.0}
    for name, row in first["stages"].items():
        again = second["stages"].get(name, nothing)
        lines.append(
            f"{name:<10} {row['seconds']:>10.2f} {row['driver_cpu_seconds']:>11.2f} "
            f"{again['seconds']:>8.2f}"
        )
    lines += [
        f"beyond start-up: {first['milliseconds_a_trial']:.2f} ms a trial "
        f"(goal: under {first['goal_milliseconds']:g})",
        f"again, everything done: {second['seconds_beyond_start']:.2f} s beyond start-up",
    ]
    if "recognition" in report:
        found = report["recognition"]
        lines.append(
            f"{found['trials']} done trials recognised in {found['seconds']:.2f} s, "
            f"{found['cpu_seconds']:.2f} s of CPU (goal: under {found['goal_seconds']:g})"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures, prints the table, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--milliseconds", type=float, default=5.0, help="what a trial sleeps")
    parser.add_argument("--seeds", type=int, default=10, help="trials of a cell")
    parser.add_argument("--done", type=int, default=10000, help="trials to recognise; 0: none")
    parser.add_argument("--workers", type=int, help="default: one a core")
    parser.add_argument("--json", metavar="PATH", help="a file, or - for standard output")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shotboard-") as folder:
        size = Size(given.trials, given.milliseconds, given.seeds)
        report = measure(Path(folder), size, given.done, given.workers)
    if given.json != "-":
        print(table(report))
    write_json(report, given.json)


if __name__ == "__main__":
    main()
