"""What is known of datasets, as rows of the board and of listings."""

from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from data_catalog import Dataset, DatasetCard
from data_catalog.dataset import CARD
from data_catalog.json_text import load_json
from data_catalog.secrets import redacted
from tasks.planning import resolve
from tasks.planning.resolve import dataset_cards, ingested
from tasks.storage.store import Store

if TYPE_CHECKING:
    from data_catalog.published import PublishedDataset


def dataset_rows(store: Store) -> list[dict[str, Any]]:
    """One row a dataset, ingested or not."""
    return [dataset_row(store, card) for _, card in sorted(dataset_cards(store).items())]


def dataset_row(store: Store, card: DatasetCard) -> dict[str, Any]:
    """What is known of a dataset here; its source is not touched, for it may be gone or far."""
    here = ingested(store, card.name)
    classes = here.classes if here else card.classes
    row = {
        "name": card.name,
        "title": card.title,
        "classes": len(classes) if classes else None,
        "template": card.template,
        "license": card.license,
        "citation": card.citation,
        "source": here.card["source_description"] if here else card.place(),
        "fingerprint": here.fingerprint if here else None,
        "trouble": card.trouble,
        "card": {
            "kind": card.kind,
            **card.to_json(),
            **(_counts(here) if here else {}),
            "descriptions": said_of(store, card.name),
        },
    }
    return redacted(row)


def known_rows(store: Store) -> list[dict[str, Any]]:
    """One row for each published dataset that is known and that nobody has registered here."""
    from data_catalog.published import PUBLISHED

    here = dataset_cards(store)
    return [known_row(known) for name, known in sorted(PUBLISHED.items()) if name not in here]


def known_row(dataset: "PublishedDataset") -> dict[str, Any]:
    """What is known of a published dataset, with the keys of `dataset_row`."""
    return {
        "name": dataset.name,
        "title": dataset.title,
        "classes": len(dataset.classes) if dataset.classes else None,
        "template": dataset.template_set().template,
        "license": dataset.license,
        "citation": dataset.citation,
        "source": dataset.by_hand,
        "fingerprint": None,
        "trouble": dataset.trouble,
        "card": {
            "kind": dataset.kind,
            "description": dataset.description,
            "homepage": dataset.homepage,
            "split_rule": dataset.split_rule,
            "split_sizes": {way: dict(counts) for way, counts in dataset.counts.items()},
            "domains": dict(dataset.domains),
            "template_sets": {name: each._asdict() for name, each in dataset.template_sets.items()},
            "downloads": [{**asdict(each), "url": each.page()} for each in dataset.downloads],
            "registered": False,
        },
    }


def class_rows(store: Store) -> list[dict[str, Any]]:
    """Names of the classes of every version of every dataset that was ingested, by label.

    What is damaged is left out: the next run says so, and trials keep their numbers.
    """
    rows = []
    for file in sorted(store.data.glob(f"*/*/{CARD}")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            card = load_json(file.read_bytes())
            rows += [
                {
                    "dataset": str(card["name"]),
                    "dataset_fingerprint": str(card["fingerprint"]),
                    "label": label,
                    "class": str(name),
                }
                for label, name in enumerate(card["classes"])
            ]
    return redacted(rows)


def said_of(store: Store, name: str) -> dict[str, Any] | None:
    """What is known of the descriptions of a dataset; None where nobody has described it."""
    try:
        found = resolve.descriptions(store, name)
    except resolve.RequestError as error:
        return {"error": str(error)}
    if found is None:
        return None
    said, file = found
    return {
        "classes": len(said.sentences),
        "sentences": sum(map(len, said.sentences.values())),
        "source": said.source,
        "license": said.license,
        "file": str(file),
    }


def _counts(dataset: Dataset) -> dict[str, Any]:
    return {key: value for key, value in dataset.card.items() if key not in ("source",)}
