"""What trials look at, as pictures on their pages."""

from base64 import b64encode
from typing import TYPE_CHECKING

from operators.trials.results import ATTENTION
from tasks.storage.store import Store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

BUDGET = 1_500_000  # characters of all of them together, beyond what the page has otherwise
TRIALS = """
SELECT trial_id FROM trials
WHERE tested_on = 'test' AND status = 'completed'
ORDER BY started_at DESC, trial_id
"""


def attention(
    store: Store, connection: "DuckDBPyConnection", budget: int = BUDGET
) -> dict[str, list]:
    """A table of pictures for the page, those of the latest trials as far as the budget goes.

    Args:
        store: Whose trials.
        connection: To its board.
        budget: Characters of all pictures together.
    """
    trials, pictures = [], []
    for (trial,) in connection.sql(TRIALS).fetchall():
        path = store.trial(trial) / ATTENTION
        if not path.exists():
            continue
        shown = f"data:image/webp;base64,{b64encode(path.read_bytes()).decode()}"
        budget -= len(shown)
        if budget < 0:
            break
        trials.append(trial)
        pictures.append(shown)
    return {"trial_id": trials, "shown": pictures}
