"""The forms of deployments, which offer the names that there are in the store now."""

import math
import time
from collections.abc import Mapping
from typing import Any

from tasks.pages.offered import offered
from tasks.planning.knobs import knobs
from tasks.planning.suite import Suite
from tasks.services.pool import change_forms
from tasks.storage.store import Store

LOOK_SECONDS = 1.0  # between two looks at the store
_KEPT = ("title", "description", "position")  # of a field; the rest is its form


class Forms:
    """Keeps the forms of a server's deployments in step with a store.

    The store is looked at rather than told of: datasets are added by commands and flows, of this
    machine and of others.

    Args:
        store: Whose names are offered.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._seen: tuple[Any, ...] | None = None
        self._looked = -math.inf

    def follow(self) -> bool:
        """Changes the forms if there may be other names than before; says whether it did so.

        Raises:
            NoAnswer: The server does not answer; the next call tries again.
        """
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return False
        self._looked = time.monotonic()
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        names = offered(self.store)
        change_forms(lambda fields: with_names(fields, names))
        self._seen = stamp
        return True

    def _stamp(self) -> tuple[Any, ...]:
        """Moves when a dataset is registered or changed, or a pretraining has ended."""
        cards = sorted(self.store.cards.glob("*.yaml"))
        models = sorted(self.store.pretraining.glob("*/model"))
        return tuple((str(path), path.stat().st_mtime_ns) for path in [*cards, *models])


def with_names(fields: Mapping[str, Any], names: Mapping[str, list[str]]) -> dict[str, Any]:
    """The fields of a form, where knobs that take names offer others.

    Null as the default is left out, for the form would begin with it and hide what there is to
    choose from. What is not given is null all the same.

    Args:
        fields: JSON schemas by name of a parameter.
        names: By kind, see `offered`.
    """
    asked = {name: knob for name, knob in knobs(Suite).items() if knob.asked.choices}
    changed: dict[str, Any] = {}
    for name, field in fields.items():
        changed[name] = {k: v for k, v in field.items() if (k, v) != ("default", None)}
        if name in asked:
            kept = {key: field[key] for key in _KEPT if key in field}
            needed = not any(way.get("type") == "null" for way in field.get("anyOf", ()))
            changed[name] = kept | asked[name].form(names, needed=needed)
    return changed
