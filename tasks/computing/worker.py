"""What runs on a Ray worker: it encodes, and computes trials and commits them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.computing.context import Context, Done
from tasks.computing.failures import note_failure, of_the_store
from tasks.computing.gpus import device_of
from tasks.computing.loaded import Loaded
from tasks.computing.node import Node
from tasks.computing.stacks import computed_together
from tasks.computing.surveying import Needs, needed_of
from tasks.computing.trial_files import files_of
from tasks.planning import own_functions
from tasks.planning.own_methods import make_known
from tasks.storage.store import Store
from tasks.without_pandas import spare_pandas

if TYPE_CHECKING:
    from operators.episodes.views import View
    from operators.spec import TrialSpec
    from tasks.planning.suite import Suite

COMMITS = 2  # trials of a worker that wait for the disk side by side, while it computes the next


def worker_options(suite: "Suite") -> dict[str, Any]:
    """How the workers of a run are made: they load the backbone of a suite that has one."""
    return {"backbones": tuple(suite.backbones), "precision": suite.precision, "traced": True}


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
        self._loaded = Loaded(self.store, self.device)
        if len(backbones) == 1:
            self._loaded.load_ahead(backbones[0], precision)

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
        read = self._loaded.dataset(context.dataset).examples
        backbone = self._loaded.backbone(context.backbone, context)
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
            self._loaded.backbone(context.backbone, context)
            self._loaded.dataset(context.dataset)

    def lanes(self, specs: Sequence["TrialSpec"], context: Context) -> list[int]:
        """How many seeds of the cell of each trial are worth tuning together."""
        from operators.trials.trial import lanes_of

        try:
            context = self._node.here(context, features=False)
            backbone = self._loaded.backbone(context.backbone, context)
            lanes = []
            for spec in specs:
                make_known(spec, context.sources)
                lanes.append(lanes_of(spec, backbone, self._loaded.episode(spec, context)))
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
            compute = partial(self._computed, context=context)
            computed = computed_together(stack, compute, traced=self.traced)
            for spec, files in zip(stack, computed, strict=True):
                if isinstance(files, dict):
                    yield disk.submit(self._commit, spec, files)
                elif not of_the_store(files):
                    yield Done(spec.trial_id, note_failure(self.into, spec, context.run, files))
            # Behind the loop, so that what the others of the stack computed is not thrown away.
            for files in computed:  # a full disk is the run's trouble, not the trial's
                if isinstance(files, OSError) and of_the_store(files):
                    raise files

    def _computed(self, spec: "TrialSpec", context: Context) -> dict[str, bytes]:
        """The files of a trial."""
        from operators.spec import TEST
        from operators.tracks.rows import sees_tested
        from operators.trials.trial import run_trial
        from tasks.computing.tuned import fit_of, leant_on

        started = _now()
        make_known(spec, context.sources)
        loaded = self._loaded
        backbone = loaded.backbone(context.backbone, context)
        data = loaded.data(context.dataset, spec.template_set)
        candidate = spec.on_validation
        alike = spec.tested_on == TEST and not sees_tested(spec)
        fit = fit_of(self.into, candidate, self.device) if alike else None
        outcome = run_trial(
            spec,
            backbone,
            data,
            loaded.source(spec, context.dataset, context.encoder, context),
            None if spec.teacher is None else loaded.teacher(spec.teacher, context),
            {name: loaded.target(spec, name, context) for name in spec.targets},
            fit,
            spec.source and leant_on(self.store, spec.source, self.device, "source"),
        )
        run = {**context.run, "fit_trial_id": candidate.trial_id if fit else None}
        return files_of(
            spec,
            outcome,
            classes=data.all_classes,
            started=started,
            device=self.device,
            context=replace(context, run=run),
        )

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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
