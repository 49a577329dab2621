"""A dataset of the catalog as the planner and the operators see it."""

from collections.abc import Mapping
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from data_catalog import Dataset, DatasetCard
from data_catalog.descriptions import Descriptions
from operators.backbones import BackboneCard
from operators.backbones.formats.cleaning import text_version
from operators.episodes.episode import Classes
from operators.episodes.table import Table
from operators.methods import Method
from operators.spec import digest
from operators.spec import template_set as of_card
from tasks.planning import resolve
from tasks.planning.resolve import RequestError
from tasks.storage.store import Store

DESCRIBED = "+descriptions:"  # in the template set of a trial that reads them
_INVENTED = 100  # classes
_ANSWERS = "+answers:"  # likewise, of a dataset whose verbalizer is not made of the class names


class TrialData:
    """A dataset as the operators see it.

    Attributes:
        table: Labels and splits.
        all_classes: Names as they stand in a prompt, the card's templates, and what is said of
            the classes where a method reads it.
    """

    def __init__(
        self, dataset: "Dataset | Imagined", descriptions: Descriptions | None = None
    ) -> None:
        self.table = Table(
            dataset.labels,
            dataset.splits,
            len(dataset.classes),
            DatasetCard.prompt_names(dataset.classes),
            dataset.domain_codes,
            dataset.domain_names,
            dataset.fingerprint,
            pairs_of(dataset),
        )
        self.all_classes = classes_of(dataset, descriptions)


class Preview:
    """What a plan can know of a dataset before its ingestion: names, and nothing of its rows.

    Attributes:
        name: Of the dataset.
        kind: What an example is.
        pairs: None: rows say them.
        composed: Whether rows will say pairs; None where nobody knows before they are read.
        verbalizer: A word for each class.
        domain_names: In sorted order, where the card says them.
        classes: Names in label order.
        fingerprint: A word in its place; so no trial of it is ever found to be done.
        val_is_test: Not before rows are there.
    """

    fingerprint = "not-ingested"
    val_is_test = False

    def __init__(self, card: DatasetCard) -> None:
        self.name = card.name
        self.kind = card.kind
        self.classes = card.classes or ()
        self.pairs: tuple[tuple[str, str], ...] = ()
        self.composed: bool | None = getattr(card.source, "composed", None)
        self.verbalizer = card.verbalizer or self.classes
        self.template = card.template
        self.templates = card.templates or (card.template,)
        self.domain_names = tuple(sorted(card.domains))
        self.sizes = dict(card.split_sizes or {})


class Imagined(Preview):
    """A dataset before its ingestion with as many rows as its card promises, for estimates.

    Classes and domains take turns, so each has its share of every split.

    Attributes:
        rows: Of all splits.
        labels: (n,).
        splits: (n,).
        domain_codes: (n,) indices into `domain_names`; -1 where there is none.
    """

    def __init__(self, card: DatasetCard) -> None:
        super().__init__(card)
        self.rows = sum(self.sizes.values())
        turn = np.arange(self.rows)
        names = [name for name, count in self.sizes.items() for _ in range(count)]
        self.splits = np.array(names, dtype=object)
        self.labels = turn % max(1, len(self.classes))
        domains = len(self.domain_names)
        self.domain_codes = turn // max(1, len(self.classes)) % domains if domains else turn * 0 - 1


def imagined(card: DatasetCard) -> Imagined | None:
    """A dataset to estimate with, if its card names the classes and promises its rows."""
    return Imagined(card) if card.classes and card.split_sizes else None


def preview(card: DatasetCard) -> Preview | None:
    """A preview of a dataset, if its card names the classes."""
    return Preview(card) if card.classes else None


def invented(card: DatasetCard) -> Preview:
    """A preview of a dataset whose card names no classes, with so many that nothing is left out.

    What is planned with it is the most that there can be; no number comes from it.
    """
    found = Preview(card)
    found.classes = found.verbalizer = tuple(f"class {n}" for n in range(_INVENTED))
    return found


def descriptions_of(store: Store, dataset: "Dataset | Preview") -> Descriptions | None:
    """What is said of the classes of a dataset; None where nothing is.

    Raises:
        RequestError: The file cannot be read, or is about other classes.
    """
    found = resolve.descriptions(store, dataset.name)
    if found is None:
        return None
    said, file = found
    try:
        said.of(dataset.classes)
    except ValueError as error:
        raise RequestError(f"{file}: {error}") from error
    return said


def classes_of(dataset: "Dataset | Preview", said: Descriptions | None = None) -> Classes:
    """Names as they stand in a prompt, the card's templates, and what is said of the classes."""
    ensemble = tuple(t for t in dataset.templates if dataset.templates != (dataset.template,))
    names = DatasetCard.prompt_names(dataset.classes)
    described = () if said is None else said.of(dataset.classes)
    words = dataset.verbalizer if dataset.verbalizer != dataset.classes else ()
    return Classes(names, (dataset.template,), ensemble, described, words)


@lru_cache(maxsize=64)
def _prompted(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    parts = (DatasetCard.prompt_names(part) for part in zip(*pairs, strict=True))
    return tuple(zip(*parts, strict=True))


def pairs_of(dataset: "Dataset | Preview") -> tuple[tuple[str, str], ...]:
    """Attribute and object of each class as they stand in a prompt; none where classes are none."""
    return _prompted(dataset.pairs) if dataset.pairs else ()


def text_version_of(
    card: BackboneCard, classes: Classes, hyperparameters: Mapping[str, Any]
) -> int:
    """The version of texts of a trial.

    Args:
        card: Of its backbone.
        classes: All that it reads.
        hyperparameters: Some have words that a prompt begins with.
    """
    if not card.cleans:
        return 1
    words = [value for value in hyperparameters.values() if isinstance(value, str)]
    return max(_text_version(classes), text_version(words))


@lru_cache(maxsize=64)  # a plan asks of the same classes for every method
def _text_version(classes: Classes) -> int:
    prompts = (p for t in (*classes.templates, *classes.ensemble) for p in classes.prompts(t))
    return text_version(chain(classes.names, prompts, *classes.descriptions))


def template_set(dataset: "Dataset | Preview", said: Descriptions | None = None) -> str:
    """Name and digest of all words that a trial reads: the card's, and those of `said`.

    Args:
        dataset: Gives templates and verbalizer.
        said: Sentences about its classes.
    """
    name = of_card(dataset.template, dataset.templates)
    if dataset.verbalizer != dataset.classes:
        name += f"{_ANSWERS}{digest(list(dataset.verbalizer))[:8]}"
    return name if said is None else f"{name}{DESCRIBED}{said.digest(dataset.classes)[:8]}"


def template_set_for(
    store: Store, method: type[Method], dataset: "Dataset | Preview"
) -> str | None:
    """The template set of the trials of a method; None where it lacks descriptions.

    Raises:
        RequestError: As `descriptions_of`.
    """
    if not method.card.descriptions:
        return template_set(dataset)
    said = descriptions_of(store, dataset)
    return None if said is None else template_set(dataset, said)


def data_of(store: Store, dataset: Dataset, templates: str) -> TrialData:
    """The dataset as a trial with such a template set was planned to see it.

    Raises:
        ValueError: Its templates, or what is said of its classes, have changed since.
    """
    said = descriptions_of(store, dataset) if DESCRIBED in templates else None
    if template_set(dataset, said) != templates:
        same_card = template_set(dataset) == templates.partition(DESCRIBED)[0]
        changed = "descriptions" if same_card else "templates"
        raise ValueError(
            f"the {changed} of {dataset.name} have changed since this trial was planned: run its "
            "suite again, and the new ones are read."
        )
    return TrialData(dataset, said)


def undescribed(method: str, dataset: str) -> str:
    """Why a method has no trials on a dataset that nobody has described, and the way out."""
    return (
        f"{method} on {dataset}: it reads sentences about each class, and there are none. Give "
        f"them with `shotboard datasets describe {dataset} --file FILE`."
    )
