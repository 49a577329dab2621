"""What MLflow holds of a cell: one run, with the numbers of each seed as steps.

    parameters   fields of the specification; hyperparameters as `hp.<name>`, aids as `aid.<role>`
    metrics      `<split>/<metric>` with the seed as step, `<split>/<metric>_mean` with the number
                 of seeds as step, `cost/<name>` for each of `COSTS`
    inputs       the dataset, and those that are tested beside it; their digests are fingerprints
    artifacts    `trials/<trial_id>/`: trial.json, predictions.parquet, prompt.safetensors
    tags         cell_id, shotboard.trial_ids, shotboard.primary_metric (that rows are ranked by),
                 git_commit, and those that MLflow knows

Times are those of the trials, so a metric that is logged twice is one.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from statistics import fmean
from typing import Any

from operators.spec import AIDS, TrialSpec
from tasks.publishing.mlflow_client import commit_tags, safe
from tasks.storage.store import Store

TRIAL_IDS = "shotboard.trial_ids"
VALUE_LENGTH = 500  # characters of a parameter
BATCH = 900  # metrics a call; MLflow takes 1000
PARAMETERS = 100  # parameters a call, as MLflow takes them
COSTS = (
    "tune_seconds",
    "evaluate_seconds",
    "peak_memory_bytes",
    "trainable_parameters",
    "tune_flops",
    "plain_tune_flops",
)

Trial = Mapping[str, Any]  # as trial.json holds it


def trials_of(run: Any) -> list[str]:
    """Ids of the trials that a run vouches for."""
    return [i for i in run.data.tags.get(TRIAL_IDS, "").split(",") if i]


def write_cell(
    client: Any,
    experiment_id: str,
    store: Store,
    cell_id: str,
    trials: Mapping[str, Trial],
    *,
    run: Any,
    there: set[str],
    tags: Mapping[str, str],
    git_commit: str | None,
) -> str:
    """Creates or completes the run of a cell; the tag of its trials comes last, and vouches.

    Args:
        client: An MLflow client.
        experiment_id: Where a new run goes.
        store: Where the trials are.
        cell_id: The cell.
        trials: All trials that the run is to hold.
        run: Its run, or None.
        there: Trials whose artifacts the run holds.
        tags: Of a new run.
        git_commit: Commit of the code, where no trial recorded one.

    Returns:
        The id of the run.
    """
    from mlflow.entities import Dataset as MlflowDataset
    from mlflow.entities import DatasetInput, InputTag, Param, RunTag

    first = next(iter(trials.values()))
    spec = first["spec"]
    if run is None:
        commit = first["provenance"]["git_commit"] or git_commit or ""
        run = client.create_run(
            experiment_id,
            start_time=min(map(_milliseconds, trials.values())),
            tags={**tags, "cell_id": cell_id, **commit_tags(commit)},
            run_name=_name(spec),
        )
    run_id = run.info.run_id
    for trial_id in sorted(set(trials) - there):
        client.log_artifacts(run_id, str(store.trial(trial_id)), f"trials/{trial_id}")
    if not (run.inputs and run.inputs.dataset_inputs):
        inputs = []
        for name, fingerprint, context in _datasets(spec):
            source = json.dumps({"uri": str(store.data / name)})
            dataset = MlflowDataset(name, fingerprint, "local", source)
            inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
        client.log_inputs(run_id, inputs)
    params = [] if run.data.params else [Param(k, v) for k, v in _parameters(spec).items()]
    for start in range(PARAMETERS, len(params), PARAMETERS):
        client.log_batch(run_id, params=params[start : start + PARAMETERS])
    metrics = _metrics(list(trials.values()))
    for start in range(BATCH, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])
    vouching = [RunTag(TRIAL_IDS, ",".join(sorted(trials)))]
    client.log_batch(run_id, metrics=metrics[:BATCH], params=params[:PARAMETERS], tags=vouching)
    client.set_terminated(run_id, end_time=max(map(_end_milliseconds, trials.values())))
    return run_id


def differences(client: Any, run_id: str, trials: Sequence[Trial]) -> list[str]:
    """One sentence for each number in which a run and its trials differ."""
    found: dict[str, dict[int, float]] = {}
    expected: dict[tuple[str, int], float] = {
        (f"{name}_mean", seeds): value for name, (value, seeds) in _means(trials).items()
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
        Metric(f"{name}_mean", value, moment, seeds)
        for name, (value, seeds) in _means(trials).items()
    ]
    return metrics


def _name(spec: Mapping[str, Any]) -> str:
    """What a run is called: a held-out domain is part of it, for each is a cell of its own."""
    keys = ("method", "backbone", "dataset", "protocol", "shots", "held_out")
    return " ".join(str(spec[key]) for key in keys if key in spec)


def _datasets(spec: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, fingerprint and use of each dataset."""
    yield spec["dataset"], spec["dataset_fingerprint"], spec["protocol"]
    for name, target in spec.get("targets", {}).items():
        yield name, target["fingerprint"], "target"


def _numbers(trial: Trial) -> dict[str, float]:
    """Every metric of a trial; not those that its predictions hold too little for."""
    return {
        safe(f"{m['split']}/{m['metric']}", "/"): m["value"]
        for m in trial["metrics"]
        if m["value"] is not None
    }


def _means(trials: Sequence[Trial]) -> dict[str, tuple[float, int]]:
    """The mean of each metric, and over how many seeds."""
    values: dict[str, list[float]] = defaultdict(list)
    for trial in sorted(trials, key=lambda trial: trial["spec"]["seed"]):
        for name, value in _numbers(trial).items():
            values[name].append(value)
    return {name: (fmean(each), len(each)) for name, each in values.items()}


def _parameters(spec: Mapping[str, Any]) -> dict[str, str]:
    """The specification of a cell, flat: a value is text of at most 500 characters.

    An aid that is a trial, as a teacher is, has one for each seed, so it is named by its cell.
    """
    flat = {k: v for k, v in spec.items() if k not in ("seed", "hyperparameters", *AIDS)}
    flat |= {f"hp.{name}": value for name, value in spec["hyperparameters"].items()}
    aids = TrialSpec.from_json(spec).aids_by(lambda trial: trial.cell_id)
    flat |= {f"aid.{role}": aid for role, aid in aids.items()}
    return {
        safe(name, "."): (value if isinstance(value, str) else json.dumps(value))[:VALUE_LENGTH]
        for name, value in flat.items()
    }


def _milliseconds(trial: Trial) -> int:
    return int(datetime.fromisoformat(trial["provenance"]["started_at"]).timestamp() * 1000)


def _end_milliseconds(trial: Trial) -> int:
    cost = trial["cost"]
    return _milliseconds(trial) + int(1000 * (cost["tune_seconds"] + cost["evaluate_seconds"]))
