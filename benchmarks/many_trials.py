"""A store of many trials that nobody computed, for the benchmarks of what reads it.

    python benchmarks/many_trials.py STORE                      # 10,000 trials, 1M predictions
    python benchmarks/many_trials.py STORE --trials 200

Methods, settings and protocols are those of the zoo; datasets, backbones and answers are drawn.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from operators.episodes.protocols import PROTOCOLS
from operators.methods import METHODS, methods_of
from operators.methods.hyperparameters import resolve
from operators.metrics import METRICS, scores_of
from operators.metrics.predictions import CLASSIFICATION, PARQUET, TOP
from operators.spec import TrialSpec
from operators.trials.results import Cost, Provenance, TrialResult
from tasks.storage.store import Store

DATASETS = (
    "caltech101",
    "oxford_pets",
    "flowers102",
    "food101",
    "dtd",
    "eurosat",
    "ucf101",
    "stanford_cars",
)
BACKBONES = ("clip-vit-b16", "clip-vit-b32", "clip-rn50")
SHOTS = (1, 2, 4, 8, 16)
SEEDS = (1, 2, 3)
CLASSES = 20
RUNS = 20  # manifests, each of them of all trials of its suite
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def make_store(home: Path, trials: int = 10_000, rows: int = 100) -> Store:
    """Fills the folders of a store; the board is not built.

    Args:
        home: An empty or absent folder.
        trials: How many completed trials.
        rows: Predictions of each.
    """
    store = Store.at(home)
    generator = np.random.default_rng(0)
    suites: dict[str, list[str]] = {}
    cells: dict[str, list[str]] = {}
    for number, spec in enumerate(islice(_specs(), trials)):
        suite = "base" if spec.protocol == "base_to_new" else spec.backbone
        _write_trial(store, spec, suite, number, rows, generator)
        suites.setdefault(suite, []).append(spec.trial_id)
        cells.setdefault(spec.cell_id, []).append(spec.trial_id)
    for folder in (store.runs, store.published):
        folder.mkdir(parents=True)
    for cell, members in cells.items():
        receipt = {"cell_id": cell, "mlflow_run_id": _hex(cell, 32), "trial_ids": members}
        experiments = {"large": {key: receipt[key] for key in ("mlflow_run_id", "trial_ids")}}
        known = {**receipt, "tracking_uri": "http://localhost:5000", "experiments": experiments}
        (store.published / f"{cell}.json").write_text(json.dumps(known))
    for number in range(RUNS):
        for suite, members in suites.items():
            _write_run(store, f"{suite}-{number}", suite, number, members)
    return store


def _specs() -> Iterator[TrialSpec]:
    """Every combination of what is above, in a fixed order."""
    methods = methods_of("image-classification")
    learning = [name for name, method in methods.items() if not method.card.teacher]
    grids = [
        *(("zero_shot", 0, d) for d in DATASETS),
        *(("base_to_new", 16, d) for d in DATASETS),
        *(("few_shot", shots, d) for d in DATASETS for shots in SHOTS),
    ]
    for (protocol, shots, dataset), backbone, name in product(grids, BACKBONES, learning):
        method = METHODS[name]
        if protocol == "base_to_new" and not method.card.new_classes:
            continue
        if PROTOCOLS[protocol].learns != method.card.learns:
            continue
        values = resolve(name, method, {}, protocol=protocol, shots=shots, dataset=dataset)
        settings = [values]
        if "epochs" in values:  # a second setting of whatever is tuned
            settings.append({**values, "epochs": values["epochs"] + 5})
        for hyperparameters, seed in product(settings, SEEDS if shots else (1,)):
            yield TrialSpec(
                method=name,
                method_revision=method.revision,
                hyperparameters=hyperparameters,
                backbone=backbone,
                backbone_fingerprint=_hex(backbone, 16),
                dataset=dataset,
                dataset_fingerprint=_hex(dataset, 16),
                protocol=protocol,
                shots=shots,
                seed=seed,
                protocol_revision=PROTOCOLS[protocol].revision,
            )


def _write_trial(
    store: Store,
    spec: TrialSpec,
    suite: str,
    number: int,
    rows: int,
    generator: np.random.Generator,
) -> None:
    splits = ("base", "new") if spec.protocol == "base_to_new" else ("all",)
    hard = int(_hex(f"{spec.dataset} {spec.method}", 4), 16) / 16**4
    columns: list[pa.Table] = []
    for share in np.array_split(np.arange(rows), len(splits)):
        split = splits[len(columns)]
        labels = (share % CLASSES).astype(np.int32)
        right = generator.random(len(share)) < 0.5 + 0.4 * hard
        other = generator.integers(0, CLASSES, len(share), dtype=np.int32)
        predicted = np.where(right, labels, other).astype(np.int32)
        # The five most probable classes: the predicted one, and those after it in label order.
        top = (predicted[:, None] + np.arange(TOP)) % CLASSES
        chances = np.sort(generator.dirichlet(np.ones(CLASSES), len(share)))[:, ::-1]
        place = np.minimum((labels - predicted) % CLASSES, CLASSES - 1)
        answers = {
            "split": [split] * len(share),
            "row_id": share,
            "label": labels,
            "predicted": predicted,
            "confidence": chances[:, 0],
            "log_probability": np.log(chances[np.arange(len(share)), place]),
            "squared_probability": (chances**2).sum(axis=1),
            "top": list(top),
            "top_probability": list(chances[:, :TOP]),
        }
        columns.append(pa.table(answers).cast(CLASSIFICATION))
    metrics = scores_of(pa.concat_tables(columns), METRICS)
    began = BEGAN + timedelta(minutes=number)
    episode = _hex(f"{spec.dataset} {spec.protocol} {spec.shots} {spec.seed}", 16)
    result = TrialResult(
        spec=spec,
        metrics=tuple(metrics),
        cost=Cost(
            tune_seconds=1.5,
            evaluate_seconds=0.5,
            peak_memory_bytes=10**9,
            trainable_parameters=8192,
            steps=100,
            tune_flops=10**12,
            plain_tune_flops=10**13,
        ),
        provenance=Provenance(
            started_at=began.isoformat(), device="cpu", torch_version="2.13.0", suite=suite
        ),
        episode_fingerprint=episode,
        losses=tuple(generator.random(50)),
    )
    folder = store.trial(spec.trial_id)
    folder.mkdir(parents=True)
    pq.write_table(pa.concat_tables(columns), folder / "predictions.parquet", **PARQUET)
    (folder / "prompt.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (folder / "trial.json").write_text(json.dumps(result.to_json(), indent=1))


def _write_run(store: Store, run_id: str, suite: str, number: int, members: list[str]) -> None:
    began = BEGAN + timedelta(days=number)
    manifest = {
        "run_id": run_id,
        "suite": suite,
        "started_at": began.isoformat(),
        "finished_at": (began + timedelta(hours=1)).isoformat(),
        "flow_run_id": None,
        "git_commit": None,
        "partial": False,
        "trial_ids": members,
    }
    (store.runs / f"{run_id}.json").write_text(json.dumps(manifest))


def _hex(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=100, help="predictions of each trial")
    asked = parser.parse_args()
    store = make_store(asked.store, asked.trials, asked.rows)
    print(f"{len(store.done())} trials in {store.home}")


if __name__ == "__main__":
    main()
