"""From a card to a dataset: read, decode-check, split, fingerprint, commit by rename.

Images are read once and spooled into a hidden draft folder; what is kept in memory is one
short record an image. The draft becomes `<fingerprint>/` by rename and `current.json` is
replaced last, so a process killed at any point leaves the dataset as it was.
"""

import errno
import logging
import shutil
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_catalog.card import DatasetCard, check_prompts
from data_catalog.dataset import (
    CARD,
    CURRENT,
    FINGERPRINTED,
    Dataset,
    fingerprint_line,
    read_receipt,
    start_fingerprint,
)
from data_catalog.decoding import check_images, needs_eight_bits
from data_catalog.doubts import doubts
from data_catalog.drafts import held
from data_catalog.labels import Labelling
from data_catalog.outline import (
    class_notes,
    labelling_of,
    left_out_notes,
    notes_of,
    unlabelled_splits,
    wanted,
)
from data_catalog.reasons import counted, kind_of, remedies
from data_catalog.secrets import redact, redacted
from data_catalog.sources import SourceError
from data_catalog.splits import SPLITS, Assignment, assign_splits
from data_catalog.wording import plural, some
from data_catalog.writing import (
    GROUP_ROWS,
    Kept,
    Spool,
    commit,
    write_data,
    write_json,
    write_quarantine,
)

INGESTION_VERSION = 2  # moves when the same source would give another dataset
DRAFT = ".draft-"
_LISTED = 20  # images of a kind named in card.json; quarantine.parquet has all set aside

_log = logging.getLogger(__name__)


class IngestionError(ValueError):
    """The source was read, but gives no sound dataset; the message gives the way out."""

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


def ingest(
    card: DatasetCard,
    folder: Path,
    *,
    progress: Callable[[int, int | None], None] | None = None,
) -> Dataset:
    """Makes the dataset of `card` below `folder`, or returns the one that is there.

    It is there when source signature, card and ingestion version are those it was made with;
    then no image is read. It also serves while its source cannot be reached.

    Args:
        card: What to read and what it promises.
        folder: `<store>/data/<name>`; made if missing.
        progress: Called with the images read so far and their total, None if unknown.

    Raises:
        SourceError: The source is missing or malformed.
        SourceUnavailable: It cannot be reached, and nothing was ingested before.
        IngestionError: Too many corrupt images, no labels, a class without train rows, or
            counts that differ from those of the card.
    """
    receipt: dict[str, Any] = {"card": card.digest(), "version": INGESTION_VERSION}
    before = _receipt_before(card, folder)
    unchanged = receipt.items() <= before.items()
    try:
        receipt["signature"] = card.source.signature()
    except SourceError as error:
        if not unchanged:
            raise
        _log.warning("%s: using what was ingested before, since %s", card.name, error)
        return Dataset.open(folder / before["fingerprint"])
    if unchanged and receipt["signature"] == before["signature"]:
        try:
            return Dataset.open(folder / before["fingerprint"])
        except ValueError as error:
            _log.warning("%s: ingested again, since %s", card.name, error)

    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{DRAFT}{uuid.uuid4().hex}"
    draft.mkdir()
    try:
        with held(draft):
            fingerprint = _fill(card, draft, receipt["signature"], progress)
            commit(draft, folder / fingerprint)
        write_json(folder / CURRENT, {"fingerprint": fingerprint, **receipt})
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise IngestionError(
                f"{card.name}: no space left below {folder}. It takes twice the size of the images "
                "while it runs, once after; make room, or move the store."
            ) from error
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Dataset.open(folder / fingerprint)


def _carried_over(receipt: dict[str, Any], card: DatasetCard, folder: Path) -> dict[str, Any]:
    """Raises the version of a receipt where version 2 would give the same dataset.

    Version 1 stored deep images as they were, which are read wrongly, and took class names that
    make one prompt for two. All else is as it was, so that its datasets keep their fingerprint.
    """
    if receipt.get("version") != 1:
        return receipt
    dataset = Dataset.open(folder / receipt["fingerprint"])
    try:
        check_prompts(card.name, dataset.classes, duplicates=card.duplicate_class_names)
    except ValueError:
        return receipt
    for start in range(0, dataset.rows, GROUP_ROWS):
        rows = range(start, min(start + GROUP_ROWS, dataset.rows))
        if any(needs_eight_bits(image) for image in dataset.images(rows)):
            return receipt
    receipt = {**receipt, "version": INGESTION_VERSION}
    write_json(folder / CURRENT, receipt)
    return receipt


def _receipt_before(card: DatasetCard, folder: Path) -> dict[str, Any]:
    """What was ingested before; empty where nothing was, or nobody can tell."""
    try:
        return _carried_over(read_receipt(folder) or {}, card, folder)
    except (ValueError, OSError) as error:
        _log.warning("%s: ingested again, since %s", card.name, error)
        return {}


def _fill(
    card: DatasetCard,
    draft: Path,
    signature: str,
    progress: Callable[[int, int | None], None] | None,
) -> str:
    """Writes all files of the dataset into `draft` and returns its fingerprint."""
    with Spool(draft) as spool:
        left_out: Counter[str] = Counter()
        quarantine = _read(card, spool, left_out, progress)
        hidden = unlabelled_splits(spool.kept)
        spool.leave_out(hidden)
        quarantine = [row for row in quarantine if row["split"] not in hidden]
        kept = spool.kept
        _check_corrupt(card, len(kept), quarantine)
        try:
            labelling = labelling_of(card, kept)
            assignment = assign_splits(
                [row.split for row in kept], labelling.labels, [row.sha256 for row in kept]
            )
            notes = class_notes(card, labelling, assignment)
        except ValueError as error:
            raise IngestionError(f"{card.name}: {error}") from error
        report = _report(card, kept, labelling, assignment, quarantine, signature)
        notes = [*notes_of(card), *left_out_notes(left_out, hidden), *notes]
        report["doubts"] = [*notes, *doubts(report)]
        _check_promises(card, report)
        extras = write_data(spool, draft, labelling, assignment.splits)
    write_quarantine(draft, quarantine)
    write_json(draft / CARD, redacted({**card.to_json(), **report, "extras": extras}))
    return report["fingerprint"]


def _read(
    card: DatasetCard,
    spool: Spool,
    left_out: Counter[str],
    progress: Callable[[int, int | None], None] | None,
) -> list[dict[str, Any]]:
    """Spools every image that decodes, and returns what to tell of the others.

    Images of splits that the card does not want are counted in `left_out` and not decoded.
    """
    quarantine: list[dict[str, Any]] = []
    total = card.source.total() if progress else None
    for done, checked in enumerate(
        check_images(wanted(card, card.source.examples(), left_out)), start=1
    ):
        example = checked.example
        if checked.error:
            quarantine.append(
                {
                    "path": example.path,
                    "error": checked.error,
                    "label": example.label,
                    "class_name": example.class_name,
                    "split": example.split,
                    "size_bytes": len(example.image),
                }
            )
        else:
            spool.add(checked)
        if progress:
            progress(done, total)
    return quarantine


def _check_corrupt(card: DatasetCard, kept: int, quarantine: Sequence[dict[str, Any]]) -> None:
    count, total = len(quarantine), kept + len(quarantine)
    if not total:
        raise IngestionError(f"{card.name}: the source holds no images. Check what it names.")
    if count / total > card.max_corrupt_share or not kept:
        errors = [row["error"] for row in quarantine]
        listed = counted((row["path"], row["error"]) for row in quarantine)
        raise IngestionError(
            f"{card.name}: {count:,} of {plural(total, 'image')} ({count / total:.0%}) cannot be "
            f"used, above max_corrupt_share={card.max_corrupt_share:g}: {listed}. "
            f"{remedies(errors)} Or raise max_corrupt_share in the card."
        )


def _report(
    card: DatasetCard,
    kept: Sequence[Kept],
    labelling: Labelling,
    assignment: Assignment,
    quarantine: Sequence[dict[str, Any]],
    signature: str,
) -> dict[str, Any]:
    """What `card.json` says beyond the card."""
    labels, splits = labelling.labels, assignment.splits
    digest = start_fingerprint(labelling.classes)
    for row, label, split in zip(kept, labels, splits, strict=True):
        values = {"label": label, "split": split, **row.identity()}
        digest.update(fingerprint_line(values[name] for name in FINGERPRINTED))
    counts = Counter(zip(splits, labels, strict=True))
    class_labels = range(len(labelling.classes))
    constant = [row.path for row in kept if row.constant]
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
        "constant_images": {"count": len(constant), "first": constant[:_LISTED]},
        "rescaled_images": dict(Counter(row.rescaled for row in kept if row.rescaled)),
        "duplicates": _duplicates([row.sha256 for row in kept], labels, splits),
        "split_rule": assignment.rule,
        "label_rule": labelling.rule,
        "source_description": card.source.describe(),
        "signature": signature,
        "ingestion_version": INGESTION_VERSION,
        "ingested_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _duplicates(
    digests: Sequence[str], labels: Sequence[int], splits: Sequence[str]
) -> dict[str, int]:
    """Counts of repeated content.

    Returns:
        `rows`: rows whose image an earlier row has; `leaked_images`: distinct images in more
        than one split; `conflicting_images`: distinct images with more than one label.
    """
    places: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for digest, label, split in zip(digests, labels, splits, strict=True):
        places[digest].add((label, split))
    found = places.values()
    return {
        "rows": len(digests) - len(places),
        "leaked_images": sum(len({split for _, split in place}) > 1 for place in found),
        "conflicting_images": sum(len({label for label, _ in place}) > 1 for place in found),
    }


def _check_promises(card: DatasetCard, report: dict[str, Any]) -> None:
    """Refuses counts and domains that differ from those of the card."""
    if card.domains and sorted(card.domains) != report["domains"]:
        raise IngestionError(
            f"{card.name}: domains are {some(report['domains'])}, the card says "
            f"{some(card.domains)}. Correct the one that is wrong."
        )
    if card.split_sizes is None:
        return
    missing = [card.split_sizes.get(split, 0) - report["splits"][split] for split in SPLITS]
    lost = report["quarantined"]["count"]
    if sum(missing) != lost or (not lost and any(missing)):
        found = ", ".join(f"{split} {count}" for split, count in report["splits"].items())
        said = ", ".join(f"{split} {count}" for split, count in card.split_sizes.items())
        raise IngestionError(
            f"{card.name}: rows are {found} and {lost} corrupt, the card says {said}. The source "
            "is not the one that the card was written for; correct the one that is wrong."
        )
