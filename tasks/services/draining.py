"""The end of a private server: not before it has recorded all that was sent to it."""

import time
from contextlib import suppress

from tasks.services.children import POLL_SECONDS
from tasks.services.kept import Kept

DRAIN_SECONDS = 60.0


def drain(server: Kept) -> None:
    """Returns when the server has recorded every task run, state and log line of this process.

    Task runs travel as events, in one queue, to a recorder that writes behind. So one last task
    run is sent; once the API knows it, all before it are written, and it is deleted again.
    """
    from prefect import task
    from prefect.cache_policies import NO_CACHE
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.logging import disable_run_logger

    @task(name="drained", cache_policy=NO_CACHE, persist_result=False)
    def drained() -> None:
        """Does nothing."""

    if not server.alive:  # nobody would answer, and the wait below be for nothing
        return
    with suppress(Exception), disable_run_logger():  # never in the way of the block's own error
        last = drained(return_state=True).state_details.task_run_id
        deadline = time.monotonic() + DRAIN_SECONDS
        with get_client(sync_client=True) as client:
            while last and time.monotonic() < deadline and server.alive:
                with suppress(ObjectNotFound):
                    state = client.read_task_run(last).state
                    if state and state.is_completed():
                        client.delete_task_run(last)
                        break
                time.sleep(POLL_SECONDS)
    with suppress(Exception):
        close_queues()


def close_queues() -> None:
    """Sends the last log lines and closes the connections to the server before it goes."""
    import inspect

    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.utilities.asyncutils import run_coro_as_sync

    # One of the two gives something to wait for or nothing, by the loop it is called from.
    async def close() -> None:
        for answer in (APILogWorker.drain_all(), EventsWorker.drain_all()):
            if inspect.isawaitable(answer):
                await answer

    run_coro_as_sync(close())
