"""Plans that were made before: a run with nothing to do is over in less time than torch loads.

A plan follows from the suite, the code, the datasets and the files of the backbones. It is kept in
the store under a digest of all of these, files by size and time, and made anew where any of them
has changed. Which of its trials are done is looked up each time. What may change without a trace
here is not kept: backbones by hub id, methods and backbones of a user's own.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from data_catalog import Dataset
from operators.files import write_atomic
from operators.spec import TrialSpec, digest
from tasks.code_stamp import code_stamp, stamp
from tasks.planning.own_functions import own_functions
from tasks.planning.planned import Encodings, Plan, with_done
from tasks.planning.suite import Suite
from tasks.storage.store import Store

if TYPE_CHECKING:
    from operators.backbones import BackboneReference
    from tasks.planning.choices import Request

CODE = ("operators", "data_catalog", "tasks/planning", "tasks/pages/zoo.py")
LEFT_OUT = ("__pycache__", "board")
KEPT = 20  # plans of a store, the last that were asked for


class Kept(NamedTuple):
    """A plan that was made before.

    Attributes:
        plan: With what is done now.
        backbones: Of all backbones, as the board has them.
        encodings: How many images are encoded once for all trials, and anew in single ones.
    """

    plan: Plan
    backbones: list[dict[str, Any]]
    encodings: Encodings


def kept_plan(store: Store, suite: Suite, datasets: Mapping[str, Dataset]) -> Kept | None:
    """The plan of a suite as it was made before; None where it has to be made.

    Args:
        store: Has it.
        suite: As it was asked for.
        datasets: All of the suite's, by name.
    """
    file = _place(store, suite, datasets)
    try:
        found = json.loads(file.read_bytes())
        if any(_stamp(path) != before for path, before in found["files"].items()):
            return None
        specs = tuple(TrialSpec.from_json(values) for values in found["specs"])
        plan = with_done(
            store,
            Plan(suite, specs, frozenset(), tuple(found["skipped"]), tuple(found["notices"])),
        )
        with suppress(OSError):  # so that it is not among the oldest
            os.utime(file)
        return Kept(plan, found["backbones"], Encodings(**found["encodings"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # none yet, or damaged


def keep_plan(
    store: Store,
    request: "Request",
    plan: Plan,
    datasets: Mapping[str, Dataset],
    backbones: Sequence[Mapping[str, Any]],
    encodings: Encodings,
) -> None:
    """Keeps a plan, where all that it follows from can be told to be the same.

    Args:
        store: Gets it.
        request: What was asked for.
        plan: Its trials.
        datasets: All of the suite's, by name.
        backbones: Rows of the board about them.
        encodings: As of `Kept`.
    """
    files = _files_of(request.backbones.references.values())
    own = any("method_source" in s.aids or any(own_functions(s)) for s in plan.specs)
    if files is None or own:
        return
    content = {
        "files": {str(file): _stamp(str(file)) for file in files},
        "specs": [spec.to_json() for spec in plan.specs],
        "skipped": plan.skipped,
        "notices": plan.notices,
        "backbones": list(backbones),
        "encodings": encodings._asdict(),
    }
    place = _place(store, plan.suite, datasets)
    with suppress(OSError):  # a store that is only read: then it is made each time
        place.parent.mkdir(exist_ok=True)
        write_atomic(place, json.dumps(content).encode())
        kept = sorted(place.parent.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        for old in kept[:-KEPT]:
            old.unlink(missing_ok=True)


def _place(store: Store, suite: Suite, datasets: Mapping[str, Dataset]) -> Path:
    """The file of a plan: its name is what the plan follows from, the backbones' files apart."""
    told: Sequence[Any] = [
        code_stamp(CODE, left_out=LEFT_OUT),
        suite.model_dump(mode="json"),
        str(Path.cwd()),  # against which names of folders are read
        {
            name: [d.fingerprint, _stamp(str(d.folder / "card.json"))]
            for name, d in datasets.items()
        },
        [[str(file), *stamp(file)] for file in sorted(store.cards.rglob("*")) if file.is_file()],
    ]
    return store.plans / f"{digest(told)}.json"


def _files_of(references: "Iterable[BackboneReference]") -> list[Path] | None:
    """Everything that the cards of some backbones were made of; None where that is not here."""
    files: list[Path] = []
    for reference in references:
        found = reference.files()
        if found is None:
            return None
        files += found
    return files


def _stamp(path: str) -> list[int] | None:
    try:
        return list(stamp(Path(path)))
    except OSError:
        return None
