"""`shotboard datasets`: what there is to learn from, and a user's own."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from flows.cli.adding import add_dataset
from flows.cli.common import AsJson, Home, commands, one_sentence
from flows.cli.describing import describe_dataset
from flows.cli.getting import get_datasets
from flows.cli.terminal import out, print_card, print_json, print_table, write_out
from tasks.storage.store import Store

app = commands()
datasets_app = commands("What there is to learn from.")
datasets_app.command("add")(add_dataset)
datasets_app.command("describe")(describe_dataset)
datasets_app.command("get")(get_datasets)
app.add_typer(datasets_app, name="datasets")

_LISTED = ("classes", "fingerprint", "license", "title")
_KNOWN = ("classes", "license", "title")


@datasets_app.callback(invoke_without_command=True)
def _datasets(context: typer.Context, home: Home = None, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        list_datasets(home, as_json)


@datasets_app.command("list")
def list_datasets(home: Home = None, as_json: AsJson = False) -> None:
    """List all datasets, and the published ones that are known and not registered."""
    with one_sentence():
        from tasks.pages.cards import dataset_rows, known_rows

        store = Store.at(home)
        rows, known = dataset_rows(store), known_rows(store)
        if as_json:
            print_json([*rows, *known])
            return
        print_table(
            ["dataset", "kind", "classes", "ingested", "licence", "title"],
            [[r["name"], r["card"]["kind"], *(r[column] for column in _LISTED)] for r in rows],
        )
        if not known:
            return
        out.print()
        print_table(
            ["known", "kind", "classes", "licence", "title"],
            [[r["name"], r["card"]["kind"], *(r[column] for column in _KNOWN)] for r in known],
        )
        out.print("Known and not here: shotboard datasets get NAME fetches and registers one, and")
        out.print("shotboard datasets add NAME --path FOLDER registers what you have.")


@datasets_app.command("show")
def show_dataset(name: str, home: Home = None, as_json: AsJson = False) -> None:
    """Show the card of a dataset, and what ingestion found; of one that is known, how to get it."""
    with one_sentence():
        from tasks.pages.cards import dataset_row, known_rows
        from tasks.planning.resolve import dataset_card

        store = Store.at(home)
        known = {row["name"]: row for row in known_rows(store)}
        row = known.get(name) or dataset_row(store, dataset_card(store, name))
        if as_json:
            print_json(row)
            return
        card = row.pop("card")
        shown = {**row, **{key: value for key, value in card.items() if key not in row}}
        if name in known:
            print_card({**shown, **_in_short(card), "source": None, "by_hand": row["source"]})
            return
        for key in ("class_counts", "source"):
            shown.pop(key, None)
        print_card(shown)


def _in_short(card: Mapping[str, Any]) -> dict[str, Any]:
    """What a known dataset has several of, on a line each."""
    sizes = {
        f"rows, {way}": ", ".join(f"{split} {count:,}" for split, count in counts.items())
        for way, counts in card["split_sizes"].items()
    }
    prompts = {
        f"prompts, {name}": " / ".join(each["templates"] or [each["template"]])
        for name, each in card["template_sets"].items()
    }
    files = {
        f"file {number}": f"{each['url']}: {each['holds']}{', a mirror' if each['mirror'] else ''}"
        for number, each in enumerate(card["downloads"], start=1)
    }
    several = dict.fromkeys(("split_sizes", "template_sets", "downloads", "registered", "template"))
    return {**several, **sizes, **prompts, **files}


@datasets_app.command("page")
def dataset_page() -> None:
    """Write the page of published datasets, as in docs/datasets.md, to standard output."""
    with one_sentence():
        from tasks.pages.dataset_page import page

        write_out(page())


@datasets_app.command("ingest")
def ingest_datasets(
    dataset_names: Annotated[list[str], typer.Argument(metavar="NAME..")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Read, check and store datasets; does nothing where nothing has changed."""
    with one_sentence():
        from flows.cli.display import TerminalReporter
        from tasks.ingestion.ingest import ingest_dataset
        from tasks.planning.resolve import dataset_card
        from tasks.progress import reporting_to
        from tasks.storage.drafts import sweep

        store = Store.to_write(home)
        for name in dataset_names:
            dataset_card(store, name)
        sweep(store)
        with TerminalReporter() as reporter, reporting_to(reporter):
            done = [ingest_dataset(name, store) for name in dataset_names]
        for dataset in done:
            first = dataset.card["quarantined"]["first"]
            for bad in first if not as_json else ():
                out.print(f"quarantined in {dataset.name}: {bad['path']}: {bad['error']}")
            for doubt in dataset.card.get("doubts", ()) if not as_json else ():
                out.print(f"{dataset.name}: {doubt}")
        if as_json:
            print_json([{"dataset": d.name, "fingerprint": d.fingerprint, **d.card} for d in done])


@datasets_app.command("verify")
def verify_dataset(name: str, home: Home = None, as_json: AsJson = False) -> None:
    """Recompute the checksum of every stored image or text."""
    with one_sentence():
        from data_catalog import current
        from tasks.planning.resolve import dataset_card

        store = Store.at(home)
        dataset_card(store, name)
        dataset = current(store.bring_current(name))
        if dataset is None:
            raise ValueError(f"{name} has not been ingested: `shotboard datasets ingest {name}`.")
        faults = dataset.verify()
        if as_json:
            print_json({"dataset": name, "fingerprint": dataset.fingerprint, "faults": faults})
        else:
            for fault in faults:
                out.print(fault)
            out.print(f"{name}: {dataset.rows} {dataset.kind}s, {len(faults)} faults.")
        if faults:
            raise typer.Exit(1)
