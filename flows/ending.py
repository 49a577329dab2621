"""How flow runs end: with one sentence as the message of their state, whatever happened."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from prefect.states import Failed

from flows.summary import TrialsFailed
from tasks.environment import MachineError
from tasks.planning.resolve import RequestError

F = TypeVar("F", bound=Callable[..., Any])

# Their texts are written for people; a traceback says nothing more.
_TOLD = (RequestError, TrialsFailed, MachineError, ConnectionError, FileNotFoundError)


def in_a_sentence(function: F) -> F:
    """A flow whose refusals and failures are the message of its state, word for word.

    Prefect raises the error all the same for whoever calls the flow in Python.
    """

    @wraps(function)
    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except _TOLD as error:
            return Failed(message=" ".join(str(error).split()), data=error)

    return told  # pyright: ignore[reportReturnType]
