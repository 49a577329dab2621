"""Raw data to an ingested dataset in the store."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_catalog import KINDS, Dataset
from data_catalog import ingest as ingest_card
from data_catalog.wording import plural
from tasks.planning import resolve
from tasks.progress import Stage, stage
from tasks.stopped import until_stopped
from tasks.storage.locks import alone
from tasks.storage.store import Store

_RATE_SECONDS = 1.0


@task(name="ingest", task_run_name="ingest {name}", cache_policy=NO_CACHE, persist_result=False)
@until_stopped
def ingest(name: str, place: str, look: Callable[[], None] = lambda: None) -> Path:
    """Ingests a dataset unless it is there; returns the folder that `Dataset.open` reads.

    Args:
        name: Of the dataset.
        place: Of the store.
        look: Is called now and then while another command ingests it; what it raises ends the wait.

    Raises:
        RequestError: No dataset has this name.
        SourceError: Its source is missing, malformed or out of reach.
        IngestionError: What was read makes no sound dataset.
    """
    return ingest_dataset(name, Store.placed(place), look).folder


def ingest_dataset(name: str, store: Store, look: Callable[[], None] = lambda: None) -> Dataset:
    """As `ingest`, without Prefect.

    Args:
        name: Of the dataset.
        store: Gets it.
        look: See `ingest`.
    """
    card = resolve.dataset_card(store, name)
    folder = store.data / name
    waiting = f"another command ingests {name}: waiting for it."
    with stage(f"ingest {name}") as progress, alone(folder / ".lock", waiting, look):
        store.bring_current(name)
        dataset = ingest_card(card, folder, progress=_with_rate(progress, card.kind))
        store.share(dataset.folder)
        quarantined = dataset.card["quarantined"]["count"]
        progress.summary = (
            f"{plural(dataset.rows, KINDS[dataset.kind].noun)}, {len(dataset.classes)} classes"
        )
        constant = dataset.card.get("constant_images", {}).get("count", 0)
        twins = dataset.card.get("twins", {})
        odd = {
            "quarantined": quarantined,
            "of one colour": constant,
            "of test in train or val": twins.get("exact", {}).get("count", 0),
            "of test nearly in train or val": twins.get("near", {}).get("count", 0),
        }
        said = ", ".join(f"{count} {kind}" for kind, count in odd.items() if count)
        if said:
            progress.summary += f", {said} (shotboard datasets show {name})"
    return dataset


def quality_row(card: Mapping[str, Any]) -> dict[str, Any]:
    """How well an ingested dataset measures, a value a column; None where nobody has looked.

    Args:
        card: Content of its `card.json`.
    """
    twins = card.get("twins", {})
    return {
        "imbalance": card.get("class_balance", {}).get("train", {}).get("ratio"),
        "test_equal": twins.get("exact", {}).get("count"),
        "test_nearly_equal": twins.get("near", {}).get("count"),
    }


def twin_rows(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pairs of rows that `card.json` names, of test and of train or val, a mapping each."""
    twins = card.get("twins", {})
    return [
        {"dataset": card["name"], "test": test, "train_or_val": other, "distance": bits}
        for sort in ("exact", "near")
        for test, other, bits in twins.get(sort, {}).get("first", ())
    ]


def _with_rate(progress: Stage, kind: str) -> Callable[[int, int | None], None]:
    """Tells a stage how far ingestion is, and now and then at which rate since it began here."""
    first: tuple[int, float] | None = None
    noted = 0.0

    def tell(done: int, total: int | None) -> None:
        nonlocal first, noted
        now = time.monotonic()
        first = first or (done, now)
        if now - noted >= _RATE_SECONDS and now > first[1]:
            noted = now
            rate = (done - first[0]) / (now - first[1])
            resumed = f", of which {first[0]:,} were checked before" if first[0] > 1 else ""
            progress.note(f"{rate:,.0f} {KINDS[kind].noun}s a second{resumed}")
        progress.to(done, total)

    return tell
