"""Whether any method is slower than its plain arithmetic: a step of every method, one by one.

    python benchmarks/methods.py                                      # minutes on one core
    python benchmarks/methods.py --methods coop maple --classes 100
    python benchmarks/methods.py --json -                             # for machines

Each method runs with its published settings and the same start in three forms:

- `plain` is what a straightforward program computes: every text padded to the full length and
  encoded on its own, those of one image after the other where they depend on the image; all tokens
  through all layers; activations as they are written; and in each step the frozen features of the
  batch, a teacher's logits and patches anew.
- `unkept` has our towers, and also computes in each step whatever is of the images.
- `ours` is the method as a trial runs it: what is frozen is read from where it is kept.

Pixels are there in all forms, and texts that no step changes are encoded once. A step is one of the
tuning loop, optimiser included. Of methods that take none it is everything, from class names and
labelled images to the logits of test images. Losses and gradients, or logits, of the three are
compared before anything is timed. All take turns in one process, on one thread, in CPU time.
Operations are those that trials report, see operators/engine/accounting.py.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from class_names import names
from measuring import markdown_table, milliseconds, saved_bytes, times, times_in, write_json
from plain_towers import PlainTowers
from torch import Tensor

from operators.backbones import DualEncoder, reference
from operators.engine.accounting import Work, counted, counting
from operators.episodes.episode import Batch, Classes, FewShot, ImageSource, Unlabelled, Vocabulary
from operators.episodes.features import FeatureStore
from operators.episodes.kept_pixels import KeptPixels
from operators.episodes.views import View
from operators.methods import METHODS, Method, Teacher
from operators.methods.classifier import logits_of
from operators.methods.hyperparameters import own_of, resolve, tuning_of
from operators.tracks import TRACKS
from operators.trials.trial import plain_flops
from operators.tuning import Tuning

FORMS = ("plain", "unkept", "ours")
TEMPLATES = ("a photo of a {}.",)
SENTENCES = (
    "a {} as one sees it from the front.",
    "a small {} with a dark outline.",
    "the {} has one colour, and its edges are soft.",
)
SAME = View(0, seed=0)  # shows what the centre crop shows, and nobody keeps what is made of it
COMPARED = 3  # steps after which losses and gradients are compared
TIMED = 5  # steps of one measurement; what the first one sets up comes before them
TESTED = 16  # images that are classified
NOISE = 0.5  # of pictures about that of their class


class Pictures:
    """Preprocessed images in memory, and features that are kept or encoded when asked for.

    Args:
        pixels: A picture a row. Random views move it sideways.
        backbone: Encodes them.
        store: Has the features of the centre crops; None where nothing is kept.
    """

    def __init__(
        self, pixels: Tensor, backbone: DualEncoder, store: FeatureStore | None = None
    ) -> None:
        self.values = pixels
        self.backbone = backbone
        self.store = store

    def features(self, rows: np.ndarray, view: View | None = None) -> Tensor:
        """See `ImageSource`."""
        if self.store is not None and view is None:
            return self.store.read(rows)
        with torch.no_grad():
            return self.backbone.encode_images(self.pixels(rows, view))

    def pixels(self, rows: np.ndarray, view: View | None = None) -> Tensor:
        """See `ImageSource`."""
        return self.values[rows].roll(0 if view is None else view.number, dims=-1)


class Tick(NamedTuple):
    """The clock, and the operations that were counted until now."""

    seconds: float
    done: int = 0
    plain: int = 0
    cached_images: int = 0


@dataclass(frozen=True)
class OneStepEpochs(FewShot):
    """One batch of images, and a look at the clock each time that they are asked for.

    Attributes:
        kept: Whether what is made of them may be kept.
        ticks: As each epoch began.
    """

    kept: bool = True
    ticks: list[Tick] = field(default_factory=list)

    def in_epoch(self, epoch: int) -> Batch:
        """See `FewShot.in_epoch`."""
        work = counted()
        so_far = () if work is None else (work.done, work.plain, work.cached_images)
        self.ticks.append(Tick(time.process_time(), *so_far))
        return self.train if self.kept else self.train.under(SAME)


class Bench:
    """A backbone in its forms, classes, and pictures of them.

    Args:
        backbone: Frozen encoders.
        classes: How many; they have names of one to three words.
        shots: Pictures a class to learn from, and as many to validate.
        folder: Where features are kept.
    """

    def __init__(self, backbone: DualEncoder, classes: int, shots: int, folder: Path) -> None:
        self.backbone = backbone
        self.plain = PlainTowers(backbone)
        described = tuple(tuple(s.replace("{}", n) for s in SENTENCES) for n in names(classes))
        words = names(classes)  # attributes of pairs from the front, objects from the back
        composed = [(words[n % -(-classes // 2)], words[-1 - n // 2]) for n in range(classes)]
        self.classes = Classes(
            *(words, TEMPLATES), descriptions=described, vocabulary=Vocabulary.of(composed)
        )
        self.shots = shots
        count = 2 * shots * classes + TESTED
        self.labels = torch.arange(count) % classes
        generator = torch.Generator().manual_seed(0)
        side = backbone.preprocess.size
        centres = torch.randn(classes, 3, side, side, generator=generator)
        noise = NOISE * torch.randn(count, 3, side, side, generator=generator)
        pixels = centres[self.labels] + noise
        self.pictures = Pictures(pixels, backbone)
        store = FeatureStore.create(folder, count, backbone.feature_width)
        store.write(np.arange(count), self.pictures.features(np.arange(count)).numpy())
        self.kept_pictures = Pictures(pixels, backbone, store)
        self.rows = np.split(np.arange(count), [shots * classes, 2 * shots * classes])

    @contextmanager
    def form(self, name: str) -> Iterator[ImageSource]:
        """The backbone as one of `FORMS` has it, and where its images come from."""
        if name == "plain":
            with self.plain.in_place():
                yield self.pictures
        else:
            yield KeptPixels(self.kept_pictures) if name == "ours" else self.pictures

    def batch(self, source: ImageSource, rows: np.ndarray) -> Batch:
        """Some pictures with their labels."""
        return Batch(source, rows, self.labels[rows])

    def build(self, name: str) -> Method:
        """A method as a trial begins with it."""
        method: type = METHODS[name]
        values = resolve(name, method, {}, protocol="few_shot", shots=self.shots)
        own: dict[str, Any] = own_of(method, values)
        teaching = METHODS[name].teaching
        if teaching is not None:
            own["teacher"] = Teacher(self.build(teaching.teacher).eval())  # pyright: ignore[reportArgumentType]
        return method(self.backbone, self.classes, generator=seeded(), **own)

    def tuning(self, name: str) -> Tuning | None:
        """The published settings of the loop, without a warm-up, so that steps do something."""
        values = resolve(name, METHODS[name], {}, protocol="few_shot", shots=self.shots)
        tuning = tuning_of(METHODS[name], values)
        return None if tuning is None else replace(tuning, warmup_epochs=0)

    @cached_property
    def weights(self) -> set[int]:
        """Where the frozen weights lie in memory."""
        modules = [*self.backbone.modules(), *self.plain.layers]
        frozen = [x for m in modules for x in (*m.parameters(), *m.buffers())]
        return {x.untyped_storage().data_ptr() for x in frozen}


def seeded() -> torch.Generator:
    """The same randomness for all forms."""
    return torch.Generator().manual_seed(1)


class TuningStep:
    """A step of a method that takes some; what is timed lies between two of its epochs.

    Args:
        name: Of the method.
        bench: What it is tuned on.
        tuning: How.
    """

    def __init__(self, name: str, bench: Bench, tuning: Tuning) -> None:
        self.bench, self.tuning = bench, tuning
        self.method = bench.build(name)
        self.start = {key: x.clone() for key, x in self.method.state_dict().items()}
        self.images = min(tuning.batch_size, len(bench.rows[0]))
        self.what = f"step of {self.images}"

    def fit(self, form: str, steps: int) -> tuple[tuple[float, ...], list[Tick]]:
        """Losses, and the ticks, of so many steps from the start; ticks of its last stage alone."""
        self.method.load_state_dict(self.start)
        rows = self.bench.rows[0][: self.images]
        with self.bench.form(form) as source:
            train, none = self.bench.batch(source, rows), self.bench.batch(source, rows[:0])
            unlabelled = Unlabelled(Batch(source, rows, None), self.bench.classes)
            shots = OneStepEpochs(
                self.bench.shots, train, none, unlabelled=unlabelled, kept=form == "ours"
            )
            tuning = replace(self.tuning, epochs=steps, total_steps=0)
            report = self.method.fit(shots, tuning=tuning, generator=seeded())
        return report.losses, shots.ticks[-steps:]

    def outcome(self, form: str) -> list[Tensor]:
        """Losses of some steps, and the gradients of the last one."""
        losses, _ = self.fit(form, COMPARED)
        gradients = [p.grad.clone() for p in self.method.parameters() if p.grad is not None]
        return [torch.tensor(losses), *gradients]

    def seconds(self, form: str) -> float:
        """CPU seconds of a step."""
        _, ticks = self.fit(form, TIMED + 2)
        return statistics.median(b.seconds - a.seconds for a, b in pairwise(ticks[1:]))

    def work(self) -> Work:
        """Operations of a step."""
        with counting():
            _, ticks = self.fit("ours", 3)
        work, (begun, ended) = Work(), ticks[1:]
        work.book(ended.done - begun.done, ended.plain - begun.plain)
        work.cached_images = ended.cached_images - begun.cached_images
        return work

    def saved_bytes(self, form: str) -> int:
        """Bytes that autograd keeps between the way there and the way back."""
        return saved_bytes(lambda: self.fit(form, 1), self.bench.weights)


class Classification:
    """Everything that a method does which takes no steps: it is built, fitted, and classifies.

    Args:
        name: Of the method.
        bench: What it learns from and classifies.
    """

    def __init__(self, name: str, bench: Bench) -> None:
        self.name, self.bench = name, bench
        self.learns = METHODS[name].card.learns or METHODS[name].card.unlabelled
        self.what = f"{'fit, ' if self.learns else ''}{TESTED} images"

    def run(self, form: str) -> Tensor:
        """Logits of the test images."""
        bench = self.bench
        with bench.form(form) as source:
            method = bench.build(self.name)
            train, val, test = (bench.batch(source, rows) for rows in bench.rows)
            if self.learns:
                unlabelled = Unlabelled(Batch(source, bench.rows[0], None), bench.classes)
                shots = FewShot(bench.shots, train, val, unlabelled=unlabelled)
                method.fit(shots, tuning=None, generator=seeded())
            return logits_of(method, test)

    def outcome(self, form: str) -> list[Tensor]:
        """The logits."""
        return [self.run(form)]

    def seconds(self, form: str) -> float:
        """CPU seconds of everything."""
        started = time.process_time()
        self.run(form)
        return time.process_time() - started

    def work(self) -> Work:
        """Operations of everything."""
        with counting() as work:
            self.run("ours")
        return work

    def saved_bytes(self, form: str) -> int:
        """Bytes that autograd keeps."""
        return saved_bytes(lambda: self.run(form), self.bench.weights)


def case(name: str, bench: Bench) -> TuningStep | Classification:
    """What is measured of a method."""
    tuning = bench.tuning(name)
    return Classification(name, bench) if tuning is None else TuningStep(name, bench, tuning)


def refuse_different(measured: TuningStep | Classification) -> None:
    """Raises where the forms do not give the same, up to rounding.

    Raises:
        AssertionError: Says by how much.
    """
    wanted = measured.outcome("plain")
    gradients = [float(plain.abs().max()) for plain in wanted[1:]]
    # One that cancels, as that of an intercept before a batch norm, is rounding alone.
    rounding = 1e-5 * max(gradients, default=0.0)
    for form in FORMS[1:]:
        for found, plain in zip(measured.outcome(form), wanted, strict=True):
            limit = max(rounding, 2e-4 * float(plain.abs().max()))
            torch.testing.assert_close(found, plain, rtol=0, atol=limit)


def compare(name: str, bench: Bench, rounds: int) -> dict[str, Any]:
    """One row of the table."""
    measured = case(name, bench)
    refuse_different(measured)
    orders = [[*FORMS[first:], *FORMS[:first]] for first in range(len(FORMS))]  # none is favoured
    times = [
        {form: measured.seconds(form) for form in orders[number % len(orders)]}
        for number in range(rounds)
    ]
    ratios = [t["plain"] / t["ours"] for t in times]
    work = measured.work()
    saved = {form: measured.saved_bytes(form) for form in FORMS}
    return {
        "method": name,
        "what": measured.what,
        "cpu_seconds": {form: statistics.median(t[form] for t in times) for form in FORMS},
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "unkept_ratio": statistics.median(t["plain"] / t["unkept"] for t in times),
        "flops": {"plain": plain_flops(work, bench.backbone), "ours": work.done},
        "saved_bytes": saved,
    }


HEAD = (
    "method              what           plain ms   ours ms    ratio [range]        unkept   "
    "operations     saved"
)


def line(row: dict[str, Any]) -> str:
    """A row as a person reads it."""
    low, high = row["ratio_range"]
    cpu = row["cpu_seconds"]
    return (
        f"{row['method']:<19} {row['what']:<14} {1000 * cpu['plain']:>8.2f} "
        f"{1000 * cpu['ours']:>9.2f} {shown(row['ratio'])} {f'[{low:.2f}-{high:.2f}]':<14} "
        f"{shown(row['unkept_ratio'])} {shown(over(row['flops']), 12)} "
        f"{shown(over(row['saved_bytes']))}"
    )


def over(both: dict[str, int]) -> float | None:
    """Plain over ours; None where there is nothing to compare."""
    return both["plain"] / both["ours"] if both["ours"] else None


def shown(ratio: float | None, width: int = 8) -> str:
    """A ratio as a person reads it."""
    text = "" if ratio is None else f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.0f}x"
    return f"{text:>{width}}"


def markdown(report: dict[str, Any]) -> str:
    """A report as a table of docs/benchmarks.md."""
    heads = {"Method": "<", "Timed": "<", "Plain": ">", "Ours": ">", "CPU time [range]": "<"}
    heads |= {"Nothing kept": ">", "Operations": ">", "Saved activations": ">"}
    rows = [
        (
            row["method"],
            row["what"],
            *(milliseconds(row["cpu_seconds"][form]) for form in ("plain", "ours")),
            times_in(row["ratio"], row["ratio_range"]),
            times(row["unkept_ratio"]),
            times(over(row["flops"])),
            times(over(row["saved_bytes"])),
        )
        for row in report["rows"]
    ]
    return markdown_table(heads, rows)


def main() -> None:
    """Measures, prints the table, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    images = [n for n, m in METHODS.items() if TRACKS[m.track].backbones is DualEncoder]
    parser.add_argument("--methods", nargs="+", choices=images, default=list(images))
    parser.add_argument("--backbone", default="mini-clip", help="a name, a folder or a hub id")
    parser.add_argument("--classes", type=int, default=16)
    parser.add_argument("--shots", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="PATH", help="a file, or - for standard output")
    given = parser.parse_args()
    torch.set_num_threads(1)
    which = reference(given.backbone)
    backbone, rows = which.load(which.describe()), []
    if given.json != "-":
        print(HEAD)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(backbone, given.classes, given.shots, Path(folder))
        for name in given.methods:
            card = METHODS[name].card
            lacking = card.needs - backbone.card.capabilities
            if card.domains:  # pictures here have none, and steps with them touch no tower
                lacking |= {"domains"}
            if not lacking:
                rows.append(compare(name, bench, given.rounds))
            if given.json != "-":
                missing = f"{name:<19} needs {', '.join(sorted(lacking))}"
                print(missing if lacking else line(rows[-1]), flush=True)
    setting = {
        "benchmark": "methods",
        "backbone": given.backbone,
        "classes": given.classes,
        "shots": given.shots,
    }
    write_json({**setting, "rows": rows}, given.json)


if __name__ == "__main__":
    main()
