"""A few examples of each class as they will be understood, before anything is stored."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from data_catalog.card import DatasetCard
from data_catalog.kinds import KINDS, Checked, Preview
from data_catalog.outline import Outline
from data_catalog.sources import Example, Outlined, picked

A_CLASS = 6  # examples of it
CLASSES = 200  # of which examples are read
UNSORTED = 2_000  # examples that are read where classes are known only when all is read


class Sample(NamedTuple):
    """One example.

    Attributes:
        example: As its source gives it, without content.
        preview: How it looks; empty where `error` says why.
        error: Why it cannot be used; empty when it can.
        measures: As a phrase, such as `width 640, height 480`.
    """

    example: Example
    preview: Preview
    error: str
    measures: str


class ClassSample(NamedTuple):
    """A class with some of its examples.

    Attributes:
        label: Its place in label order; None where that is not known before all is read.
        name: Of the class.
        written: What the source has for it: its number, its name or both.
        splits: Examples by split as the source has them; under an empty name those without.
        samples: Some of them.
    """

    label: int | None
    name: str
    written: str
    splits: dict[str, int]
    samples: list[Sample]


def class_samples(card: DatasetCard, found: Outline) -> list[ClassSample]:
    """Some examples of each class, of every split and domain where they suffice.

    Which ones follows from the data alone. Beyond `CLASSES` classes no examples are read; their
    counts are there.

    Args:
        card: Of the dataset.
        found: What was understood of it.

    Raises:
        SourceError: The source is missing or malformed.
    """
    if found.classes is None:
        return _unsorted(card)
    members: dict[int, list[int]] = defaultdict(list)
    for row, label in enumerate(found.labels):
        members[int(label)].append(row)
    chosen = {
        row: label
        for label in range(min(CLASSES, len(found.classes)))
        for row in _some(members[label], found.rows)
    }
    seen: dict[int, list[Sample]] = defaultdict(list)
    places = _positions(card, found.rows)
    rows = sorted(chosen)
    read = picked(card.source, [places[row] for row in rows])
    for row, sample in zip(rows, _checked(card, read), strict=True):
        split = found.rows[row].split  # under the card's name
        example = sample.example._replace(split=split)
        seen[chosen[row]].append(sample._replace(example=example))
    return [
        ClassSample(
            label,
            name,
            _written(found.rows[row] for row in members[label]),
            dict(Counter(found.rows[row].split or "" for row in members[label])),
            seen[label],
        )
        for label, name in enumerate(found.classes)
    ]


def _some(rows: Sequence[int], examples: Sequence[Example]) -> list[int]:
    """Some rows of a class: one of each split and domain first, the others drawn."""
    shuffled = list(rows)
    random.Random(0).shuffle(shuffled)
    first: dict[tuple[str | None, str | None], int] = {}
    for row in shuffled:
        first.setdefault((examples[row].split, examples[row].domain), row)
    kinds = sorted(first.values())
    others = [row for row in shuffled if row not in set(kinds)]
    return [*kinds, *others][:A_CLASS]


def _positions(card: DatasetCard, rows: Sequence[Example]) -> list[int]:
    """Where the source has each of some rows, which are in its order."""
    listed = card.source.listed() if isinstance(card.source, Outlined) else None
    places, wanted = [], iter(rows)
    row = next(wanted, None)
    for position, example in enumerate(listed or ()):
        if row is None:
            break
        if example[:4] == row[:4] and example.domain == row.domain:
            places.append(position)
            row = next(wanted, None)
    return places


def _unsorted(card: DatasetCard) -> list[ClassSample]:
    """The first examples of a source that says nothing before all of it is read."""
    classes: dict[str, list[Example]] = defaultdict(list)
    for example in islice(card.source.examples(), UNSORTED):
        classes[_written([example])].append(example)
    return [
        ClassSample(
            None,
            name,
            name,
            dict(Counter(example.split or "" for example in members)),
            list(_checked(card, members[:A_CLASS])),
        )
        for name, members in islice(sorted(classes.items()), CLASSES)
    ]


def _checked(card: DatasetCard, examples: Iterable[Example]) -> Iterator[Sample]:
    kind = KINDS[card.kind]
    for checked in kind.check(examples):
        bare = checked.example._replace(content=b"")
        if checked.error:
            yield Sample(bare, Preview(), checked.error, "")
        else:
            shown = kind.preview(kind.stored(checked.example.content))
            yield Sample(bare, shown, "", _measured(card, checked))


def _measured(card: DatasetCard, checked: Checked) -> str:
    names = KINDS[card.kind].measures
    values = zip(names, checked.measures, strict=True)
    return ", ".join(f"{name} {value:,}" for name, value in values)


def _written(examples: Iterable[Example]) -> str:
    """What a source has for a class: the label, the name or both."""
    found = {(example.label, example.class_name) for example in examples}
    told = [
        " ".join(str(each) for each in pair if each is not None) for pair in sorted(found, key=repr)
    ]
    return ", ".join(told[:3]) + (", .." if len(told) > 3 else "")
