"""What runs on a Ray worker: it keeps backbones and features, and computes trials."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tasks.computing.failures import note_failure, of_the_store
from tasks.computing.gpus import device_of
from tasks.computing.node import Node
from tasks.computing.surveying import Needs, needed_of
from tasks.computing.traces import mark, show
from tasks.planning import own_backbones, own_functions
from tasks.planning.own_files import Source
from tasks.planning.own_methods import FILE, make_known, source_of
from tasks.storage.store import Store
from tasks.without_pandas import spare_pandas

if TYPE_CHECKING:
    from torch import Tensor

    from data_catalog import Dataset
    from operators.backbones import Backbone, BackboneReference
    from operators.episodes.episode import Episode
    from operators.episodes.features import FeatureStore
    from operators.episodes.views import View
    from operators.methods import Teacher
    from operators.spec import TrialSpec
    from operators.tracks import TargetData
    from operators.trials.trial import Outcome
    from tasks.planning.data import TrialData
    from tasks.planning.suite import Suite

log = logging.getLogger(__name__)
COMMITS = 2  # trials of a worker that wait for the disk side by side, while it computes the next
STORES_OPEN = 64  # feature stores whose checksums a worker keeps; 9 bytes a row


class Encoder(NamedTuple):
    """How a backbone sees the dataset of a bundle.

    Attributes:
        backbone: Which weights to load, and in which precision.
        features: Folder of the features under the backbone, all views.
    """

    backbone: "BackboneReference"
    features: Path


class TargetFolders(NamedTuple):
    """A dataset that trials are tested on beside their own.

    Attributes:
        dataset: Folder of the ingested dataset.
        features: Folder of its features under the backbone of the trials.
    """

    dataset: Path
    features: Path


@dataclass(frozen=True)
class Context:
    """What the trials of a bundle share.

    Attributes:
        backbone: Which weights to load, and in which precision.
        dataset: Folder of the ingested dataset.
        features: Folder of its features under the backbone, all views.
        run: Provenance that only the driver knows: suite, flow_run_id, git_commit, git_dirty.
        others: The run's other backbones on this dataset, by name: teachers may need them.
        targets: The datasets that its trials are tested on beside this one, by name.
        sources: Files of users' own methods and backbones, by digest: they travel by their content.
        home: Root of the driver's store, which the folders lie in, where that is at a URL.
        asked: Changes with each asking for features; empty where the store is a folder.
    """

    backbone: "BackboneReference"
    dataset: Path
    features: Path
    run: Mapping[str, Any]
    others: Mapping[str, Encoder] = field(default_factory=dict)
    targets: Mapping[str, TargetFolders] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    home: Path | None = None
    asked: str = ""

    @property
    def key(self) -> str:
        """Stands for what a worker loads for it: its backbone and its dataset."""
        return str((self.backbone, self.dataset))

    @property
    def encoder(self) -> Encoder:
        """How its own backbone sees its own dataset."""
        return Encoder(self.backbone, self.features)


def worker_options(suite: "Suite") -> dict[str, Any]:
    """How the workers of a run are made: they load the backbone of a suite that has one."""
    return {"backbones": tuple(suite.backbones), "precision": suite.precision, "traced": True}


class Done(NamedTuple):
    """What became of one trial.

    Attributes:
        trial_id: Which.
        error: Empty unless it failed.
        elsewhere: Whether another run has computed it meanwhile.
    """

    trial_id: str
    error: str
    elsewhere: bool = False


class TrialWorker:
    """Long-lived; one on each core or GPU share.

    Args:
        home: Root of the store, or its URL.
        device: `cpu`, `cuda`, or `auto` for a GPU where Ray gave one; see `device_of`.
        into: Root of the store that gets the trials; default: the same.
        backbones: Names, folders or hub ids of what it may be asked for; a single one is loaded
            at once, before it is.
        precision: Of that.
        traced: Whether standard output and error say which trial the lines that follow are of,
            and why one fails; see `tasks.computing.worker_logs`.
    """

    def __init__(
        self,
        home: Path | str,
        device: str = "auto",
        into: Path | None = None,
        *,
        backbones: Sequence[str] = (),
        precision: str = "fp32",
        traced: bool = False,
    ) -> None:
        spare_pandas()
        import torch

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        self.store = Store.placed(home)
        self.into = self.store if into is None else Store(into)
        self._node = Node(self.store)
        self.device = device_of(device)
        self.traced = traced
        self._loaded = cache(self._load_backbone)
        self._dataset = cache(_open_dataset)
        self._data = cache(self._read_data)
        self._features = lru_cache(STORES_OPEN)(_open_features)
        # One draw of each kind, to count lanes by: drawing takes a while on a large dataset.
        self._episodes: dict[tuple[Path, str, int], Episode] = {}
        if len(backbones) == 1:
            self._load_ahead(backbones[0], precision)

    @staticmethod
    def needs(
        home: Path | str, *_: Any, backbones: Sequence[str] = (), **__: Any
    ) -> AbstractContextManager[Needs]:
        """What a host must have for such a worker, while the block lasts."""
        from operators.backbones import is_location
        from operators.files import at_home

        return needed_of(str(home), [at_home(name) for name in backbones if is_location(name)])

    def encode(
        self, rows: np.ndarray, context: Context, track: str, view: "View | None" = None
    ) -> np.ndarray:
        """Frozen features of some rows, (b, d) float32.

        Args:
            rows: Row ids, (b,).
            context: Says which dataset and backbone.
            track: Says how they are read.
            view: That images are seen under; None is the centre crop.
        """
        from operators.engine.arithmetic import products_in
        from operators.tracks import TRACKS

        context = self._node.here(context, features=False)
        read = self._dataset(context.dataset).examples
        backbone = self._backbone(context.backbone, context)
        if view is not None:
            own_functions.make_known([view.augmentation], context.sources)
        source = TRACKS[track].source(read, backbone, None)
        with products_in(context.backbone.precision):
            return source.features(rows, view).cpu().numpy()

    def compute(self, specs: Sequence["TrialSpec"], context: Context) -> list[Done]:
        """Computes and commits some trials; a trial that fails costs itself alone.

        Seeds of one cell that follow each other may be tuned together. A trial is written while
        the next one is computed; all are on disk at the return.
        """
        from operators.files import sync_folder

        context = self._node.here(context)
        # A commit is mostly a wait for the disk, so it happens beside the next trial. Each is whole
        # by itself (`operators/files.py`); the folder around is synced once, for all of them.
        with ThreadPoolExecutor(COMMITS) as disk:
            ended = [
                end
                for _, cell in groupby(specs, key=lambda spec: spec.cell_id)
                for end in self._cell(list(cell), context, disk)
            ]
        done = [end.result() if isinstance(end, Future) else end for end in ended]
        if self.into.trials.is_dir():
            sync_folder(self.into.trials)
        return done

    def prepare(self, context: Context) -> None:
        """Loads what the trials of a context share, so that the first of them does not wait."""
        with suppress(Exception):  # whatever it is, it will be the error of a trial
            context = self._node.here(context)
            self._backbone(context.backbone, context)
            self._dataset(context.dataset)

    def lanes(self, specs: Sequence["TrialSpec"], context: Context) -> list[int]:
        """How many seeds of the cell of each trial are worth tuning together."""
        from operators.tracks.rows import episode_of
        from operators.trials.trial import lanes_of

        try:
            context = self._node.here(context, features=False)
            backbone = self._backbone(context.backbone, context)
            lanes = []
            for spec in specs:
                make_known(spec, context.sources)
                key = context.dataset, spec.protocol, spec.shots
                if key not in self._episodes:
                    data = self._data(context.dataset, spec.template_set)
                    self._episodes[key] = episode_of(spec, data.table)
                lanes.append(lanes_of(spec, backbone, self._episodes[key]))
            return lanes
        except Exception:  # whatever it is, it will be the error of a trial
            return [1] * len(specs)

    def _cell(
        self, specs: Sequence["TrialSpec"], context: Context, disk: Executor
    ) -> "Iterator[Done | Future[Done]]":
        """Computes trials that differ by seed alone, as many together as is worth while."""
        # A batch that is tried again after its worker died holds trials that are there.
        there = [spec for spec in specs if self.into.trial(spec.trial_id).exists()]
        yield from (Done(spec.trial_id, "") for spec in there)
        missing = [spec for spec in specs if spec not in there]
        size = self.lanes(missing[:1], context)[0] if len(missing) > 1 else 1
        for start in range(0, len(missing), size):
            stack = missing[start : start + size]
            computed = self._stacked(stack, context)
            for spec, files in zip(stack, computed, strict=True):
                if isinstance(files, dict):
                    yield disk.submit(self._commit, spec, files)
                elif not of_the_store(files):
                    yield Done(spec.trial_id, note_failure(self.into, spec, context.run, files))
            # Behind the loop, so that what the others of the stack computed is not thrown away.
            for files in computed:  # a full disk is the run's trouble, not the trial's
                if isinstance(files, OSError) and of_the_store(files):
                    raise files

    def _stacked(
        self, stack: Sequence["TrialSpec"], context: Context
    ) -> list[dict[str, bytes] | BaseException]:
        """The files of some trials that are tuned together, or what one raised."""
        from operators.engine.stacking import Abandoned, run_stacked

        def tried(spec: "TrialSpec") -> dict[str, bytes] | BaseException:
            try:
                return self._computed(spec, context)
            except Abandoned:
                raise
            except BaseException as error:  # SystemExit or an interrupt: a method may raise it
                if hasattr(error, "ray_terminate_msg"):  # that is how Ray stops a worker
                    raise
                if self.traced:
                    show(error)
                return error

        if self.traced:
            mark([spec.trial_id for spec in stack])

        try:
            ended = run_stacked([partial(tried, spec) for spec in stack])
            return self._in_smaller_stacks(stack, ended, context)
        except BaseException as error:
            if hasattr(error, "ray_terminate_msg") or len(stack) == 1:
                raise
            # Raised where lanes meet, by nobody knows which: so each by itself.
            return [end for spec in stack for end in self._stacked([spec], context)]

    def _in_smaller_stacks(
        self,
        stack: Sequence["TrialSpec"],
        ended: list[dict[str, bytes] | BaseException],
        context: Context,
    ) -> list[dict[str, bytes] | BaseException]:
        """What became of a stack, once those that had no room in it were tried in half of one.

        Args:
            stack: Trials.
            ended: Of each its files, or what it raised.
            context: What they share.
        """
        from operators.engine.room import NoRoom, give_back

        short = [i for i, end in enumerate(ended) if isinstance(end, NoRoom)]
        if not short or len(stack) == 1:
            return ended
        half = len(stack) // 2
        log.warning("no room for %d seeds at once: goes on with %d.", len(stack), half)
        for start in range(0, len(short), half):
            places = short[start : start + half]
            give_back()
            again = self._stacked([stack[place] for place in places], context)
            for place, end in zip(places, again, strict=True):
                ended[place] = end
        return ended

    def _computed(self, spec: "TrialSpec", context: Context) -> dict[str, bytes]:
        """The files of a trial."""
        from operators.spec import TEST
        from operators.tracks.rows import sees_tested
        from operators.trials.trial import run_trial
        from tasks.computing.tuned import fit_of, leant_on

        started = _now()
        make_known(spec, context.sources)
        backbone = self._backbone(context.backbone, context)
        candidate = spec.on_validation
        alike = spec.tested_on == TEST and not sees_tested(spec)
        fit = fit_of(self.into, candidate, self.device) if alike else None
        outcome = run_trial(
            spec,
            backbone,
            self._data(context.dataset, spec.template_set),
            self._source(spec, context.dataset, context.encoder, context),
            None if spec.teacher is None else self._teacher(spec.teacher, context),
            {name: self._target(spec, name, context) for name in spec.targets},
            fit,
            spec.source and leant_on(self.store, spec.source, self.device, "source"),
        )
        run = {**context.run, "fit_trial_id": candidate.trial_id if fit else None}
        return self._files(spec, outcome, started, replace(context, run=run))

    def _files(
        self, spec: "TrialSpec", outcome: "Outcome", started: str, context: Context
    ) -> dict[str, bytes]:
        """What a trial leaves behind, by name of the file."""
        import json
        from hashlib import sha256

        import pyarrow as pa
        import pyarrow.parquet as pq
        from safetensors.torch import save

        from operators.metrics.predictions import PARQUET
        from operators.trials.machine import machine
        from operators.trials.results import ATTENTION, Provenance, TrialResult

        known = self._data(context.dataset, spec.template_set).all_classes
        predictions = pa.BufferOutputStream()
        pq.write_table(outcome.predictions, predictions, **PARQUET)
        learned: dict[str, Tensor] = {k: v.contiguous() for k, v in outcome.learned.items()}
        files = {
            "predictions.parquet": predictions.getvalue().to_pybytes(),
            "prompt.safetensors": save(learned, {"trial_id": spec.trial_id}),
        }
        if outcome.picture is not None:
            files[ATTENTION] = outcome.picture
        if (source := source_of(spec)) is not None:  # so that `predict` needs no other file
            files[FILE] = source.text.encode()
        for digest, source in own_functions.sources_of(spec).items():
            files[own_functions.file_name(digest)] = source.text.encode()
        if (source := own_backbones.source_of(context.backbone)) is not None:
            files[own_backbones.FILE] = source.text.encode()
        result = TrialResult(
            spec=spec,
            metrics=outcome.metrics,
            cost=outcome.cost,
            provenance=Provenance(
                started_at=started,
                device=_device_name(self.device),
                templates=(*known.templates, *known.ensemble),
                **machine(),
                **context.run,
            ),
            episode_fingerprint=outcome.episode_fingerprint,
            selected=outcome.report.selected or {},
            found=outcome.report.found,
            losses=outcome.report.losses,
            validation=outcome.report.validation,
            sha256={name: sha256(content).hexdigest() for name, content in files.items()},
        )
        # Made last: it holds the digests of the others, by which damage on disk is found later.
        return {**files, "trial.json": json.dumps(result.to_json(), indent=1).encode()}

    def _commit(self, spec: "TrialSpec", files: Mapping[str, bytes]) -> Done:
        """Puts a trial into the store.

        Raises:
            OSError: It cannot be written, such as on a full disk.
        """
        # In this order: killed between the two, we leave a trial beside an old note of its failure,
        # which readers pass over. The other way round there would be neither.
        self.into.commit(spec.trial_id, files)
        self.into.clear_failure(spec.trial_id)
        return Done(spec.trial_id, "")

    def _read_data(self, folder: Path, templates: str) -> "TrialData":
        from tasks.planning.data import data_of

        return data_of(self.store, self._dataset(folder), templates)

    def _teacher(self, spec: "TrialSpec", context: Context) -> "Teacher":
        """What a trial of the store has learned, ready to teach.

        Raises:
            ValueError: See `teacher_from`.
        """
        from tasks.computing.tuned import teacher_from

        data = self._data(context.dataset, spec.template_set)
        own = context.others.get(spec.backbone)
        which = context.backbone if own is None else own.backbone
        source = None if own is None else self._source(spec, context.dataset, own, context)
        return teacher_from(self.store, spec, self._backbone(which, context), data, source)

    def _target(self, spec: "TrialSpec", name: str, context: Context) -> "TargetData":
        """A dataset that a trial is tested on, with the templates that it was planned with."""
        from operators.tracks import TargetData

        folder, features = context.targets[name]
        data = self._data(folder, spec.targets[name].template_set)
        encoder = context.encoder._replace(features=features)
        return TargetData(data, self._source(spec, folder, encoder, context))

    def _source(
        self,
        spec: "TrialSpec",
        folder: Path,
        encoder: Encoder,
        context: Context,
    ) -> Any:
        """A dataset as a trial reads it: features from the stores, and encoded where in none."""
        from operators.episodes.features import view_folder
        from operators.tracks import track_of

        which, features = encoder
        return track_of(spec.protocol).source(
            self._dataset(folder).examples,
            self._backbone(which, context),
            lambda view: self._features(view_folder(features, view, which.precision)),
        )

    def _backbone(self, which: "BackboneReference", context: Context) -> "Backbone":
        own_backbones.make_known(which, context.sources)
        return self._loaded(which)

    def _load_ahead(self, name: str, precision: str) -> None:
        from operators.backbones import BACKBONES, is_location, reference

        with suppress(Exception):  # whatever it is, it will be the error of a trial
            if name in BACKBONES or is_location(name):  # code of a user's own comes with trials
                self._loaded(reference(name)._replace(precision=precision))

    def _load_backbone(self, which: "BackboneReference") -> "Backbone":
        return which.load(which.describe(), self.device)


def _open_dataset(folder: Path) -> "Dataset":
    from data_catalog import Dataset

    return Dataset.open(folder)


def _open_features(folder: Path) -> "FeatureStore":
    from operators.episodes.features import FeatureStore

    return FeatureStore(folder)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
