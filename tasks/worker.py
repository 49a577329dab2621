"""What runs on a Ray worker: it keeps backbones and features, and computes trials one by one."""

import os
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tasks.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from data_catalog import Dataset
    from operators.backbones import Backbone, BackboneReference
    from operators.features import FeatureStore
    from operators.spec import TrialSpec
    from operators.trial import Outcome


@dataclass(frozen=True)
class Context:
    """What the trials of a bundle share.

    Attributes:
        backbone: Which weights to load.
        dataset: Folder of the ingested dataset.
        features: Folder of its features under the backbone.
        run: Provenance that only the driver knows: suite, flow_run_id, git_commit.
    """

    backbone: "BackboneReference"
    dataset: Path
    features: Path
    run: Mapping[str, str | None]


class Done(NamedTuple):
    """What became of one trial; `error` is empty unless it failed."""

    trial_id: str
    error: str


class TrialWorker:
    """Long-lived; one on each core or GPU share.

    Args:
        home: Root of the store.
        device: `cpu`, `cuda`, or `auto` for a GPU where Ray gave one.
    """

    def __init__(self, home: Path, device: str = "auto") -> None:
        import torch

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.store = Store(home)
        self.device = device
        self._backbone = cache(self._load_backbone)
        self._dataset = cache(_open_dataset)
        self._features = cache(_open_features)

    def encode(self, rows: np.ndarray, context: Context) -> np.ndarray:
        """Frozen features of some rows, (b, d) float32."""
        backbone = self._backbone(context.backbone)
        images = self._dataset(context.dataset).images(rows)
        return backbone.encode_images(backbone.preprocess(images)).float().cpu().numpy()

    def compute(self, specs: Sequence["TrialSpec"], context: Context) -> list[Done]:
        """Computes and commits some trials; a trial that fails costs itself alone."""
        return [self._one(spec, context) for spec in specs]

    def _one(self, spec: "TrialSpec", context: Context) -> Done:
        folder = self.store.trial(spec.trial_id)
        if folder.exists():  # a batch that is tried again after its worker died
            return Done(spec.trial_id, "")
        from operators.trial import run_trial

        started = _now()
        try:
            backbone = self._backbone(context.backbone)
            dataset = self._dataset(context.dataset)
            from tasks.data import TrialData

            images = _Images(dataset, self._features(context.features), backbone)
            outcome = run_trial(spec, backbone, TrialData(dataset), images)
            self._commit(spec, outcome, started, context)
        except OSError:
            raise  # a full disk is the run's trouble, not the trial's
        except Exception as error:
            message = " ".join(str(error).split()) or type(error).__name__
            self.store.record_failure(
                spec.trial_id,
                {
                    "spec": spec.to_json(),
                    "error": message,
                    "traceback": traceback.format_exc(),
                    "failed_at": _now(),
                    "suite": context.run.get("suite"),
                    "flow_run_id": context.run.get("flow_run_id"),
                },
            )
            return Done(spec.trial_id, message)
        return Done(spec.trial_id, "")

    def _commit(
        self, spec: "TrialSpec", outcome: "Outcome", started: str, context: Context
    ) -> None:
        import json

        import pyarrow.parquet as pq
        import torch
        from safetensors.torch import save_file

        from operators.files import commit_folder
        from operators.results import Provenance, TrialResult

        result = TrialResult(
            spec=spec,
            metrics=outcome.metrics,
            cost=outcome.cost,
            provenance=Provenance(
                started_at=started,
                device=_device_name(self.device),
                torch_version=torch.__version__,
                **context.run,
            ),
            episode_fingerprint=outcome.episode_fingerprint,
            selected=outcome.report.selected or {},
            losses=outcome.report.losses,
        )
        with commit_folder(self.store.trial(spec.trial_id)) as draft:
            pq.write_table(outcome.predictions, draft / "predictions.parquet")
            learned: dict[str, Tensor] = {k: v.contiguous() for k, v in outcome.learned.items()}
            save_file(learned, draft / "prompt.safetensors", {"trial_id": spec.trial_id})
            (draft / "trial.json").write_text(json.dumps(result.to_json(), indent=1))
        self.store.clear_failure(spec.trial_id)

    def _load_backbone(self, which: "BackboneReference") -> "Backbone":
        return which.load(which.describe(), self.device)


class _Images:
    """Reads features from the feature store and pixels from the dataset."""

    def __init__(self, dataset: "Dataset", store: "FeatureStore", backbone: "Backbone") -> None:
        self.dataset = dataset
        self.store = store
        self.backbone = backbone

    def features(self, rows: np.ndarray) -> "Tensor":
        """See `ImageSource`."""
        return self.store.read(rows)

    def pixels(self, rows: np.ndarray) -> "Tensor":
        """See `ImageSource`."""
        return self.backbone.preprocess(self.dataset.images(rows))


def _open_dataset(folder: Path) -> "Dataset":
    from data_catalog import Dataset

    return Dataset.open(folder)


def _open_features(folder: Path) -> "FeatureStore":
    from operators.features import FeatureStore

    return FeatureStore(folder)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else device
