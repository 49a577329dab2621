"""The manifest of a run: which trials it asked for, when, and where it came from."""

import json
import os
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from operators.files import write_atomic
from tasks.storage.store import Store

_PACKAGES = ("tasks", "operators", "data_catalog", "flows")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a suite, as `runs/<run_id>.json` keeps it; `finished_at` is None until it ends.

    A partial run leaves out or changes parts of its suite: what it lacks has not vanished.
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


def begin(
    store: Store,
    *,
    suite: str,
    trial_ids: Sequence[str],
    flow_run_id: str | None,
    partial: bool = False,
) -> Run:
    """Writes the manifest of a run that begins; `partial` if it is not of the suite as shipped."""
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
    )
    _write(store, run)
    return run


def finish(store: Store, run: Run) -> Run:
    """Notes that a run has ended."""
    ended = replace(run, finished_at=_now())
    _write(store, ended)
    return ended


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


def _write(store: Store, run: Run) -> None:
    write_atomic(store.runs / f"{run.run_id}.json", json.dumps(asdict(run)).encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
