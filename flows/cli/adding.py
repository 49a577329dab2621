"""`shotboard datasets add`: a dataset that is known, or one of a user's own, without code."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_catalog.wording import some
from flows.cli.common import Home, class_names, one_each, one_sentence, pairs
from flows.cli.terminal import out
from tasks.storage.store import Store

if TYPE_CHECKING:
    from data_catalog import DatasetCard, Outline
    from data_catalog.published import PublishedDataset

_PAGES = (".html", ".htm")
_SUITES = {"text": "text "}  # that learn from a kind of data; the default one from images


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
            "label, class_name, split, domain, path. What separates columns is known by the "
            "header: comma, semicolon, tab, | and others; a first line sep=X says it."
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
            """('"shark, white",cat'), or @FILE with one name a line. Where the data has numbers """
            "or WordNet ids, also by these, such as n01440764=tench.  "
            "[default: what the data says]",
        ),
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="Digest that an archive must have.")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit of a hub dataset.")] = None,
    license: Annotated[str, typer.Option(help="Licence of the data.")] = "",
    published: Annotated[
        str,
        typer.Option(
            metavar="DATASET",
            help="The published dataset that it is: card, class names, prompts and counts are "
            "known.  [default: NAME, where one is called so]",
        ),
    ] = "",
    template_set: Annotated[
        str,
        typer.Option(
            help="Prompts of a published dataset by name, such as coop-ensemble; `datasets show` "
            "has them.  [default: coop]"
        ),
    ] = "",
    same_names: Annotated[
        bool, typer.Option("--same-names", help="Two labels may share a name, as in ImageNet.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Change a registered one.")] = False,
    preview: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Look before registering: write a page (.html) with classes, counts, notes and "
            "some examples of each class, and register nothing.",
        ),
    ] = None,
    home: Home = None,
) -> None:
    """Register a published dataset, or one of your own, without code.

    What was understood is printed first; --preview shows it, and registers nothing.
    """
    with one_sentence():
        if preview is not None and preview.suffix.lower() not in _PAGES:
            raise ValueError(f"--preview {preview}: it is a page. Name a file .html.")
        from data_catalog.published import PUBLISHED
        from tasks.planning.resolve import resolve

        store = Store.to_write(home)
        reading: dict[str, Any] = {
            "table": table,
            "columns": one_each("--columns", pairs("--columns", columns)),
            "layout": layout,
            "kind": kind,
            "sha256": sha256,
            "revision": revision,
        }
        given: dict[str, Any] = {
            "template": template,
            "classes": class_names(classes),
            "verbalizer": class_names(verbalizer, "--verbalizer") or (),
            "license": license,
            "duplicate_class_names": same_names,
            "split_names": pairs("--splits", splits) or None,
        }
        known = PUBLISHED.get(name)
        if published:
            known = resolve("published dataset", published, PUBLISHED)
        if known is None:
            _refuse_given(f"of {name}, which is not known", {"--template-set": template_set})
            card = _own_card(name, path, store, reading, given)
        else:
            card = _published_card(known, name, path, store, template_set, reading, given)
        register_card(card, store, known, replace=replace, preview=preview)


def register_card(
    card: "DatasetCard",
    store: Store,
    known: "PublishedDataset | None" = None,
    *,
    replace: bool,
    preview: Path | None = None,
) -> None:
    """Prints what the data of a card is taken for, keeps the card, and says what comes next.

    Args:
        card: Of the dataset.
        store: Where it is kept.
        known: The published dataset that it is, whose counts it has to have.
        replace: Whether it may take the place of another card of its name.
        preview: Page that shows it instead, and nothing is kept.

    Raises:
        SourceError: The data cannot be read.
        ValueError: It makes no sound dataset or has other counts, or the name has another card.
    """
    from data_catalog import outline, refuse_registering, register, with_counts
    from data_catalog.secrets import holds_secret

    found = outline(card)
    card = card if known is None else with_counts(card, known, found.splits, found.domains)
    refuse_registering(card, store.cards, replace=replace)
    for line in (f"{card.name}: {found.what}", *_told(card.kind, found)):
        out.print(line)
    if preview is not None:
        from flows.cli.answers import refuse_store_files, write_file
        from tasks.pages.contact_sheet import contact_sheet

        refuse_store_files(preview, store.home)
        write_file(preview, contact_sheet(card, found))
        out.print("registered nothing: look at it, then give the command without --preview")
        return
    file = register(card, store.cards, replace=replace)
    store.refresh()
    out.print(f"registered {card.name}: {file}")
    if holds_secret(file.read_text("utf-8")):
        out.print("It holds a secret, with which the data is fetched: only you may read it.")
    out.print(f"next: shotboard run {_next_run(card, found)}", soft_wrap=True)


def _next_run(card: "DatasetCard", found: "Outline") -> str:
    """What to run with a dataset; one without train rows is what others are tested on."""
    suite = _SUITES.get(card.kind, "")
    if found.splits and not found.splits["train"]:
        return f"{suite}--protocols cross_dataset --datasets A --targets {card.name}"
    return f"{suite}--datasets {card.name}"


def _own_card(
    name: str, path: str, store: Store, reading: dict[str, Any], given: dict[str, Any]
) -> "DatasetCard":
    """The card of a dataset that nobody knows.

    Args:
        name: Of the dataset.
        path: Where it is.
        store: Keeps what archives hold.
        reading: What was said of how it is read.
        given: Fields of the card.
    """
    from data_catalog import DatasetCard, holds, source_for
    from data_catalog.labels import names_by_code

    source = source_for(path, cache=store.downloads, **reading)
    if given["classes"]:
        given["classes"] = names_by_code(name, given["classes"], source)
    return DatasetCard(name=name, kind=holds(source), source=source, **given)


def _published_card(
    known: "PublishedDataset",
    name: str,
    path: str,
    store: Store,
    template_set: str,
    reading: dict[str, Any],
    given: dict[str, Any],
) -> "DatasetCard":
    """The card of a dataset that is known, from its original files or a mirror's.

    Args:
        known: What is known of it.
        name: Of the card.
        path: Where it is.
        store: Keeps what archives hold.
        template_set: Name of its prompts; empty for the usual ones.
        reading: What was said of how it is read; only a mirror can be read in several ways.
        given: Fields of the card.

    Raises:
        ValueError: Something was said that is known otherwise.
    """
    from data_catalog import known_card, lies_packed, source_for

    what = f"of {known.name}, which is known"
    fixed = {"--classes": given["classes"], "--verbalizer": given["verbalizer"]}
    _refuse_given(what, {**fixed, "--kind": reading["kind"]})
    if given["template"] and template_set:
        raise ValueError("--template and --template-set both say the prompts. Give one of the two.")
    mirror = None
    if lies_packed(path):
        mirror = source_for(path, cache=store.downloads, **reading)
    else:
        options = {f"--{key}": value for key, value in reading.items() if key != "kind"}
        _refuse_given(f"{what}, and whose original files these are", options)
    return known_card(
        known,
        path,
        name=name,
        template_set=template_set,
        mirror=mirror,
        template=given["template"],
        license=given["license"],
        split_names=given["split_names"],
    )


def _refuse_given(what: str, options: dict[str, Any]) -> None:
    """Refuses options that say nothing here."""
    for option, value in options.items():
        if value:
            raise ValueError(
                f"{option} says nothing {what}. Leave it out; other data is registered under a "
                "name of its own."
            )


def _told(kind: str, found: "Outline") -> Iterator[str]:
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
