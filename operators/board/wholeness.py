"""Whether the folder of a trial holds what was committed.

Trials are committed whole; a bad disk, a copy that was broken off or an editor damages them later.
A glance opens three files; an inspection reads them.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from operators.board.auditing import TOLERANCE
from operators.board.rows import completed_rows
from operators.metrics import METRICS, scores_of

TRIAL, PREDICTED, PROMPT = "trial.json", "predictions.parquet", "prompt.safetensors"


def stamp_of(trial: Path) -> str:
    """Names this version of a trial's three files, by their sizes and times; reads none."""
    return " ".join(_stamp(f"{trial}/{name}") for name in (TRIAL, PREDICTED, PROMPT))


def glance(trial: Path, trial_id: str = "") -> str:
    """What is wrong with a trial at a first look; empty if nothing is.

    Each file is there up to its end, and `trial.json` names the trial that the folder is named for.

    Args:
        trial: Its folder.
        trial_id: What it should be; default: what the folder is called.
    """
    try:
        if not _is_of(trial, trial_id or trial.name):
            return f"{TRIAL} is not whole, or of another trial"
        if not _ends_with(trial / PREDICTED, b"PAR1"):
            return f"{PREDICTED} is not whole"
        return "" if _is_whole_prompt(trial / PROMPT) else f"{PROMPT} is not whole"
    except OSError as error:
        return explain(error)


def inspect(trial: Path, trial_id: str = "") -> str:
    """What is wrong with a trial when all of it is read; empty if nothing is.

    Args:
        trial: See `glance`.
        trial_id: Likewise.
    """
    fault = glance(trial, trial_id)
    if fault:
        return fault
    try:
        values = read_object(trial / TRIAL)
        completed_rows(values, trial_id=trial_id or trial.name)
        check_neighbours(trial, values)
        _check_metrics(trial / PREDICTED, values["metrics"])
    except (OSError, ValueError) as error:
        return explain(error)
    return ""


def check_neighbours(trial: Path, values: Mapping[str, Any]) -> None:
    """Compares the files beside `trial.json` with the digests in it; older trials have none.

    Args:
        trial: Folder of a trial.
        values: What its `trial.json` holds.

    Raises:
        OSError: A file is missing.
        ValueError: A file is not what was committed; names it.
    """
    for name, digest in values.get("sha256", {}).items():
        beside = name in (PREDICTED, PROMPT)
        if beside and hashlib.sha256((trial / name).read_bytes()).hexdigest() != digest:
            raise ValueError(f"{name} is not what was written: its SHA-256 differs.")


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        OSError: It cannot be read.
        ValueError: It holds something else.
    """
    try:
        values = json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply.") from None
    except ValueError as error:  # UnicodeDecodeError is one, and its text shows all that was read
        what = "text in UTF-8" if isinstance(error, UnicodeDecodeError) else "JSON"
        reason = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
        raise ValueError(f"{path.name} is no {what}: {reason}.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path.name} holds no JSON object.")
    return values


def explain(error: Exception) -> str:
    """What was met, in one line."""
    if isinstance(error, OSError) and error.filename:
        name = Path(error.filename).name
        missing = isinstance(error, FileNotFoundError)
        return f"{name} is missing." if missing else f"{name}: {error.strerror}."
    return " ".join(str(error).split())


def _stamp(path: str) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116  # some 30,000 times for a plan
    except OSError:
        return "absent"
    return f"{status.st_size}-{status.st_mtime_ns}"


def _is_of(trial: Path, trial_id: str) -> bool:
    text = (trial / TRIAL).read_bytes()
    named = f'"{trial_id}"'.encode()
    return text.startswith(b"{") and text.rstrip().endswith(b"}") and named in text


def _ends_with(path: Path, end: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - len(end)))
        return file.read() == end


def _is_whole_prompt(path: Path) -> bool:
    """Whether the tensors end where the file does."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        if length > size:
            return False
        try:
            header = json.loads(file.read(length))
            ends = (tensor["data_offsets"][1] for name, tensor in header.items() if name[0] != "_")
            return size - 8 - length == max(ends, default=0)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return False


def _check_metrics(predictions: Path, metrics: list[Mapping[str, Any]]) -> None:
    """Compares the predictions of a trial with its numbers: their rows, and every share of them.

    A share of rows can be counted again by whoever has the rows. Other metrics have arithmetic that
    may be mended, which damages no trial.

    Raises:
        ValueError: They cannot be read, or give other numbers.
    """
    shares = dict.fromkeys(
        m["metric"] for m in metrics if (known := METRICS.get(m["metric"])) and known.proportion
    )
    columns = sorted({"split"}.union(*(METRICS[name].columns for name in shares)))
    try:
        table = pq.read_table(predictions).select(columns)
        found, rows = scores_of(table, shares), Counter(table["split"].to_pylist())
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are among these
        raise ValueError(f"{predictions.name} cannot be read: {explain(error)}") from error
    if {m["split"] for m in metrics} != set(rows):
        raise ValueError(f"{predictions.name} has other splits than {TRIAL}.")
    again = {(score.split, score.metric): score.value for score in found}
    for metric in metrics:
        said, value = metric["value"], again.get((metric["split"], metric["metric"]))
        same = value is None or (said is not None and abs(value - said) <= TOLERANCE)
        if rows[metric["split"]] != metric["n"] or not same:
            raise ValueError(f"{predictions.name} gives other numbers than {TRIAL}.")
