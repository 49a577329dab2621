"""Tasks of a run that somebody stops: they end as cancelled, since nothing is wrong with them."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from prefect.states import Cancelled

from tasks.computing.worker_pool import PoolClosed

F = TypeVar("F", bound=Callable[..., Any])


def until_stopped(function: F) -> F:
    """The body of a task, which ends as cancelled once its pool of workers is closed."""

    @wraps(function)
    def stopped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except PoolClosed as error:
            return Cancelled(message=str(error))

    return stopped  # pyright: ignore[reportReturnType]
