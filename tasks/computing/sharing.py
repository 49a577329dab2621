"""Trials among the runs that use one store at once: each is computed by one of them.

A run takes a lease on a trial when it hands it to a worker, and gives it back when the trial is
over. What another run has under way is left to it; what it has finished meanwhile is found in the
store, or among the failures.
"""

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from tasks.computing.context import Done
from tasks.storage.leases import Leases
from tasks.storage.store import Store

if TYPE_CHECKING:
    from operators.spec import TrialSpec


class Sharing:
    """What a run computes of what it misses, and what it leaves to others.

    Args:
        store: Of all of them.
        leases: Of this run.
    """

    def __init__(self, store: Store, leases: Leases) -> None:
        self.store = store
        self.leases = leases
        self._failed = _stamps(store)  # before anybody beside us failed in one that we miss
        self._mine: set[str] = set()

    def take(self, trial_id: str) -> Done | bool:
        """Takes a trial, unless it is over or under way elsewhere.

        Returns:
            Whether this run is to compute it, or what became of it.
        """
        if trial_id in self._mine:  # tried once more
            return True
        if not self.leases.take(trial_id):
            return False
        # Looked up with the lease: before, its last owner may have been about to finish it.
        if done := self._finished(trial_id):
            self.leases.release(trial_id)
            return done
        self._mine.add(trial_id)
        return True

    def taken(self) -> frozenset[str]:
        """The trials that this run has taken upon itself by now, whatever became of them."""
        return frozenset(self._mine.copy())  # other threads take more meanwhile

    def end(self, trial_ids: Iterable[str]) -> None:
        """Gives the leases of trials back that are over."""
        for trial_id in trial_ids:
            self.leases.release(trial_id)

    def look(self, trial_id: str) -> Done | bool:
        """What has become of a trial that was under way elsewhere.

        Returns:
            Its end, or whether nobody computes it any more.
        """
        return self._finished(trial_id) or self.leases.free(trial_id)

    def _finished(self, trial_id: str) -> Done | None:
        """How a trial ended since this run has looked at the store; None if it did not."""
        if self.store.bring(self.store.trial(trial_id)).exists():
            return Done(trial_id, "")
        with suppress(OSError):
            stamp = (self.store.failures / f"{trial_id}.json").stat().st_mtime_ns
            if stamp != self._failed.get(trial_id):
                return Done(trial_id, self.store.failure(trial_id))
        return None


class Turn:
    """What one bundle has met when it asked for its trials.

    Attributes:
        held: Those that others had under way.

    Args:
        sharing: Of the run.
    """

    def __init__(self, sharing: Sharing) -> None:
        self.sharing = sharing
        self.held: list[TrialSpec] = []
        self._over: list[Done] = []
        self._lock = threading.Lock()

    def take(self, spec: "TrialSpec") -> bool:
        """Whether a trial is to be computed here and now."""
        found = self.sharing.take(spec.trial_id)
        with self._lock:
            if isinstance(found, Done):
                self._over.append(found)
            elif not found:
                self.held.append(spec)
        return found is True

    def over(self) -> list[Done]:
        """Those that others had finished, since this was asked last."""
        with self._lock:
            found, self._over = self._over, []
            return found


def _stamps(store: Store) -> dict[str, int]:
    """When each failure was noted, by trial."""
    stamps: dict[str, int] = {}
    if store.failures.is_dir():
        with os.scandir(store.failures) as entries:
            for entry in entries:
                with suppress(OSError):  # its trial has just completed
                    stamps[entry.name.removesuffix(".json")] = entry.stat().st_mtime_ns
    return stamps
