"""One store out of several: trials that are not here are copied, others are held against ours.

A trial comes as it was committed: its files are written to a draft, read through, synced and
renamed into place where nothing is there yet. So a merge that was killed leaves whole trials and no
part of one, and the same command goes on from there. Nothing that is here is ever overwritten.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from operators.board import ORIGIN, explain, inspect, origin_of
from operators.board.agreement import DIFFERENT, Agreement, agreement
from operators.board.wholeness import TRIAL
from operators.files import commit_folder, write_new
from tasks.comparing.sources import RUN_NUMBERS, Source, sources_of
from tasks.planning import own_backbones, own_functions, own_methods
from tasks.progress import stage
from tasks.storage.store import Store

CODE = (own_methods.FILE, own_backbones.FILE)  # of users' own, that a trial keeps


class Reproduced(NamedTuple):
    """A result of a trial that is here with another.

    Attributes:
        trial_id: Of both.
        origin: Label of the store that computed it.
        agreed: How the two agree.
        new: Whether it was not known here before.
    """

    trial_id: str
    origin: str
    agreed: Agreement
    new: bool


@dataclass
class Merged:
    """What came from one store.

    Attributes:
        label: Of the store.
        place: Where it is.
        copied: Trials that were not here.
        with_code: Those of them that bring code of a user's own.
        same: Trials that are here already, file by file.
        reproduced: Other results of trials that are here, and how they agree.
        refused: Trials that are damaged there, or damaged here, and why.
        failures: Failed trials that were not known here.
        runs: Runs likewise.
        cards: Datasets whose cards were not here.
    """

    label: str
    place: str
    copied: list[str] = field(default_factory=list)
    with_code: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    reproduced: list[Reproduced] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    failures: int = 0
    runs: int = 0
    cards: list[str] = field(default_factory=list)

    def count(self, verdict: str) -> int:
        """How many of the other results agree so."""
        return sum(each.agreed.verdict == verdict for each in self.reproduced)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            **{"label": self.label, "place": self.place, "copied": self.copied},
            **{"with_code": self.with_code, "same": len(self.same)},
            "reproductions": [
                {**each._asdict(), "agreed": each.agreed._asdict()} for each in self.reproduced
            ],
            **{"refused": self.refused, "failures": self.failures, "runs": self.runs},
            "cards": self.cards,
        }


def merge(into: Store, places: Sequence[str]) -> list[Merged]:
    """Brings what other stores have into one, and says how results of the same trial agree.

    The board is not rebuilt here.

    Args:
        into: The store that grows.
        places: Folders or URLs of others, each maybe as `LABEL=PLACE`.

    Raises:
        RequestError: A place is no store; nothing has been copied.
        OSError: The store cannot be written, such as on a full disk; what was copied stays.
    """
    sources = sources_of(places, into)
    into.sync()
    return [_merged(into, source) for source in sources]


def _merged(into: Store, source: Source) -> Merged:
    merged = Merged(source.label, source.place)
    results = list(_results(source))
    with stage(f"merge {source.label}", len(results)) as progress:
        for trial_id, path in results:
            _take(into, source, merged, trial_id, path)
            progress.step()
        _take_notes(into, source, merged)
        progress.summary = _summary(merged)
    return merged


def _results(source: Source) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every result that a store has, by id and place: its own, then those it has from others."""
    trials = source.trials()
    yield from ((trial_id, ("trials", trial_id)) for trial_id in trials)
    for trial_id in source.names("reproductions"):
        if trial_id in set(trials):
            for name in source.names("reproductions", trial_id):
                yield trial_id, ("reproductions", trial_id, name)


def _take(
    into: Store, source: Source, merged: Merged, trial_id: str, path: tuple[str, ...]
) -> None:
    """Copies a result, or holds it against the one that is here."""
    ours = into.trial(trial_id)
    try:
        files = source.folder(*path)
    except OSError as error:  # such as set aside there while we read
        merged.refused[trial_id] = explain(error)
        return
    try:
        if TRIAL not in files:
            raise ValueError(f"{TRIAL} is missing.")
        files.setdefault(ORIGIN, _origin(source))
        if not ours.exists():
            _commit(ours, files, trial_id)
            into.clear_failure(trial_id)
            merged.copied.append(trial_id)
            if any(name in CODE or own_functions.is_kept(name) for name in files):
                merged.with_code.append(trial_id)
        elif _is_copy(ours, files):
            merged.same.append(trial_id)
        else:
            _hold_against(into, merged, trial_id, files)
    except ValueError as error:
        merged.refused[trial_id] = str(error)


def _commit(place: Path, files: Mapping[str, bytes], trial_id: str) -> None:
    """Puts a result in its place, whole and read through.

    Raises:
        ValueError: It is damaged.
    """
    with commit_folder(place) as draft:
        for name, content in files.items():
            (draft / name).write_bytes(content)
        if fault := inspect(draft, trial_id):
            raise ValueError(fault)


def _is_copy(ours: Path, files: Mapping[str, bytes]) -> bool:
    """Whether a folder holds the same files, but for where they came from."""
    try:
        return all(
            (ours / name).read_bytes() == content
            for name, content in files.items()
            if name != ORIGIN
        )
    except FileNotFoundError:
        return False


def _hold_against(into: Store, merged: Merged, trial_id: str, files: Mapping[str, bytes]) -> None:
    """Keeps another result of a trial that is here, and says how the two agree.

    Raises:
        ValueError: One of the two is damaged.
    """
    digest = hashlib.sha256(b"".join(files[name] for name in sorted(files) if name != ORIGIN))
    theirs = into.reproductions / trial_id / digest.hexdigest()[:16]
    is_new = not theirs.exists()
    if is_new:
        _commit(theirs, files, trial_id)
    if fault := inspect(into.trial(trial_id)):
        raise ValueError(
            f"ours is damaged ({fault.rstrip('.')}), so the two cannot be compared: run its suite "
            "again."
        )
    agreed = agreement(into.trial(trial_id), theirs)
    merged.reproduced.append(Reproduced(trial_id, origin_of(theirs) or "", agreed, is_new))


def _take_notes(into: Store, source: Source, merged: Merged) -> None:
    """Copies failures, runs and cards of datasets that are not known here."""
    done = into.done()
    for name in source.names("failures"):
        trial_id = name.removesuffix(".json")
        place = into.failures / name
        if trial_id not in done and not place.exists():
            merged.failures += _write_note(place, source, "failures", name)
    runs = source.names("runs")
    for name in runs:
        place = into.runs / name
        if name.endswith(".json") and not place.exists():
            numbers = name.removesuffix(".json") + RUN_NUMBERS
            if numbers in runs:
                write_new(into.runs / numbers, source.read("runs", numbers))
            merged.runs += _write_note(place, source, "runs", name)
    for name in source.names("datasets"):
        if name.endswith(".yaml") and write_new(into.cards / name, source.read("datasets", name)):
            merged.cards.append(name.removesuffix(".yaml"))


def _write_note(place: Path, source: Source, *path: str) -> int:
    """Copies a JSON file with where it came from; 1 if it could be read."""
    try:
        values = json.loads(source.read(*path))
        values.setdefault("origin", source.label)
    except (OSError, ValueError, AttributeError):
        return 0  # of these the other store's own doctor speaks
    return int(write_new(place, json.dumps(values, indent=1).encode()))


def _origin(source: Source) -> bytes:
    return json.dumps({"label": source.label, "place": source.place}, indent=1).encode()


def _summary(merged: Merged) -> str:
    parts = [f"{len(merged.copied)} copied", f"{len(merged.same)} there already"]
    if merged.reproduced:
        different = merged.count(DIFFERENT)
        parts.append(f"{len(merged.reproduced)} computed there too, {different} of them different")
    if merged.refused:
        parts.append(f"{len(merged.refused)} refused")
    return ", ".join(parts)
