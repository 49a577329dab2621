"""What a store can do without, freed by the clock or by hand."""

from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from pydantic import Field

from flows.ending import in_a_sentence
from tasks.cleaning.clean import OLDER_THAN, by_kind, free, look
from tasks.cleaning.kinds import KINDS
from tasks.environment import MachineError
from tasks.storage.store import Store

_KINDS: Any = {"items": {"type": "string", "enum": list(KINDS)}}


@flow(name="clean", flow_run_name="older than {older_than}", persist_result=False)
@in_a_sentence()
def clean(
    older_than: str = OLDER_THAN,
    keep: Annotated[list[str], Field(json_schema_extra=_KINDS)] = [],  # noqa: B006
    trials: bool = False,
    home: str | None = None,
) -> list[dict[str, Any]]:
    """Frees what is made again by itself, and old histories; returns what was freed by kind.

    While a run goes on, what it may need stays.

    Args:
        older_than: Only what nobody has used for so long: 30d, 12h, 2w, or 0.
        keep: Kinds that stay.
        trials: Completed trials too, which the board then lacks.
        home: The store; default: SHOTBOARD_HOME or .shotboard.

    Raises:
        RequestError: A kind or an age is none; nothing has been removed.
        MachineError: Something could not be removed; the rest was.
    """
    store = Store.to_write(home)
    found = look(store, older_than, keep, trials=trials)
    free(store, found, older_than)
    rows = [by_kind(each) for each in found]
    create_table_artifact(
        key="cleaned",
        table=[{k: v for k, v in row.items() if k != "places"} for row in rows],
        description=f"What was freed in {store.place}.",
    )
    get_run_logger().info("%s bytes were freed in %s", sum(r["bytes"] for r in rows), store.place)
    if stuck := [each.stuck for each in found if each.stuck]:
        raise MachineError("; ".join(stuck))
    return rows
