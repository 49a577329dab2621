"""What it saves to tune trials together: a step of each in lanes, against one by one and plain.

    python benchmarks/stacking.py                                  # small CLIP, some minutes
    python benchmarks/stacking.py --shape vit-b16 --lanes 1 4      # the widths of ViT-B/16
    python benchmarks/stacking.py --json -                         # for machines

Trials differ by seed alone. Each takes a few steps of its own, as the tuning loop takes them, on
image features that are kept (methods that prompt the image tower read pixels). Seconds are CPU
times of this process on one thread, a trial and a step; all numbers of lanes take turns in each
round. `plain` is the reference step of steps.py, once a round.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measuring import markdown_table, milliseconds, times, write_json
from steps import BATCH, SHAPES, PlainClip, plain_loss, save_clip, started

from operators.backbones import DualEncoder, reference
from operators.engine.stacking import lanes_worth, run_stacked, take_step
from operators.episodes.episode import Batch
from operators.methods import METHODS, Method

STEPS = 8  # of each trial in one measurement


def some_steps(method: Method, batch: Batch, steps: int = STEPS) -> None:
    """The gradients of some steps, as the tuning loop has them computed."""
    for _ in range(steps):
        method.zero_grad(set_to_none=True)
        take_step(partial(method.loss, batch))


def together(trials: list[tuple[Method, Batch]], steps: int = STEPS) -> None:
    """Takes some steps of all trials, in lanes."""
    for outcome in run_stacked([partial(some_steps, *each, steps) for each in trials]):
        if isinstance(outcome, Exception):
            raise outcome


def cpu(work: Callable[[], None]) -> float:
    """CPU seconds of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(
    name: str,
    shape: str,
    backbone: DualEncoder,
    plain: PlainClip,
    classes: int,
    lanes: list[int],
    rounds: int,
) -> dict[str, Any]:
    """One row of the table."""
    trials = [started(name, shape, backbone, classes, seed)[:2] for seed in range(max(lanes))]
    first = trials[0]
    for count in lanes:
        together(trials[:count])  # lays out the texts, and warms up
    measured: dict[Any, list[float]] = {"plain": [], **{count: [] for count in lanes}}
    for _ in range(rounds):
        measured["plain"].append(cpu(lambda: plain_loss(plain, *first).backward()))
        for count in lanes:
            taken = cpu(partial(together, trials[:count]))
            measured[count].append(taken / STEPS / count)
    through_tower = "visual-prompts" in METHODS[name].card.needs
    return {
        "method": name,
        "classes": classes,
        "plain_seconds": statistics.median(measured["plain"]),
        "seconds": {count: statistics.median(measured[count]) for count in lanes},
        "lanes_worth": lanes_worth(
            backbone.device, classes, BATCH[name] * backbone.image_tokens if through_tower else 0
        ),
    }


def line(row: dict[str, Any]) -> str:
    """A row as a person reads it."""
    seconds, plain = row["seconds"], row["plain_seconds"]
    alone = next(iter(seconds.values()))
    parts = [
        f"{count:>3}: {1000 * s:8.2f} ms {alone / s:5.2f}x {plain / s:6.1f}x"
        for count, s in seconds.items()
    ]
    return f"{row['method']:<10} {row['classes']:>4}  {row['lanes_worth']:>3}  {'  '.join(parts)}"


def markdown(report: dict[str, Any]) -> str:
    """A report as a table of docs/benchmarks.md."""
    lanes = list(report["rows"][0]["seconds"])
    counts = {f"{count} lane{'s' * (count != '1')}": "<" for count in lanes}
    rows = []
    for row in report["rows"]:
        alone = row["seconds"][lanes[0]]
        cells = []
        for count, taken in row["seconds"].items():
            gain = "" if count == lanes[0] else f", {times(alone / taken)}"
            cells.append(f"{milliseconds(taken)}{gain} ({times(row['plain_seconds'] / taken)})")
        rows.append((row["method"], row["classes"], *cells))
    return markdown_table({"Method": "<", "Classes": ">", **counts}, rows)


def main() -> None:
    """Measures, prints the table, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--methods", nargs="+", choices=BATCH, default=["coop", "maple"])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 37, 100])
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 3, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="PATH", help="a file, or - for standard output")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "clip"
        save_clip(SHAPES[given.shape], folder)
        which = reference(str(folder))
        backbone, plain = which.load(which.describe()), PlainClip(folder)
    rows = []
    if given.json != "-":
        print("method  classes  worth  lanes: a trial and step, over the first, over plain")
    for name in given.methods:
        for classes in given.classes:
            rows.append(
                compare(name, given.shape, backbone, plain, classes, given.lanes, given.rounds)
            )
            if given.json != "-":
                print(line(rows[-1]), flush=True)
    write_json(
        {"benchmark": "stacking", "shape": given.shape, "steps": STEPS, "rows": rows}, given.json
    )


if __name__ == "__main__":
    main()
