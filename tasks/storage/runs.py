"""The manifest of a run: which trials it asked for, when, and where it came from."""

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from tasks.plain_text import without_secrets
from tasks.storage import processes
from tasks.storage.store import Store

_PACKAGES = ("tasks", "operators", "data_catalog", "flows")


RUNNING, COMPLETED, FAILED, CANCELLED, CRASHED = STATUSES = (
    "running",
    "completed",
    "failed",
    "cancelled",
    "crashed",
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a suite, as `runs/<run_id>.json` keeps it.

    A partial run leaves out or changes parts of its suite: what it lacks has not vanished.

    Attributes:
        run_id: Sixteen hex digits.
        suite: Its name.
        started_at: ISO 8601, UTC.
        finished_at: When it came to its end: every trial was there, computed or failed. None for
            one that goes on, or that was broken off.
        trial_ids: What it asked for.
        flow_run_id: Of Prefect.
        git_commit: See `git_commit`.
        git_dirty: See `git_dirty`.
        partial: Whether it is not of the suite as shipped.
        status: `running`, `completed`, `failed` (trials or the run itself), `cancelled`; where its
            process is gone, `read` says `crashed`.
        ended_at: When it ended, in whatever way.
        reused: Trials that were there when it was planned.
        computed: Trials that it added; None until it ends.
        elsewhere: Trials that it missed and other runs added meanwhile; None until it ends.
        failed: Trials that failed; None until it ends.
        error: What broke it off, or how many trials failed; None where all went well.
        host: Where it ran.
        pid: Its process there.
        process_started_at: Seconds since the epoch; tells that process from a later one of its id.
        process_key: Likewise, see `tasks.storage.processes`.
        searches: What was searched, and what was chosen; see `tasks.planning.search.Search.record`.
    """

    run_id: str
    suite: str
    started_at: str
    finished_at: str | None
    trial_ids: tuple[str, ...]
    flow_run_id: str | None
    git_commit: str | None
    git_dirty: bool | None
    partial: bool
    status: str = RUNNING
    ended_at: str | None = None
    reused: int | None = None
    computed: int | None = None
    failed: int | None = None
    error: str | None = None
    host: str | None = None
    pid: int | None = None
    process_started_at: float | None = None
    searches: tuple[Mapping[str, Any], ...] = ()
    elsewhere: int | None = None
    process_key: str = ""


def begin(
    store: Store,
    *,
    suite: str,
    trial_ids: Sequence[str],
    flow_run_id: str | None,
    done: Collection[str] = (),
    partial: bool = False,
    searches: Iterable[Mapping[str, Any]] = (),
) -> Run:
    """Writes the manifest of a run that begins.

    Args:
        store: Gets it.
        suite: Its name.
        trial_ids: What it asks for.
        flow_run_id: Of Prefect.
        done: Which of them were there when it was planned. The store may have more by now: those
            the run misses, and other runs have added.
        partial: Whether it is not of the suite as shipped.
        searches: What was searched, and what was chosen.
    """
    here = processes.this_one()
    run = Run(
        run_id=uuid.uuid4().hex[:16],
        suite=suite,
        started_at=_now(),
        finished_at=None,
        trial_ids=tuple(trial_ids),
        flow_run_id=flow_run_id,
        git_commit=git_commit(),
        git_dirty=git_dirty(),
        partial=partial,
        reused=len(set(done).intersection(trial_ids)),
        host=here.host,
        pid=here.pid,
        process_started_at=here.started_at,
        process_key=here.key,
        searches=tuple(searches),
    )
    _write(store, run)
    processes.show_life(_manifest(store, run), store.tell)
    return run


def extend(
    store: Store,
    run: Run,
    trial_ids: Sequence[str],
    searches: Iterable[Mapping[str, Any]],
    done: Collection[str] = (),
) -> Run:
    """Notes trials that follow from what a run has chosen.

    Args:
        store: Where its trials are.
        run: As it was noted before.
        trial_ids: All of its trials now.
        searches: What was chosen.
        done: Which of its trials were there when those were planned.
    """
    more = set(trial_ids).difference(run.trial_ids)
    reused = (run.reused or 0) + len(more.intersection(done))
    run = replace(run, trial_ids=tuple(trial_ids), searches=tuple(searches), reused=reused)
    _write(store, run)
    return run


def finish(
    store: Store,
    run: Run,
    *,
    taken: Collection[str] | None = None,
    failed: int = 0,
    error: BaseException | str | None = None,
    cancelled: bool = False,
) -> Run:
    """Notes that a run has ended, and how.

    Args:
        store: Where its trials are.
        run: As `begin` gave it.
        taken: Ids of the trials that it took upon itself; what came beside them is of other runs.
            None where there were none.
        failed: Trials that failed.
        error: What went wrong beside them.
        cancelled: Whether somebody stopped it.
    """
    there = store.done().intersection(run.trial_ids)
    came = max(0, len(there) - (run.reused or 0))
    computed = came if taken is None else len(there.intersection(taken))
    whole = len(there) + failed >= len(run.trial_ids)
    text = " ".join(without_secrets(str(error)).split()) if error else None
    if failed and not text:
        text = f"{failed} of {len(run.trial_ids)} trials failed"
    if not whole and not text:
        text = f"{len(run.trial_ids)} trials were asked for, of which some are missing"
    now = max(_now(), run.started_at)  # the clock may have been set back since
    ended = replace(
        run,
        finished_at=now if whole and not cancelled else None,
        ended_at=now,
        status=CANCELLED if cancelled else FAILED if text else COMPLETED,
        computed=computed,
        elsewhere=max(0, came - computed),
        failed=failed,
        error=text,
    )
    processes.show_life_no_more(_manifest(store, run))
    _write(store, ended)
    return ended


@contextmanager
def broken_off(
    store: Store, run: Run, taken: Callable[[], Collection[str]] | None = None
) -> Iterator[None]:
    """Notes of a run that is broken off in the block by what, or that somebody cancelled it.

    Args:
        store: Where its trials are.
        run: As `begin` gave it.
        taken: Gives the trials that it has taken upon itself by then; see `finish`.
    """
    try:
        yield
    except BaseException as error:
        run = _noted(_manifest(store, run)) or run  # trials may have come to it since
        stopped = not isinstance(error, Exception)  # Ctrl-C, or Prefect's way to cancel
        why = str(error) or ("stopped before its end" if stopped else type(error).__name__)
        finish(store, run, taken=taken and taken(), error=why, cancelled=stopped)
        raise


def state(values: Mapping[str, Any], manifest: Path) -> str:
    """Whether a run goes on, or how it ended.

    On this machine its process is looked for; one elsewhere shows that it lives by the time of its
    manifest. Runs of versions that noted no process are told by that too.

    Args:
        values: What the manifest holds, or its row on the board.
        manifest: The file.
    """
    if values.get("finished_at"):
        return values.get("status") or COMPLETED
    status = values.get("status") or RUNNING
    if status != RUNNING:
        return status
    process = None
    if values.get("host") is not None:
        started, key = values["process_started_at"], values.get("process_key") or ""
        process = processes.Process(values["host"], values["pid"], started, key)
    return RUNNING if processes.lives(process, manifest) else CRASHED


def goes_on(store: Store, run_id: str) -> bool:
    """Whether a run is running: on this machine, or, as far as one can tell, on another."""
    manifest = store.runs / f"{run_id}.json"
    run = _noted(manifest)
    return run is not None and state(asdict(run), manifest) == RUNNING


def of_flow_run(store: Store, flow_run_id: str | None) -> Run | None:
    """The run of a flow run; None where it has not begun, or cannot be read."""
    newest = sorted(store.runs.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in newest:
        run = _noted(file)
        if run is not None and flow_run_id and run.flow_run_id == flow_run_id:
            return run
    return None


def _noted(manifest: Path) -> Run | None:
    """The run of a manifest; None where it cannot be read."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        values = json.loads(manifest.read_bytes())
        known = {field.name for field in fields(Run)}
        kept = {name: value for name, value in values.items() if name in known}
        lists = {name: tuple(values.get(name, ())) for name in ("trial_ids", "searches")}
        return Run(**{**kept, **lists})
    return None


@cache
def git_commit() -> str | None:
    """The commit that this code was checked out at; None where it was not."""
    if not _git("ls-files", "tasks/storage/runs.py"):  # such as an environment in another project
        return None
    return _git("rev-parse", "--verify", "--quiet", "HEAD") or None


@cache
def git_dirty() -> bool | None:
    """Whether this code differs from its commit: in a file of it, or by a new one beside those."""
    if git_commit() is None:
        return None
    changed = _git("status", "--porcelain", "--untracked-files=no")
    added = _git("ls-files", "--others", "--exclude-standard", "--", *_PACKAGES)
    return None if changed is None or added is None else bool(changed + added)


def _git(*arguments: str) -> str | None:
    """What git says in the folder of our packages; None where it fails or is not there."""
    # Variables such as GIT_DIR, which a hook of another repository sets, would name that one.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        answer = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=Path(__file__).parents[2],
            env=environment,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _manifest(store: Store, run: Run) -> Path:
    return store.runs / f"{run.run_id}.json"


def _write(store: Store, run: Run) -> None:
    store.keep(_manifest(store, run), json.dumps(asdict(run)).encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
