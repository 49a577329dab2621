"""Frozen features of the rows that missing trials need, once for all methods, shots and seeds."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from filelock import FileLock
from prefect import task
from prefect.cache_policies import NO_CACHE

from data_catalog import Dataset
from operators.backbones import BackboneCard
from operators.features import FeatureStore
from operators.images import TRANSFORM_VERSION
from operators.spec import TrialSpec
from operators.trial import episode_of
from tasks.data import TrialData
from tasks.progress import stage
from tasks.ray_cluster import WorkerPool
from tasks.store import Store
from tasks.worker import Context

CHUNK = 32  # images a call: about a second of a CPU core


def features_folder(
    store: Store, card: BackboneCard, dataset: Dataset, *, view: str = "centre"
) -> Path:
    """Folder of the features of a dataset; its name carries all that decides the numbers."""
    backbone = f"{card.name.replace('/', '--')}-{card.fingerprint}"
    data = f"{dataset.name}-{dataset.fingerprint}"
    return store.features / backbone / data / f"v{TRANSFORM_VERSION}-{view}-fp32"


@task(name="encode", task_run_name="encode-{title}", cache_policy=NO_CACHE, persist_result=False)
def encode(
    title: str,
    specs: Iterable[TrialSpec],
    dataset: Dataset,
    card: BackboneCard,
    context: Context,
    pool: WorkerPool,
) -> int:
    """Encodes the images of some trials that have no features yet; returns how many.

    Args:
        title: For people.
        specs: Trials over this dataset and backbone.
        dataset: Where the images are.
        card: Of the backbone.
        context: Says which backbone, dataset and features folder.
        pool: Workers that encode.
    """
    context.features.mkdir(parents=True, exist_ok=True)
    with FileLock(context.features / ".lock"):
        width = card.feature_width or 0
        store = FeatureStore.create(context.features, dataset.rows, width)
        rows = store.missing(needed_rows(specs, dataset))
        if not len(rows):
            return 0
        chunks = np.split(rows, range(CHUNK, len(rows), CHUNK))
        with stage(f"encode {title}", len(rows)) as progress:
            for outcome in pool.map_unordered("encode", chunks, context):
                if outcome.error:
                    raise outcome.error
                store.write(outcome.batch, outcome.result)
                progress.step(len(outcome.batch))
            progress.summary = f"{len(rows)} images"
        return len(rows)


def needed_rows(specs: Iterable[TrialSpec], dataset: Dataset) -> np.ndarray:
    """Row ids that any of the trials learns from or is tested on, sorted."""
    table = TrialData(dataset).table
    episodes = {
        (spec.protocol, spec.shots, spec.seed, spec.test_rows_per_class): spec for spec in specs
    }
    parts = [episode_of(spec, table).rows for spec in episodes.values()]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64)
