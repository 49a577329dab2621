"""`shotboard methods check`: the contract of methods on a user's own, with drawn examples."""

from collections.abc import Iterator
from typing import Any

from operators.backbones import BackboneUnavailable, reference
from operators.contract import Promise, misshapen, report
from operators.methods import Method
from operators.tracks import TRACKS
from tasks.planning import resolve
from tasks.planning.own_files import place_of, read_source
from tasks.planning.own_methods import find_class
from tasks.planning.resolve import RequestError

# What methods of a kind of data are checked on: the first that is here and can what is needed.
SMALL = {"image": ("mini-clip",), "text": ("minilm", "smollm2-135m-q4")}


def check(text: str) -> Iterator[tuple[Promise, list[str]]]:
    """Every promise and what is broken of it, one after the other.

    Args:
        text: A file and a class in it, or the name of a method.

    Raises:
        RequestError: There is no such method, its file cannot be run, or no backbone that is here
            can do what it needs.
    """
    place = place_of(text)
    if place is None:
        name, method = text, resolve.method(text)
    else:
        source = read_source(place.file)
        class_name, method = find_class(source, place.name)
        name = f"{source.file.stem}:{class_name}"
    if misshapen(name, method):
        yield from report(name, method, None)
        return
    yield from report(name, method, _backbone(name, method))


def _backbone(name: str, method: type[Method]) -> Any:
    missing = ""
    for each in SMALL[TRACKS[method.track].kind]:
        found = reference(each)
        try:
            card = found.describe()
        except BackboneUnavailable as error:
            missing = f" {error}"
            continue
        if method.card.needs <= card.capabilities:
            return found.load(card)
    raise RequestError(
        f"{name} needs {', '.join(sorted(method.card.needs))}, and no small backbone that is here "
        f"has that.{missing}"
    )
