"""`shotboard methods check`: the contract of methods on a user's own, with drawn examples."""

from collections.abc import Iterator

from operators.backbones import reference
from operators.contract import Promise, misshapen, report
from tasks.planning import resolve
from tasks.planning.own_files import place_of, read_source
from tasks.planning.own_methods import find_class

# What methods of a kind of data are checked on: small, and here without a download.
EMBEDDED = {"image": "mini-clip"}


def check(text: str) -> Iterator[tuple[Promise, list[str]]]:
    """Every promise and what is broken of it, one after the other.

    Args:
        text: A file and a class in it, or the name of a method.

    Raises:
        RequestError: There is no such method, or its file cannot be run.
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
    found = reference(EMBEDDED["image"])
    yield from report(name, method, found.load(found.describe()))
