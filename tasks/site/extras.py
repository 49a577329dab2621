"""What else the page carries: values of JSON, which `site.extra(name)` gives to its scripts.

Rows belong into `TABLES`; here is what has another form, such as specifications of plots. An entry
is a function from a way to ask the board, in SQL, to a value that JSON can write.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tasks.pages.pictures import looks
from tasks.plots.bundle import bundle

Ask = Callable[[str], list[dict[str, Any]]]


def _plots(ask: Ask) -> Any:
    return bundle(ask, looks())


EXTRAS: Mapping[str, Callable[[Ask], Any]] = {"plots": _plots}
