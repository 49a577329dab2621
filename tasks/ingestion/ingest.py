"""Raw data to an ingested dataset in the store."""

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_catalog import KINDS, Dataset
from data_catalog import ingest as ingest_card
from data_catalog.wording import plural
from tasks.planning import resolve
from tasks.progress import stage
from tasks.storage.store import Store


@task(name="ingest", task_run_name="ingest {name}", cache_policy=NO_CACHE, persist_result=False)
def ingest(name: str, home: Path) -> Path:
    """Ingests a dataset unless it is there; returns the folder that `Dataset.open` reads.

    Raises:
        RequestError: No dataset has this name.
        SourceError: Its source is missing, malformed or out of reach.
        IngestionError: What was read makes no sound dataset.
    """
    return ingest_dataset(name, Store(home)).folder


def ingest_dataset(name: str, store: Store) -> Dataset:
    """As `ingest`, without Prefect."""
    card = resolve.dataset_card(store, name)
    with stage(f"ingest {name}") as progress:
        dataset = ingest_card(card, store.data / name, progress=progress.to)
        quarantined = dataset.card["quarantined"]["count"]
        progress.summary = (
            f"{plural(dataset.rows, KINDS[dataset.kind].noun)}, {len(dataset.classes)} classes"
        )
        constant = dataset.card.get("constant_images", {}).get("count", 0)
        odd = {"quarantined": quarantined, "of one colour": constant}
        said = ", ".join(f"{count} {kind}" for kind, count in odd.items() if count)
        if said:
            progress.summary += f", {said} (shotboard datasets show {name})"
    return dataset
