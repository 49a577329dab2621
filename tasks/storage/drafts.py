"""Drafts that killed processes left in the store: found, and swept when a run starts."""

from collections.abc import Iterator
from pathlib import Path

from data_catalog.resuming import expired
from operators.files import abandoned, remove
from tasks.storage.layout import WAITING
from tasks.storage.store import Store


def left_behind(store: Store) -> list[Path]:
    """Half-written files and folders that nobody will finish; see `operators.files.abandoned`.

    What a killed ingestion has checked is none for some days; see `data_catalog.resuming`.
    """
    drafts = [draft for folder in _folders(store) for draft in abandoned(folder)]
    spools = [spool for folder in store.data.glob("*") for spool in expired(folder)]
    return [*drafts, *spools]


def sweep(store: Store) -> None:
    """Removes what `left_behind` finds; a draft that another process is writing stays."""
    for draft in left_behind(store):
        remove(draft)


def _folders(store: Store) -> Iterator[Path]:
    """Every folder of the store in which something is written beside its place."""
    yield from (store.home, store.trials, store.failures, store.runs, store.published)
    yield from (store.home / WAITING, store.leases)
    yield from (store.cards, store.downloads, store.prefect, store.up)
    for above in (store.cards, store.data, store.pretraining, store.reproductions):
        if above.is_dir():
            yield from sorted(path for path in above.iterdir() if path.is_dir())
