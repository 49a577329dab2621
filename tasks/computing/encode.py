"""Frozen features of the rows that missing trials need, once for all methods, shots and seeds."""

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from data_catalog import KINDS, Dataset
from operators.backbones import BackboneCard
from operators.episodes.features import CHECKSUMS, FeatureStore, view_folder
from operators.episodes.views import View
from operators.methods import method_for
from operators.spec import TrialSpec
from operators.tracks import track_of
from tasks.computing.context import Context, Encoder, TargetFolders
from tasks.computing.shared_features import fetch_features, send_features
from tasks.computing.worker_pool import WorkerPool
from tasks.environment import MachineError
from tasks.planning import own_backbones
from tasks.planning.choices import Backbones
from tasks.planning.encodings import needed_rows
from tasks.planning.own_methods import sources_of
from tasks.progress import Stage, reporter, stage
from tasks.stopped import until_stopped
from tasks.storage.copies import WorkingCopy
from tasks.storage.leases import Leases
from tasks.storage.locks import alone
from tasks.storage.store import Store

CHUNK_SECONDS = 3600.0  # when a call is taken to hang; the first one loads the backbone
CHUNK = 32  # examples a call: about a second of a CPU core


class ViewsNotEncoded(Exception):
    """Some views of the images of a dataset cannot be encoded; all others are.

    Attributes:
        errors: By view.
    """

    def __init__(self, errors: Mapping[View, Exception]) -> None:
        super().__init__(next(iter(errors.values())))
        self.errors = errors


def features_folder(store: Store, card: BackboneCard, dataset: Dataset) -> Path:
    """Folder of the features of a dataset under a backbone; each view has its own in there."""
    backbone = f"{card.name.replace('/', '--')}-{card.fingerprint}"
    return store.features / backbone / f"{dataset.name}-{dataset.fingerprint}"


def encoders_of(spec: TrialSpec) -> set[tuple[str, str]]:
    """Backbone and datasets of a trial, and what its teacher sees the learned one with."""
    names = {spec.backbone} | ({spec.teacher.backbone} if spec.teacher else set())
    tested = {(spec.backbone, name) for name in spec.targets}
    return {(name, spec.dataset) for name in names} | tested


def contexts_of(
    store: Store,
    backbones: Backbones,
    specs: Sequence[TrialSpec],
    datasets: Mapping[str, Dataset],
    run: Mapping[str, Any],
) -> dict[tuple[str, str], Context]:
    """What trials share, by backbone and dataset.

    Args:
        store: Where features are.
        backbones: Those of the trials and of their teachers.
        specs: The trials.
        datasets: By name.
        run: Provenance; see `Context`.
    """
    encoders: dict[tuple[str, str], Encoder] = {}
    for name, on in sorted({pair for spec in specs for pair in encoders_of(spec)}):
        features = features_folder(store, backbones.cards[name], datasets[on])
        encoders[name, on] = Encoder(backbones.references[name], features)
    targets: dict[tuple[str, str], set[str]] = {}
    for spec in specs:
        targets.setdefault((spec.backbone, spec.dataset), set()).update(spec.targets)
    code = own_backbones.sources_of(encoder.backbone for encoder in encoders.values())
    code |= sources_of(specs)
    contexts: dict[tuple[str, str], Context] = {}
    for (name, on), own in encoders.items():
        others = {b: other for (b, d), other in encoders.items() if d == on and b != name}
        tested = {
            target: TargetFolders(datasets[target].folder, encoders[name, target].features)
            for target in sorted(targets.get((name, on), ()))
        }
        contexts[name, on] = Context(
            *(own.backbone, datasets[on].folder, own.features, run, others, tested),
            sources=code,
            home=store.home,
            asked=uuid.uuid4().hex if store.url else "",
        )
    return contexts


@task(name="encode", task_run_name="encode {title}", cache_policy=NO_CACHE, persist_result=False)
@until_stopped
def encode(
    title: str,
    specs: Iterable[TrialSpec],
    dataset: Dataset,
    card: BackboneCard,
    context: Context,
    pool: WorkerPool,
    datasets: Mapping[str, Dataset] | None = None,
    copy: WorkingCopy | None = None,
    leases: Leases | None = None,
) -> int:
    """Encodes the examples of some trials that have no features yet; returns how many.

    Args:
        title: For people.
        specs: Trials over this backbone that learn from the dataset or are tested on it.
        dataset: Where the examples are.
        card: Of the backbone.
        context: Says which backbone, dataset and features folder.
        pool: Workers that encode.
        datasets: As in `needed_rows`.
        copy: Of a store at a URL: what other nodes have encoded is fetched, the rest sent.
        leases: Of this run, there: of two nodes one encodes at a time.

    Raises:
        OSError: The disk has no room for the features; nothing is encoded then.
        ViewsNotEncoded: Of views beside the centre crop some cannot be had; the rest is encoded.
    """
    specs = [spec for spec in specs if method_for(spec).card.features]
    if not specs:
        return 0
    track = track_of(specs[0].protocol).name
    waiting = f"another run encodes {title}: waiting for it."
    with (
        alone(context.features / ".lock", waiting, pool.check_open),
        _shared(copy, context.features, leases, waiting, pool.check_open),
    ):
        missing: dict[View | None, tuple[FeatureStore, np.ndarray]] = {}
        for view, needed in needed_rows(specs, dataset, datasets).items():
            folder = view_folder(context.features, view, context.backbone.precision)
            store = FeatureStore.create(folder, dataset.rows, card.feature_width or 0)
            rows = store.missing(needed)
            for text in store.repairs:
                reporter().say(text)
            if len(rows):
                store.reserve(rows)
                missing[view] = store, rows
        total = sum(len(rows) for _, rows in missing.values())
        if not total:
            return 0
        with stage(f"encode {title}", total) as progress:
            errors: dict[View, Exception] = {}
            for view, (store, rows) in missing.items():
                try:
                    encode_view(store, rows, view, context, track, pool, progress)
                except Exception as error:
                    if view is None or isinstance(error, OSError | MachineError):
                        raise
                    errors[view] = error
            if errors:
                raise ViewsNotEncoded(errors)
            views = f" in {len(missing)} views" if len(missing) > 1 else ""
            progress.summary = f"{total} {KINDS[dataset.kind].noun}s{views}"
        return total


@contextmanager
def _shared(
    copy: WorkingCopy | None,
    features: Path,
    leases: Leases | None,
    waiting: str,
    look: Callable[[], None],
) -> Iterator[None]:
    """Fetches features before the block, and sends after it those that are here alone.

    Nobody else does so meanwhile: what two nodes encode at once might differ in the last bits.

    Args:
        copy: Of a store at a URL; None for a folder, where there is nothing to do.
        features: Folder of the dataset under the backbone.
        leases: Of this run.
        waiting: Is said where another node has to be waited for.
        look: As in `alone`.
    """
    if copy is None:
        yield
        return
    with ExitStack() as held:
        if leases is not None:
            place = features.relative_to(copy.home).as_posix()
            name = f"encode-{hashlib.sha256(place.encode()).hexdigest()[:16]}"
            held.enter_context(leases.alone(name, lambda: reporter().say(waiting), look))
        fetch_features(copy, features)
        yield
        for folder in sorted(path.parent for path in features.glob(f"*/{CHECKSUMS}")):
            send_features(copy, folder)


def encode_view(
    store: FeatureStore,
    rows: np.ndarray,
    view: View | None,
    context: Context,
    track: str,
    pool: WorkerPool,
    progress: Stage,
) -> None:
    """Encodes some rows under one view and stores their features.

    Args:
        store: Of the view.
        rows: Row ids.
        view: None is the centre crop.
        context: Says which backbone and dataset.
        track: Says how examples are read.
        pool: Workers that encode.
        progress: Counts the examples.
    """
    chunks = np.split(rows, range(CHUNK, len(rows), CHUNK))
    for outcome in pool.map_unordered(
        "encode",
        chunks,
        context,
        track,
        view,
        seconds=lambda _: CHUNK_SECONDS,
        near=context.key,
    ):
        if outcome.error:
            raise outcome.error
        store.write(outcome.batch, outcome.result)
        progress.step(len(outcome.batch))
