"""A pretraining in the store: what lies where, the training loop, and how it goes on after a stop.

    pretraining/<run_id>/
        recipe.json          what was asked for, and the data's signature
        tokenizer/           learned from the captions, written once
        losses.jsonl         loss, scale, accuracy in the batch and learning rate of every step
        evaluations.jsonl    zero-shot accuracy on validation rows, as it goes
        checkpoint-<n>.pt    weights and optimiser after n steps
        state.json           which checkpoint holds, and the time that it took to get there
        model/               the export with its card, put there by a rename when all is done
        mlflow.json          what is in MLflow

Whatever stops a training, the next one goes back to the checkpoint that `state.json` names, cuts
both lists to its step, and takes the same steps again. Batches follow from their step alone, so the
lists end up as if nothing had stopped it.
"""

import contextlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock, Timeout
from prefect import task
from prefect.cache_policies import NO_CACHE

from data_catalog import Dataset
from data_catalog.pairs import PairSource
from operators.files import commit_folder, write_atomic
from operators.pretraining import Recipe, Trainer, train_tokenizer
from operators.spec import digest
from tasks import heldout
from tasks.batches import Feed, PairWorker
from tasks.compute import ProgressArtifact
from tasks.device import device_kind
from tasks.progress import reporter, stage
from tasks.ray_cluster import WorkerPool
from tasks.recipe import Pretraining
from tasks.resolve import RequestError
from tasks.store import Store
from tasks.track import Point, Tracked, Tracker

SHOWN_SECONDS = 0.5  # between two updates of the progress
LOGGED_POINTS = 500  # steps that MLflow is told of, about
SMOOTHING = 0.05  # weight of a step in the pace that is shown
DRAFT = ".evaluated-"
STARVING = 0.2  # share of the time waiting for data above which a person is told


@dataclass(frozen=True)
class State:
    """How far a pretraining is, as its last checkpoint holds it.

    Attributes:
        step: Steps that were taken.
        checkpoint: Name of the file; empty before the first.
        train_seconds: In steps and in waiting for data; what a stop threw away is not counted.
        wait_seconds: Of those, waiting for data.
        evaluate_seconds: In evaluations.
        starts: Times that a process began or went on.
        skipped: Rows of the data that could not be read.
        threads: Cores that the sums were spread over: another number rounds differently.
        device: Kind of device.
        started_at: ISO 8601, UTC.
    """

    step: int = 0
    checkpoint: str = ""
    train_seconds: float = 0.0
    wait_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    starts: int = 0
    skipped: int = 0
    threads: int = 0
    device: str = ""
    started_at: str = ""


@dataclass(frozen=True)
class Run:
    """One pretraining: what was asked for, and its folder.

    Attributes:
        store: The store.
        asked: The recipe file's content, after what the command line changed.
        source: Where the pairs come from.
        run_id: Follows from name, recipe and data.
    """

    store: Store
    asked: Pretraining
    source: PairSource
    run_id: str

    @classmethod
    def of(cls, store: Store, asked: Pretraining) -> "Run":
        """The run of a recipe; touches nothing but the footers of its data.

        Raises:
            RequestError: The data is not there or malformed.
        """
        source = asked.source()
        return cls(store, asked, source, digest(_identity(asked, source)))

    @property
    def recipe(self) -> Recipe:
        """All that decides the weights, apart from the pairs."""
        return self.asked.recipe

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.store.pretraining / self.run_id

    @property
    def model(self) -> Path:
        """The export; it is there when all is done."""
        return self.folder / "model"

    @property
    def tokenizer(self) -> Path:
        """Folder of the tokenizer."""
        return self.folder / "tokenizer"

    @property
    def losses(self) -> Path:
        """One line a step."""
        return self.folder / "losses.jsonl"

    @property
    def evaluations(self) -> Path:
        """One line an evaluation."""
        return self.folder / "evaluations.jsonl"

    @property
    def receipt(self) -> Path:
        """What is in MLflow."""
        return self.folder / "mlflow.json"

    def state(self) -> State:
        """How far it is; the beginning where nothing is there."""
        try:
            return State(**json.loads((self.folder / "state.json").read_text()))
        except FileNotFoundError:
            return State()
        except (ValueError, TypeError) as error:
            raise RequestError(
                f"{self.folder / 'state.json'} is damaged ({error}). Remove {self.folder} to "
                "train anew."
            ) from error

    def points(self) -> Iterator[Point]:
        """What MLflow is told, as far as the files of the run hold it."""
        every = self.log_every
        for line in _lines(self.losses):
            if line["step"] % every == 0 or line["step"] in (1, self.recipe.steps):
                yield from (Point(n, line["step"], line[k]) for n, k in _LOGGED.items())
        for line in _lines(self.evaluations):
            for name, value in line["accuracy"].items():
                yield Point(f"val_accuracy/{name}", line["step"], value)
        if (self.model / heldout.RESULTS).is_file():
            for result in heldout.read_results(self.model)["results"]:
                yield Point(f"test_accuracy/{result.dataset}", self.recipe.steps, result.accuracy)

    @property
    def log_every(self) -> int:
        """Steps between two that MLflow is told of."""
        return max(1, self.recipe.steps // LOGGED_POINTS)

    def tracked(self, git_commit: str | None) -> Tracked:
        """What MLflow is told of it."""
        params = {**self.recipe.as_mapping(), "data": self.source.describe()}
        params["data_signature"] = self.source.signature()
        return Tracked(
            run_id=self.run_id, name=self.asked.name, params=params, git_commit=git_commit
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps every other process out.

        Raises:
            RequestError: One is in.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / ".lock", timeout=0):
                yield
        except Timeout as error:
            raise RequestError(
                f"another process trains run {self.run_id} of {self.asked.name} now. Wait for it, "
                "or stop it: the same command goes on from its checkpoint."
            ) from error


_LOGGED = {
    "loss": "loss",
    "scale": "scale",
    "in_batch_accuracy": "accuracy",
    "learning_rate": "learning_rate",
}


def _identity(asked: Pretraining, source: PairSource) -> dict[str, Any]:
    return {
        "name": asked.name,
        "recipe": asked.recipe.as_mapping(),
        "tokenizer_texts": asked.tokenizer_texts,
        "data": source.signature(),
    }


@task(name="tokenizer", cache_policy=NO_CACHE, persist_result=False)
def learn_tokenizer(run: Run) -> None:
    """Writes what was asked for, and learns the tokenizer unless it is there."""
    identity = _identity(run.asked, run.source)
    noted = {**identity, "describe": run.source.describe(), "asked": run.asked.model_dump()}
    for draft in run.folder.glob(f"{DRAFT}*"):  # of an evaluation that was killed
        shutil.rmtree(draft, ignore_errors=True)
    write_atomic(run.folder / "recipe.json", json.dumps(noted, indent=1).encode())
    if run.tokenizer.is_dir():
        return
    with stage("tokenizer") as learning, commit_folder(run.tokenizer) as draft:
        texts = run.source.texts(run.asked.tokenizer_texts)
        train_tokenizer(texts, run.recipe.vocabulary, run.recipe.context_length, draft)
        learning.summary = f"learned from up to {run.asked.tokenizer_texts:,} sentences"


@task(name="train", task_run_name="train-{run.run_id}", cache_policy=NO_CACHE, persist_result=False)
def train(
    run: Run,
    datasets: list[Dataset],
    pool: WorkerPool | None,
    *,
    device: str,
    threads: int | None,
    git_commit: str | None,
) -> State:
    """Takes the steps that are missing; returns the state after the last.

    The trainer is in this process, the driver: it is the one that has the GPU and hears Ctrl-C,
    and its weights never travel. Only arrays come in, from the workers' shared memory.

    Args:
        run: What to train.
        datasets: Whose validation rows are asked as it goes.
        pool: Workers of class `PairWorker`; None makes the batches here.
        device: As torch names it.
        threads: Cores for the sums; None takes those of the run so far, or what workers leave.
        git_commit: Of the code.

    Raises:
        PretrainingError: The loss is no number any more.
        KeyboardInterrupt: Somebody stopped it; a checkpoint was written first.
    """
    return _Training(run, datasets, device, threads, len(pool) if pool else 0).go(pool, git_commit)


class _Training:
    """The loop, and what it counts."""

    def __init__(
        self, run: Run, datasets: list[Dataset], device: str, threads: int | None, workers: int
    ) -> None:
        import torch

        self.run = run
        self.datasets = datasets
        self.device = device
        self.steps = run.recipe.steps
        before = run.state()
        chosen = threads or before.threads or max(1, (os.cpu_count() or 1) - workers)
        if before.threads and chosen != before.threads:
            reporter().say(
                f"threads: {before.threads} until now, {chosen} from here. Sums are rounded in "
                "another order, so the losses may differ in their last digits from here on."
            )
        torch.set_num_threads(chosen)
        self.trainer = Trainer(run.recipe, run.tokenizer, device)
        if before.checkpoint:
            self.trainer.restore(run.folder / before.checkpoint)
        _cut(run.losses, before.step)
        _cut(run.evaluations, before.step)
        self.state = replace(
            before,
            starts=before.starts + 1,
            threads=chosen,
            device=device_kind(device, chosen),
            started_at=before.started_at or datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.first = before.step
        self.skipped_before = before.skipped

    def go(self, pool: WorkerPool | None, git_commit: str | None) -> State:
        """All steps that are missing."""
        run, recipe = self.run, self.run.recipe
        if self.first == self.steps:
            return self.state
        worker = PairWorker(run.source, recipe.batch_size, recipe.image_size)
        feed = Feed(worker, pool, self.first, self.steps)
        bar = ProgressArtifact(f"pretrain-{run.run_id}", self.steps, "steps")
        with ExitStack() as stack:
            stop = stack.enter_context(_stopping())
            losses = stack.enter_context(run.losses.open("a", encoding="utf-8"))
            tracker = stack.enter_context(Tracker(run.store, run.tracked(git_commit), run.points()))
            progress = stack.enter_context(stage("train", self.steps))
            progress.to(self.first)
            batches = stack.enter_context(contextlib.closing(iter(feed)))
            self._loop(batches, feed, losses, tracker, progress, bar, stop)
            seconds = self.state.train_seconds
            progress.summary = (
                f"{self.state.step} steps, {_pace(recipe, self.steps, seconds)}, waiting for data "
                f"{self.share:.0%} of the time"
            )
        if self.share > STARVING:
            more = "--workers" if pool else "--workers 1"
            reporter().say(
                f"training waited for data {self.share:.0%} of the time: more {more}, or fewer "
                "--threads, may help."
            )
        return self.state

    @property
    def share(self) -> float:
        """Share of the time that was spent waiting for data."""
        return self.state.wait_seconds / max(self.state.train_seconds, 1e-9)

    def _loop(
        self,
        batches: Iterable[Any],
        feed: Feed,
        losses: Any,
        tracker: Tracker,
        progress: Any,
        bar: ProgressArtifact,
        stop: "_Stop",
    ) -> None:
        import torch

        asked, recipe = self.run.asked, self.run.recipe
        waited = feed.wait_seconds
        shown = began = time.perf_counter()
        usual: float | None = None  # seconds a step, of late
        recent = (self.first, began)  # step and time that the pace is measured from
        for batch in batches:
            if self.trainer.at == self.first:  # until now workers were starting
                began, waited = time.perf_counter(), feed.wait_seconds
                recent = (self.first, began)
            result = self.trainer.step(torch.from_numpy(batch.images), batch.texts)
            step = self.trainer.at
            line = {"step": step, **asdict(result)}
            losses.write(json.dumps(line) + "\n")
            now = time.perf_counter()
            self.state = replace(
                self.state,
                step=step,
                train_seconds=self.state.train_seconds + now - began,
                wait_seconds=self.state.wait_seconds + feed.wait_seconds - waited,
                skipped=max(self.skipped_before, feed.skipped),
            )
            waited = feed.wait_seconds
            last = step == self.steps
            if step % self.run.log_every == 0 or step == 1 or last:
                numbers = {name: line[key] for name, key in _LOGGED.items()}
                pace = (step - recent[0]) * recipe.batch_size / max(now - recent[1], 1e-9)
                recent = (step, now)
                numbers |= {"pairs_per_second": pace, "wait_share": self.share}
                tracker.log(step, numbers)
            taken = now - began
            usual = taken if usual is None else usual + SMOOTHING * (taken - usual)
            if now - shown >= SHOWN_SECONDS or last:
                shown = now
                left = span((self.steps - step) * usual)
                pace = _pace(recipe, 1, usual)
                progress.note(f"step {step}, loss {result.loss:.3f}, {pace}, {left} left")
                progress.to(step)
                bar.show(step)
            if self.datasets and (step % asked.evaluate_every == 0 or last):
                self._evaluate(step, tracker)
                recent = (step, time.perf_counter())
            if step % asked.checkpoint_every == 0 or last or stop.asked:
                self._checkpoint(losses)
            stop.obey()
            began = time.perf_counter()

    def _evaluate(self, step: int, tracker: Tracker) -> None:
        started = time.perf_counter()
        with TemporaryDirectory(prefix=DRAFT, dir=self.run.folder) as draft:
            folder = self.trainer.export(Path(draft, self.run.asked.name))
            found = heldout.evaluate(folder, self.datasets, "val", self.device)
        accuracy = {one.dataset: one.accuracy for one in found}
        with self.run.evaluations.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "accuracy": accuracy}) + "\n")
        tracker.log(step, {f"val_accuracy/{name}": value for name, value in accuracy.items()})
        each = ", ".join(f"{name} {100 * value:.1f} %" for name, value in accuracy.items())
        reporter().say(f"step {step}: zero-shot on validation rows: {each}")
        self.state = replace(
            self.state,
            evaluate_seconds=self.state.evaluate_seconds + time.perf_counter() - started,
        )

    def _checkpoint(self, losses: Any) -> None:
        """Writes the lists, then the weights, then the state that vouches for both."""
        losses.flush()
        os.fsync(losses.fileno())
        name = f"checkpoint-{self.trainer.at:08d}.pt"
        self.trainer.save(self.run.folder / name)
        self.state = replace(self.state, step=self.trainer.at, checkpoint=name)
        _write_state(self.run, self.state)
        for old in self.run.folder.glob("checkpoint-*.pt"):
            if old.name != name:
                old.unlink()


class _Stop:
    """Whether somebody asked to stop; a step that has begun is finished first."""

    def __init__(self) -> None:
        self.asked: int | None = None
        self.before: dict[int, Any] = {}

    def note(self, number: int, _: Any) -> None:
        """Handler of the signals; a second one acts at once."""
        self.asked = number
        self.release()

    def release(self) -> None:
        """Puts the handlers back that were there."""
        while self.before:
            number, handler = self.before.popitem()
            signal.signal(number, handler)

    def obey(self) -> None:
        """Does what the signal would have done."""
        if self.asked is not None:
            signal.raise_signal(signal.Signals(self.asked))


@contextmanager
def _stopping() -> Iterator[_Stop]:
    """Holds Ctrl-C and SIGTERM back until a checkpoint is written."""
    stop = _Stop()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            stop.before[number] = signal.signal(number, stop.note)
    try:
        yield stop
    finally:
        stop.release()


def _write_state(run: Run, state: State) -> None:
    write_atomic(run.folder / "state.json", json.dumps(asdict(state), indent=1).encode())


def _cut(path: Path, step: int) -> None:
    """Keeps the lines up to a step; what was being written when it stopped goes, too."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            if line.endswith(b"\n") and json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError):
            continue
    write_atomic(path, b"".join(kept))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)


def _pace(recipe: Recipe, steps: int, seconds: float) -> str:
    return f"{steps * recipe.batch_size / max(seconds, 1e-9):,.0f} pairs/s"


def span(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
