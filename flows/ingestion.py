"""Datasets into the store, on a schedule or by hand."""

from typing import Annotated

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from flows.ending import in_a_sentence
from flows.ingesting import ingest_each
from flows.knobs import form_of
from flows.naming import of_names
from tasks.ingestion.ingest import quality_row, twin_rows
from tasks.planning import resolve
from tasks.planning.own_datasets import with_own_cards
from tasks.progress import LogReporter, chosen, reporter, reporting_to
from tasks.storage.drafts import sweep
from tasks.storage.store import Store


@flow(  # pyright: ignore[reportCallIssue]  # the task runner's type is invariant upstream
    name="ingest",
    flow_run_name=lambda: of_names("datasets"),
    task_runner=ThreadPoolTaskRunner(max_workers=2),  # pyright: ignore[reportArgumentType]
    persist_result=False,
)
@in_a_sentence()
def ingest(
    datasets: Annotated[list[str], Field(min_length=1), form_of("datasets")],
    home: str | None = None,
) -> list[str]:
    """Reads, checks and stores datasets; returns the fingerprint of each.

    Args:
        datasets: Names, see `shotboard datasets`, or a file and a card in it.
        home: The store; default: SHOTBOARD_HOME or .shotboard.

    Raises:
        RequestError: A name is unknown; nothing has been started.
        IngestionError: A source makes no sound dataset; the others are ingested all the same.
    """
    store = Store.to_write(home)
    names = with_own_cards(store, datasets)
    for name in names:
        resolve.dataset_card(store, name)
    sweep(store)
    with reporting_to(reporter() if chosen() else LogReporter(get_run_logger())):  # pyright: ignore[reportArgumentType]
        done = list(ingest_each(store.place, names).values())
    create_table_artifact(
        key="datasets",
        table=[
            {
                "dataset": dataset.name,
                "fingerprint": dataset.fingerprint,
                "examples": dataset.rows,
                "classes": len(dataset.classes),
                **dataset.card["splits"],
                "quarantined": dataset.card["quarantined"]["count"],
                **quality_row(dataset.card),
            }
            for dataset in done
        ],
    )
    if twins := [row for dataset in done for row in twin_rows(dataset.card)]:
        create_table_artifact(
            key="twins",
            table=twins,
            description="Rows of test that train or val has too, and bits in which they differ.",
        )
    return [dataset.fingerprint for dataset in done]
