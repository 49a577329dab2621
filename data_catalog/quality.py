"""How well a dataset measures: balance of its classes, and test rows that train has too."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from data_catalog.kinds import Kind
from data_catalog.splits import SPLITS, TEST
from data_catalog.twins import Looks, Twins, exact_twins, near_twins
from data_catalog.wording import plural, some

LISTED = 100  # pairs of each sort named in card.json
UNEVEN = 10.0  # times the rows of the smallest class in the largest, from where it is said


def balance_of(classes: Sequence[str], counts: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """The smallest and the largest class of each split that has rows.

    Args:
        classes: Names in label order.
        counts: Rows of each class, by split.

    Returns:
        By split: `smallest` and `largest`, each with `class` and `rows`, of the classes that have
        any; `ratio`, how many times the rows of the smallest the largest has; `empty`, the number
        of classes without rows.
    """
    found = {}
    for split, rows in counts.items():
        present = [(count, label) for label, count in enumerate(rows) if count]
        if not present:
            continue
        (least, small), most = min(present), max(count for count, _ in present)
        large = next(label for count, label in present if count == most)
        found[split] = {
            "smallest": {"class": classes[small], "rows": least},
            "largest": {"class": classes[large], "rows": most},
            "ratio": round(most / least, 2),
            "empty": len(rows) - len(present),
        }
    return found


def twins_of(
    kind: Kind,
    splits: np.ndarray,
    digests: np.ndarray,
    looks: Looks,
    paths: Callable[[], Iterable[str]],
) -> dict[str, Any]:
    """Rows of test that train or val has too, equal or nearly so.

    Args:
        kind: Says what is near.
        splits: Place in `SPLITS` of the split of each row.
        digests: Of the content of each row.
        looks: Of each row.
        paths: Gives the path of every row in order, for the names of pairs.

    Returns:
        `exact` and `near`, each with `count`, the number of rows of test, and `first`, the nearest
        pairs as path in test, path in train or val, and bits in which their hashes differ. The
        count is None where nearly all look alike, so that it was not looked for.
    """
    asked = splits == SPLITS.index(TEST)
    exact = exact_twins(digests, asked)
    near = near_twins(kind, looks, asked, exact)
    chosen = [_nearest(twins) for twins in (exact, near) if twins is not None]
    names = _names(paths, {int(row) for pairs in chosen for pair in pairs for row in pair[:2]})
    listed = [[[names[a], names[b], bits] for a, b, bits in pairs] for pairs in chosen]
    return {
        "rule": f"test beside train and val; near: {kind.near}, as hashes of 64 bits that differ "
        f"in at most {kind.radius} and a second look say",
        "exact": {"count": len(exact.rows), "first": listed[0]},
        "near": {
            "count": None if near is None else len(near.rows),
            "first": [] if near is None else listed[1],
        },
    }


def quality_doubts(kind: Kind, report: Mapping[str, Any]) -> list[str]:
    """A sentence for test rows that train or val has, and for uneven classes.

    Args:
        kind: Of the data.
        report: What `card.json` says; fields that it does not have say nothing.
    """
    said, noun = [], kind.noun
    twins = report.get("twins")
    if twins and twins["exact"]["count"]:
        said.append(
            f"{plural(twins['exact']['count'], f'test {noun}')} equal to one of train or val, so "
            f"test is not unseen: {_pairs(twins['exact']['first'])}."
        )
    if twins and twins["near"]["count"]:
        said.append(
            f"{plural(twins['near']['count'], f'test {noun}')} nearly equal to one of train or val "
            f"({kind.near}): "
            f"{_pairs(twins['near']['first'])}."
        )
    balance = report.get("class_balance", {}).get("train")
    if balance and balance["ratio"] >= UNEVEN:
        said.append(
            f"classes of train are uneven: {balance['largest']['class']} has "
            f"{balance['largest']['rows']:,} {noun}s, {balance['smallest']['class']} "
            f"{balance['smallest']['rows']:,} ({balance['ratio']:g} times)."
        )
    return said


def _nearest(twins: Twins) -> list[tuple[int, int, int]]:
    """The nearest pairs, in order of distance and row."""
    order = np.lexsort((twins.rows, twins.distances))[:LISTED]
    columns = (twins.rows, twins.others, twins.distances)
    return list(zip(*(column[order].tolist() for column in columns), strict=True))


def _names(paths: Callable[[], Iterable[str]], rows: set[int]) -> dict[int, str]:
    """Paths of some rows."""
    if not rows:
        return {}
    last = max(rows)
    found = {}
    for row, path in enumerate(paths()):
        if row in rows:
            found[row] = path
        if row >= last:
            break
    return found


def _pairs(first: Sequence[Sequence[Any]]) -> str:
    return some((f"{test} and {other}" for test, other, _ in first), 3)
