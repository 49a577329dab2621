"""`shotboard datasets`: what there is to learn from, and a user's own."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from data_catalog.wording import some
from flows.cli.common import (
    AsJson,
    Home,
    class_names,
    commands,
    one_each,
    one_sentence,
    pairs,
)
from flows.cli.describing import describe_dataset
from flows.cli.terminal import out, print_card, print_json, print_table
from tasks.storage.store import Store

if TYPE_CHECKING:
    from data_catalog import Outline

app = commands()
datasets_app = commands("What there is to learn from.")
datasets_app.command("describe")(describe_dataset)
app.add_typer(datasets_app, name="datasets")

_SUITES = {"text": "text "}  # that learn from a kind of data; the default one from images
_LISTED = ("classes", "fingerprint", "license", "title")


@datasets_app.callback(invoke_without_command=True)
def _datasets(context: typer.Context, home: Home = None, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        list_datasets(home, as_json)


@datasets_app.command("list")
def list_datasets(home: Home = None, as_json: AsJson = False) -> None:
    """List all datasets."""
    with one_sentence():
        from tasks.pages.cards import dataset_rows

        rows = dataset_rows(Store.at(home))
        if as_json:
            print_json(rows)
            return
        print_table(
            ["dataset", "kind", "classes", "ingested", "licence", "title"],
            [[r["name"], r["card"]["kind"], *(r[column] for column in _LISTED)] for r in rows],
        )


@datasets_app.command("show")
def show_dataset(name: str, home: Home = None, as_json: AsJson = False) -> None:
    """Show the card of a dataset, and what ingestion found."""
    with one_sentence():
        from tasks.pages.cards import dataset_row
        from tasks.planning.resolve import dataset_card

        store = Store.at(home)
        row = dataset_row(store, dataset_card(store, name))
        if as_json:
            print_json(row)
            return
        card = row.pop("card")
        known = {**row, **{key: value for key, value in card.items() if key not in row}}
        for key in ("class_counts", "source"):
            known.pop(key, None)
        print_card(known)


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


@datasets_app.command("add")
def add_dataset(
    name: str,
    path: Annotated[
        str,
        typer.Option(
            help="Folder of class folders, table of images or texts (CSV, TSV, JSON Lines, "
            "Parquet), archive, or hf://datasets/owner/name; a local path or any URL that fsspec "
            "reads."
        ),
    ],
    table: Annotated[
        str,
        typer.Option(help="Table or split file in the folder that has the labels, if several may."),
    ] = "",
    columns: Annotated[
        str | None,
        typer.Option(
            help="Columns by part, such as file=image_id,label=dx; parts are image, file, text, "
            "label, class_name, split, domain, path."
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            help="What the folders are: class, split/class, domain/class, group/class (a group "
            "says nothing), class+ for all from there on."
        ),
    ] = "",
    splits: Annotated[
        str | None,
        typer.Option(
            help="What the data calls the splits that are wanted, such as "
            "train=partial-train,test=validation; others are left out."
        ),
    ] = None,
    kind: Annotated[
        str, typer.Option(help="image or text.  [default: what names and columns say]")
    ] = "",
    template: Annotated[
        str,
        typer.Option(
            help="Prompt of a class: {} for its name; of texts, {text} and {answer}.  "
            "[default: 'a photo of a {}.', and 'TEXT Category: ANSWER' on two lines]"
        ),
    ] = "",
    verbalizer: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="A word for each class of texts, in label order, that a language model answers "
            "with, written as for --classes.  [default: the class names]",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="Names in label order; in quotes, as in CSV, where they hold a comma "
            """('"shark, white",cat'), or @FILE with one name a line.  """
            "[default: what the data says]",
        ),
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="Digest that an archive must have.")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit of a hub dataset.")] = None,
    license: Annotated[str, typer.Option(help="Licence of the data.")] = "",
    same_names: Annotated[
        bool, typer.Option("--same-names", help="Two labels may share a name, as in ImageNet.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Change a registered one.")] = False,
    home: Home = None,
) -> None:
    """Register a dataset of your own, without code."""
    with one_sentence():
        from data_catalog import DatasetCard, holds, outline, register, source_for
        from data_catalog.secrets import holds_secret

        store = Store.to_write(home)
        source = source_for(
            path,
            sha256,
            revision,
            cache=store.downloads,
            table=table,
            columns=one_each("--columns", pairs("--columns", columns)),
            layout=layout,
            kind=kind,
        )
        card = DatasetCard(
            name=name,
            kind=holds(source),
            source=source,
            template=template,
            classes=class_names(classes),
            verbalizer=class_names(verbalizer, "--verbalizer") or (),
            license=license,
            duplicate_class_names=same_names,
            split_names=pairs("--splits", splits) or None,
        )
        understood = outline(card)  # so what cannot be read or understood is not registered
        file = register(card, store.cards, replace=replace)
        for line in (
            f"registered {name}: {understood.what}",
            *_understood(card.kind, understood),
            f"card: {file}",
        ):
            out.print(line)
        if holds_secret(file.read_text("utf-8")):
            out.print("It holds a secret, with which the data is fetched: only you may read it.")
        suite = _SUITES.get(card.kind, "")
        out.print(f"next: shotboard run {suite}--datasets {name}", soft_wrap=True)


def _understood(kind: str, found: "Outline") -> Iterator[str]:
    """Classes, domains, examples by split and what is left out, one line each."""
    if found.classes is not None:
        yield f"classes: {len(found.classes)} ({some(found.classes, 10)})"
    if found.domains:
        counts = ", ".join(f"{domain} {count:,}" for domain, count in found.domains.items())
        yield f"domains: {len(found.domains)}: {counts}"
    if found.splits is not None:
        counts = ", ".join(f"{split} {count:,}" for split, count in found.splits.items())
        yield f"{kind}s: {found.examples:,}: {counts} ({found.split_rule})"
    yield from (f"note: {note}" for note in found.notes)


@datasets_app.command("verify")
def verify_dataset(name: str, home: Home = None, as_json: AsJson = False) -> None:
    """Recompute the checksum of every stored image or text."""
    with one_sentence():
        from data_catalog import current
        from tasks.planning.resolve import dataset_card

        store = Store.at(home)
        dataset_card(store, name)
        dataset = current(store.data / name)
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
