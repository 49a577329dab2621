"""Files of the store -> rows of the board, checked one file at a time.

A file that was edited, cut short or written by another version is refused here with a
ValueError, so that the bulk insert behind it never fails for the sake of one trial.
"""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa

from operators.board.identity import identity_row
from operators.spec import TrialSpec
from operators.trials.results import TrialResult

_MICROSECONDS = pa.timestamp("us")

TRIALS = pa.schema(
    [
        pa.field("trial_id", pa.string(), nullable=False),
        ("suite", pa.string()),
        pa.field("method", pa.string(), nullable=False),
        pa.field("method_revision", pa.int32(), nullable=False),
        pa.field("backbone", pa.string(), nullable=False),
        pa.field("backbone_fingerprint", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("dataset_fingerprint", pa.string(), nullable=False),
        pa.field("protocol", pa.string(), nullable=False),
        pa.field("shots", pa.int32(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("setting", pa.string(), nullable=False),
        pa.field("selection", pa.string(), nullable=False),
        pa.field("template_set", pa.string(), nullable=False),
        pa.field("transform_version", pa.int32(), nullable=False),
        pa.field("views", pa.string(), nullable=False),
        pa.field("precision", pa.string(), nullable=False),
        pa.field("hyperparameters", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        ("error", pa.string()),
        ("started_at", _MICROSECONDS),
        ("tune_seconds", pa.float64()),
        ("evaluate_seconds", pa.float64()),
        ("peak_memory_bytes", pa.int64()),
        ("trainable_parameters", pa.int64()),
        ("device", pa.string()),
        ("torch_version", pa.string()),
        ("git_commit", pa.string()),
        ("episode_fingerprint", pa.string()),
        ("flow_run_id", pa.string()),
        pa.field("cell_id", pa.string(), nullable=False),
        pa.field("variant", pa.string(), nullable=False),
        ("test_rows_per_class", pa.int32()),
        ("steps", pa.int64()),
        pa.field("protocol_revision", pa.int32(), nullable=False),
        ("failed_at", _MICROSECONDS),
        ("file_stamp", pa.string()),
        ("tune_flops", pa.int64()),
        ("plain_tune_flops", pa.int64()),
        ("teacher_trial_id", pa.string()),
        ("git_dirty", pa.bool_()),
        ("threads", pa.int32()),
        ("cpu_model", pa.string()),
        ("cpu_capability", pa.string()),
        ("numpy_version", pa.string()),
        ("python_version", pa.string()),
        ("templates", pa.list_(pa.string())),
        pa.field("text_version", pa.int32(), nullable=False),
        pa.field("aids", pa.string(), nullable=False),
        pa.field("targets", pa.string(), nullable=False),
        pa.field("held_out", pa.string(), nullable=False),
        pa.field("spec_setting", pa.string(), nullable=False),
        ("losses", pa.list_(pa.float64())),
        ("origin", pa.string()),
        pa.field("tested_on", pa.string(), nullable=False),
        ("fit_trial_id", pa.string()),
        ("found", pa.string()),
        pa.field("composition", pa.string(), nullable=False),
    ]
)
METRICS = pa.schema(
    [
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        ("value", pa.float64()),
        pa.field("n", pa.int64(), nullable=False),
    ]
)
RUNS = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        ("suite", pa.string()),
        pa.field("started_at", _MICROSECONDS, nullable=False),
        ("finished_at", _MICROSECONDS),
        ("flow_run_id", pa.string()),
        ("git_commit", pa.string()),
        ("partial", pa.bool_()),
        ("trial_ids", pa.list_(pa.string())),
        ("git_dirty", pa.bool_()),
        ("origin", pa.string()),
        pa.field("status", pa.string(), nullable=False),
        ("ended_at", _MICROSECONDS),
        pa.field("planned", pa.int64(), nullable=False),
        ("reused", pa.int64()),
        ("computed", pa.int64()),
        ("elsewhere", pa.int64()),
        ("failed", pa.int64()),
        ("error", pa.string()),
        ("host", pa.string()),
        ("pid", pa.int64()),
        ("process_started_at", pa.float64()),
        ("process_key", pa.string()),
        pa.field("searches", pa.string(), nullable=False),
    ]
)


class TrialRows(NamedTuple):
    """One completed trial: its row of `trials` and its rows of `metrics`, as plain values."""

    trial: dict[str, Any]
    metrics: list[dict[str, Any]]

    @property
    def trial_id(self) -> str:
        """The trial that these rows are of."""
        return self.trial["trial_id"]


def _plain(found: Mapping[str, Any]) -> str | None:
    """What a fit found as JSON, its words and numbers alone; None where it found nothing.

    What is longer, such as all that a search tried, stays in the trial.
    """
    short = {name: v for name, v in found.items() if isinstance(v, str | int | float)}
    return json.dumps(short, sort_keys=True) if short else None


def completed_rows(
    values: Mapping[str, Any],
    *,
    trial_id: str,
    file_stamp: str | None = None,
    origin_label: str | None = None,
) -> TrialRows:
    """Reads a completed trial.

    Args:
        values: What `trial.json` holds.
        trial_id: The id it must have: the name of its folder.
        file_stamp: Names this version of the file; a rebuild reads it again when it moves.
        origin_label: Of the store that it was merged from; None for one that was computed here.

    Raises:
        ValueError: A part is missing, of the wrong type or twice there, or the id differs.
    """
    try:
        result = TrialResult.from_json(values)
        if values["trial_id"] != trial_id:  # from_json saw that it follows from the spec
            raise ValueError(f"the folder holds trial {values['trial_id']}: it was renamed.")
        cost, origin = result.cost, result.provenance
        trial = {
            **identity_row(result.spec),
            "status": "completed",
            "suite": origin.suite,
            "started_at": utc(origin.started_at),
            "tune_seconds": cost.tune_seconds,
            "evaluate_seconds": cost.evaluate_seconds,
            "peak_memory_bytes": cost.peak_memory_bytes,
            "trainable_parameters": cost.trainable_parameters,
            "steps": cost.steps,
            "tune_flops": cost.tune_flops,
            "plain_tune_flops": cost.plain_tune_flops,
            "device": origin.device,
            "torch_version": origin.torch_version,
            "git_commit": origin.git_commit,
            "flow_run_id": origin.flow_run_id,
            "git_dirty": origin.git_dirty,
            "threads": origin.threads,
            "cpu_model": origin.cpu_model,
            "cpu_capability": origin.cpu_capability,
            "numpy_version": origin.numpy_version,
            "python_version": origin.python_version,
            "templates": None if origin.templates is None else [str(t) for t in origin.templates],
            "episode_fingerprint": result.episode_fingerprint,
            "losses": [float(loss) for loss in result.losses] if result.losses else None,
            "file_stamp": file_stamp,
            "origin": origin_label,
            "fit_trial_id": origin.fit_trial_id,
            "found": _plain(result.found),
        }
        metrics = [
            {"trial_id": trial_id, "split": m.split, "metric": m.metric, "n": m.n, "value": m.value}
            for m in result.metrics
        ]
        twice = [
            f"{metric} of {split}"
            for (split, metric), times in Counter(
                (m.split, m.metric) for m in result.metrics
            ).items()
            if times > 1
        ]
        if twice:
            raise ValueError(f"metric {', '.join(twice)} is there more than once.")
        _check([trial], TRIALS)
        _check(metrics, METRICS)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"trial.json is not a trial: {_explain(error)}.") from error
    return TrialRows(trial, metrics)


def failed_row(values: Mapping[str, Any], *, trial_id: str) -> dict[str, Any]:
    """Reads the last error of a trial as a row of `trials`; its costs are NULL.

    Args:
        values: What `failures/<trial_id>.json` holds.
        trial_id: The id it must have: the name of its file.

    Raises:
        ValueError: A part is missing or of the wrong type, or the id does not follow.
    """
    try:
        spec = TrialSpec.from_json(values["spec"])
        if spec.trial_id != trial_id:
            raise ValueError(f"the file holds the specification of trial {spec.trial_id}.")
        row = {
            **identity_row(spec),
            "status": "failed",
            "error": str(values["error"]).encode(errors="replace").decode(),
            "failed_at": utc(values.get("failed_at")),
            "suite": values.get("suite"),
            "flow_run_id": values.get("flow_run_id"),
            "origin": values.get("origin"),
        }
        _check([row], TRIALS)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not a failure: {_explain(error)}.") from error
    return row


def run_row(values: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the manifest of one run of a suite, `runs/<run_id>.json`.

    Whether one that says `running` still does is for others to find out. Runs of versions that
    noted no status have one that follows from whether they came to their end.

    Raises:
        ValueError: A part is missing or of the wrong type.
    """
    try:
        row = {
            "run_id": values["run_id"],
            "suite": values.get("suite"),
            "started_at": utc(values["started_at"]),
            "finished_at": utc(values.get("finished_at")),
            "flow_run_id": values.get("flow_run_id"),
            "git_commit": values.get("git_commit"),
            "partial": bool(values.get("partial", False)),
            "trial_ids": [str(trial_id) for trial_id in values["trial_ids"]],
            "git_dirty": values.get("git_dirty"),
            "origin": values.get("origin"),
            "status": values.get("status")
            or ("completed" if values.get("finished_at") else "running"),
            "ended_at": utc(values.get("ended_at") or values.get("finished_at")),
            "planned": len(values["trial_ids"]),
            **{name: values.get(name) for name in ("reused", "computed", "elsewhere", "failed")},
            "error": values.get("error"),
            **{name: values.get(name) for name in ("host", "pid", "process_started_at")},
            "process_key": values.get("process_key"),
            "searches": json.dumps(values.get("searches") or []),
        }
        _check([row], RUNS)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not a run: {_explain(error)}.") from error
    return row


def receipt_row(values: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the receipt of a published cell, `published/<cell_id>.json`.

    Raises:
        ValueError: A part is missing or of the wrong type.
    """
    run, trials = values.get("mlflow_run_id"), values.get("trial_ids")
    if not isinstance(run, str) or not isinstance(trials, list):
        raise ValueError("it is not a receipt: mlflow_run_id or trial_ids is missing.")
    return {"mlflow_run_id": run, "trial_ids": [str(trial) for trial in trials]}


def utc(text: str | None) -> datetime | None:
    """An ISO 8601 time as UTC without a zone, as the board keeps it; None stays None.

    Raises:
        ValueError: `text` is no ISO 8601 time.
    """
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _check(rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    """Raises a ValueError where a value does not fit its column: a bulk insert would fail."""
    columns, usual = _COLUMNS[schema], _USUAL[schema]
    for row in rows:
        for name, value in row.items():
            kind = type(value)
            if kind is usual[name] and (
                kind is float
                or (kind is str and value.isascii())
                or (kind is int and -(2**31) <= value < 2**31)
            ):
                continue
            types, limit, optional = columns[name]
            if value is None:
                fits = optional
            elif isinstance(value, bool) != (types == (bool,)) or not isinstance(value, types):
                fits = False
            elif limit is not None:
                fits = -limit <= value < limit
            else:
                fits = not isinstance(value, str) or value.isascii() or bool(value.encode())
            if not fits:
                raise ValueError(f"{name}={value!r} is not of type {schema.field(name).type}.")


_PYTHON_TYPES: dict[pa.DataType, tuple[tuple[type, ...], int | None]] = {  # and limit
    pa.string(): ((str,), None),
    pa.bool_(): ((bool,), None),
    pa.int32(): ((int,), 2**31),
    pa.int64(): ((int,), 2**63),
    pa.float64(): ((int, float), None),
    _MICROSECONDS: ((datetime,), None),
    pa.list_(pa.string()): ((list,), None),
    pa.list_(pa.float64()): ((list,), None),
}
_COLUMNS = {
    schema: {column.name: (*_PYTHON_TYPES[column.type], column.nullable) for column in schema}
    for schema in (TRIALS, METRICS, RUNS)
}
# Most values are of these types and need no more looking at, which makes the check three times
# quicker on ten thousand trials.
_USUAL = {
    schema: {name: types[-1] for name, (types, _, _) in columns.items()}
    for schema, columns in _COLUMNS.items()
}


def _explain(error: Exception) -> str:
    """Says what a failed look-up or conversion met."""
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
