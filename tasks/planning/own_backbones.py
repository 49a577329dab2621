"""What a backbone's name stands for: a shipped one, files of weights, or code of a user's own.

`./my_clip.py:MyClip` is a file and a class. On the board it is called `my_clip:MyClip`; no shipped
name has a colon. A package names its classes as entry points of the group `shotboard.backbones`.
"""

import inspect
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.planning.installed import BACKBONES as GROUP
from tasks.planning.installed import installed
from tasks.planning.own_files import Source, pick, place_of, read_source
from tasks.planning.resolve import RequestError, resolve

if TYPE_CHECKING:  # it takes torch
    from operators.backbones import BackboneReference
    from operators.spec import TrialSpec
    from tasks.storage.store import Store

FILE = "backbone.py"  # in the folder of a trial
_SOURCES: dict[str, Source] = {}  # by digest, of all files that this process has loaded


def find_backbone(text: str) -> "BackboneReference":
    """The backbone that a user means by a name, a folder, a hub id, or a file and a class in it.

    Raises:
        RequestError: It is none of these, or the file cannot be run or holds no backbone.
    """
    from operators.backbones import BACKBONES, is_location, reference

    place = place_of(text)
    if place is not None:
        return _loaded(read_source(place.file), place.name)
    if text in BACKBONES or is_location(text):
        return reference(text)
    own = installed_backbones()  # to look for them takes a while
    known = {**dict.fromkeys(BACKBONES), **own}
    resolve("backbone", text, known)
    return own[text]


def _loaded(source: Source, class_name: str, name: str = "") -> "BackboneReference":
    """What a class of a file stands for, known to this process from now on.

    Raises:
        RequestError: The file cannot be run, or its class is no backbone that could be.
    """
    from operators.backbones import Backbone, BackboneReference
    from operators.backbones.own import add_own, unusable

    def fits(value: Any) -> bool:
        return inspect.isclass(value) and issubclass(value, Backbone)

    class_name, kind = pick(source, class_name, fits, "a backbone")
    if trouble := unusable(f"{source.file}:{class_name}", kind):
        raise RequestError(trouble)
    name = name or f"{source.file.stem}:{class_name}"
    _SOURCES[source.digest] = source
    return BackboneReference(name, add_own(name, kind, source.digest), "")


@cache
def installed_backbones() -> "Mapping[str, BackboneReference]":
    """Backbones of installed packages, by the name of their entry points."""
    from operators.backbones import BackboneReference
    from operators.backbones.own import add_own

    found = {}
    for name, kind in installed(GROUP, _fault_of_backbone).items():
        digest = read_source(Path(inspect.getsourcefile(kind) or "")).digest
        found[name] = BackboneReference(name, add_own(name, kind, digest), "")
    return found


def _fault_of_backbone(name: str, kind: Any) -> str:
    """Why a class of a package cannot be known under a name; empty where it can."""
    from operators.backbones import BACKBONES
    from operators.backbones.own import unusable

    if name in BACKBONES:
        return "that is the name of a backbone of Shotboard."
    return unusable(name, kind)


def source_of(which: "BackboneReference") -> Source | None:
    """The file that a backbone is of; None for a shipped one, or that of a package."""
    from operators.backbones import own

    return _SOURCES.get(own.source_of(which.family))


def sources_of(references: "Iterable[BackboneReference]") -> dict[str, Source]:
    """The files that backbones are of, by digest."""
    found = map(source_of, references)
    return {source.digest: source for source in found if source is not None}


def read_backbone(store: "Store", spec: "TrialSpec") -> "BackboneReference | None":
    """The backbone of a completed trial, from the file that it keeps of it; None without one.

    Raises:
        RequestError: The file cannot be run here.
    """
    file = store.trial(spec.trial_id) / FILE
    if not file.is_file():
        return None
    return _loaded(read_source(file), spec.backbone.rpartition(":")[2], spec.backbone)


def make_known(which: "BackboneReference", sources: Mapping[str, Source]) -> None:
    """Loads the class of a backbone, where it is a user's own.

    Args:
        which: As the driver found it.
        sources: By digest.

    Raises:
        RequestError: The source is not there, or cannot be run here.
    """
    from operators.backbones import own

    digest = own.source_of(which.family)
    if not digest or own.own_family(which.family) is not None:
        return
    if digest in sources:
        _loaded(sources[digest], which.name.rpartition(":")[2], which.name)
        return
    installed_backbones()
    if own.own_family(which.family) is None:
        raise RequestError(
            f"the backbone {which.name} is of code (source {digest}) that is not here. Install its "
            "package in the version that the run was planned with, on every machine."
        )
