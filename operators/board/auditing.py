"""Whether the numbers of the board follow from the predictions behind them."""

from collections.abc import Sequence

from operators.board.connection import Connection

TOLERANCE = 1e-6  # a share may have been summed in single precision

_HITS = """
WITH hits AS (  -- the metrics of each protocol that are the share of rows whose label was predicted
    SELECT protocol, metric
    FROM (SELECT protocol, unnest(metrics) AS metric FROM protocols JOIN tracks USING (track))
    JOIN metric_definitions USING (metric)
    WHERE proportion AND columns = ['label', 'predicted']
),
counted AS (
    SELECT
        trial_id, split, count(*) AS n, avg((label = predicted)::DOUBLE) AS value,
        count(DISTINCT row_id) AS distinct_rows
    FROM predictions
    WHERE $trials IS NULL OR trial_id IN (SELECT unnest($trials))
    GROUP BY trial_id, split
),
recomputed AS (
    SELECT counted.*, metric
    FROM counted
    JOIN trials USING (trial_id)
    JOIN hits USING (protocol)
),
recorded AS (
    SELECT trial_id, split, metric, value, n
    FROM metrics
    JOIN trials USING (trial_id)
    JOIN hits USING (protocol, metric)
    WHERE $trials IS NULL OR trial_id IN (SELECT unnest($trials))
)
SELECT
    trial_id, split, metric, recorded.value, recomputed.value, recorded.n, recomputed.n,
    recomputed.distinct_rows
FROM recorded
FULL JOIN recomputed USING (trial_id, split, metric)
WHERE recorded.value IS NULL OR recomputed.value IS NULL
    OR NOT abs(recorded.value - recomputed.value) <= $tolerance
    OR recorded.n <> recomputed.n
    OR recomputed.n <> recomputed.distinct_rows
ORDER BY trial_id, split, metric
"""


def audit(connection: Connection) -> list[str]:
    """Recomputes from its predictions how often every trial was right, on each split.

    Args:
        connection: An open DuckDB connection to a board.

    Returns:
        A sentence for each that does not agree; empty where all is well.
    """
    return [f"trial {trial_id}, {fault}" for trial_id, fault in _faults(connection)]


def unbacked(connection: Connection, trials: Sequence[str]) -> dict[str, str]:
    """Those of some trials whose predictions give other numbers than they say, and why.

    Args:
        connection: An open DuckDB connection to a board.
        trials: Ids of trials on it.
    """
    return {
        trial_id: f"predictions.parquet and trial.json do not agree: {fault}"
        for trial_id, fault in _faults(connection, trials)
    }


def _faults(connection: Connection, trials: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """Trial, and split with what is wrong there; of all trials where none are named."""
    complaints = []
    for trial_id, split, metric, said, found, n_said, n_found, rows in connection.execute(
        _HITS, {"tolerance": TOLERANCE, "trials": None if trials is None else list(trials)}
    ).fetchall():
        where = f"split {split}"
        if found is None:
            complaints.append((trial_id, f"{where}: {metric} {said} has no predictions behind it."))
        elif said is None:
            complaints.append((trial_id, f"{where}: {n_found} predictions, but no {metric}."))
        elif n_said != n_found:
            complaints.append(
                (trial_id, f"{where}: {metric} of {n_said} rows, but {n_found} predictions.")
            )
        elif n_found != rows:
            complaints.append(
                (trial_id, f"{where}: {n_found} predictions of {rows} rows: some are repeated.")
            )
        else:
            complaints.append(
                (trial_id, f"{where}: {metric} {said}, but its predictions give {found}.")
            )
    return complaints
