"""Trial folders -> MLflow, which is only imported when there is news.

An experiment is a suite, a run below it one flow run, its children are the cells it completed.

    parameters   fields of the specification; hyperparameters as `hp.<name>`
    metrics      `<split>/<metric>` with the seed as step, `<split>/<metric>_mean` with the number
                 of seeds as step, `cost/<name>` for each of `COSTS`
    input        the dataset; its digest is the fingerprint
    artifacts    `trials/<trial_id>/`: trial.json, predictions.parquet, prompt.safetensors
    tags         cell_id, shotboard.trial_ids, mlflow.source.git.commit, mlflow.parentRunId

The prompt with the highest accuracy (mean of the splits) of each method, backbone, dataset and
protocol is a version of a registered model, alias `best`: it is for use, not for comparison, for
it is chosen on test rows. `mlflow.artifacts.download_artifacts("models:/<name>@best")` gives it.

What is in MLflow is a projection, and a receipt in `published/` says what is there already. Times
are those of the trials, so a metric that is logged twice is one.
"""

import json
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from operators.files import write_atomic
from tasks.mlflow_client import connect, ensure_model, open_experiment, safe
from tasks.store import Store

FILES = ("trial.json", "predictions.parquet", "prompt.safetensors")
MODELS = "models.json"  # beside the receipts: model name -> its best trial so far
VALUE_LENGTH = 500  # characters of a parameter
BATCH = 900  # metrics a call; MLflow takes 1000
COSTS = (
    "tune_seconds",
    "evaluate_seconds",
    "peak_memory_bytes",
    "trainable_parameters",
    "tune_flops",
    "plain_tune_flops",
)

Trial = Mapping[str, Any]  # as trial.json holds it


@dataclass(frozen=True)
class PublishReport:
    """What was done.

    Attributes:
        tracking_uri: Where MLflow is.
        experiment: Its experiment, the name of the suite.
        parent_run_id: Run of this flow run; None when nothing was new.
        published: Cells that were created or completed.
        skipped: Cells that were complete.
        models: Registered models that got a better prompt.
        seconds: Wall time.
    """

    tracking_uri: str
    experiment: str
    parent_run_id: str | None
    published: int
    skipped: int
    models: int
    seconds: float


def publish(
    store: Store,
    trial_ids: Iterable[str],
    *,
    suite: str,
    run_id: str,
    flow_run_id: str | None = None,
    git_commit: str | None = None,
    variant_of: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PublishReport:
    """Brings MLflow up to date with the completed trials among `trial_ids`.

    Args:
        store: Where the trials are.
        trial_ids: Trials of this run, new or not; those that are not completed are left out.
        suite: Name of the experiment.
        run_id: Shotboard's id of this run; a repetition writes under the same parent.
        flow_run_id: Prefect's id of this run.
        git_commit: Commit of the code, where no trial recorded one.
        variant_of: Suite that this one was cut from on the command line.
        progress: Called with the number of cells that are written and that were to be.

    Returns:
        Counts and times. A cell whose receipt covers its trials is not looked up in MLflow; when
        another one is written, runs that were deleted by hand are noticed and written again.
    """
    started = time.perf_counter()
    done = store.done()
    wanted = sorted({trial_id for trial_id in trial_ids if trial_id in done})
    uri = store.mlflow_uri
    receipts = _read_receipts(store, uri, suite)
    covered = {trial_id for receipt in receipts.values() for trial_id in receipt["trial_ids"]}
    if covered.issuperset(wanted):
        skipped = sum(not set(r["trial_ids"]).isdisjoint(wanted) for r in receipts.values())
        return PublishReport(uri, suite, None, 0, skipped, 0, time.perf_counter() - started)

    client = connect(uri)
    experiment_id, existing = _open_experiment(client, store, suite)
    alive = {run.info.run_id for run in existing.values()}
    cells: dict[str, dict[str, Trial]] = defaultdict(dict)
    for trial_id in wanted:
        trial = _read_trial(store, trial_id)
        cells[trial["cell_id"]][trial_id] = trial
    news = {
        cell_id: trials
        for cell_id, trials in cells.items()
        if not _is_complete(receipts.get(cell_id), trials, alive)
    }
    shared = {"shotboard.run_id": run_id, "shotboard.flow_run_id": flow_run_id or ""}
    if variant_of:
        shared["shotboard.variant_of"] = variant_of
    parent = _parent_run(client, experiment_id, run_id, shared, git_commit, len(wanted), len(cells))
    for number, (cell_id, trials) in enumerate(sorted(news.items())):
        progress(number, len(news))
        run = existing.get(cell_id)
        before = run.data.tags.get("shotboard.trial_ids", "").split(",") if run else []
        trials = trials | {
            i: _read_trial(store, i) for i in before if i in done and i not in trials
        }
        tags = shared | {"mlflow.parentRunId": parent}
        receipt = receipts.get(cell_id)
        there = set(before) & set(receipt["trial_ids"]) if receipt else set()
        mlflow_run_id = _write_cell(
            client, experiment_id, store, cell_id, trials, run, there, tags, git_commit
        )
        _write_receipt(store, uri, suite, cell_id, mlflow_run_id, sorted(trials))
    progress(len(news), len(news))
    models = _register_best(client, store, suite, uri, news)
    client.set_terminated(parent)
    seconds = time.perf_counter() - started
    return PublishReport(uri, suite, parent, len(news), len(cells) - len(news), models, seconds)


def verify(store: Store) -> list[str]:
    """Returns a sentence for every receipt whose run is gone or whose numbers are not ours."""
    receipts = [json.loads(path.read_text()) for path in _receipt_paths(store)]
    if not receipts:
        return []
    from mlflow.exceptions import MlflowException

    troubles = []
    done = store.done()
    for receipt in receipts:
        client = connect(receipt["tracking_uri"])
        for experiment, entry in receipt["experiments"].items():
            run_id = entry["mlflow_run_id"]
            place = f"cell {receipt['cell_id']}, run {run_id} of {experiment}"
            try:
                stage = client.get_run(run_id).info.lifecycle_stage
            except MlflowException as error:
                troubles.append(f"{place}: {error.message}")
                continue
            if stage != "active":
                troubles.append(f"{place}: the run was deleted.")
                continue
            trials = [_read_trial(store, i) for i in entry["trial_ids"] if i in done]
            troubles += [f"{place}: {text}" for text in _differences(client, run_id, trials)]
    return troubles


def _open_experiment(client: Any, store: Store, suite: str) -> tuple[str, dict[str, Any]]:
    """Returns the experiment's id and its active runs of cells, creating what is not there."""
    experiment_id, is_new = open_experiment(client, store, suite)
    runs: dict[str, Any] = {}
    token = None
    while not is_new:
        page = client.search_runs([experiment_id], max_results=1000, page_token=token)
        runs |= {run.data.tags["cell_id"]: run for run in page if "cell_id" in run.data.tags}
        token = page.token
        if not token:
            break
    return experiment_id, runs


def _parent_run(
    client: Any,
    experiment_id: str,
    run_id: str,
    tags: Mapping[str, str],
    git_commit: str | None,
    trials: int,
    cells: int,
) -> str:
    """Returns the run of this flow run: the one with its tag, else a new one."""
    from mlflow.entities import Param

    quoted = run_id.replace("'", "")
    query = f"tags.`shotboard.run_id` = '{quoted}' and tags.`shotboard.kind` = 'suite'"
    found = client.search_runs([experiment_id], query, max_results=1)
    if found:
        return found[0].info.run_id
    tags = {**tags, "shotboard.kind": "suite", "mlflow.source.git.commit": git_commit or ""}
    run = client.create_run(experiment_id, tags=tags, run_name=f"run {run_id}")
    counts = {"trials": trials, "cells": cells}
    client.log_batch(run.info.run_id, params=[Param(k, str(v)) for k, v in counts.items()])
    return run.info.run_id


def _write_cell(
    client: Any,
    experiment_id: str,
    store: Store,
    cell_id: str,
    trials: Mapping[str, Trial],
    run: Any,
    before: set[str],
    tags: Mapping[str, str],
    git_commit: str | None,
) -> str:
    """Creates or completes one cell's run; the tag of its trials comes last, and vouches."""
    from mlflow.entities import Dataset as MlflowDataset
    from mlflow.entities import DatasetInput, InputTag, Param, RunTag

    first = next(iter(trials.values()))
    spec = first["spec"]
    if run is None:
        commit = first["provenance"]["git_commit"] or git_commit or ""
        run = client.create_run(
            experiment_id,
            start_time=min(map(_milliseconds, trials.values())),
            tags={**tags, "cell_id": cell_id, "mlflow.source.git.commit": commit},
            run_name="{method} {backbone} {dataset} {protocol} {shots}".format_map(spec),
        )
    run_id = run.info.run_id
    metrics = _metrics(list(trials.values()))
    params = [Param(name, value) for name, value in _parameters(spec).items()]
    missing = params if not run.data.params else []
    client.log_batch(run_id, metrics=metrics[:BATCH], params=missing[:100])
    for start in range(BATCH, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])
    for start in range(100, len(missing), 100):
        client.log_batch(run_id, params=missing[start : start + 100])
    if not (run.inputs and run.inputs.dataset_inputs):
        source = json.dumps({"uri": str(store.data / spec["dataset"])})
        dataset = MlflowDataset(spec["dataset"], spec["dataset_fingerprint"], "local", source)
        context = [InputTag("mlflow.data.context", spec["protocol"])]
        client.log_inputs(run_id, [DatasetInput(dataset, context)])
    with tempfile.TemporaryDirectory() as folder:  # one upload a cell, not one a file
        for trial_id in set(trials) - before:
            target = Path(folder, "trials", trial_id)
            target.mkdir(parents=True)
            for name in FILES:
                if (store.trial(trial_id) / name).exists():
                    shutil.copyfile(store.trial(trial_id) / name, target / name)
        client.log_artifacts(run_id, folder)
    client.log_batch(run_id, tags=[RunTag("shotboard.trial_ids", ",".join(sorted(trials)))])
    client.set_terminated(run_id, end_time=max(map(_end_milliseconds, trials.values())))
    return run_id


def _metrics(trials: Sequence[Trial]) -> list[Any]:
    """Every number of every seed, and the mean of the seeds that are there."""
    from mlflow.entities import Metric

    metrics = []
    for trial in trials:
        seed, moment = trial["spec"]["seed"], _milliseconds(trial)
        metrics += [Metric(name, value, moment, seed) for name, value in _numbers(trial).items()]
        metrics += [
            Metric(f"cost/{name}", trial["cost"][name], moment, seed)
            for name in COSTS
            if trial["cost"].get(name) is not None  # an older trial did not count operations
        ]
    moment = max(map(_milliseconds, trials))
    metrics += [
        Metric(f"{name}_mean", value, moment, len(trials)) for name, value in _means(trials).items()
    ]
    return metrics


def _numbers(trial: Trial) -> dict[str, float]:
    return {safe(f"{m['split']}/{m['metric']}", "/"): m["value"] for m in trial["metrics"]}


def _means(trials: Sequence[Trial]) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for trial in sorted(trials, key=lambda trial: trial["spec"]["seed"]):
        for name, value in _numbers(trial).items():
            values[name].append(value)
    return {name: fmean(each) for name, each in values.items()}


def _differences(client: Any, run_id: str, trials: Sequence[Trial]) -> list[str]:
    """One sentence for each number in which the run and the trials differ."""
    found: dict[str, dict[int, float]] = {}
    expected: dict[tuple[str, int], float] = {
        (f"{name}_mean", len(trials)): value for name, value in _means(trials).items()
    }
    for trial in trials:
        expected |= {(name, trial["spec"]["seed"]): v for name, v in _numbers(trial).items()}
    troubles = []
    for (name, step), value in expected.items():
        if name not in found:
            history = client.get_metric_history(run_id, name)
            history = sorted(history, key=lambda point: point.timestamp)
            found[name] = {point.step: point.value for point in history}
        there = found[name].get(step)
        if there is None or abs(there - value) > 1e-12:
            troubles.append(f"{name} at step {step} is {there} in MLflow and {value} here.")
    return troubles


def _parameters(spec: Mapping[str, Any]) -> dict[str, str]:
    """The specification of a cell, flat: a value is text of at most 500 characters."""
    flat = {k: v for k, v in spec.items() if k not in ("seed", "hyperparameters")}
    flat |= {f"hp.{name}": value for name, value in spec["hyperparameters"].items()}
    return {
        safe(name, "."): (value if isinstance(value, str) else json.dumps(value))[:VALUE_LENGTH]
        for name, value in flat.items()
    }


def _register_best(
    client: Any, store: Store, suite: str, uri: str, cells: Mapping[str, Mapping[str, Trial]]
) -> int:
    """Moves the alias `best` where a new trial beats all before it; returns how often."""
    path = store.published / MODELS
    known = json.loads(path.read_text()) if path.is_file() else {}
    if known.get("tracking_uri") != uri:
        known = {"tracking_uri": uri, "models": {}}
    best = _better(
        store, known["models"], [t for trials in cells.values() for t in trials.values()]
    )
    for name, entry in best.items():
        receipt = json.loads((store.published / f"{entry['cell_id']}.json").read_text())
        run_id = receipt["experiments"][suite]["mlflow_run_id"]
        if name not in known["models"]:
            ensure_model(client, name)
        source = f"{client.get_run(run_id).info.artifact_uri}/trials/{entry['trial_id']}"
        tags = {"trial_id": entry["trial_id"], "accuracy": str(entry["accuracy"])}
        version = client.create_model_version(name, source, run_id=run_id, tags=tags)
        client.set_registered_model_alias(name, "best", version.version)
    if best:
        known["models"] |= best
        write_atomic(path, json.dumps(known, indent=1).encode())
    return len(best)


def _better(
    store: Store, known: Mapping[str, Mapping[str, Any]], trials: Iterable[Trial]
) -> dict[str, dict[str, Any]]:
    """The best of `trials` for each model, where it beats the one that is known."""
    best: dict[str, dict[str, Any]] = {}
    for trial in trials:
        values = [m["value"] for m in trial["metrics"] if m["metric"] == "accuracy"]
        if not values or not (store.trial(trial["trial_id"]) / "prompt.safetensors").exists():
            continue
        name = safe("-".join(trial["spec"][key] for key in _MODEL))
        rival = best.get(name) or known.get(name)
        if rival is None or fmean(values) > rival["accuracy"]:
            best[name] = {key: trial[key] for key in ("trial_id", "cell_id")}
            best[name]["accuracy"] = fmean(values)
    return best


_MODEL = ("method", "backbone", "dataset", "protocol")


def _receipt_paths(store: Store) -> list[Path]:
    if not store.published.is_dir():
        return []
    with os.scandir(store.published) as entries:
        names = sorted(e.name for e in entries if e.name.endswith(".json") and e.name[0] != ".")
    return [store.published / name for name in names if name != MODELS]


def _read_receipts(store: Store, uri: str, suite: str) -> dict[str, dict[str, Any]]:
    """The receipts that hold for this MLflow and suite: cell -> run and trials.

    A trial that was computed again since is not among them.
    """
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return {}
    receipts = {}
    for path in _receipt_paths(store):
        receipt = json.loads(path.read_bytes())
        if receipt["tracking_uri"] != uri or suite not in receipt["experiments"]:
            continue
        entry = receipt["experiments"][suite]
        written = path.stat().st_mtime_ns
        kept = [i for i in entry["trial_ids"] if _changed(store, i) <= written]
        receipts[receipt["cell_id"]] = {**entry, "trial_ids": kept}
    return receipts


def _changed(store: Store, trial_id: str) -> int:
    """When a trial was computed, as its file system says; 0 for one that is gone."""
    try:
        return (store.trial(trial_id) / "trial.json").stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _write_receipt(
    store: Store, uri: str, suite: str, cell_id: str, mlflow_run_id: str, trial_ids: list[str]
) -> None:
    """Notes what is in MLflow: the last suite on top, and every suite under `experiments`."""
    path = store.published / f"{cell_id}.json"
    before = json.loads(path.read_text()) if path.is_file() else {}
    experiments = before["experiments"] if before.get("tracking_uri") == uri else {}
    entry = {"mlflow_run_id": mlflow_run_id, "trial_ids": trial_ids}
    receipt = {
        "cell_id": cell_id,
        **entry,
        "tracking_uri": uri,
        "experiment": suite,
        "experiments": experiments | {suite: entry},
    }
    write_atomic(path, json.dumps(receipt, indent=1).encode())


def _is_complete(receipt: Mapping[str, Any] | None, trials: Iterable[str], alive: set[str]) -> bool:
    return (
        receipt is not None
        and receipt["mlflow_run_id"] in alive
        and set(receipt["trial_ids"]).issuperset(trials)
    )


def _read_trial(store: Store, trial_id: str) -> Trial:
    return json.loads((store.trial(trial_id) / "trial.json").read_bytes())


def _milliseconds(trial: Trial) -> int:
    return int(datetime.fromisoformat(trial["provenance"]["started_at"]).timestamp() * 1000)


def _end_milliseconds(trial: Trial) -> int:
    cost = trial["cost"]
    return _milliseconds(trial) + int(1000 * (cost["tune_seconds"] + cost["evaluate_seconds"]))
