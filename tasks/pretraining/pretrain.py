"""The training loop of a pretraining, which `pretrain_run.py` keeps in the store."""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_catalog import Dataset
from data_catalog.kinds.pool import cores
from operators.files import commit_folder
from operators.pretraining import Recipe, Trainer, train_tokenizer
from tasks.computing.batches import Feed, PairWorker
from tasks.computing.compute import ProgressArtifact
from tasks.computing.device import device_kind
from tasks.computing.worker_pool import WorkerPool
from tasks.pretraining import heldout
from tasks.pretraining.pretrain_run import LOGGED, PretrainingRun, State
from tasks.pretraining.track import Tracker
from tasks.progress import reporter, stage
from tasks.stopping import Stop, stopping

SHOWN_SECONDS = 0.5  # between two updates of the progress
SMOOTHING = 0.05  # weight of a step in the pace that is shown
DRAFT = ".evaluated-"
STARVING = 0.2  # share of the time waiting for data above which a person is told


@task(name="tokenizer", cache_policy=NO_CACHE, persist_result=False)
def learn_tokenizer(run: PretrainingRun) -> None:
    """Writes what was asked for, and learns the tokenizer unless it is there."""
    for draft in run.folder.glob(f"{DRAFT}*"):  # of an evaluation that was killed
        shutil.rmtree(draft, ignore_errors=True)
    run.note_request()
    if run.tokenizer.is_dir():
        return
    with stage("tokenizer") as learning, commit_folder(run.tokenizer) as draft:
        texts = run.source.texts(run.asked.tokenizer_texts)
        train_tokenizer(texts, run.recipe.vocabulary, run.recipe.context_length, draft)
        learning.summary = f"learned from up to {run.asked.tokenizer_texts:,} sentences"


@task(name="train", task_run_name="train {run.run_id}", cache_policy=NO_CACHE, persist_result=False)
def train(
    run: PretrainingRun,
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
        self,
        run: PretrainingRun,
        datasets: list[Dataset],
        device: str,
        threads: int | None,
        workers: int,
    ) -> None:
        import torch

        self.run = run
        self.datasets = datasets
        self.device = device
        self.steps = run.recipe.steps
        before = run.state()
        chosen = threads or before.threads or max(1, cores() - workers)
        if before.threads and chosen != before.threads:
            reporter().say(
                f"threads: {before.threads} until now, {chosen} from here. Sums are rounded in "
                "another order, so the losses may differ in their last digits from here on."
            )
        torch.set_num_threads(chosen)
        self.trainer = Trainer(run.recipe, run.tokenizer, device)
        if before.checkpoint:
            self.trainer.restore(run.folder / before.checkpoint)
        run.cut_lists(before.step)
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
            stop = stack.enter_context(stopping())
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
        stop: Stop,
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
                numbers = {name: line[key] for name, key in LOGGED.items()}
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
        self.run.write_state(self.state)
        for old in self.run.folder.glob("checkpoint-*.pt"):
            if old.name != name:
                old.unlink()


def _pace(recipe: Recipe, steps: int, seconds: float) -> str:
    return f"{steps * recipe.batch_size / max(seconds, 1e-9):,.0f} pairs/s"


def span(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
