"""Methods that do not ship: of a user's own file, and of packages that are installed.

A package names its methods as entry points of the group `shotboard.methods`. On the board a method
of a file is called `my_method:MyMethod`, after file and class; no shipped id has a colon. The
digest of the source is part of a trial, as its aid `method_source`.
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.planning import own_functions
from tasks.planning.installed import METHODS, installed
from tasks.planning.own_files import Located, Source, pick, place_of, read_source
from tasks.planning.resolve import RequestError

if TYPE_CHECKING:  # it takes torch
    from operators.methods import Method
    from operators.spec import TrialSpec
    from tasks.planning.suite import MethodChoice
    from tasks.storage.store import Store

FILE = "method.py"  # in the folder of a trial
_SOURCES: dict[str, Source] = {}  # by digest, of all files that this process has loaded


def load_method(place: Located) -> tuple[str, "type[Method]"]:
    """The method at a place, known to this process from now on, and its name on the board.

    Raises:
        RequestError: The file cannot be read or run, or its class is no method that could be.
    """
    return _loaded(read_source(place.file), place.name)


def find_class(source: Source, class_name: str) -> tuple[str, Any]:
    """What a file has under a name, or its only method, and its name; whatever it is.

    Args:
        source: The file.
        class_name: Empty where the file has one method.

    Raises:
        RequestError: The file cannot be run, or has no such name.
    """
    from operators.methods import Method

    def fits(value: Any) -> bool:
        return inspect.isclass(value) and issubclass(value, Method)

    return pick(source, class_name, fits, "a method")


def _loaded(source: Source, class_name: str, name: str = "") -> tuple[str, "type[Method]"]:
    from operators.contract import misshapen
    from operators.methods import add_own

    class_name, method = find_class(source, class_name)
    if trouble := misshapen(f"{source.file}:{class_name}", method):
        raise RequestError(trouble)
    name = name or f"{source.file.stem}:{class_name}"
    method.source_digest = source.digest
    _SOURCES[source.digest] = source
    add_own(name, method)
    return name, method


@cache
def installed_methods() -> Mapping[str, "type[Method]"]:
    """Methods of installed packages, by the name of their entry points."""
    from operators.methods import add_own

    found = installed(METHODS, _fault_of_method)
    for name, method in found.items():
        method.source_digest = read_source(Path(inspect.getsourcefile(method) or "")).digest
        add_own(name, method)
    return found


def _fault_of_method(name: str, method: Any) -> str:
    """Why the method of a package cannot be known under a name; empty where it can."""
    from operators.contract import misshapen
    from operators.methods import METHODS as SHIPPED

    return (
        "that is the name of a method of Shotboard." if name in SHIPPED else misshapen(name, method)
    )


def aids_of(method: "type[Method]") -> dict[str, Any]:
    """What a trial leans on for being of this method: nothing for one that ships."""
    return {"method_source": method.source_digest} if method.source_digest else {}


def with_own(choices: "Sequence[MethodChoice]") -> "tuple[MethodChoice, ...]":
    """The methods of a suite, its own ones loaded, under the names that they have on the board.

    Raises:
        RequestError: One cannot be loaded, or two would have one name.
    """
    names: dict[str, str] = {}  # on the board: digest of the source
    chosen = []
    for choice in choices:
        place = place_of(choice.id)
        if place is None:
            _load_installed(choice.id)
            chosen.append(choice)
            continue
        name, method = load_method(place)
        if names.setdefault(name, method.source_digest) != method.source_digest:
            raise RequestError(
                f"{place.file}: another file of this run has a method that is called {name} on the "
                "board as well. Rename a file or a class."
            )
        chosen.append(choice.model_copy(update={"id": name}))
    return tuple(chosen)


def _load_installed(name: str) -> None:
    """Loads the methods of packages where a name does not ship; to look for them takes a while."""
    from operators.methods import find_method

    if find_method(name) is None:
        installed_methods()


def sources_of(specs: "Iterable[TrialSpec]") -> dict[str, Source]:
    """The files of users' own that trials and those they lean on need, by digest.

    They hold methods, or functions that hyperparameters name.
    """
    found = {}
    for spec in specs:
        found |= own_functions.sources_of(spec)
        for each in (spec, *spec.leant_on):
            if (source := source_of(each)) is not None:
                found[source.digest] = source
    return found


def source_of(spec: "TrialSpec") -> Source | None:
    """The file of a trial's method; None for a shipped one, or that of a package."""
    return _SOURCES.get(str(spec.aids.get("method_source", "")))


def read_method(store: "Store", spec: "TrialSpec") -> None:
    """Loads the methods of a completed trial and of those it leans on, from what they keep of it.

    So are the functions that their hyperparameters name.

    Raises:
        RequestError: A file is gone or has been changed, or cannot be run here.
    """
    found = {}
    for each in (spec, *spec.leant_on):
        if "method_source" not in each.aids:
            continue
        file = store.trial(each.trial_id) / FILE
        if file.is_file():
            source = read_source(file)
            found[source.digest] = source
    found |= own_functions.kept(store.trial(spec.trial_id), spec)
    make_known(spec, found)


def make_known(spec: "TrialSpec", sources: Mapping[str, Source]) -> None:
    """Loads the methods of a trial and of those it leans on, where they are users' own.

    So are the functions that their hyperparameters name.

    Args:
        spec: Of the trial.
        sources: By digest.

    Raises:
        RequestError: A source is not there, or cannot be run here.
    """
    from operators.methods import known_method

    own_functions.make_known(own_functions.own_functions(spec), sources)
    for each in (spec, *spec.leant_on):
        if known_method(each) is not None:
            continue
        digest = str(each.aids.get("method_source", ""))
        if each.method in installed_methods() and known_method(each) is not None:
            continue
        if digest in sources:
            _loaded(sources[digest], each.method.rpartition(":")[2], each.method)
        elif each.method in installed_methods():
            raise RequestError(
                f"trial {each.trial_id} is of the method {each.method} of another version of its "
                f"package (source {digest}). Install that one here."
            )
        elif digest:
            raise RequestError(
                f"trial {each.trial_id} is of the method {each.method}, whose source {digest} is "
                "not here. Install its package, or run its suite again."
            )
