"""What a search has to do with a cell, in words."""

from data_catalog.wording import plural
from tasks.pages.asking import own_rows
from tasks.storage.store import Store


def chosen_by_search(store: Store, cell_id: str) -> list[str]:
    """Which searches chose the settings of a cell, or tried them, and what that cost.

    Args:
        store: Whose board; without one nothing is known.
        cell_id: Of trials with test rows, or of a candidate.

    Raises:
        BoardError: The board cannot be read, or is of another version.
    """
    if not store.board.is_file():
        return []
    own = cell_id.replace("'", "''")
    rows = own_rows(
        store,
        f"SELECT * FROM searches WHERE (chosen AND cell_id = '{own}') "
        f"OR candidate_cell_id = '{own}'",
    )
    return [_said(row, cell_id) for row in rows]


def _said(row: dict, cell_id: str) -> str:
    place = f"candidate {row['candidate']} of {row['candidates']} of the suite {row['suite']}"
    score = "no score" if row["mean"] is None else f"{row['metric']} {row['mean']:.4f}"
    if row["candidate_cell_id"] == cell_id:
        became = "" if row["chosen"] is None else " and was " + ("not " * (not row["chosen"]))
        return f"search: {place}, {row['settings']}: {score} on validation rows{became}" + (
            "chosen" if became else ""
        )
    return (
        f"tuned: {place}, {row['settings']}, the best on validation rows ({score}); the search "
        f"took {plural(row['search_trials'], 'trial')} and {row['search_seconds']:.0f} s"
    )
