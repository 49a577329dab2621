"""`shotboard clean`."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from data_catalog.secrets import redact
from flows.cli.common import (
    TRIALS_FAILED,
    AsJson,
    Home,
    commands,
    in_bytes,
    names,
    one_sentence,
)
from flows.cli.terminal import err, out, print_json, print_table
from tasks.storage.store import Store

if TYPE_CHECKING:
    from tasks.cleaning.clean import Found

app = commands()


@app.command()
def clean(
    older_than: Annotated[
        str, typer.Option(help="Only what nobody has used for so long: 30d, 12h, 2w, or 0.")
    ] = "30d",
    keep: Annotated[
        str | None, typer.Option(help="Kinds that stay, such as features,downloads.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be freed.")
    ] = False,
    trials: Annotated[
        bool, typer.Option("--trials", help="Completed trials too, which the board then lacks.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Free what the store can do without: what is made again, and histories without a number.

    Trials stay unless --trials is given. While a run goes on, what it may need stays too.
    """
    with one_sentence():
        from tasks.cleaning.clean import by_kind, free, look

        store = Store.at(home) if dry_run else Store.to_write(home)
        found = look(store, older_than, names(keep) or (), trials=trials)
        if not dry_run:
            free(store, found, older_than)
        if as_json:
            print_json([by_kind(each, dry_run=dry_run) for each in found])
        else:
            _show(store, found, dry_run)
            if elsewhere := _elsewhere(store):
                out.print(
                    f"The histories of {elsewhere} stay: they are their servers' own to clear."
                )
        stuck = [each.stuck for each in found if each.stuck]
        for trouble in stuck:
            err.print(f"error: {trouble}")
        if stuck:
            raise typer.Exit(TRIALS_FAILED)


def _show(store: Store, found: "list[Found]", dry_run: bool) -> None:
    from tasks.cleaning.kinds import KINDS

    rows = [each for each in found if each.count or each.left]
    if not rows:
        out.print(f"nothing to free in {store.home}.")
        return
    heads = ["kind", "what", "how many", "would free" if dry_run else "freed", "back again by"]
    print_table(
        [*heads, "left, as"],
        [
            [
                each.kind,
                KINDS[each.kind].what,
                each.count if dry_run else each.gone,
                in_bytes(each.size if dry_run else each.freed),
                KINDS[each.kind].again,
                each.left,
            ]
            for each in rows
        ],
    )
    total = sum(each.size if dry_run else each.freed for each in found)
    out.print(f"{in_bytes(total)} {'would be' if dry_run else 'were'} freed in {store.home}.")


def _elsewhere(store: Store) -> str:
    """The servers of others that runs of this store are told to; empty where there are none."""
    api = os.environ.get("PREFECT_API_URL")  # that of a profile is not worth Prefect's import
    told = [f"Prefect at {redact(api)}"] if api else []
    if store.mlflow_database is None:
        told.append(f"MLflow at {store.mlflow_uri_to_show}")
    return " and ".join(told)
