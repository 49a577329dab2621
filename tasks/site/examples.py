"""What the test rows show that trials were wrong about: small pictures, or texts."""

from typing import TYPE_CHECKING

from tasks.pages.mistakes import Row, previews
from tasks.site.tables import WORTH_SHOWING
from tasks.storage.store import Store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

BUDGET = 1_500_000  # characters of all of them together, beyond what the page has otherwise
COLUMNS = ("tested", "tested_fingerprint", "row_id", "shown")


def examples(
    store: Store, connection: "DuckDBPyConnection", budget: int = BUDGET
) -> dict[str, list]:
    """A table of examples for the page, the most telling ones as far as the budget goes.

    Args:
        store: Where the datasets were ingested.
        connection: To its board.
        budget: Characters of all previews together.
    """
    wanted = [Row(*row) for row in connection.sql(WORTH_SHOWING).fetchall()]
    shown = previews(store, wanted, budget)
    rows = [(*row, what) for row, what in shown.items()]
    return {name: [row[place] for row in rows] for place, name in enumerate(COLUMNS)}
