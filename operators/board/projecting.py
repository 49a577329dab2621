"""Numbers that follow from the predictions of a trial and that its file does not say.

What `trial.json` says stays as it is. A metric that is younger than the trial is computed here,
from the predictions that the trial left behind; where these hold too little, its value is NULL.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from operators.board.connection import Connection
from operators.board.rows import TrialRows
from operators.metrics import METRICS, scores_of


def metrics_by_protocol(connection: Connection) -> dict[str, list[str]]:
    """Names of the metrics that a trial of each protocol has: those of the protocol's track."""
    return dict(
        connection.execute(
            "SELECT protocol, metrics FROM protocols JOIN tracks USING (track)"
        ).fetchall()
    )


def projected(
    trial: TrialRows, wanted: Mapping[str, Sequence[str]], predictions: Path
) -> TrialRows:
    """A trial with a row for every metric of its track and each of its splits.

    Of trials that say all of them, as new ones do, no file is opened; of those whose predictions
    hold too little only the schema is read.

    Args:
        trial: What `trial.json` says.
        wanted: As `metrics_by_protocol` gives it.
        predictions: Its `predictions.parquet`.

    Raises:
        OSError: The predictions cannot be read.
        ValueError: They are damaged.
    """
    said = {(row["split"], row["metric"]) for row in trial.metrics}
    tested = {row["split"]: row["n"] for row in trial.metrics}
    names = [
        name
        for name in wanted.get(trial.trial["protocol"], ())
        if any((split, name) not in said for split in tested)
    ]
    if not names:
        return trial
    there = set(pq.read_schema(predictions).names)
    known = [name for name in names if METRICS[name].columns <= there]
    values = {}
    if known:
        columns = sorted({"split"}.union(*(METRICS[name].columns for name in known)))
        table = pq.read_table(predictions, columns=columns)
        values = {(each.split, each.metric): each.value for each in scores_of(table, known)}
    found = [
        {
            "trial_id": trial.trial_id,
            "split": split,
            "metric": name,
            "value": values.get((split, name)),
            "n": n,
        }
        for split, n in tested.items()
        for name in names
        if (split, name) not in said
    ]
    return trial._replace(metrics=[*trial.metrics, *found])
