"""What MLflow holds of a cell: one run, whose seeds are names and whose steps are epochs.

    parameters   fields of the specification; hyperparameters as `hp.<name>`, aids as `aid.<role>`
    metrics      see `cell_metrics.py`
    inputs       the dataset, and those that are tested beside it; their digests are fingerprints
    artifacts    `trials/<trial_id>/`: trial.json, predictions.parquet, prompt.safetensors;
                 `models/<trial_id>/`, where a trial is a registered model
    tags         cell_id, shotboard.trial_ids, shotboard.seeds, shotboard.primary_metric (that rows
                 are ranked by), shotboard.layout, git_commit, and those that MLflow knows;
                 shotboard.role = candidate, of what a search chooses from on validation rows

A run of another layout, or with a number that is no longer that of its trial, is put into MLflow's
bin and written anew.
"""

import json
from collections.abc import Mapping
from typing import Any

from operators.episodes.shots import shots_said
from operators.spec import AIDS, TEST, TrialSpec
from tasks.pages.links import served_pages
from tasks.publishing.cell_metrics import (
    Trial,
    end_milliseconds,
    is_stale,
    metrics_of,
    milliseconds,
)
from tasks.publishing.dataset_inputs import inputs_of
from tasks.publishing.mlflow_client import NOTE, commit_tags, safe
from tasks.publishing.receipts import LAYOUT
from tasks.storage.store import Store

TRIAL_IDS = "shotboard.trial_ids"
RANKED_BY = "shotboard.primary_metric"
LAYOUT_TAG = "shotboard.layout"
ROLE, CANDIDATE = "shotboard.role", "candidate"
PARENT = "mlflow.parentRunId"
KEPT = ("shotboard.run_id", "shotboard.flow_run_id", PARENT)  # when a run is written anew
VALUE_LENGTH = 6000  # characters of a parameter
BATCH = 900  # metrics a call; MLflow takes 1000
PARAMETERS = 100  # parameters a call, as MLflow takes them


def trials_of(run: Any) -> list[str]:
    """Ids of the trials that a run vouches for."""
    return [i for i in run.data.tags.get(TRIAL_IDS, "").split(",") if i]


def has_layout(run: Any) -> bool:
    """Whether a run is laid out as this version does it."""
    return run.data.tags.get(LAYOUT_TAG) == LAYOUT


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
    primary: str,
    git_commit: str | None,
) -> Any:
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
        primary: The metric that rows of its protocol are ranked by.
        git_commit: Commit of the code, where no trial recorded one.

    Returns:
        The run.
    """
    from mlflow.entities import Param, RunTag

    first = next(iter(trials.values()))
    spec = first["spec"]
    every = [*trials.values()]
    if run is not None and not (has_layout(run) and not is_stale(run.data.metrics, every, primary)):
        # It stays below the flow run that it was of.
        tags = {**tags, **{k: v for k in KEPT if (v := run.data.tags.get(k))}}
        client.delete_run(run.info.run_id)
        run, there = None, set()
    told = {
        NOTE: _note(trials, run.data.tags if run else tags),
        "shotboard.seeds": ",".join(str(seed) for seed in sorted(t["spec"]["seed"] for t in every)),
    }
    if run is None:
        commit = first["provenance"]["git_commit"] or git_commit or ""
        known = {"cell_id": cell_id, RANKED_BY: primary, LAYOUT_TAG: LAYOUT, **commit_tags(commit)}
        known |= {ROLE: CANDIDATE} if is_candidate(spec) else {}
        run = client.create_run(
            experiment_id,
            start_time=min(map(milliseconds, every)),
            tags={**tags, **known, **told},
            run_name=name_of(spec),
        )
        told = {}  # a tag that is given at once costs least
    run_id = run.info.run_id
    for trial_id in sorted(set(trials) - there):
        client.log_artifacts(run_id, str(store.trial(trial_id)), f"trials/{trial_id}")
    if not (run.inputs and run.inputs.dataset_inputs):
        client.log_inputs(run_id, inputs_of(store, spec))
    params = [] if run.data.params else [Param(k, v) for k, v in _parameters(spec).items()]
    for start in range(PARAMETERS, len(params), PARAMETERS):
        client.log_batch(run_id, params=params[start : start + PARAMETERS])
    metrics = metrics_of(every, run.data.metrics, primary)
    for start in range(BATCH, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])
    told[TRIAL_IDS] = ",".join(sorted(trials))
    client.log_batch(
        run_id,
        metrics=metrics[:BATCH],
        params=params[:PARAMETERS],
        tags=[RunTag(key, value) for key, value in told.items()],
    )
    client.set_terminated(run_id, end_time=max(map(end_milliseconds, every)))
    return run


def name_of(spec: Mapping[str, Any]) -> str:
    """What a run is called: a held-out domain is part of it, for each is a cell of its own."""
    keys = ("method", "backbone", "dataset", "protocol", "shots", "held_out")
    name = " ".join(str(spec[key]) for key in keys if key in spec)
    return f"{name} {CANDIDATE}" if is_candidate(spec) else name


def is_candidate(spec: Mapping[str, Any]) -> bool:
    """Whether a trial is one that a search chooses from, as `trial.json` has its specification."""
    return spec.get("tested_on", TEST) != TEST


def linked(text: str, url: str | None) -> str:
    """A link in Markdown; the bare text where there is no page."""
    return f"[{text}]({url})" if url else text


def note_of_flow_run(suite: str, tags: Mapping[str, str]) -> str:
    """What a person reads of the run of a flow run, in Markdown.

    Args:
        suite: That was asked for.
        tags: Of the run.
    """
    lines = [f"A run of the suite **{suite}**; below it are the cells that it completed first."]
    return "\n\n".join([*lines, *_links(tags)])


def _note(trials: Mapping[str, Trial], tags: Mapping[str, str]) -> str:
    """What a person reads of a run, in Markdown.

    Args:
        trials: All that the run holds.
        tags: Of the run.
    """
    pages = served_pages()
    spec = next(iter(trials.values()))["spec"]
    by_seed = sorted((trial["spec"]["seed"], trial_id) for trial_id, trial in trials.items())
    seeds = ", ".join(linked(f"{seed}", pages.on_board("trial", i)) for seed, i in by_seed)
    lines = [
        f"**{spec['method']}** on {spec['backbone']} and {spec['dataset']}: {spec['protocol']}, "
        f"{shots_said(spec['shots'])}; {'seeds' if len(by_seed) > 1 else 'seed'} {seeds}.",
        "Means and deviations are over these seeds; curves have the epoch as step.",
    ]
    return "\n\n".join([*lines, *_links(tags)])


def _links(tags: Mapping[str, str]) -> list[str]:
    """Where a flow run and the board are seen, as far as they are served; see `links.py`."""
    pages, lines = served_pages(), []
    if flow_run := tags.get("shotboard.flow_run_id"):
        lines.append(f"Prefect: {linked(f'flow run {flow_run}', pages.flow_run(flow_run))}.")
    if board := pages.on_board():
        lines.append(linked("The board", board) + ".")
    return lines


def _parameters(spec: Mapping[str, Any]) -> dict[str, str]:
    """The specification of a cell, flat: a value is text of at most `VALUE_LENGTH` characters.

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
