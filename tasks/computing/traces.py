"""What a worker writes so that whoever reads its output knows what it is of."""

import sys
from collections.abc import Sequence

MARK = "::shotboard trial "  # a line of its own, before what is of that trial


def mark(trial_ids: Sequence[str]) -> None:
    """Says, in a worker, which trials the lines after this are of."""
    more = f" and {len(trial_ids) - 1} more" if len(trial_ids) > 1 else ""
    for stream in (sys.stdout, sys.stderr):
        print(f"{MARK}{trial_ids[0]}{more}", file=stream, flush=True)
