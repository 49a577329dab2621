"""The runs of a store as their manifests tell them: also those that go on, or were killed."""

from datetime import UTC, datetime
from typing import Any

from operators.board import read_object, run_row
from tasks.storage.runs import RUNNING, state
from tasks.storage.store import Store

COLUMNS = (
    *("run_id", "suite", "status", "started_at", "seconds", "planned", "reused", "computed"),
    *("elsewhere", "failed", "missing", "partial", "git_commit", "git_dirty", "flow_run_id"),
    *("origin", "error"),
)


def run_rows(store: Store, now: datetime | None = None) -> list[dict[str, Any]]:
    """One row a run, the latest first; manifests that cannot be read are for `doctor` to name.

    Args:
        store: Whose runs.
        now: The time until which a run that goes on has taken; default: now.

    Returns:
        Rows of `COLUMNS` and `failed_trials`. `computed` and `failed` count the trials that were
        new in the run; of one that goes on, or crashed, those that are there by now. `missing` is
        what is not there now, computed or not.
    """
    done = store.done()
    now = (now or datetime.now(UTC)).replace(tzinfo=None)
    found = []
    for path in store.runs.glob("*.json") if store.runs.is_dir() else ():
        try:
            row = run_row(read_object(path))
        except (OSError, ValueError):
            continue
        asked = set(row["trial_ids"])
        row["status"] = state(row, path)
        end = row["ended_at"] or (now if row["status"] == RUNNING else None)
        # Not below nothing, where the clock has been set back since.
        row["seconds"] = max(0.0, (end - row["started_at"]).total_seconds()) if end else None
        row["missing"] = len(asked - done)
        row["failed_trials"] = sorted(
            trial for trial in asked - done if (store.failures / f"{trial}.json").is_file()
        )
        if row["computed"] is None and row["reused"] is not None:
            row["computed"] = max(0, len(asked & done) - row["reused"])
        if row["failed"] is None and row["status"] == RUNNING:
            row["failed"] = len(row["failed_trials"])
        found.append({name: row[name] for name in (*COLUMNS, "failed_trials")})
    return sorted(found, key=lambda row: (row["started_at"], row["run_id"]), reverse=True)
