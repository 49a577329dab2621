"""What ingestion has found, as `card.json` keeps it."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from data_catalog.card import DatasetCard
from data_catalog.dataset import FINGERPRINTED, fingerprint_line, start_fingerprint
from data_catalog.kinds import KINDS, Kept
from data_catalog.labels import Labelling
from data_catalog.reasons import kind_of
from data_catalog.splits import SPLITS, Assignment

_LISTED = 20  # of a kind named in card.json; quarantine.parquet has all set aside


def report_of(
    card: DatasetCard,
    kept: Sequence[Kept],
    labelling: Labelling,
    assignment: Assignment,
    quarantine: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """What `card.json` says beyond the card.

    Args:
        card: Of the dataset.
        kept: Its examples, in the order of the source.
        labelling: Class of each, and their names.
        assignment: Split of each.
        quarantine: What was set aside.
    """
    kind = KINDS[card.kind]
    labels, splits = labelling.labels, assignment.splits
    digest = start_fingerprint(labelling.classes)
    for row, label, split in zip(kept, labels, splits, strict=True):
        values = {"label": label, "split": split, **row.identity()}
        digest.update(fingerprint_line(values[name] for name in FINGERPRINTED))
    counts = Counter(zip(splits, labels, strict=True))
    class_labels = range(len(labelling.classes))
    return {
        "fingerprint": digest.hexdigest()[:16],
        "classes": list(labelling.classes),
        "rows": len(kept),
        "splits": {split: splits.count(split) for split in SPLITS},
        "class_counts": {
            split: [counts[split, label] for label in class_labels] for split in SPLITS
        },
        "domains": sorted({row.domain for row in kept if row.domain}),
        "quarantined": {
            "count": len(quarantine),
            "share": len(quarantine) / (len(kept) + len(quarantine)),
            "kinds": dict(Counter(kind_of(row["error"]) for row in quarantine)),
            "first": [{"path": row["path"], "error": row["error"]} for row in quarantine[:_LISTED]],
        },
        **kind.report(kept),
        "duplicates": _duplicates(kind.noun, [row.sha256 for row in kept], labels, splits),
        "split_rule": assignment.rule,
        "label_rule": labelling.rule,
        "source_description": card.source.describe(),
    }


def _duplicates(
    noun: str, digests: Sequence[str], labels: Sequence[int], splits: Sequence[str]
) -> dict[str, int]:
    """Counts of repeated content.

    Returns:
        `rows`: rows whose content an earlier row has; `leaked_images` (or texts): distinct ones
        in more than one split; `conflicting_images`: distinct ones with more than one label.
    """
    places: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for digest, label, split in zip(digests, labels, splits, strict=True):
        places[digest].add((label, split))
    found = places.values()
    return {
        "rows": len(digests) - len(places),
        f"leaked_{noun}s": sum(len({split for _, split in place}) > 1 for place in found),
        f"conflicting_{noun}s": sum(len({label for label, _ in place}) > 1 for place in found),
    }
