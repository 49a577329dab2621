"""From what is known of a published dataset to the card of one that lies here."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from data_catalog.card import DatasetCard
from data_catalog.naming import prompt_key
from data_catalog.sources import Outlined, Published, Source
from data_catalog.sources.base import absolute, without_query
from data_catalog.sources.listing import is_pattern, list_files
from data_catalog.sources.webdataset import SHARD_SUFFIXES
from data_catalog.wording import some

if TYPE_CHECKING:
    from data_catalog.published import PublishedDataset, TemplateSet

_PACKED = (".parquet", *SHARD_SUFFIXES)
_ORIGINAL = {".jpg", ".jpeg", ".png", ".mat", ".bin"}  # an archive may lie beside what was in it


def lies_packed(path: str | os.PathLike[str]) -> bool:
    """Whether a place holds a dataset as mirrors have it: Parquet, WebDataset, an archive, a hub.

    Raises:
        SourceError: Nothing is there.
    """
    place = absolute(path)
    if place.startswith("hf://") or is_pattern(place):
        return True
    names = list_files(place).files
    if set(names) == {without_query(place).rpartition("/")[2]}:  # one file
        return True
    suffixes = {name[name.rfind(".") :].lower() for name in names if "." in name}
    packed = any(name.lower().endswith(_PACKED) for name in names)
    return packed and not suffixes & _ORIGINAL


def known_card(
    dataset: "PublishedDataset",
    path: str | os.PathLike[str],
    *,
    name: str = "",
    template_set: str = "",
    template: str = "",
    license: str = "",
    mirror: Source | None = None,
    split_names: Mapping[str, str | Sequence[str]] | None = None,
) -> DatasetCard:
    """The card of a published dataset whose files are at `path`.

    Its counts are those of the way in which its splits come about; where the user brings a way
    of their own, such as another split file, no counts are promised.

    Args:
        dataset: What is known.
        path: Place of its files.
        name: Of the card; empty for that of the dataset.
        template_set: Name of its prompts; empty for the first.
        template: A prompt of the user's own instead; empty for those of the set.
        license: What the user says of the licence; empty for what is known.
        mirror: Reads what a mirror has; None reads the original files.
        split_names: As a card has them; with them, no counts are promised.

    Raises:
        SourceError: The files are not those of the dataset.
        ValueError: It has no such template set, or a mirror calls its labels otherwise.
    """
    from data_catalog.published import TemplateSet  # most commands need none of them

    prompts = TemplateSet(template) if template else dataset.template_set(template_set)
    classes, sizes = dataset.classes, None
    if mirror is None:
        source = Published(dataset.name, absolute(path))
        reading = source.reading()
        classes = classes if reading.splits else None
        sizes = dataset.counts.get(reading.splits)
    else:
        source = mirror
        _check_mirror(dataset, mirror)
    card = _card(dataset, source, prompts)
    return replace(
        card,
        name=name or card.name,
        license=license or card.license,
        classes=classes,
        split_sizes=None if split_names else sizes,
        split_names=split_names,
    )


def _card(dataset: "PublishedDataset", source: Source, prompts: "TemplateSet") -> DatasetCard:
    """All that is known whatever the files say.

    Args:
        dataset: What is known.
        source: Reads it.
        prompts: That are chosen.
    """
    return DatasetCard(
        name=dataset.name,
        kind=dataset.kind,
        source=source,
        template=prompts.template,
        templates=prompts.templates,
        classes=dataset.classes,
        duplicate_class_names=dataset.duplicate_class_names,
        title=dataset.title,
        description=dataset.description,
        license=dataset.license,
        citation=dataset.citation,
        homepage=dataset.homepage,
        trouble=dataset.trouble,
        domains=tuple(sorted(dataset.domains)),
        unseen_classes=dataset.unseen_classes,
    )


def _check_mirror(dataset: "PublishedDataset", mirror: Source) -> None:
    """Refuses a mirror whose labels stand for other classes, as those in another order do.

    Names may be those of the authors or the cleaned ones; labels without names are taken as they
    are.
    """
    rows = mirror.listed() if isinstance(mirror, Outlined) else None
    classes = dataset.classes
    if rows is None or classes is None:
        return
    named = {(row.label, row.class_name) for row in rows if row.class_name}
    wrong = []
    for label, name in sorted(named, key=str):
        if label is None or label < 0:
            continue
        expected = classes[label] if label < len(classes) else None
        keys = {prompt_key(name), prompt_key(dataset.cleaned(name))}
        if expected is None or prompt_key(expected) not in keys:
            wrong.append(f"label {label} is {name!r}, and known as {expected!r}")
    if wrong:
        raise ValueError(
            f"{dataset.name}: {len(wrong)} labels here stand for other classes than the "
            f"{len(classes)} that are known: {some(wrong, 3)}. Fetch another copy, or register "
            "the data under another name."
        )


def imagined(dataset: "PublishedDataset") -> DatasetCard:
    """What the card of a published dataset will be like, for plans before it is fetched.

    Its counts are those of CoOp's split file or of the rule that made it, where it has them.
    """
    from data_catalog.published.form import OFFICIAL, RULE, SPLIT_FILE

    ways = (dataset.counts.get(way) for way in (SPLIT_FILE, RULE, OFFICIAL))
    sizes = next((sizes for sizes in ways if sizes), None)
    card = _card(dataset, Published(dataset.name, ""), dataset.template_set(""))
    return replace(card, split_sizes=sizes)


def with_counts(
    card: DatasetCard,
    dataset: "PublishedDataset",
    found: Mapping[str, int] | None,
    domains: Mapping[str, int] | None = None,
) -> DatasetCard:
    """The card with the counts that ingestion must find, where a mirror gives them.

    Those of a mirror have to be those of a known way to split the dataset. Where a known way has
    no val, its train rows may have been carved into both.

    Args:
        card: Of `known_card`.
        dataset: What is known.
        found: Rows of train, val and test as the source has them; None where that is not known
            before all is read, and then no counts are promised.
        domains: Rows by domain as the source has them, of a dataset that has domains.

    Raises:
        ValueError: They are others; the message has them all.
    """
    from data_catalog.published import LayoutError, check_domains

    if isinstance(card.source, Published) or card.split_names or found is None:
        return card
    if dataset.domains:
        here = domains or {}
        try:
            check_domains(dataset, {_domain(name): count for name, count in here.items()})
        except LayoutError as error:
            raise ValueError(f"{dataset.name}: {error}.") from error
        card = replace(card, domains=tuple(sorted(here)))  # as the mirror spells them
    if not dataset.counts:
        return card
    for known in dataset.counts.values():
        whole = "val" in known or not found.get("val")
        seen = found if whole else {**found, "train": found["train"] + found["val"], "val": 0}
        if all(seen.get(split, 0) == known.get(split, 0) for split in {*seen, *known}):
            # Copies of an image are carved together, so that a carved val may have one more.
            return replace(card, split_sizes=dict(found)) if whole else card
    ways = "; ".join(f"{way}: {_listed(counts)}" for way, counts in dataset.counts.items())
    raise ValueError(
        f"{dataset.name}: the rows here are {_listed(found)}, and known are {ways}. Fetch another "
        "copy; name the splits that are wanted with --splits, then counts are not checked; or "
        "register the data under another name."
    )


def _domain(name: str) -> str:
    """A domain as it is known, of the spelling of a mirror, such as `Real World`."""
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {count:,}" for split, count in counts.items() if count)
