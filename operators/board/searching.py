"""What runs have searched, and the lines of the cells whose settings were chosen by that.

A cell that only a search asked for is on the line of the search, `tuned=epochs,lr:4-candidates`, so
that a curve over shots or an average over data sets goes on where another candidate was chosen. One
that somebody asked for by itself keeps its name, and is on that line as well.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from operators.board.connection import Connection, insert
from operators.board.variants import Chosen


class Tuned(NamedTuple):
    """How the settings of a cell were chosen.

    Attributes:
        how: In words.
        names: Hyperparameters that were searched.
        alone: Whether no run asked for the cell by itself.
    """

    how: str
    names: frozenset[str]
    alone: bool

    def line(self, chosen: Chosen) -> str:
        """The name of its line, of a cell with some settings."""
        return chosen.tuned(self.how, self.names)


def replace_searches(connection: Connection, runs: Iterable[Mapping[str, Any]]) -> None:
    """Takes in what runs have searched: of each candidate and cell what the latest run says.

    Args:
        connection: An open DuckDB connection.
        runs: Rows of `run_row`.
    """
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for run in sorted(runs, key=lambda run: (run["started_at"], run["run_id"])):
        for search in json.loads(run["searches"]):
            for row in _rows(search):
                row |= {"run_id": run["run_id"], "suite": run["suite"]}
                latest[row["search_id"], row["candidate_cell_id"]] = row
    connection.execute("DELETE FROM search_candidates")
    if latest:
        rows = [latest[key] for key in sorted(latest)]
        insert(connection, "search_candidates", pa.Table.from_pylist(rows))


def _rows(search: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    chosen = search["chosen"]
    for place, candidate in enumerate(search["candidates"]):
        yield {
            "search_id": search["search_id"],
            "chosen_by": search["by"],
            "names": search["names"],
            "candidate": place + 1,
            "candidates": len(search["candidates"]),
            "settings": json.dumps(candidate["settings"]),
            "candidate_cell_id": candidate["cell_id"],
            "cell_id": candidate["tested_cell_id"],
            "chosen": None if chosen is None else place == chosen,
        }


def tuned_cells(connection: Connection) -> dict[str, Tuned]:
    """The cells of the board whose settings were chosen by a search.

    Args:
        connection: An open DuckDB connection whose trials, runs and searches are filled.
    """
    rows = connection.execute(
        """
        WITH asked AS (  -- cells that a run had for another reason than its searches
            SELECT DISTINCT cell_id
            FROM run_trials
            JOIN trials USING (trial_id)
            ANTI JOIN search_candidates AS own
                ON own.run_id = run_trials.run_id AND own.cell_id = trials.cell_id AND own.chosen
        )
        SELECT
            cell_id, search_id, suite, names, candidates, method,
            cell_id NOT IN (SELECT cell_id FROM asked) AS alone
        FROM search_candidates
        JOIN (SELECT DISTINCT cell_id, method FROM trials) USING (cell_id)
        WHERE chosen
        ORDER BY ALL
        """
    ).fetchall()
    how = {
        (method, search): f"tuned={','.join(sorted(names))}:{count}-candidates"
        for _, search, _, names, count, method, _ in rows
    }
    shared = Counter((method, text) for (method, _), text in how.items())
    found = {}
    for cell_id, search, suite, names, _, method, alone in rows:
        text = how[method, search]
        if shared[method, text] > 1:  # two searches of one form
            text = f"{text}:{suite}-{search[:4]}"
        found[cell_id] = Tuned(text, frozenset(names), alone)
    return found
