"""A dataset of the catalog as the planner and the operators see it."""

from data_catalog import Dataset, DatasetCard
from operators.episode import Classes
from operators.protocols import Table
from operators.spec import digest


class TrialData:
    """A dataset as the operators see it.

    Attributes:
        table: Labels and splits.
        all_classes: Names as they stand in a prompt, and the card's templates.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.table = Table(dataset.labels, dataset.splits, len(dataset.classes))
        ensemble = tuple(t for t in dataset.templates if dataset.templates != (dataset.template,))
        names = DatasetCard.prompt_names(dataset.classes)
        self.all_classes = Classes(names, (dataset.template,), ensemble)


class Preview:
    """What a plan can know of a dataset before its ingestion: names, and nothing of its rows.

    Attributes:
        name: Of the dataset.
        classes: Names in label order.
        fingerprint: A word in its place; so no trial of it is ever found to be done.
    """

    fingerprint = "not-ingested"

    def __init__(self, card: DatasetCard) -> None:
        self.name = card.name
        self.classes = card.classes or ()
        self.template = card.template
        self.templates = card.templates or (card.template,)


def preview(card: DatasetCard) -> Preview | None:
    """A preview of a dataset, if its card names the classes."""
    return Preview(card) if card.classes else None


def template_set(dataset: "Dataset | Preview") -> str:
    """Name and digest of the sentences of a dataset's card."""
    return f"card-{digest([dataset.template, *dataset.templates])[:8]}"
