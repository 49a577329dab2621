"""The numbers of a cell as metrics of its MLflow run, none of them with a seed as step.

    <split>/<metric>_mean, _std       over the seeds; left out where a seed has no value, as on the
                                      board; the deviation (n-1) needs two
    cost/<name>_mean                  likewise, of `COSTS`
    seed_<seed>/<split>/<metric>      of each seed, of the metric that rows are ranked by
    loss/seed_<seed>                  mean training loss of each epoch, from 1, which is the step
    validation/seed_<seed>            likewise, the score that an epoch was chosen by

Times are those of the trials, so a metric that is logged twice is one.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import fmean, stdev
from typing import Any

from tasks.publishing.mlflow_client import safe

COSTS = (
    "tune_seconds",
    "evaluate_seconds",
    "peak_memory_bytes",
    "trainable_parameters",
    "tune_flops",
    "plain_tune_flops",
)
CURVE = 50  # points of a curve, at most: what is drawn; trial.json has every epoch
CURVES = {"losses": "loss", "validation": "validation"}  # field of trial.json: metric
_SEED = "seed_"

Trial = Mapping[str, Any]  # as trial.json holds it


def metrics_of(trials: Sequence[Trial], there: Mapping[str, float], primary: str) -> list[Any]:
    """Every number of a cell that its run does not hold yet.

    Args:
        trials: All that the run is to hold.
        there: The latest value of each metric of the run.
        primary: The metric that rows are ranked by.
    """
    from mlflow.entities import Metric

    metrics = []
    for trial in trials:
        moment, seed = milliseconds(trial), f"{_SEED}{trial['spec']['seed']}"
        values = seed_numbers(trial, primary)
        metrics += [Metric(n, v, moment, 0) for n, v in values.items() if there.get(n) != v]
        for field, name in CURVES.items():
            curve = f"{name}/{seed}"
            if curve not in there:
                points = thinned(trial.get(field, ()))
                metrics += [Metric(curve, value, moment, epoch) for epoch, value in points]
    moment = max(map(milliseconds, trials))
    for name, value in means(trials).items():
        if name not in there:
            metrics.append(Metric(name, value, moment, 0))
        elif there[name] != value:  # a seed came to it, which may be the oldest
            metrics.append(Metric(name, value, int(time.time() * 1000), 0))
    return metrics


def thinned(values: Sequence[float]) -> list[tuple[int, float]]:
    """The epochs, from 1, and values of a curve: at most `CURVE` of them, the last among them."""
    step = max(1, -(-len(values) // CURVE))
    first = (len(values) - 1) % step
    return [(at + 1, values[at]) for at in range(first, len(values), step)]


def seed_numbers(trial: Trial, primary: str) -> dict[str, float]:
    """What a trial scored on each split, by name in MLflow.

    Args:
        trial: The trial.
        primary: The metric that rows are ranked by.
    """
    seed = f"{_SEED}{trial['spec']['seed']}"
    return {f"{seed}/{n}": v for n, v in _scores(trial).items() if n.endswith(f"/{primary}")}


def means(trials: Sequence[Trial]) -> dict[str, float]:
    """Mean and deviation over the seeds of whatever every one of them has, by name in MLflow."""
    values: dict[str, list[float]] = defaultdict(list)
    for trial in sorted(trials, key=lambda trial: trial["spec"]["seed"]):
        for name, value in _scores(trial).items():
            values[name].append(value)
        for name in COSTS:
            if trial["cost"].get(name) is not None:  # an older trial did not count operations
                values[f"cost/{name}"].append(trial["cost"][name])
    found = {}
    for name, each in values.items():
        if len(each) == len(trials):
            found[f"{name}_mean"] = fmean(each)
            if len(each) > 1 and not name.startswith("cost/"):
                found[f"{name}_std"] = stdev(each)
    return found


def is_stale(there: Mapping[str, float], trials: Sequence[Trial], primary: str) -> bool:
    """Whether a run has a number of a seed that is not that seed's any more.

    Args:
        there: The latest value of each metric of the run.
        trials: All that the run is to hold.
        primary: The metric that rows are ranked by.
    """
    ours = {n: v for trial in trials for n, v in seed_numbers(trial, primary).items()}
    known = {name: value for name, value in there.items() if name.startswith(_SEED)}
    return any(ours.get(name) != value for name, value in known.items())


def differences(there: Mapping[str, float], trials: Sequence[Trial], primary: str) -> list[str]:
    """One sentence for each number in which a run and its trials differ.

    Args:
        there: The latest value of each metric of the run.
        trials: All that the run is to hold.
        primary: The metric that rows are ranked by.
    """
    expected = means(trials)
    for trial in trials:
        expected |= seed_numbers(trial, primary)
    return [
        f"{name} is {there.get(name)} in MLflow and {value} here."
        for name, value in expected.items()
        if name not in there or abs(there[name] - value) > 1e-12
    ]


def milliseconds(trial: Trial) -> int:
    """When a trial was begun."""
    return int(datetime.fromisoformat(trial["provenance"]["started_at"]).timestamp() * 1000)


def end_milliseconds(trial: Trial) -> int:
    """When it had tuned and evaluated."""
    cost = trial["cost"]
    return milliseconds(trial) + int(1000 * (cost["tune_seconds"] + cost["evaluate_seconds"]))


def _scores(trial: Trial) -> dict[str, float]:
    """Every metric of a trial; not those that its predictions hold too little for."""
    return {
        safe(f"{m['split']}/{m['metric']}", "/"): m["value"]
        for m in trial["metrics"]
        if m["value"] is not None
    }
