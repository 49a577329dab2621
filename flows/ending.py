"""How flow runs end: with one sentence as the message of their state, whatever happened."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run
from prefect.states import Cancelled, Failed

from flows.summary import TrialsFailed
from tasks.environment import MachineError
from tasks.planning.resolve import RequestError
from tasks.services.crashed import note_process

F = TypeVar("F", bound=Callable[..., Any])

# Their texts are written for people; a traceback says nothing more.
_TOLD = (RequestError, TrialsFailed, MachineError, ConnectionError, FileNotFoundError)


def in_a_sentence(stopped: Callable[..., str] | None = None) -> Callable[[F], F]:
    """A flow whose refusals, failures and stops are the message of its state, word for word.

    Prefect raises what happened all the same for whoever calls the flow in Python.

    Args:
        stopped: Is called with the arguments of the flow when Ctrl-C, SIGTERM or Prefect stops it,
            puts away what is there, and says what was kept.
    """

    def decorated(function: F) -> F:
        signature = inspect.signature(function)

        @wraps(function)
        def told(*args: Any, **kwargs: Any) -> Any:
            if run := flow_run.get_id():
                note_process(run)
            try:
                return function(*args, **kwargs)
            except _TOLD as error:
                return Failed(message=" ".join(str(error).split()), data=error)
            except (KeyboardInterrupt, TerminationSignal):  # a second one acts at once
                if stopped is None:
                    raise
                given = signature.bind(*args, **kwargs)
                given.apply_defaults()
                return Cancelled(message=stopped(**given.arguments))

        return told  # pyright: ignore[reportReturnType]

    return decorated
