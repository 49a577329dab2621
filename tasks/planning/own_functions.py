"""Functions of a user's own file that hyperparameters name, as `./mine.py:propose`.

In a trial such a function is `mine:propose@<digest of the file>`; see `operators/functions.py`. Its
file goes to every worker and is kept beside each trial, so that what it does can be done again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operators.functions import OWN, add_own, is_known, own_name
from tasks.planning.function_names import with_functions, with_searched_functions
from tasks.planning.own_files import Source, pick, place_of, read_source
from tasks.planning.resolve import RequestError

if TYPE_CHECKING:
    from operators.spec import TrialSpec
    from tasks.planning.suite import MethodChoice

PREFIX = "function-"  # of its file in the folder of a trial
_SOURCES: dict[str, Source] = {}  # by digest, of all files that this process has loaded


def with_own_functions(
    methods: "Sequence[MethodChoice]", search: Mapping[str, Sequence[Any]]
) -> "dict[str, Any]":
    """Methods and search of a suite with each function of a file under its name in a trial.

    Args:
        methods: Chosen, with hyperparameters; functions that these name are loaded.
        search: Values to choose from, by METHOD.NAME; likewise.

    Raises:
        RequestError: A file cannot be read or run, or has no such function.
    """
    named = tuple(
        choice.model_copy(
            update={"hyperparameters": with_functions(choice.id, choice.hyperparameters, _loaded)}
        )
        for choice in methods
    )
    return {"methods": named, "search": with_searched_functions(search, _loaded)}


def own_functions(spec: "TrialSpec") -> Iterator[str]:
    """Names of users' own functions among the settings of a trial and of those it leans on."""
    for each in (spec, *spec.leant_on):
        yield from (v for v in _texts(each.hyperparameters) if OWN.fullmatch(v))


def sources_of(spec: "TrialSpec") -> dict[str, Source]:
    """The files of users' own functions that a trial and those it leans on need, by digest."""
    digests = map(_digest_of, own_functions(spec))
    return {digest: _SOURCES[digest] for digest in digests if digest in _SOURCES}


def file_name(digest: str) -> str:
    """The file in a trial's folder that a source is kept in."""
    return f"{PREFIX}{digest}.py"


def is_kept(name: str) -> bool:
    """Whether a file of a trial holds functions of a user's own."""
    return name.startswith(PREFIX)


def kept(folder: Path, spec: "TrialSpec") -> dict[str, Source]:
    """What a completed trial keeps of users' own functions, by digest.

    Args:
        folder: Of the trial.
        spec: Of it.

    Raises:
        RequestError: A file cannot be read.
    """
    files = (folder / file_name(_digest_of(name)) for name in own_functions(spec))
    found = [read_source(file) for file in files if file.is_file()]
    return {source.digest: source for source in found}


def make_known(names: Iterable[str], sources: Mapping[str, Source]) -> None:
    """Loads users' own functions.

    Args:
        names: As a trial has them; those of functions that ship are passed over.
        sources: Files by digest; may have others.

    Raises:
        RequestError: A source is not there, or cannot be run here.
    """
    for name in names:
        found = OWN.fullmatch(name)
        if found is None or is_known(name):
            continue
        if found["digest"] not in sources:
            raise RequestError(
                f"the source of the function {name} is not here. Run the suite that named it again."
            )
        _load(sources[found["digest"]], found["place"].partition(":"))


def _loaded(text: str) -> str:
    """The name in a trial of what `./mine.py:propose` or the like names; it is loaded."""
    place = place_of(text)
    assert place is not None
    source = read_source(place.file)
    found, function = pick(source, place.name, _is_function, "a function")
    if not callable(function):
        raise RequestError(
            f"{place.file}:{found} is a {type(function).__name__}, not a function: name a function."
        )
    return _load(source, (source.file.stem, ":", found))


def _load(source: Source, place: tuple[str, str, str]) -> str:
    _, function = pick(source, place[2], _is_function, "a function")
    name = own_name("".join(place), source.digest)
    _SOURCES[source.digest] = source
    add_own(name, function)
    return name


def _is_function(value: Any) -> bool:
    return callable(value) and not isinstance(value, type) and hasattr(value, "__module__")


def _digest_of(name: str) -> str:
    return name.rpartition("@")[2]


def _texts(value: Any) -> Iterator[str]:
    """All texts in a hyperparameter or a mapping of some."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
