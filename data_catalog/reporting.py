"""What ingestion has found, as `card.json` keeps it."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from data_catalog.card import DatasetCard
from data_catalog.dataset import FINGERPRINTED, fingerprint_line, start_fingerprint
from data_catalog.kinds import KINDS, Kept
from data_catalog.quality import balance_of, twins_of
from data_catalog.reasons import kind_of
from data_catalog.rows import Rows
from data_catalog.splits import SPLITS
from data_catalog.spool import Spool
from data_catalog.writing import ExtraTypes

_LISTED = 20  # of a kind named in card.json; quarantine.parquet has all set aside


def report_of(card: DatasetCard, spool: Spool, rows: Rows, types: ExtraTypes) -> dict[str, Any]:
    """What `card.json` says beyond the card.

    Args:
        card: Of the dataset.
        spool: Its examples, in the order of the source.
        rows: Class, split and domain of each.
        types: Takes in what extras there are.
    """
    kind = KINDS[card.kind]
    digest = start_fingerprint(rows.classes)

    def seen() -> Iterator[Kept]:
        """Every row once, for all that has to see it."""
        columns = zip(
            rows.hex_digests(),
            map(int, rows.labels),
            map(SPLITS.__getitem__, rows.splits),
            map(rows.domains.__getitem__, rows.domain_codes),
            spool.rows(),
            strict=True,
        )
        for sha256, label, split, domain, row in columns:
            values = {"sha256": sha256, "label": label, "split": split, "domain": domain}
            values["path"] = row.path
            digest.update(fingerprint_line(values[name] for name in FINGERPRINTED))
            types.see(row)
            yield row

    of_kind = kind.report(seen())
    count = len(rows.classes)
    by_split = {
        split: np.bincount(rows.labels[rows.splits == code], minlength=count).tolist()
        for code, split in enumerate(SPLITS)
    }
    quarantine = _quarantined(spool)
    return {
        "fingerprint": digest.hexdigest()[:16],
        "classes": list(rows.classes),
        "rows": len(rows.labels),
        "splits": {split: sum(counts) for split, counts in by_split.items()},
        "class_counts": by_split,
        "domains": sorted(filter(None, rows.domains)),
        "quarantined": quarantine,
        **of_kind,
        "duplicates": _duplicates(kind.noun, rows),
        "class_balance": balance_of(rows.classes, by_split),
        "twins": twins_of(
            kind,
            rows.splits,
            rows.digests,
            spool.looks(),
            lambda: (row.path for row in spool.rows()),
        ),
    }


def _quarantined(spool: Spool) -> dict[str, Any]:
    kinds: Counter[str] = Counter()
    first: list[dict[str, str]] = []
    for row in spool.aside():
        kinds[kind_of(row["error"])] += 1
        if len(first) < _LISTED:
            first.append({"path": row["path"], "error": row["error"]})
    count = kinds.total()
    total = count + len(spool.digests())
    return {"count": count, "share": count / total, "kinds": dict(kinds), "first": first}


def _duplicates(noun: str, rows: Rows) -> dict[str, int]:
    """Counts of repeated content.

    Returns:
        `rows`: rows whose content an earlier row has; `leaked_images` (or texts): distinct ones
        in more than one split; `conflicting_images`: distinct ones with more than one label.
    """
    order = np.argsort(rows.digests, kind="stable")
    digests = rows.digests[order]
    starts = np.flatnonzero(np.r_[True, digests[1:] != digests[:-1]])

    def differ(values: np.ndarray) -> int:
        """Number of contents with more than one value."""
        ordered = values[order]
        low, high = (f.reduceat(ordered, starts) for f in (np.minimum, np.maximum))
        return int(np.count_nonzero(low != high))

    return {
        "rows": len(digests) - len(starts),
        f"leaked_{noun}s": differ(rows.splits),
        f"conflicting_{noun}s": differ(rows.labels),
    }
