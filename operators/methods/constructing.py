"""What a method is constructed with: on what it works, and its own hyperparameters."""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

# Constructor arguments that say on what, not how.
EPISODE = ("backbone", "classes", "generator", "teacher")


def own_defaults(method: type) -> dict[str, Any]:
    """Keyword arguments of a method's constructor and their defaults."""
    return dict(_own_defaults(method.__init__))


@cache
def _own_defaults(constructor: Callable[..., None]) -> dict[str, Any]:
    parameters = inspect.signature(constructor).parameters
    return {
        name: parameter.default
        for name, parameter in parameters.items()
        if name not in ("self", *EPISODE)
    }
