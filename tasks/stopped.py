"""Tasks of a run that somebody stops: they end as cancelled, since nothing is wrong with them."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from tasks.environment import MachineError

F = TypeVar("F", bound=Callable[..., Any])


class RunStopped(MachineError):
    """Somebody has stopped the run meanwhile."""

    def __init__(self) -> None:
        super().__init__("the run was stopped.")


def until_stopped(function: F) -> F:
    """The body of a task, which ends as cancelled where it raises `RunStopped`."""

    @wraps(function)
    def stopped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except RunStopped as error:
            from prefect.states import Cancelled  # whoever raises needs no Prefect for that

            return Cancelled(message=str(error))

    return stopped  # pyright: ignore[reportReturnType]
