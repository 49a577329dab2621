"""Trials computed again beside the store, and held against what is in it.

They go the way of a run: missing features are encoded, and a worker computes and commits them, in
this process and into a folder that is thrown away. Like a worker of a run it has one thread, for
with several some sums are taken in another order.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from data_catalog import Dataset
from operators.board import explain, inspect
from operators.board.agreement import DIFFERENT, Agreement, agreement
from operators.spec import TrialSpec
from tasks.computing.context import Context
from tasks.computing.encode import contexts_of, encode, encoders_of
from tasks.computing.found import (
    backbones_of,
    dataset_of,
    refuse_other_texts,
    refuse_other_version,
    spec_of,
)
from tasks.computing.worker import TrialWorker
from tasks.computing.worker_pool import CallResult
from tasks.planning.choices import Backbones
from tasks.planning.data import data_of
from tasks.planning.own_methods import read_method
from tasks.planning.resolve import RequestError
from tasks.progress import stage
from tasks.storage.store import Store

IMPOSSIBLE = "impossible"


class Verified(NamedTuple):
    """A trial that was computed again, or could not be.

    Attributes:
        trial_id: Of the trial.
        spec: Its specification; None where that cannot be read.
        verdict: Of `Agreement`, or `impossible`.
        agreed: How the two agree, `theirs` being what was computed now; None where impossible.
        reason: Why it was impossible; else empty.
    """

    trial_id: str
    spec: TrialSpec | None
    verdict: str
    agreed: Agreement | None = None
    reason: str = ""

    @property
    def holds(self) -> bool:
        """Whether the trial says what its specification gives, up to rounding."""
        return self.verdict not in (DIFFERENT, IMPOSSIBLE)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "trial_id": self.trial_id,
            "verdict": self.verdict,
            "reason": self.reason,
            "scores": self.agreed.scores if self.agreed else [],
            "differs": self.agreed.origin if self.agreed else [],
        }


@dataclass
class Here:
    """Answers as a pool of workers does, one call after the other in this process."""

    worker: TrialWorker

    def map_unordered(
        self, method: str, batches: Iterable[Any], *args: Any, **_: Any
    ) -> Iterator[CallResult]:
        """See `WorkerPool.map_unordered`."""
        for batch in batches:
            yield CallResult(batch, getattr(self.worker, method)(batch, *args), None)

    def check_open(self) -> None:
        """See `WorkerPool.check_open`; nobody closes this one."""


@dataclass
class Needs:
    """What trials of one place need.

    Attributes:
        specs: The trials.
        backbones: Theirs, and those of their teachers.
        datasets: Theirs and their targets, by name.
    """

    backbones: Backbones
    datasets: dict[str, Dataset]
    specs: list[TrialSpec] = field(default_factory=list)

    @property
    def key(self) -> tuple[Any, ...]:
        """What trials share that can be computed side by side."""
        backbones = sorted(self.backbones.references.items())
        return str(backbones), sorted((n, d.fingerprint) for n, d in self.datasets.items())


def verify(
    store: Store, trial_ids: Sequence[str], *, backbones: Sequence[str] = ()
) -> Iterator[Verified]:
    """Computes completed trials again, and says how what comes out agrees with what is there.

    Args:
        store: Where they are; its trials stay as they are.
        trial_ids: Whole ids.
        backbones: Where their backbones are, if the names do not say it.
    """
    found: list[Needs] = []
    with stage("verify", len(trial_ids)) as progress:
        for trial_id in trial_ids:
            try:
                found.append(_needs(store, trial_id, backbones))
            except ValueError as error:
                progress.step()
                yield Verified(trial_id, None, IMPOSSIBLE, None, str(error))
        found.sort(key=lambda needs: (repr(needs.key), needs.specs[0].cell_id))
        with tempfile.TemporaryDirectory(prefix="shotboard-") as folder, one_thread():
            for _, group in groupby(found, key=lambda needs: needs.key):
                for each in _computed(store, Store(Path(folder)), list(group)):
                    progress.step()
                    yield each


def _needs(store: Store, trial_id: str, places: Sequence[str]) -> Needs:
    """What a trial is computed with.

    Raises:
        ValueError: The trial is damaged, or something that it was computed with is gone.
    """
    spec = spec_of(store, trial_id)
    if fault := inspect(store.trial(trial_id)):
        raise RequestError(f"trial {trial_id} is damaged: {fault} Run its suite again.")
    specs = [spec] if spec.teacher is None else [spec, spec.teacher]
    read_method(store, spec)
    dataset = dataset_of(store, spec)
    datasets = {spec.dataset: dataset}
    for name, target in spec.targets.items():
        place = store.bring(store.data / name / target.fingerprint)
        if not place.is_dir():
            raise RequestError(
                f"trial {trial_id} is tested on {name} with the fingerprint {target.fingerprint}, "
                f"which is not in {store.data}: `shotboard datasets ingest {name}` may bring it "
                "back."
            )
        datasets[name] = Dataset.open(place)
    found = backbones_of(store, specs, places)
    references, cards = {}, {}
    for each in specs:
        refuse_other_version(each)
        reference, card = found[each.backbone_fingerprint]
        known = data_of(store, dataset, each.template_set).all_classes
        refuse_other_texts(each, card, known)
        references[each.backbone] = reference._replace(precision=each.precision)
        cards[each.backbone] = card
    return Needs(Backbones(references, cards, (spec.backbone,)), datasets, [spec])


def _computed(store: Store, scratch: Store, needs: Sequence[Needs]) -> Iterator[Verified]:
    """Computes trials that share backbones and datasets, a cell at a time."""
    specs = [needs_of.specs[0] for needs_of in needs]
    shared = needs[0]
    worker = TrialWorker(store.place, into=scratch.home)
    contexts = contexts_of(store, shared.backbones, specs, shared.datasets, {})
    for (name, on), context in contexts.items():
        # Without its task, which is there to be seen in Prefect.
        encode.fn(
            f"{on} {name}",
            [spec for spec in specs if (name, on) in encoders_of(spec)],
            shared.datasets[on],
            shared.backbones.cards[name],
            context,
            Here(worker),  # pyright: ignore[reportArgumentType]  # asked for that alone
            shared.datasets,
            store.copy,
        )
    for _, cell in groupby(specs, key=lambda spec: spec.cell_id):
        yield from _cell(store, scratch, worker, list(cell), contexts)


def _cell(
    store: Store,
    scratch: Store,
    worker: TrialWorker,
    cell: Sequence[TrialSpec],
    contexts: dict[tuple[str, str], Context],
) -> Iterator[Verified]:
    done = worker.compute(cell, contexts[cell[0].backbone, cell[0].dataset])
    errors = {each.trial_id: each.error for each in done}
    for spec in cell:
        trial_id, reason = spec.trial_id, errors[spec.trial_id]
        try:
            agreed = agreement(store.trial(trial_id), scratch.trial(trial_id))
        except (OSError, ValueError) as error:
            why = reason or explain(error)
            yield Verified(trial_id, spec, IMPOSSIBLE, None, f"it fails now: {why}")
        else:
            yield Verified(trial_id, spec, agreed.verdict, agreed)


@contextmanager
def one_thread() -> Iterator[None]:
    """Gives every library of this process one thread in the block, as a worker of a run has."""
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)
