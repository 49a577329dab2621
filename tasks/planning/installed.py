"""What installed packages add: methods, datasets and backbones, by the names of entry points."""

import logging
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

# Groups.
METHODS, DATASETS, BACKBONES = "shotboard.methods", "shotboard.datasets", "shotboard.backbones"


@cache
def installed(group: str, fault: Callable[[str, Any], str]) -> Mapping[str, Any]:
    """The objects of a group by name; one that cannot be loaded is told of and left out.

    To look for them opens a file of every package, so whoever knows a name does not ask.

    Args:
        group: Of entry points.
        fault: Why an object cannot have a name; empty where it can.
    """
    found: dict[str, Any] = {}
    for point in entry_points(group=group):
        loaded = None
        try:
            loaded = point.load()
            why = fault(point.name, loaded)
        except Exception as error:  # whatever a package raises
            why = f"{type(error).__name__}: {error}"
        if why:
            told = "left out: %s of the package %s (%s): %s"
            package = point.dist.name if point.dist else point.value
            logging.getLogger("shotboard").warning(told, point.name, package, group, why)
        else:
            found[point.name] = loaded
    return found
