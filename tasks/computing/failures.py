"""Trials that did not complete: what is kept of each, and which of them are in quarantine."""

import json
import os
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tasks.environment import ROOT
from tasks.plain_text import without_secrets
from tasks.storage.store import Store

if TYPE_CHECKING:
    from operators.spec import TrialSpec

LONGEST = 2000  # letters of an error that are kept
QUARANTINE = "quarantine"  # key of a failure: what the trial does to its worker
DEATHS = "deaths"  # likewise: how many workers it has cost, in all runs
MOST_DEATHS = 4  # those of a run, and of one try by the next: then it is left until told
# Code that reads and writes the store and what it was made of; a method has no part in it.
_STORE = tuple(
    str(ROOT / p)
    for p in (
        *("data_catalog", "operators/episodes/features.py", "operators/files.py"),
        "tasks/storage/remote.py",
    )
)
_LOADS = ("_load_backbone", "_open_dataset", "_open_features")


def note_failure(
    store: Store,
    spec: "TrialSpec",
    run: Mapping[str, str | None],
    error: BaseException | str,
    quarantine: str = "",
    deaths: int = 0,
) -> str:
    """Keeps the error of a trial in the store, without secrets; returns it in one line.

    Args:
        store: Keeps it.
        spec: The trial.
        run: Provenance: suite and flow_run_id.
        error: What was raised, or a sentence.
        quarantine: `died` or `late` where the trial cost its worker; such a one is tried again by
            the next run alone, and once.
        deaths: Workers that it has cost in all, earlier runs included.
    """
    message = without_secrets(error if isinstance(error, str) else described(error))
    trace = "" if isinstance(error, str) else "".join(traceback.format_exception(error))
    values = {
        "spec": spec.to_json(),
        "error": message,
        "traceback": without_secrets(trace)[-20 * LONGEST :],
        "failed_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "suite": run.get("suite"),
        "flow_run_id": run.get("flow_run_id"),
    }
    if quarantine:
        values |= {QUARANTINE: quarantine, DEATHS: deaths}
    store.record_failure(spec.trial_id, values)
    return message


def described(error: BaseException) -> str:
    """An error in one line; what is no plain fault of a value says its kind as well."""
    try:
        text = str(error)
    except BaseException:  # a method may raise what cannot even be shown
        text = ""
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    kind = type(error).__name__
    if not text:
        text = kind
    elif isinstance(error, OSError) or not isinstance(error, Exception):
        text = f"{kind}: {text}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def of_the_store(error: BaseException) -> bool:
    """Whether an error is one of the disk or the store, which no other trial would escape.

    A method may raise an `OSError` too. So what counts is where it was raised.
    """
    frames = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    return isinstance(error, OSError) and any(
        code.co_filename.startswith(_STORE) or code.co_name in _LOADS for code in frames
    )


def in_quarantine(store: Store, specs: Iterable["TrialSpec"]) -> dict[str, int]:
    """The trials that cost an earlier run their worker: how many they have cost in all, by id."""
    found: dict[str, int] = {}
    for spec in specs:
        with suppress(OSError, ValueError, AttributeError):  # none, or damaged: as any other
            values = json.loads((store.failures / f"{spec.trial_id}.json").read_text())
            if values.get(QUARANTINE):
                deaths = values.get(DEATHS)
                found[spec.trial_id] = deaths if isinstance(deaths, int) else 0
    return found


def left_alone(deaths: int) -> str:
    """Why a trial is not even tried; empty where it is.

    Args:
        deaths: Workers that it has cost.
    """
    if deaths < MOST_DEATHS:
        return ""
    return (
        f"it was not tried: {deaths} workers have died of it, and it is in quarantine. `shotboard "
        "run` with --retry-quarantined tries it again, as --fresh does."
    )


def forgive(store: Store, specs: Iterable["TrialSpec"]) -> None:
    """Lets trials out of quarantine; the reasons why they failed stay on the board.

    Args:
        store: Keeps the failures.
        specs: The trials.
    """
    for trial_id in in_quarantine(store, specs):
        file = store.failures / f"{trial_id}.json"
        with suppress(OSError, ValueError, AttributeError):
            status, values = file.stat(), json.loads(file.read_text())
            kept = {k: v for k, v in values.items() if k not in (QUARANTINE, DEATHS)}
            store.record_failure(trial_id, kept)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # it did not fail anew
