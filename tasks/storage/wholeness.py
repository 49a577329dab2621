"""Which completed trials are torn: damaged since they were committed, so to be computed again.

To read ten thousand trials takes many seconds, so what was found is kept in `.checked.json`, with
a stamp of the files (sizes and times) that it was found of. A trial whose files have not changed
is not read again; one that has changed is. Those that nobody has read yet are read some at a time,
and all of them when they come to the board.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from operators.board import glance, inspect, read_object, stamp_of
from operators.files import write_atomic
from tasks.storage.store import Store

READ_AT_ONCE = 300  # trials that nobody has read yet, a look: under a second
Checked = dict[str, tuple[str, str]]  # by trial: a stamp, and what was wrong then


def torn(store: Store, trial_ids: Iterable[str], *, every: bool = False) -> dict[str, str]:
    """Those of some completed trials that are damaged, with what is wrong, in order of id.

    Args:
        store: Where they are.
        trial_ids: Which.
        every: Read them all, whatever was found before.
    """
    known, found = _read(store), {}
    seen: Checked = {}
    unread = 0
    for trial_id in sorted(trial_ids):
        folder = store.trial(trial_id)
        stamp = stamp_of(folder)
        before = known.get(trial_id)
        if before and before[0] == stamp and not every:
            fault = before[1]
        elif before or every or unread < READ_AT_ONCE:
            unread += 1
            fault = inspect(folder)
            seen[trial_id] = stamp, fault
        else:
            fault = glance(folder)
        if fault:
            found[trial_id] = fault
    _note(store, known, seen)
    return found


def note(
    store: Store, found: Mapping[str, str], stamps: Mapping[str, str | None] | None = None
) -> None:
    """Keeps what was found when some trials were read: what is wrong, empty if nothing is.

    Args:
        store: Where they are.
        found: By id.
        stamps: Of the files as they were read, of the trials of which that is known.
    """
    known = stamps or {}
    seen = {
        trial_id: (known.get(trial_id) or stamp_of(store.trial(trial_id)), fault)
        for trial_id, fault in found.items()
    }
    _note(store, _read(store), seen)


def _note(store: Store, known: Checked, seen: Checked) -> None:
    if all(known.get(trial_id) == entry for trial_id, entry in seen.items()):
        return
    there = store.done()
    kept = {trial_id: entry for trial_id, entry in (known | seen).items() if trial_id in there}
    with suppress(OSError):  # a store that is only read: then they are read again
        write_atomic(_place(store), json.dumps(kept, separators=(",", ":")).encode())


def _read(store: Store) -> Checked:
    try:
        return {
            trial_id: (str(stamp), str(fault))
            for trial_id, (stamp, fault) in read_object(_place(store)).items()
        }
    except (OSError, ValueError, TypeError):
        return {}  # none yet, or damaged: then they are read again


def _place(store: Store) -> Path:
    return store.home / ".checked.json"
