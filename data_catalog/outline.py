"""What a dataset will be, told before any example is read; what ingestion shares with it."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from data_catalog.card import DatasetCard
from data_catalog.kinds import KINDS
from data_catalog.labels import Labelling, code_notes, resolve_labels
from data_catalog.marks import Marks, marks_of
from data_catalog.naming import check_verbalizer
from data_catalog.sources import Example, Outlined
from data_catalog.sources.columns import is_usual
from data_catalog.splits import (
    TEST,
    TRAIN,
    Assignment,
    assign_splits,
    chosen_split,
    hidden_splits,
    known_split,
)
from data_catalog.wording import plural, some

_SPLIT_LIKE = re.compile(r"split|train|test|valid|subset|partition|phase|usage", re.IGNORECASE)
_MOST_SPLITS = 6  # values of a column that may say the splits


class Outline(NamedTuple):
    """What was understood of a card's source.

    Attributes:
        what: What is read, and from where.
        examples: Number of examples; None where that means reading all.
        classes: Names in label order; None likewise.
        domains: Examples by domain; empty where there are none, None likewise.
        splits: Examples by split, before any is checked; None likewise.
        split_rule: How the splits come about; empty likewise.
        notes: A sentence for each thing that is left out, or speaks against the guess.
        rows: What is used, without contents, in the order of the source; empty likewise.
        labels: Class of each of them.
    """

    what: str
    examples: int | None
    classes: tuple[str, ...] | None
    domains: dict[str, int] | None
    splits: dict[str, int] | None
    split_rule: str
    notes: list[str]
    rows: Sequence[Example] = ()
    labels: Sequence[int] = ()


def outline(card: DatasetCard) -> Outline:
    """Reads names, tables and labels of a source, and no example.

    Raises:
        SourceError: The source is missing or malformed.
        ValueError: Its labels or splits give no sound dataset, as at ingestion.
    """
    source, noun = card.source, KINDS[card.kind].noun
    listed = source.listed() if isinstance(source, Outlined) else None
    if listed is None:
        return Outline(source.describe(), None, None, None, None, "", notes_of(card))
    left_out: Counter[str] = Counter()
    rows = [row for example in listed if (row := wanted(card, example, left_out))]
    if not rows and left_out:
        raise ValueError(
            f"{card.name}: no split of the source has a name that the card wants; it has "
            f"{some(left_out)}. Correct split_names (--splits)."
        )
    if not rows:
        raise ValueError(f"{card.name}: the source holds no {noun}s. Check what it names.")
    hidden = hidden_splits(marks_of(rows))
    rows = [row for row in rows if row.split not in hidden]
    marks = marks_of(rows)
    labelling = labelling_of(card, marks)
    _check_shown(card, labelling)
    refuse_rivals(card, rows, labelling)
    # Which rows are carved is decided by their bytes; how many, by their classes alone.
    assignment = assign_splits(marks, labelling.labels, np.arange(len(rows)))
    return Outline(
        source.describe(),
        len(rows),
        labelling.classes,
        dict(sorted(Counter(row.domain for row in rows if row.domain).items())),
        assignment.counts(),
        assignment.rule,
        [
            *notes_of(card),
            *left_out_notes(card, left_out, hidden),
            *class_notes(card, labelling, assignment),
            *unread_splits(card, rows),
        ],
        rows,
        labelling.labels.tolist(),
    )


def notes_of(card: DatasetCard) -> list[str]:
    """What the source has to say of what it passes over."""
    notes = card.source.notes() if isinstance(card.source, Outlined) else []
    return [f"{note}." for note in notes]


def wanted(card: DatasetCard, example: Example, left_out: Counter[str]) -> Example | None:
    """An example under the card's name of its split; None, and counted, if that is not wanted.

    Args:
        card: Says which splits, and how the source calls them.
        example: Of the source.
        left_out: Takes the counts of those that are not wanted, by split.
    """
    split = chosen_split(example.split, card.split_names)
    if split is None and card.split_names is not None:
        left_out[example.split or "no split"] += 1
        return None
    return example._replace(split=split)


def labelling_of(card: DatasetCard, marks: Marks) -> Labelling:
    """Class names and labels of some rows, see `resolve_labels`; a verbalizer has to fit them.

    Args:
        card: Gives names, where it does.
        marks: Of rows of one source.
    """
    labelling = resolve_labels(card, marks)
    if card.verbalizer:
        check_verbalizer(card.name, card.verbalizer, labelling.classes)
    return labelling


def left_out_notes(card: DatasetCard, left_out: Counter[str], hidden: dict[str, int]) -> list[str]:
    """A sentence for each split that is left out.

    Args:
        card: Of the dataset.
        left_out: Examples by split that the card does not want.
        hidden: Examples by split that has no labels.
    """
    noun = KINDS[card.kind].noun
    return [
        f"split {split} left out, as the card says: {plural(count, noun)}."
        for split, count in left_out.items()
    ] + [
        f"split {split} left out, it has no labels: {plural(count, noun)}."
        for split, count in hidden.items()
    ]


def class_notes(card: DatasetCard, labelling: Labelling, assignment: Assignment) -> list[str]:
    """Names the classes without test rows, and those called by a code.

    Args:
        card: Of the dataset.
        labelling: Class of each row, and their names.
        assignment: Split of each row.

    Raises:
        ValueError: A class has no train row, while others do, and the card does not mean that.
    """
    seen = {
        split: set(np.unique(labelling.labels[assignment.of(split)]).tolist())
        for split in (TRAIN, TEST)
    }
    bare = {
        split: [name for label, name in enumerate(labelling.classes) if label not in there]
        for split, there in seen.items()
    }
    if bare[TRAIN] and seen[TRAIN] and not card.unseen_classes:
        raise ValueError(
            f"{len(bare[TRAIN])} of {len(labelling.classes)} classes have no train row: "
            f"{some(bare[TRAIN])}. Leave these classes out, or give splits in which each has one "
            "(--splits)."
        )
    nouns = f"{KINDS[card.kind].noun}s"
    said = [] if card.classes else code_notes(labelling.classes)
    if not seen[TEST]:
        said.append(f"no test {nouns}, so nothing can be measured: no class has two {nouns} apart.")
    elif bare[TEST]:
        said.append(f"classes without test {nouns}: {some(bare[TEST])}.")
    return said


def _check_shown(card: DatasetCard, labelling: Labelling) -> None:
    """Refuses names of the card that no row shows, such as those that a comma has split."""
    shown = set(labelling.labels.tolist())
    bare = [name for label, name in enumerate(labelling.classes) if label not in shown]
    if bare:
        raise ValueError(
            f"{card.name}: {len(labelling.classes)} classes are named, and the data shows "
            f"{len(shown)} of them: no row is {some(map(repr, bare))}. Name the classes of the "
            "data, in label order; a name with a comma is put in quotes."
        )


def refuse_rivals(card: DatasetCard, rows: Sequence[Example], labelling: Labelling) -> None:
    """Refuses a table in which another column may be the class, and tells the rows apart otherwise.

    Args:
        card: Says which columns the user named.
        rows: Of the source, one or more.
        labelling: Class of each of them.

    Raises:
        ValueError: As said; the message has the values of both.
    """
    texts = card.kind == "text"
    columns = _columns_named(card)
    if "label" in columns or "class_name" in columns:
        return
    labels = labelling.labels.tolist()
    for column in rows[0].extras:
        if not any(is_usual(part, column, texts=texts) for part in ("label", "class_name")):
            continue
        values = [row.extras.get(column) for row in rows]
        pairs = set(zip(labels, map(str, values), strict=True))
        if None in values or len(pairs) == len(set(map(str, values))) == len(set(labelling.labels)):
            continue
        raise ValueError(
            f"{card.name}: column {column!r} may be the class too, and tells the rows apart "
            f"otherwise: it has {some(sorted(set(map(str, values))), 3)}, while the classes would "
            f"be {some(labelling.classes, 3)}. Say which column is meant, such as --columns "
            f"label={column}."
        )


def unread_splits(card: DatasetCard, rows: Sequence[Example]) -> Iterator[str]:
    """A sentence for each column that may say the splits, where none is read as such.

    Args:
        card: Says whether splits were named.
        rows: Of the source, one or more.
    """
    if card.split_names is not None or any(row.split for row in rows):
        return
    for column in rows[0].extras:
        values = {str(row.extras.get(column)) for row in rows}
        words = len(values) > 1 and all(map(known_split, values))
        if words or (_SPLIT_LIKE.search(column) and 1 < len(values) <= _MOST_SPLITS):
            yield (
                f"column {column!r} ({some(sorted(values))}) may say the splits, and is not read: "
                f"give --columns split={column}, and --splits where its words are others."
            )


def _columns_named(card: DatasetCard) -> Mapping[str, str]:
    """Columns by part, as the user named them."""
    hints = getattr(card.source, "told", None) or {}
    return getattr(card.source, "columns", None) or hints.get("columns") or {}
