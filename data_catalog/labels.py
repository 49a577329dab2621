"""From the labels and class names of a source to one label a row and one name a label."""

import re
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from data_catalog.card import DatasetCard
from data_catalog.marks import Marks, marks_of
from data_catalog.naming import ascii_if_alike, check_class_names, check_prompts, prompt_key
from data_catalog.sources import Outlined, Source
from data_catalog.wording import did_you_mean, some

_WORDNET_ID = re.compile(r"n\d{8}")
_FLOAT = re.compile(r"\s*\d+[.,]0*\s*")  # a whole number with a point
_KEYED = re.compile(r"(\S+?)(\s*[=:]\s*|\s+)(\S.*)")
_JOINERS = ("|", ";", ",")  # of labels in one
_CODE = re.compile(r"[\d_.-]+|n\d{8}")


class Labelling(NamedTuple):
    """Labels as the dataset keeps them.

    Attributes:
        labels: Class of each row, 0..k-1, int32 of shape (rows,).
        classes: The k names in label order.
        rule: One sentence on how they came about.
    """

    labels: np.ndarray
    classes: tuple[str, ...]
    rule: str


class _Resolved(NamedTuple):
    """As `Labelling`, with a label for each distinct mark."""

    labels: Sequence[int]
    classes: tuple[str, ...]
    rule: str


def resolve_labels(card: DatasetCard, marks: Marks) -> Labelling:
    """Joins what the source says of classes with what the card says.

    A source that numbers its classes is taken at its numbers; gaps are closed in ascending
    order when the card names no classes. A source that only names them is matched to the
    card's names, else sorted. Folders called by number or by WordNet id stand for the card's
    names in sorted order, as they do for ImageNet and its variants.

    Args:
        card: Gives `classes`, if it does.
        marks: Label and class name of each row.

    Raises:
        ValueError: Two names make one prompt, a row has neither label nor name, one label has
            two names, a label has none, or labels and names do not fit the card.
    """
    bare = [place for place, mark in enumerate(marks.distinct) if not mark.has_label()]
    if bare:
        count = sum(marks.counts()[place] for place in bare)
        shown = [*islice(marks.paths(bare), 3), *[""] * (count - 3)]
        raise ValueError(
            f"{count:,} of {len(marks):,} rows have no label: {some(shown, 3)}. Label them, or "
            "leave them out of the source."
        )
    if card.classes is not None:
        check_prompts(card.name, card.classes, duplicates=card.duplicate_class_names)
    found = _resolved(card, marks)
    return Labelling(np.asarray(found.labels, np.int32)[marks.codes], found.classes, found.rule)


def _resolved(card: DatasetCard, marks: Marks) -> _Resolved:
    labels = [mark.label for mark in marks.distinct]
    names = [mark.class_name for mark in marks.distinct]
    if any(label is None for label in labels):
        if any(name is None for name in names):
            raise ValueError("some rows have only a label and others only a class name. Give one.")
        present = [name for name in names if name is not None]
        if all(map(_FLOAT.fullmatch, present)):  # labels that became floats, and then text
            numbers = [int(float(name.replace(",", "."))) for name in present]
            return _by_label(card, numbers, [None] * len(numbers))
        return _by_name(card, present)
    return _by_label(card, [label for label in labels if label is not None], names)


def _by_label(card: DatasetCard, labels: Sequence[int], names: Sequence[str | None]) -> _Resolved:
    """Labels as the source numbers them."""
    named: dict[int, str] = {}
    for label, name in zip(labels, names, strict=True):
        if name is not None and named.setdefault(label, name) != name:
            raise ValueError(
                f"label {label} has two class names, {named[label]!r} and {name!r}. Correct the "
                "source: a label stands for one class."
            )
    present = sorted(set(labels))
    if card.classes is None:
        nameless = [label for label in present if label not in named]
        if nameless:
            raise ValueError(
                f"labels {some(nameless)} have no class name, and a prompt needs one. Give "
                "`classes` in the card (--classes), in label order, or a class_name column."
            )
        classes = tuple(named[label] for label in present)
        _check_names(card, classes)
        if present == list(range(len(present))):
            return _Resolved(list(labels), classes, "labels and names of the source")
        place = {label: position for position, label in enumerate(present)}
        rule = f"labels {some(present)} of the source renumbered from 0 in ascending order"
        return _Resolved([place[label] for label in labels], classes, rule)
    if present[-1] >= len(card.classes):
        raise ValueError(
            f"label {present[-1]} is found, while the card names {len(card.classes)} classes, 0 to "
            f"{len(card.classes) - 1}. Name them all, or correct the labels."
        )
    positions = _positions(card.classes)
    for label, name in named.items():
        expected = positions.get(prompt_key(name))
        if expected is not None and label not in expected:
            raise ValueError(
                f"the source calls label {label} {name!r}, which the card has at {expected[0]}. "
                "Give the card's `classes` in label order."
            )
    return _Resolved(list(labels), card.classes, "labels of the source, names of the card")


def _by_name(card: DatasetCard, names: Sequence[str]) -> _Resolved:
    """Labels from the names alone."""
    found = _in_order(set(names))
    if card.classes is None:
        _check_names(card, found)
        place = {name: label for label, name in enumerate(found)}
        return _Resolved([place[name] for name in names], found, "class names in sorted order")
    positions = _positions(card.classes)
    unknown = [name for name in found if prompt_key(name) not in positions]
    if not unknown:
        ambiguous = [name for name in found if len(positions[prompt_key(name)]) > 1]
        if ambiguous:
            raise ValueError(
                f"class name {ambiguous[0]!r} stands for two labels of the card, and the source "
                "gives no labels. Give a label column."
            )
        place = {name: positions[prompt_key(name)][0] for name in found}
        rule = "names of the card" + _merged(found)
        return _Resolved([place[name] for name in names], card.classes, rule)
    if len(unknown) == len(found) == len(card.classes) and _are_codes(found):
        place = {name: label for label, name in enumerate(found)}
        rule = f"names of the card for {found[0]} .. {found[-1]} in sorted order"
        return _Resolved([place[name] for name in names], card.classes, rule)
    raise ValueError(
        f"the card of {card.name} has no class {unknown[0]!r} ({len(unknown)} of {len(found)} "
        f"names are unknown). {did_you_mean(unknown[0], card.classes)} Correct one of the two."
    )


def names_by_code(card: str, names: Sequence[str], source: Source) -> tuple[str, ...]:
    """Names in label order, of a user who may say which is which.

    `n01440764=tench`, and `n01440764 tench` as files of names have it, name the class that the
    data calls by this number or WordNet id.

    Args:
        card: Name of the dataset, for errors.
        names: As given, in label order where they are names alone.
        source: Of the data, which is looked at where names have codes.

    Raises:
        ValueError: The data has other codes, or words.
    """
    pairs = [_KEYED.fullmatch(name) for name in names]
    keyed = {pair[1]: pair[3] for pair in pairs if pair}
    said = all(pair and pair[2].strip() for pair in pairs)
    if len(keyed) < len(names) or not (said or _are_codes(keyed)):
        return tuple(names)
    rows = source.listed() if isinstance(source, Outlined) else None
    if rows is None:
        return tuple(names)
    marks = marks_of(rows).distinct
    found = {mark.class_name or str(mark.label) for mark in marks if mark.has_label()}
    if not _are_codes(found):
        if not set(keyed) & found:
            return tuple(names)
        raise ValueError(
            f"{card}: the data calls its classes by words ({some(_in_order(found), 3)}), which are "
            "their names. To name them otherwise, rename them in the data."
        )
    if found != set(keyed):
        odd = _in_order(found ^ set(keyed))
        raise ValueError(
            f"{card}: names are given for {len(keyed)} classes, and the data has {len(found)}; "
            f"only in one of the two {'is' if len(odd) == 1 else 'are'} {some(odd)}. Name each "
            "class of the data."
        )
    return tuple(keyed[code] for code in _in_order(keyed))


def code_notes(classes: Sequence[str]) -> list[str]:
    """A sentence on names that say nothing in a prompt, or that are several in one."""
    for separator in _JOINERS:
        parts = [name.split(separator) for name in classes]
        if all(len(each) > 1 for each in parts) and len(set(chain(*parts))) < len(classes):
            return [
                f"class names seem to be several labels each, with {separator!r} between them "
                f"({some(classes, 3)}): an example has one class here, so each combination is one."
            ]
    if not all(map(_CODE.fullmatch, classes)):
        return []
    return [
        f"classes are called {some(classes, 3)}, which no prompt should say: name them with "
        "--classes."
    ]


def _merged(found: Sequence[str]) -> str:
    """What to say of names of the source that became one class of the card."""
    spellings: dict[str, list[str]] = {}
    for name in found:
        spellings.setdefault(prompt_key(name), []).append(name)
    merged = [ascii_if_alike(*names) for names in spellings.values() if len(names) > 1]
    return f"; {some(merged)} are one class each" if merged else ""


def _check_names(card: DatasetCard, classes: Sequence[str]) -> None:
    check_class_names(card.name, classes, duplicates=card.duplicate_class_names)
    check_prompts(card.name, classes, duplicates=card.duplicate_class_names)


def _positions(classes: Sequence[str]) -> dict[str, list[int]]:
    """Labels of each name, compared as they stand in a prompt."""
    positions: dict[str, list[int]] = {}
    for label, name in enumerate(classes):
        positions.setdefault(prompt_key(name), []).append(label)
    return positions


def _are_codes(names: Iterable[str]) -> bool:
    """Whether names are numbers or WordNet ids, which nobody would write in a prompt."""
    names = list(names)
    return all(map(str.isdecimal, names)) or all(map(_WORDNET_ID.fullmatch, names))


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Sorted, and by value where all are numbers: 2 before 10."""
    listed = sorted(names)
    return tuple(sorted(listed, key=int) if all(map(str.isdecimal, listed)) else listed)
