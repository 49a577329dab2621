"""What a GPU makes of steps, trials and images, in less than eight minutes.

    python benchmarks/gpu.py                          # on the first GPU, ViT-B/16 shapes
    python benchmarks/gpu.py --device cpu --tiny      # the same way, in seconds, for tests
    python benchmarks/gpu.py --json docs/figures/gpu.json

A step is measured in the plain form of the published codes (steps.py), and as the tuning loop takes
it: launched one by one, played back from a CUDA graph, and with seeds that are tuned together, a
trial and step. Each in fp32, in TF32 and in bf16 (the plain form under autocast). Gradients of each
form are compared with those of ours in fp32. `Share` is operations that were done, of those that a
plain product of large matrices does in the same time, precision and run. A trial is all of
`run_trial` on drawn features, with as many of the published steps as its time allows. Weights are
random, so times alone mean something. What there was no time or memory for is named.

Times are wall seconds of some calls in a row; the device is waited for before each look at the
clock, and warm before the first. `--minutes` bounds all of it.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_tables import line, markdown
from measuring import write_json
from stacking import together
from steps import BATCH, SHAPES, PlainClip, names, plain_loss, save_clip, started
from torch.utils._python_dispatch import TorchDispatchMode

from operators.backbones import PRECISIONS, DualEncoder, reference
from operators.engine.accounting import counting
from operators.engine.arithmetic import products_in
from operators.engine.graphs import ASKED, RepeatedSteps, on_cpu, on_gpu
from operators.engine.stacking import lanes_worth
from operators.episodes.episode import Classes
from operators.episodes.table import Table
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.spec import TrialSpec
from operators.trials.trial import peak_memory, reset_peak_memory, run_trial

Loaded = Callable[[str], DualEncoder]  # the backbone in a precision
WARM = 3  # calls before the first measured one: libraries choose what they do, memory is taken
ROUNDS = 3
EACH_SECONDS = 2.0  # of a measurement
MOST_SECONDS = 10.0  # of one call of a form
SHOTS, TESTED = 16, 5  # images a class
STEPS_SHARE = 0.55  # of the time; the trials have the rest
SIDE = 8192  # of the matrices whose rate is the card's
IMAGES = 256  # that are encoded at once
TINY_SIDE, TINY_IMAGES, TINY_STEPS = 128, 8, 4


class Clock:
    """Measures on a device, and says how much time is left.

    Args:
        device: That is waited for.
        seconds: Of everything.
    """

    def __init__(self, device: torch.device, seconds: float) -> None:
        self.device = device
        self.ends = time.perf_counter() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self.ends - time.perf_counter()

    def once(self, call: Callable[[], Any]) -> float:
        """Seconds of a call, from a device at rest to a device at rest."""
        self._wait()
        began = time.perf_counter()
        call()
        self._wait()
        return time.perf_counter() - began

    def __call__(self, call: Callable[[], Any]) -> float:
        """Seconds of a call, the median of rounds of as many calls as fit `EACH_SECONDS`."""
        for _ in range(WARM):
            if self.once(call) > EACH_SECONDS:
                return self.once(call)
        most = 200 if self.device.type == "cuda" else 1
        fit = int(EACH_SECONDS / ROUNDS / max(self.once(call), 1e-6))
        calls = max(1, min(fit, most))

        def some() -> None:
            for _ in range(calls):
                call()

        return statistics.median(self.once(some) / calls for _ in range(ROUNDS))

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class Calls(TorchDispatchMode):
    """Counts the operations that the host names while it is on."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Counts one."""
        self.count += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def plain_in(precision: str, device: torch.device) -> Iterator[None]:
    """The arithmetic of the published codes: the products of a precision, half ones by autocast."""
    half = PRECISIONS[precision] != torch.float32
    kind = PRECISIONS[precision] if half else torch.bfloat16
    with products_in(precision), torch.autocast(device.type, kind, half):
        yield


def matrix_rate(precision: str, side: int, clock: Clock) -> float:
    """Operations a second of a product of large matrices."""
    made = torch.randn(2, side, side, device=clock.device).to(PRECISIONS[precision])
    with products_in(precision):
        return 2 * side**3 / clock(lambda: torch.mm(made[0], made[1]))


def encode_rows(loaded: Loaded, options: Any) -> Iterator[dict[str, Any]]:
    """Images a second through the frozen tower, from pinned memory to features on the host.

    Args:
        loaded: Gives the backbone in a precision.
        options: `clock`, `shape`, `images`, `rates` and `precisions`.
    """
    device, side = options.clock.device, SHAPES[options.shape]["sizes"]["image_size"]
    pixels = torch.randn(options.images, 3, side, side)
    pixels = pixels.pin_memory() if device.type == "cuda" else pixels
    for precision in options.precisions:
        backbone = loaded(precision)

        def encode(backbone: DualEncoder = backbone) -> None:
            backbone.encode_images(pixels.to(device, non_blocking=True)).cpu()

        with products_in(precision), torch.no_grad():
            rate = options.images / options.clock(encode)
        share = rate * backbone.image_flops / options.rates[precision]
        yield {"precision": precision, "rate": rate, "share": share}


def forms_of(
    name: str, backbone: DualEncoder, classes: int, options: Any
) -> tuple[Any, dict[str, tuple[Callable[[], Any], int]]]:
    """A method, and the forms of its step: a call, and how many steps of a trial it takes.

    Args:
        name: Of the method.
        backbone: In some precision.
        classes: That are learned.
        options: See `step_rows`.
    """
    torch.manual_seed(0)  # images are drawn with it
    method, batch, _ = started(name, options.shape, backbone, classes)

    def step(loss: Callable[[], torch.Tensor]) -> None:
        method.zero_grad(set_to_none=True)
        loss().backward()

    forms: dict[str, tuple[Callable[[], Any], int]] = {
        "ours": (partial(step, partial(method.loss, batch)), 1),
        "plain": (partial(step, partial(plain_loss, options.plain, method, batch)), 1),
    }
    for lanes in options.lanes:
        seeds = range(1, lanes)
        more = [started(name, options.shape, backbone, classes, seed)[:2] for seed in seeds]
        trials = [(method, batch), *more]
        forms[f"{lanes} seeds"] = (partial(together, trials, options.steps), lanes * options.steps)
    if METHODS[name].repeats:  # the last: nobody knows what a recording that fails leaves behind
        learned = [p for p in method.parameters() if p.requires_grad]
        record = on_gpu if options.clock.device.type == "cuda" else on_cpu
        forms["graph"] = (partial(RepeatedSteps(method.loss, learned, record).take, batch), 1)
    return method, forms


def step_rows(name: str, loaded: Loaded, classes: int, options: Any) -> Iterator[dict[str, Any]]:
    """A row for each form of a step of a method, in each precision.

    Args:
        name: Of the method.
        loaded: Gives the backbone in a precision.
        classes: That are learned.
        options: `clock`, `shape`, `plain`, `rates`, `lanes`, `steps` and `precisions`.
    """
    exact, device = None, options.clock.device
    through_tower = "visual-prompts" in METHODS[name].card.needs
    for precision in options.precisions:
        backbone = loaded(precision)
        tokens = BATCH[name] * backbone.image_tokens if through_tower else 0
        method, forms = forms_of(name, backbone, classes, options)
        with products_in(precision), counting() as work, Calls() as calls:
            forms["ours"][0]()
        lanes = lanes_worth(device, classes, tokens, work.done)
        found = {"calls": calls.count, "lanes_worth": lanes}
        exact = _gradients(method) if exact is None else exact
        step = 0.0
        for form, (call, steps) in forms.items():
            row = {"method": name, "classes": classes, "precision": precision, "form": form}
            if step * steps > MOST_SECONDS:
                yield row | {"left_out": "time"}
                continue
            inside = plain_in if form == "plain" else lambda precision, _: products_in(precision)
            try:
                reset_peak_memory(device)
                with inside(precision, device):
                    seconds = options.clock(call) / steps
            except Exception as error:  # what a form cannot do on a card costs itself alone
                yield row | {"left_out": _reason(error)}
                continue
            row |= {"seconds": seconds, "peak_bytes": peak_memory(device)}
            row["error"] = float((_gradients(method) - exact).abs().max() / exact.abs().max())
            if form == "ours":
                step, row = seconds, row | found
            if form != "plain":
                row["share"] = work.done / seconds / options.rates[precision]
            yield row


def _gradients(method: Any) -> torch.Tensor:
    """All gradients of a method, in one vector, on the host."""
    found = [p.grad.detach().flatten().float() for p in method.parameters() if p.grad is not None]
    return torch.cat(found).cpu()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"


class DrawnData:
    """A dataset whose features are drawn.

    Args:
        classes: How many.
        width: Of a feature.
    """

    def __init__(self, classes: int, width: int) -> None:
        labels = np.repeat(np.arange(classes, dtype=np.int32), SHOTS + TESTED)
        splits = np.tile(np.array(["train"] * SHOTS + ["test"] * TESTED), classes)
        self.table = Table(labels, splits, classes)
        self.all_classes = Classes(names(classes), ("a photo of a {}.",))
        drawn = torch.Generator().manual_seed(0)
        self.kept = torch.randn(len(labels), width, generator=drawn)

    def features(self, rows: np.ndarray, view: Any = None) -> torch.Tensor:
        """See `ImageSource`; on the host, as those of files are."""
        return self.kept[torch.from_numpy(rows)]

    def pixels(self, rows: np.ndarray, view: Any = None) -> torch.Tensor:
        """See `ImageSource`; CoOp asks for none."""
        raise NotImplementedError


def trial(
    backbone: DualEncoder, precision: str, classes: int, graphs: bool, step: float, seconds: float
) -> dict[str, Any]:
    """A trial of CoOp, from its specification to its predictions.

    Args:
        backbone: In that precision.
        precision: Key of `PRECISIONS`.
        classes: That are learned and tested.
        graphs: Whether steps are played back.
        step: Seconds that one takes, by the measurements before.
        seconds: That the fit may take.
    """
    values = resolve("coop", METHODS["coop"], {}, protocol="few_shot", shots=SHOTS)
    whole = values["epochs"] * -(-SHOTS * classes // values["batch_size"])
    steps = max(1, min(whole, int(seconds / step)))
    spec = TrialSpec(
        **{"method": "coop", "method_revision": 1, "protocol": "few_shot", "shots": SHOTS},
        **{"backbone": "drawn", "backbone_fingerprint": "", "seed": 1, "precision": precision},
        **{"dataset": "drawn", "dataset_fingerprint": ""},
        hyperparameters={**values, "total_steps": steps},
    )
    data = DrawnData(classes, backbone.feature_width)
    os.environ[ASKED] = "1" if graphs else "0"
    try:
        cost = run_trial(spec, backbone, data, data).cost
    finally:
        del os.environ[ASKED]
    return {
        **{"steps": cost.steps, "published_steps": whole, "operations": cost.tune_flops},
        **{"tune_seconds": cost.tune_seconds, "evaluate_seconds": cost.evaluate_seconds},
        "peak_bytes": cost.peak_memory_bytes,
    }


def trial_rows(
    loaded: Loaded, steps: list[dict[str, Any]], options: Any
) -> Iterator[dict[str, Any]]:
    """A row for each trial; what is left of the time is shared out among them.

    Args:
        loaded: Gives the backbone in a precision.
        steps: Rows of steps, which say what one of a trial takes.
        options: `clock`, `rates`, `trial_classes`, `trial_forms` and `trial_seconds`.
    """
    wanted = [(c, p, g) for c in options.trial_classes for p, g in options.trial_forms]
    for place, (classes, precision, graphs) in enumerate(wanted):
        row: dict[str, Any] = {"method": "coop", "classes": classes}
        row |= {"precision": precision, "graphs": graphs}
        known = [
            each["seconds"] * max(1.0, classes / each["classes"])
            for each in steps
            if each.get("form") == "ours" and each["precision"] == precision and "seconds" in each
        ]
        step = min(known, default=1.0)
        seconds = min(0.8 * options.clock.left / (len(wanted) - place), options.trial_seconds)
        if options.clock.left < 5 * step:
            yield row | {"left_out": "time"}
            continue
        try:
            row |= trial(loaded(precision), precision, classes, graphs, step, seconds)
        except Exception as error:  # as of a step
            yield row | {"left_out": _reason(error)}
            continue
        yield row | {"share": row["operations"] / row["tune_seconds"] / options.rates[precision]}


def measure(options: Any, folder: Path) -> dict[str, Any]:
    """Everything, what matters most first."""
    clock, device = options.clock, options.clock.device
    which = reference(str(folder))
    card, kept = which.describe(), dict[str, DualEncoder]()

    def loaded(precision: str) -> DualEncoder:
        if precision not in kept:
            kept.clear()  # one at a time: the memory is that of a worker
            kept[precision] = which._replace(precision=precision).load(card, str(device))
        return kept[precision]

    options.rates = {p: matrix_rate(p, options.side, clock) for p in options.precisions}
    encoded = list(encode_rows(loaded, options))
    options.plain = PlainClip(folder).to(device)
    steps: list[dict[str, Any]] = []
    until = clock.left * (1 - STEPS_SHARE)
    for name, classes in ((n, c) for c in options.classes for n in options.methods):
        if clock.left < until:
            steps.append({"method": name, "classes": classes, "form": "", "left_out": "time"})
            continue
        for row in step_rows(name, loaded, classes, options):
            steps.append(row)
            options.say(line(row))
    options.plain = None
    trials = []
    for row in trial_rows(loaded, steps, options):
        trials.append(row)
        options.say(line(row))
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {
        **{"benchmark": "gpu", "device": named, "torch": torch.__version__},
        **{"shape": options.shape, "rates": options.rates, "encode": encoded},
        **{"steps": steps, "trials": trials},
    }


def main() -> None:
    """Measures, prints the tables, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--tiny", action="store_true", help="small towers and few steps")
    parser.add_argument("--methods", nargs="+", choices=BATCH, default=["coop"])
    parser.add_argument("--classes", type=int, nargs="+")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS)
    parser.add_argument("--lanes", type=int, nargs="+", help="seeds that are tuned together")
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--json", metavar="PATH", help="a file, or - for standard output")
    given = parser.parse_args()
    device, tiny = torch.device(given.device), given.tiny
    there = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= there:
        parser.error(f"--device {device}: torch sees {there} GPUs. Try --device cpu --tiny.")
    if device.type == "cuda":
        torch.cuda.set_device(device)  # streams and graphs are of the current one
    torch.set_num_threads(1)
    given.clock = Clock(device, 60 * given.minutes)
    given.say = (lambda _: None) if given.json == "-" else partial(print, flush=True)
    given.shape = "tiny" if tiny else "vit-b16"
    given.side, given.images = (TINY_SIDE, TINY_IMAGES) if tiny else (SIDE, IMAGES)
    given.steps = TINY_STEPS if tiny else 8
    given.lanes = given.lanes or ([2] if tiny else [2, 4, 8])
    given.classes = given.classes or ([3] if tiny else [10, 100, 1000])
    given.trial_classes = [3, 5] if tiny else [100, 1000]
    given.trial_seconds = 0.1 if tiny else 120.0
    usual = ["fp32", "bf16"] if device.type == "cpu" else ["fp32", "tf32", "bf16"]
    given.precisions = given.precisions or usual
    given.trial_forms = [("fp32", False)]
    if device.type == "cuda":
        given.trial_forms += [("tf32", False), ("tf32", True)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "clip"
        save_clip(SHAPES[given.shape], folder)
        report = measure(given, folder)
    if given.json != "-":
        print(f"\n{markdown(report)}")
    write_json(report, given.json)


if __name__ == "__main__":
    main()
