"""What would be freed, and freeing it, beside runs that go on."""

import re
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from tasks.cleaning.kinds import KINDS, Item
from tasks.planning.resolve import RequestError, resolve
from tasks.storage.runs import RUNNING, state
from tasks.storage.store import Store

OLDER_THAN = "30d"
_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhdw]?)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "": 86_400, "w": 7 * 86_400}


@dataclass
class Found:
    """What a store has of a kind.

    Attributes:
        kind: A name of `KINDS`.
        items: Those that go.
        left: Why none goes, or no more; empty otherwise.
        stuck: What could not be removed, and why; empty otherwise.
        gone: How many were removed.
        freed: Bytes that this freed.
    """

    kind: str
    items: list[Item] = field(default_factory=list)
    left: str = ""
    stuck: str = ""
    gone: int = 0
    freed: int = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(item.entries for item in self.items)

    @property
    def size(self) -> int:
        """Bytes that all of them take."""
        return sum(item.size for item in self.items)


def seconds_of(age: str) -> float:
    """`30d`, `12h`, `2w` as seconds; a number alone counts days.

    Raises:
        RequestError: It is no age.
    """
    found = _AGE.fullmatch(age.strip().lower())
    if found is None:
        raise RequestError(
            f"{age!r} is no age: give a number with m, h, d or w, such as 30d or 12h."
        )
    return float(found[1]) * _SECONDS[found[2]]


def look(
    store: Store, older_than: str = OLDER_THAN, keep: Collection[str] = (), *, trials: bool = False
) -> list[Found]:
    """What can go, by kind; touches nothing.

    Args:
        store: Whose.
        older_than: Things that somebody used since stay.
        keep: Kinds that stay.
        trials: Completed trials go too.

    Raises:
        RequestError: It is no age, a kind is unknown, or trials are at a URL.
    """
    if trials and store.url:
        raise RequestError(
            "the trials of a store at a URL are there, and here is a copy of them. Remove them "
            "there, with the tools of that place."
        )
    since = time.time() - seconds_of(older_than)
    for name in keep:
        resolve("kind of things to keep", name, KINDS)
    going = runs_that_go_on(store)
    found = []
    for name, kind in KINDS.items():
        if name in keep or (kind.asked and not trials):
            continue
        if kind.in_use and going:
            found.append(Found(name, left=f"{going[0]} of this store goes on"))
            continue
        items = [item for item in kind.find(store, since) if item.used_at <= since]
        found.append(Found(name, items))
    return found


def free(store: Store, found: Collection[Found], older_than: str = OLDER_THAN) -> None:
    """Removes what `look` found, and notes of each kind what was freed.

    Args:
        store: Whose.
        found: See there; kinds that a run has begun to need since are left.
        older_than: As it was given there.
    """
    since = time.time() - seconds_of(older_than)
    for each in found:
        kind = KINDS[each.kind]
        for item in each.items:
            if kind.in_use and (going := runs_that_go_on(store)):
                each.left = f"{going[0]} of this store has begun"
                break
            try:
                each.freed += kind.remove(store, item, since)
                each.gone += item.entries
            except OSError as error:
                each.stuck = f"{item.place} cannot be removed: {error.strerror or error}"


def by_kind(found: Found, *, dry_run: bool = False) -> dict[str, Any]:
    """What was freed of a kind, as a row for machines.

    Args:
        found: What `look` and `free` say of it.
        dry_run: What would be freed instead.
    """
    return {
        "kind": found.kind,
        "count": found.count if dry_run else found.gone,
        "bytes": found.size if dry_run else found.freed,
        "places": [str(item.place) for item in found.items],
        "left": found.left or found.stuck or None,
    }


def runs_that_go_on(store: Store) -> list[str]:
    """The runs of a store that have not ended, as a person would name them."""
    import json

    going = []
    for manifest in sorted(store.runs.glob("*.json")):
        try:
            values = json.loads(manifest.read_bytes())
            if isinstance(values, dict) and state(values, manifest) == RUNNING:
                going.append(f"run {manifest.stem}")
        except (OSError, ValueError, KeyError, TypeError):
            continue  # damaged: `shotboard doctor` tells of it
    return going
