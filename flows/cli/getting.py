"""`shotboard datasets get`: a published dataset, fetched, unpacked and registered."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.adding import register_card
from flows.cli.common import Home, one_sentence, signals_as_interrupts
from operators.files import at_home
from tasks.storage.store import Store

if TYPE_CHECKING:
    from data_catalog.published import PublishedDataset


def get_datasets(
    dataset_names: Annotated[list[str], typer.Argument(metavar="NAME..")],
    mirror: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="MIRROR",
            help="A part of the address of a mirror that `datasets show` names, or a URL or folder "
            "that has the same files.  [default: the authors' files, then each mirror]",
        ),
    ] = "",
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the files go, a folder a dataset where several are asked for.  "
            "[default: downloads/NAME in the store]",
        ),
    ] = None,
    keep_archives: Annotated[
        bool,
        typer.Option("--keep-archives", help="Leave archives where they are when unpacked."),
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Change a registered dataset of the name.")
    ] = False,
    home: Home = None,
) -> None:
    """Fetch published datasets and register them; goes on where it was stopped.

    Checksums are looked at while a file comes. Where a dataset may not be fetched, it says what to
    fetch by hand, and where.
    """
    with signals_as_interrupts(), one_sentence():
        store = Store.to_write(home)
        datasets = _known(dataset_names)
        folders = [_folder(dataset, store, to, several=len(datasets) > 1) for dataset in datasets]
        for dataset, folder in zip(datasets, folders, strict=True):
            _refuse_registered(dataset, folder, store, replace=replace)
        for dataset, folder in zip(datasets, folders, strict=True):
            _get(dataset, folder, store, mirror, keep_archives=keep_archives, replace=replace)


def _known(names: Sequence[str]) -> "list[PublishedDataset]":
    """The published datasets of these names, each once.

    Raises:
        LookupError: One is not known.
        ValueError: One ships, so that nothing is to be fetched.
    """
    from data_catalog import CATALOG
    from data_catalog.published import PUBLISHED
    from tasks.planning.resolve import resolve

    for name in names:
        if name in CATALOG:
            raise ValueError(
                f"{name} ships with Shotboard: nothing is to be fetched, `shotboard run --datasets "
                f"{name}` uses it."
            )
    return [resolve("published dataset", name, PUBLISHED) for name in dict.fromkeys(names)]


def _folder(dataset: "PublishedDataset", store: Store, to: Path | None, *, several: bool) -> Path:
    """Where the files of a dataset go.

    Raises:
        ValueError: A file is there.
    """
    if to is None:
        return store.downloads / dataset.name
    folder = at_home(to).absolute()
    folder = folder / dataset.name if several else folder
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--to {folder} is a file. Give a folder, or one that can be made.")
    return folder


def _refuse_registered(
    dataset: "PublishedDataset", folder: Path, store: Store, *, replace: bool
) -> None:
    """Refuses a name that has files elsewhere, before anything is fetched.

    Raises:
        ValueError: As said.
    """
    from data_catalog import registered_cards

    card = registered_cards(store.cards, {}).get(dataset.name)
    if card is None or replace:
        return
    place = getattr(card.source, "path", "")
    if not Path(place).is_relative_to(folder):
        raise ValueError(
            f"{dataset.name} is registered here, and reads {card.place()}: `shotboard run "
            f"--datasets {dataset.name}` uses it. To fetch it anew to {folder}, give --replace."
        )


def _get(
    dataset: "PublishedDataset",
    folder: Path,
    store: Store,
    mirror: str,
    *,
    keep_archives: bool,
    replace: bool,
) -> None:
    from data_catalog import known_card, lies_packed, source_for
    from flows.cli.display import TerminalReporter
    from tasks.ingestion.fetch import fetch_published
    from tasks.progress import reporting_to

    with TerminalReporter() as reporter, reporting_to(reporter):
        path = fetch_published(dataset, store, folder, chosen=mirror, keep_archives=keep_archives)
    copy = source_for(path, cache=store.downloads) if lies_packed(path) else None
    register_card(known_card(dataset, path, mirror=copy), store, dataset, replace=replace)
