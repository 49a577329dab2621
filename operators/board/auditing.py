"""Whether the numbers of the board follow from the predictions behind them."""

from collections.abc import Sequence

from operators.board.connection import Connection

TOLERANCE = 1e-6  # an accuracy may have been summed in single precision

_ACCURACY = """
WITH recomputed AS (
    SELECT
        trial_id, split, count(*) AS n, avg((label = predicted)::DOUBLE) AS value,
        count(DISTINCT row_id) AS distinct_rows
    FROM predictions
    WHERE $trials IS NULL OR trial_id IN (SELECT unnest($trials))
    GROUP BY trial_id, split
),
recorded AS (
    SELECT trial_id, split, value, n
    FROM metrics
    WHERE metric = 'accuracy'
        AND ($trials IS NULL OR trial_id IN (SELECT unnest($trials)))
)
SELECT
    trial_id, split, recorded.value, recomputed.value, recorded.n, recomputed.n,
    recomputed.distinct_rows
FROM recorded
FULL JOIN recomputed USING (trial_id, split)
WHERE recorded.value IS NULL OR recomputed.value IS NULL
    OR NOT abs(recorded.value - recomputed.value) <= $tolerance
    OR recorded.n <> recomputed.n
    OR recomputed.n <> recomputed.distinct_rows
ORDER BY trial_id, split
"""


def audit(connection: Connection) -> list[str]:
    """Recomputes the accuracy of every trial and split from its predictions.

    Args:
        connection: An open DuckDB connection to a board.

    Returns:
        A sentence for each that does not agree; empty where all is well.
    """
    return [f"trial {trial_id}, {fault}" for trial_id, fault in _faults(connection)]


def unbacked(connection: Connection, trials: Sequence[str]) -> dict[str, str]:
    """Those of some trials whose predictions give other accuracies than they say, and why.

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
    for trial_id, split, said, found, n_said, n_found, rows in connection.execute(
        _ACCURACY, {"tolerance": TOLERANCE, "trials": None if trials is None else list(trials)}
    ).fetchall():
        where = f"split {split}"
        if found is None:
            complaints.append((trial_id, f"{where}: accuracy {said} has no predictions behind it."))
        elif said is None:
            complaints.append((trial_id, f"{where}: {n_found} predictions, but no accuracy."))
        elif n_said != n_found:
            complaints.append(
                (trial_id, f"{where}: accuracy of {n_said} rows, but {n_found} predictions.")
            )
        elif n_found != rows:
            complaints.append(
                (trial_id, f"{where}: {n_found} predictions of {rows} rows: some are repeated.")
            )
        else:
            complaints.append(
                (trial_id, f"{where}: accuracy {said}, but its predictions give {found}.")
            )
    return complaints
