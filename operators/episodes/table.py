"""What protocols read of datasets, and the draw and the test rows that they share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from operators.episodes.sampling import draw
from operators.episodes.shots import ALL_SHOTS

NOWHERE = ""  # the split of rows that nothing may be learned from


@dataclass(frozen=True)
class Table:
    """What a protocol needs to know of a dataset of n rows.

    Attributes:
        labels: (n,) label of each row.
        splits: (n,) `train`, `val` or `test`.
        classes: Number of classes.
        names: Of the classes, in label order; they say which classes of two datasets are one.
        domains: (n,) domain of each row, an index into `domain_names`; -1 where there is none.
        domain_names: Of the domains; empty where the dataset has none.
        fingerprint: Of the dataset; it tells two versions of a target apart.
        pairs: Attribute and object of each class, in label order; empty where classes are no pairs.
    """

    labels: np.ndarray
    splits: np.ndarray
    classes: int
    names: tuple[str, ...] = ()
    domains: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    domain_names: tuple[str, ...] = ()
    fingerprint: str = ""
    pairs: tuple[tuple[str, str], ...] = ()

    def rows(self, split: str) -> np.ndarray:
        """Row ids of one split, in the dataset's order."""
        return np.flatnonzero(self.splits == split)

    def rows_in(self, domain: str) -> np.ndarray:
        """Row ids of one domain, of all splits.

        Raises:
            ValueError: There is no such domain.
        """
        if domain not in self.domain_names:
            known = ", ".join(self.domain_names) or "none"
            raise ValueError(f"there is no domain {domain!r}; the dataset has {known}.")
        return np.flatnonzero(self.domains == self.domain_names.index(domain))

    @property
    def untested(self) -> "Table":
        """The same rows, but those of the test split belong to none."""
        splits = self.splits.copy()
        splits[self.rows("test")] = NOWHERE
        return replace(self, splits=splits)

    def without(self, domain: str) -> "Table":
        """The same rows, but those of a domain belong to no split; itself for the empty name."""
        if not domain:
            return self
        splits = self.splits.copy()
        splits[self.rows_in(domain)] = NOWHERE
        return replace(self, splits=splits)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What an episode is made from.

    Attributes:
        table: Of the dataset that is learned.
        shots: Labelled rows a class; 0 for none, `ALL_SHOTS` for all of the train split.
        seed: Of the draw.
        cap: Most test rows of each class; None for all of them.
        targets: Tables of the datasets that are tested beside it, by name.
        held_out: Domain that nothing is learned from, and that is tested; empty for none.
    """

    table: Table
    shots: int
    seed: int
    cap: int | None = None
    targets: Mapping[str, Table] = field(default_factory=dict)
    held_out: str = ""


def test_rows(table: Table, classes: Sequence[int], cap: int | None) -> np.ndarray:
    """Test rows of `classes`, at most `cap` of each, evenly spaced in the dataset's order.

    See `capped`.
    """
    return capped(table, table.rows("test"), classes, cap)


def capped(table: Table, rows: np.ndarray, classes: Sequence[int], cap: int | None) -> np.ndarray:
    """Those of some rows that are of `classes`, sorted.

    Args:
        table: Says which classes they are of.
        rows: Row ids, ascending.
        classes: Labels.
        cap: Most rows of each class, evenly spaced among them; None for all.
    """
    kept = []
    for label in classes:
        members = rows[table.labels[rows] == label]
        if cap is not None and len(members) > cap:
            members = members[np.arange(cap) * len(members) // cap]
        kept.append(members)
    return np.sort(np.concatenate(kept))


def drawn_rows(table: Table, shots: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row ids of the draw; none for 0 shots, which only training-free methods ask for.

    All shots are both splits as they are, in the dataset's order, whatever the seed.

    Args:
        table: Gives the train and the val split.
        shots: Labelled rows a class, or `ALL_SHOTS`.
        seed: Of the draw.

    Source: Dassl, `DatasetBase.generate_fewshot_dataset`, below 1 shot.
    """
    if shots == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    train, val = table.rows("train"), table.rows("val")
    if shots == ALL_SHOTS:
        return train, val
    drawn = draw(table.labels[train].tolist(), table.labels[val].tolist(), shots=shots, seed=seed)
    return train[np.array(drawn.train, dtype=np.int64)], val[np.array(drawn.val, dtype=np.int64)]
