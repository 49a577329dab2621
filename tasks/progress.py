"""Telling a person how far the work is, without knowing how it is shown.

The command line shows bars, a flow run under a server writes to its log. Whoever starts the
work says which; the tasks only report.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from tasks.plain_text import without_secrets


class Reporter(Protocol):
    """Shows stages of work. Called from several threads."""

    def begin(self, stage: str, total: int | None) -> None:
        """A stage begins; `total` is in its own unit, None if unknown."""
        ...

    def advance(self, stage: str, done: int, total: int | None) -> None:
        """`done` of `total` are done."""
        ...

    def note(self, stage: str, text: str) -> None:
        """What the stage is at, beside how far it is."""
        ...

    def end(self, stage: str, summary: str) -> None:
        """A stage is over."""
        ...

    def say(self, text: str) -> None:
        """One line."""
        ...


class LogReporter:
    """Writes to the log, at most once every few seconds a stage."""

    def __init__(self, logger: logging.Logger, every_seconds: float = 5.0) -> None:
        self.logger = logger
        self.every_seconds = every_seconds
        self._last: dict[str, float] = {}
        self._notes: dict[str, str] = {}

    def begin(self, stage: str, total: int | None) -> None:
        """See `Reporter`."""
        self._last[stage] = time.monotonic()

    def advance(self, stage: str, done: int, total: int | None) -> None:
        """See `Reporter`."""
        if time.monotonic() - self._last.get(stage, 0.0) >= self.every_seconds:
            self._last[stage] = time.monotonic()
            note = f", {self._notes[stage]}" if stage in self._notes else ""
            of = "?" if total is None else total
            self.logger.info("%s: %d of %s%s", stage, done, of, without_secrets(note))

    def note(self, stage: str, text: str) -> None:
        """See `Reporter`; shown with the next line."""
        self._notes[stage] = text

    def end(self, stage: str, summary: str) -> None:
        """See `Reporter`."""
        self.logger.info("%s: %s", stage, without_secrets(summary))

    def say(self, text: str) -> None:
        """See `Reporter`."""
        self.logger.info(without_secrets(text))


_current: ContextVar[Reporter | None] = ContextVar("reporter", default=None)


def reporter() -> Reporter:
    """The reporter of this run; the log where none was chosen."""
    chosen = _current.get()
    return chosen if chosen is not None else LogReporter(logging.getLogger("shotboard"))


def chosen() -> bool:
    """Whether a reporter was chosen for this run."""
    return _current.get() is not None


@contextmanager
def reporting_to(choice: Reporter) -> Iterator[None]:
    """Reports to `choice` within the block, and within the threads that Prefect starts from it."""
    token = _current.set(choice)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def stage(name: str, total: int | None = None) -> Iterator["Stage"]:
    """A stage of work; `Stage.to` says how far it is.

    It ends with its `summary`, or with how long it took to be done, to fail or to be stopped.
    """
    this = Stage(name, total, reporter())
    this.reporter.begin(name, total)
    started = time.monotonic()
    outcome = "done in"
    try:
        yield this
    except BaseException as error:
        outcome = "failed after" if isinstance(error, Exception) else "stopped after"
        raise
    finally:
        took = f"{outcome} {time.monotonic() - started:.1f} s"
        this.reporter.end(name, this.summary or took)


class Stage:
    """A stage that is under way."""

    def __init__(self, name: str, total: int | None, reporter: Reporter) -> None:
        self.name = name
        self.total = total
        self.reporter = reporter
        self.summary = ""
        self.done = 0
        self.failed = 0
        self.watch: Callable[[Stage], None] | None = None  # is told after each step

    def to(self, done: int, total: int | None = None) -> None:
        """`done` are done; `total` becomes known or changes."""
        self.done = done
        self.total = total if total is not None else self.total
        self.reporter.advance(self.name, self.done, self.total)

    def note(self, text: str) -> None:
        """What the stage is at, beside how far it is."""
        self.reporter.note(self.name, text)

    def step(self, by: int = 1, failed: int = 0) -> None:
        """`by` more are done, of which some have failed."""
        self.failed += failed
        self.to(self.done + by)
        if self.watch:
            self.watch(self)
