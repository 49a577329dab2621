"""From a card to a dataset: read, check, split, fingerprint, commit by rename.

Examples are read once, checked on all cores and spooled into a hidden folder; what is kept in
memory of each are a few bytes. The dataset is written beside it and becomes `<fingerprint>/` by
rename; `current.json` is replaced last. So a process killed at any point leaves the dataset as it
was, and the next one goes on from what was checked.
"""

import errno
import logging
import shutil
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_catalog.card import DatasetCard
from data_catalog.dataset import CARD, CURRENT, Dataset, read_receipt
from data_catalog.doubts import doubts
from data_catalog.drafts import held
from data_catalog.kinds import KINDS
from data_catalog.kinds.decoding import needs_eight_bits
from data_catalog.naming import check_prompts
from data_catalog.outline import (
    class_notes,
    labelling_of,
    left_out_notes,
    notes_of,
    wanted,
)
from data_catalog.reasons import counted, remedies
from data_catalog.reporting import report_of
from data_catalog.resuming import spool_folder
from data_catalog.rows import rows_of
from data_catalog.secrets import redact, redacted
from data_catalog.sources import Example, SourceError, examples_from, holds
from data_catalog.sources.base import digest_of
from data_catalog.splits import SPLITS, assign_splits, hidden_splits
from data_catalog.spool import SPOOL_VERSION, Reached, Spool
from data_catalog.wording import plural, some
from data_catalog.writing import (
    GROUP_ROWS,
    ExtraTypes,
    commit,
    write_data,
    write_json,
    write_quarantine,
)

INGESTION_VERSION = 2  # moves when the same source would give another dataset
DRAFT = ".draft-"

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
    then no example is read. It also serves while its source cannot be reached.

    Args:
        card: What to read and what it promises.
        folder: `<store>/data/<name>`; made if missing.
        progress: Called with the examples read so far and their total, None if unknown.

    Raises:
        SourceError: The source is missing or malformed.
        SourceUnavailable: It cannot be reached, and nothing was ingested before.
        IngestionError: Too much that cannot be used, another kind of data, no labels, a class
            without train rows, or counts that differ from those of the card.
    """
    receipt, dataset = _looked_up(card, folder)
    if dataset is not None:
        return dataset

    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{DRAFT}{uuid.uuid4().hex}"
    draft.mkdir()
    key = digest_of([SPOOL_VERSION, *sorted(receipt.items())])
    try:
        with (
            held(draft),
            spool_folder(folder, key, useless=(IngestionError,)) as place,
            _enough_space(card, folder),
        ):
            fingerprint = _fill(card, draft, place, receipt["signature"], progress)
            commit(draft, folder / fingerprint)
            write_json(folder / CURRENT, {"fingerprint": fingerprint, **receipt})
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Dataset.open(folder / fingerprint)


@contextmanager
def _enough_space(card: DatasetCard, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise IngestionError(
                f"{card.name}: no space left below {folder}. It takes twice the size of the data "
                "while it runs, once after; make room, or move the store."
            ) from error
        raise


def unchanged(card: DatasetCard, folder: Path) -> Dataset | None:
    """The dataset that `ingest` would return without reading an example; None where it would.

    Args:
        card: See `ingest`.
        folder: Likewise.
    """
    try:
        return _looked_up(card, folder)[1]
    except SourceError:  # what is wrong is said when it is ingested
        return None


def _looked_up(card: DatasetCard, folder: Path) -> tuple[dict[str, Any], Dataset | None]:
    """The receipt of what would be ingested now, and the dataset if it is there.

    Raises:
        SourceError: The source cannot be reached, and nothing was ingested of this card before.
    """
    receipt: dict[str, Any] = {"card": card.digest(), "version": INGESTION_VERSION}
    before = _receipt_before(card, folder)
    same = receipt.items() <= before.items()
    try:
        receipt["signature"] = card.source.signature()
    except SourceError as error:
        if not same:
            raise
        _log.warning("%s: using what was ingested before, since %s", card.name, error)
        return receipt, Dataset.open(folder / before["fingerprint"])
    if same and receipt["signature"] == before["signature"]:
        try:
            return receipt, Dataset.open(folder / before["fingerprint"])
        except ValueError as error:
            _log.warning("%s: ingested again, since %s", card.name, error)
    return receipt, None


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
    place: Path,
    signature: str,
    progress: Callable[[int, int | None], None] | None,
) -> str:
    """Writes all files of the dataset into `draft` and returns its fingerprint.

    What is checked waits in `place`.
    """
    kind = KINDS[card.kind]
    _check_kind(card)
    with Spool(place, kind.look_bytes) as spool:
        left_out = _read(card, spool, progress)
        hidden = hidden_splits(spool.marks())
        spool.hide(hidden)
        marks = spool.marks()
        _check_corrupt(card, len(marks), spool)
        try:
            labelling = labelling_of(card, marks)
            assignment = assign_splits(marks, labelling.labels, spool.digests())
            notes = class_notes(card, labelling, assignment)
        except ValueError as error:
            told = str(error)
            named = told if told.startswith(f"{card.name}: ") else f"{card.name}: {told}"
            raise IngestionError(named) from error
        rows, types = rows_of(marks, labelling, assignment, spool.digests()), ExtraTypes()
        report = report_of(card, spool, rows, types)
        report |= {
            "split_rule": assignment.rule,
            "label_rule": labelling.rule,
            "source_description": card.source.describe(),
            "signature": signature,
            "ingestion_version": INGESTION_VERSION,
            "ingested_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        notes = [*notes_of(card), *left_out_notes(card, left_out, hidden), *notes]
        report["doubts"] = [*notes, *doubts(kind, report)]
        _check_promises(card, report)
        extras = write_data(spool, draft, kind, rows, types.arrow())
        write_quarantine(draft, spool.aside())
    write_json(draft / CARD, redacted({**card.to_json(), **report, "extras": extras}))
    return report["fingerprint"]


def _read(
    card: DatasetCard, spool: Spool, progress: Callable[[int, int | None], None] | None
) -> Counter[str]:
    """Spools every example from where the spool ends; those that cannot be used are set aside.

    Returns:
        Examples of splits that the card does not want, which are not checked.
    """
    total = card.source.total() if progress else None
    kind = KINDS[card.kind]
    reached: deque[Reached] = deque()  # of each example that is being checked
    left_out: Counter[str] = Counter()
    if progress and spool.checked:
        progress(spool.checked, total)
    try:
        for checked in kind.check(_remaining(card, spool, reached, left_out)):
            spool.add(checked, reached.popleft())
            if progress:
                progress(spool.checked, total)
    finally:
        spool.flush()
    return left_out


def _remaining(
    card: DatasetCard, spool: Spool, reached: deque[Reached], left_out: Counter[str]
) -> Iterator[Example]:
    """The wanted examples behind the last that was spooled, each after its place in the source.

    Args:
        card: Says what is read, and which splits are wanted.
        spool: Tells how far it was read.
        reached: Takes the place of each.
        left_out: Takes the counts of the others, by split.
    """
    before = spool.reached
    examples = examples_from(card.source, max(0, before.examples - 1))
    if before.examples:
        last = next(examples, None)
        if last is None or last.path != before.path:
            _log.warning("%s: read from its beginning, since %s is gone", card.name, before.path)
            spool.clear()
            before, examples = Reached(), card.source.examples()
    left_out.update(before.left_out)
    told = dict(left_out)
    for number, example in enumerate(examples, start=before.examples + 1):
        row = wanted(card, example, left_out)
        if row is None:
            told = dict(left_out)
        else:
            reached.append(Reached(number, example.path, told))
            yield row


def _check_kind(card: DatasetCard) -> None:
    """Refuses a source that reads another kind of data than the card says."""
    found = holds(card.source)
    if found != card.kind:
        raise IngestionError(
            f"{card.name}: the card says kind: {card.kind}, and its source reads {found}s. Correct "
            "the one that is wrong."
        )


def _check_corrupt(card: DatasetCard, kept: int, spool: Spool) -> None:
    count = spool.set_aside
    total = kept + count
    noun = KINDS[card.kind].noun
    if not total:
        raise IngestionError(f"{card.name}: the source holds no {noun}s. Check what it names.")
    if count / total > card.max_corrupt_share or not kept:
        listed = counted((row["path"], row["error"]) for row in spool.aside())
        raise IngestionError(
            f"{card.name}: {count:,} of {plural(total, noun)} ({count / total:.0%}) cannot be "
            f"used, above max_corrupt_share={card.max_corrupt_share:g}: {listed}. "
            f"{remedies(row['error'] for row in spool.aside())} Or raise max_corrupt_share in the "
            "card."
        )


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
