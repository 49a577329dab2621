"""Whole trials, from drawn prompts to predictions, against the published codes' arithmetic.

    python benchmarks/trial.py                                  # minutes on one core
    python benchmarks/trial.py --datasets digits --methods coop
    python benchmarks/trial.py --json -                         # for machines

A trial is one of `shotboard run`, with the published settings, on the embedded CLIP: tuning and
evaluation, features of frozen images read from disk. `encode` is what these took, once for all
methods, seeds and shots. The plain trial is arithmetic: its step (see steps.py) is measured and
multiplied by the number of steps, and test images and texts are encoded once; decoding, which it
also does in every step, is not counted. CPU seconds on one thread.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from measuring import write_json
from steps import PlainClip, plain_loss

from data_catalog import Dataset
from operators.backbones import DualEncoder
from operators.backbones.formats.clip_files import EMBEDDED
from operators.episodes.episode import Batch, batch_of
from operators.episodes.features import DatasetImages, FeatureStore, view_folder
from operators.spec import TrialSpec
from operators.tracks import track_of
from operators.tracks.rows import episode_of
from operators.trials.trial import run_trial
from tasks.ingestion.ingest import ingest_dataset
from tasks.planning import resolve
from tasks.planning.choices import check
from tasks.planning.data import TrialData
from tasks.planning.encodings import needed_rows
from tasks.planning.plan import make_plan
from tasks.planning.suite import make_suite
from tasks.storage.store import Store

METHODS = ("coop", "cocoop", "ivlp", "maple", "promptsrc")
ROUNDS = 3  # of a plain step


def specs_of(store: Store, dataset: Dataset, options: argparse.Namespace) -> list[TrialSpec]:
    """One trial of each method, as a run would plan them."""
    values = {"name": "trial", "datasets": [dataset.name], "backbones": ["mini-clip"]}
    values |= {"methods": options.methods, "protocols": [options.protocol]}
    values |= {"shots": [options.shots], "seeds": [1], "views": "none"}
    request = check(store, make_suite(values, where="benchmarks/trial.py"))
    return list(make_plan(store, request, {dataset.name: dataset}).specs)


def encode(
    folder: Path, specs: list[TrialSpec], dataset: Dataset, backbone: DualEncoder
) -> tuple[DatasetImages, float]:
    """A source of kept features, and the CPU seconds that they took."""
    features = FeatureStore.create(view_folder(folder, None), dataset.rows, backbone.feature_width)
    rows = needed_rows(specs, dataset)[None]
    started = time.process_time()
    features.write(rows, DatasetImages(dataset.images, backbone).features(rows).numpy())
    seconds = time.process_time() - started
    return DatasetImages(dataset.images, backbone, lambda view: features), seconds


def plain_seconds(
    spec: TrialSpec,
    steps: int,
    backbone: DualEncoder,
    plain: PlainClip,
    data: TrialData,
    source: DatasetImages,
) -> float:
    """CPU seconds of the same trial in plain arithmetic."""
    episode = episode_of(spec, data.table)
    generator = torch.Generator().manual_seed(spec.seed)
    method = track_of(spec.protocol).build(spec, backbone, data, episode, generator)

    def batch(rows: Any, learned: tuple[int, ...]) -> Batch:
        return batch_of(source, rows, data.table.labels, learned, backbone.device)

    train = batch(episode.train[: spec.hyperparameters["batch_size"]], episode.classes)
    test = batch(episode.evaluations[0].rows[:64], episode.evaluations[0].classes)
    for images in (train, test):
        _ = images.pixels  # decoded before anything is timed
    taken: dict[str, list[float]] = {"step": [], "test": []}
    for _ in range(ROUNDS):
        started = time.process_time()
        plain_loss(plain, method, train).backward()
        taken["step"].append(time.process_time() - started)
        started = time.process_time()
        plain.frozen_images(test.pixels)
        taken["test"].append((time.process_time() - started) / len(test))
    step, image = (statistics.median(each) for each in taken.values())
    tested = sum(len(evaluation.rows) for evaluation in episode.evaluations)
    return steps * step + tested * image


def main() -> None:
    """Measures, prints the table, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["digits", "world-icons"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["coop", "maple"])
    parser.add_argument("--protocol", default="base_to_new")
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--json", metavar="PATH", help="a file, or - for standard output")
    options = parser.parse_args()
    torch.set_num_threads(1)
    store, reference = Store.at(), resolve.backbone("mini-clip")
    backbone, plain = reference.load(reference.describe()), PlainClip(EMBEDDED / "mini_clip")
    rows = []
    if options.json != "-":
        print("dataset      method     steps  encode s  trial s   plain s    ratio  peak MiB")
    for name in options.datasets:
        dataset = resolve.ingested(store, name) or ingest_dataset(name, store)
        data, specs = TrialData(dataset), specs_of(store, dataset, options)
        with tempfile.TemporaryDirectory() as folder:
            source, encoding = encode(Path(folder), specs, dataset, backbone)
            for spec in specs:
                started = time.process_time()
                outcome = run_trial(spec, backbone, data, source)
                ours = time.process_time() - started
                steps = outcome.report.steps
                theirs = plain_seconds(spec, steps, backbone, plain, data, source)
                rows.append(
                    {
                        "dataset": name,
                        "method": spec.method,
                        "steps": steps,
                        "encode_seconds": encoding,
                        "seconds": ours,
                        "plain_seconds": theirs,
                        "ratio": theirs / ours,
                        "peak_memory_bytes": outcome.cost.peak_memory_bytes,
                    }
                )
                if options.json != "-":
                    print(
                        f"{name:<12} {spec.method:<10} {steps:>5} {encoding:>9.1f} {ours:>8.1f} "
                        f"{theirs:>9.1f} {theirs / ours:>7.1f}x "
                        f"{outcome.cost.peak_memory_bytes / 2**20:>8.0f}",
                        flush=True,
                    )
    report = {"shots": options.shots, "protocol": options.protocol, "rows": rows}
    write_json(report, options.json)


if __name__ == "__main__":
    main()
