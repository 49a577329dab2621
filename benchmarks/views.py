"""What augmented training views are worth, and what they cost: methods under each view policy.

    python benchmarks/views.py                                  # hours on one core
    python benchmarks/views.py --datasets digits --shots 1      # minutes
    python benchmarks/views.py --seeds 1 --epochs 5 --json -    # only to see it work
    python benchmarks/views.py --datasets pacs --backbone effnet-minilm --epochs 40 --lr 0.1
    python benchmarks/views.py --datasets digits --shots 16 --methods tip-adapter tip-adapter-f \
        coop maple coprompt --policies none bank:8:published published --json views.json

The last but one is for photos that are in the store already (`shotboard datasets add`); the last
one makes docs/figures/views.json, the table of published views in docs/benchmarks.md.

The trials are those of `shotboard run --methods .. --views ..`, so an accuracy here is the one on
the board. Seconds are CPU times of this process on one thread. `encode` is what the features of the
training images take under all views of the policy, once for all seeds; other methods with the same
augmentation would have them for nothing. Under `fresh` nothing can be kept, so encoding is a part
of each trial.
Datasets are ingested into the store of SHOTBOARD_HOME where they are not there yet; no trial is
written to it.

A policy is worth its price where its accuracy is above that of `none` by more than the spread
over seeds. The cheapest bank that is not below `fresh` is the one to prefer.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import markdown_table, write_json

from data_catalog import Dataset
from data_catalog.descriptions import Descriptions
from operators.backbones import DualEncoder
from operators.episodes.features import DatasetImages, FeatureStore, view_folder
from operators.episodes.views import View, ViewPolicy
from operators.spec import TrialSpec
from operators.trials.trial import run_trial
from tasks.ingestion.ingest import ingest_dataset
from tasks.planning import resolve
from tasks.planning.choices import check
from tasks.planning.data import TrialData
from tasks.planning.encodings import Draws, encoded_anew, needed_rows
from tasks.planning.own_backbones import find_backbone
from tasks.planning.plan import make_plan
from tasks.planning.suite import make_suite
from tasks.storage.store import Store

DATASETS = ("digits", "textiles", "world-icons")
POLICIES = ("none", "bank:1", "bank:4", "bank:8", "bank:16", "fresh")


class Kept:
    """Features on disk, each encoded when it is first asked for, and what that took.

    Args:
        folder: Empty.
        dataset: Whose images are encoded.
        backbone: Encodes them.
    """

    def __init__(self, folder: Path, dataset: Dataset, backbone: DualEncoder) -> None:
        self.folder, self.rows, self.width = folder, dataset.rows, backbone.feature_width
        self.images = DatasetImages(dataset.images, backbone)
        self.seconds: dict[tuple[View | None, int], float] = {}  # of a row, its share of a batch
        self.store = cache(self._create)  # of a view

    def _create(self, view: View | None) -> FeatureStore:
        return FeatureStore.create(view_folder(self.folder, view), self.rows, self.width)

    def encode(self, rows: np.ndarray, view: View | None) -> float:
        """Sees that features are there; returns the seconds that they took, now or before."""
        store = self.store(view)
        missing = store.missing(rows)
        if len(missing):
            started = time.process_time()
            store.write(missing, self.images.features(missing, view).numpy())
            each = (time.process_time() - started) / len(missing)
            self.seconds.update(((view, int(row)), each) for row in missing)
        return sum(self.seconds[view, int(row)] for row in rows)


def trials(
    store: Store, dataset: Dataset, method: str, views: str, options: argparse.Namespace
) -> tuple[TrialSpec, ...]:
    """The trials of a method under one policy, as a run would plan them."""
    asked = {"epochs": options.epochs, "lr": options.lr}
    given = {name: value for name, value in asked.items() if value is not None}
    values = {"name": "views", "datasets": [dataset.name], "backbones": [options.backbone]}
    values |= {"methods": [{method: given}], "shots": options.shots, "seeds": options.seeds}
    request = check(store, make_suite({**values, "views": views}, where="benchmarks/views.py"))
    return make_plan(store, request, {dataset.name: dataset}).specs


def measure(
    kept: Kept,
    dataset: Dataset,
    said: Descriptions | None,
    backbone: DualEncoder,
    asked: str,
    specs: Sequence[TrialSpec],
) -> dict[str, Any]:
    """One line of the table: the seeds of one policy at one number of shots."""
    needed = needed_rows(specs, dataset)
    kept.encode(needed[None], None)
    data, source = TrialData(dataset, said), DatasetImages(dataset.images, backbone, kept.store)
    policy = ViewPolicy.parse(specs[0].views)
    if policy.kind == "none":
        train = needed[None][data.table.splits[needed[None]] == "train"]
        encode = kept.encode(train, None)
    else:
        encode = sum(kept.encode(rows, view) for view, rows in needed.items() if view is not None)
    anew = encoded_anew(specs, Draws({dataset.name: dataset}))
    accuracies, seconds = [], []
    for spec in specs:
        started = time.process_time()
        outcome = run_trial(spec, backbone, data, source)
        seconds.append(time.process_time() - started)
        accuracies += [m.value for m in outcome.metrics if m.metric == "accuracy"]
    return {
        "dataset": dataset.name,
        "method": specs[0].method,
        "asked": asked,
        "shots": specs[0].shots,
        "views": specs[0].views,
        "seeds": [spec.seed for spec in specs],
        "accuracies": accuracies,
        "mean": statistics.mean(accuracies),
        "std": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "epochs": specs[0].hyperparameters.get("epochs"),
        "encoded_anew": statistics.mean(anew.get(spec.trial_id, 0) for spec in specs),
        "encode_cpu_seconds": encode,
        "trial_cpu_seconds": statistics.mean(seconds),
        "total_cpu_seconds": encode + sum(seconds),
    }


def measured(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All lines, in the order of the table; views that policies share are encoded once."""
    store, reference = Store.at(), find_backbone(options.backbone)
    backbone = reference.load(reference.describe())
    for name in options.datasets:
        dataset = resolve.ingested(store, name) or ingest_dataset(name, store)
        said = resolve.descriptions(store, name)
        with tempfile.TemporaryDirectory() as folder:
            kept = Kept(Path(folder), dataset, backbone)
            for method, shots, views in product(options.methods, options.shots, options.policies):
                specs = [
                    spec
                    for spec in trials(store, dataset, method, views, options)
                    if (spec.method, spec.shots) == (method, shots)
                ]
                yield measure(kept, dataset, said[0] if said else None, backbone, views, specs)


def line(row: dict[str, Any]) -> str:
    """A measurement as a person reads it."""
    spread = "" if row["std"] is None else f" ± {100 * row['std']:.1f}"
    return (
        f"{row['dataset']:<12} {row['method']:<14} {row['shots']:>5}  {row['views']:<20} "
        f"{100 * row['mean']:>6.1f}{spread:<7} {row['encode_cpu_seconds']:>9.1f} "
        f"{row['trial_cpu_seconds']:>9.1f} {row['total_cpu_seconds']:>9.1f}"
    )


def markdown(report: dict[str, Any]) -> str:
    """A method a line; accuracy in % and CPU seconds of all seeds with encoding, by policy."""
    asked = list(dict.fromkeys(row["asked"] for row in report["rows"]))
    heads = {"Method": "<", "Shots": ">", "Views as published": "<"}
    heads |= {name: "<" for policy in asked for name in (policy, f"{policy}, s")}
    lines: dict[tuple[str, str, int], dict[str, dict[str, Any]]] = {}
    for row in report["rows"]:
        place = row["dataset"], row["method"], row["shots"]
        lines.setdefault(place, {})[row["asked"]] = row
    cells = []
    for (_, method, shots), found in lines.items():
        told = [method, str(shots), found["published"]["views"]]
        for policy in asked:
            row = found[policy]
            told += [
                f"{100 * row['mean']:.1f} ± {100 * row['std']:.1f}",
                f"{row['total_cpu_seconds']:.0f}",
            ]
        cells.append(told)
    return markdown_table(heads, cells)


def main() -> None:
    """Measures, prints the table, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=DATASETS)
    parser.add_argument("--backbone", default="mini-clip")
    parser.add_argument("--methods", nargs="+", default=["coop"])
    parser.add_argument("--policies", nargs="+", default=POLICIES)
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, help="of coop published: 50 for 1 shot, 200 for 16")
    parser.add_argument("--lr", type=float, help="of coop published: 0.002")
    parser.add_argument("--json", metavar="PATH", help="a file, or - for standard output")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    if options.json != "-":
        print(
            f"{'dataset':<12} {'method':<14} shots  {'views':<20} accuracy in %  "
            "encode s   trial s    all, s",
            flush=True,
        )
    for row in measured(options):
        rows.append(row)
        if options.json != "-":
            print(line(row), flush=True)
    write_json({"benchmark": "views", "backbone": options.backbone, "rows": rows}, options.json)


if __name__ == "__main__":
    main()
