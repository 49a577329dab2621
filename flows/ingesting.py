"""Datasets side by side, each as a task, until somebody stops the run."""

import threading
from collections.abc import Iterable

from prefect.futures import wait

from data_catalog import Dataset
from tasks.ingestion.ingest import ingest
from tasks.stopped import RunStopped


def ingest_each(place: str, names: Iterable[str]) -> dict[str, Dataset]:
    """Some datasets by name, ingested; one that fails costs itself alone.

    Args:
        place: Of the store.
        names: Of the datasets.

    Raises:
        RequestError, SourceError, IngestionError: As `ingest`, once all have ended.
    """
    stopped = threading.Event()

    def look() -> None:
        if stopped.is_set():
            raise RunStopped

    futures = {name: ingest.submit(name, place, look) for name in names}
    try:
        wait(list(futures.values()))
    except BaseException:  # an interrupt: a task that waits for another command would wait on
        stopped.set()
        raise
    return {name: Dataset.open(future.result()) for name, future in futures.items()}
