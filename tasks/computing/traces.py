"""What a worker writes so that whoever reads its output knows what it is of."""

import sys
import traceback
from collections.abc import Sequence
from typing import TextIO

from tasks.plain_text import without_secrets

MARK = "::shotboard trial "  # a line of its own, before what is of that trial


def mark(trial_ids: Sequence[str]) -> None:
    """Says, in a worker, which trials the lines after this are of."""
    more = f" and {len(trial_ids) - 1} more" if len(trial_ids) > 1 else ""
    _write(f"{MARK}{trial_ids[0]}{more}", sys.stdout, sys.stderr)


def show(error: BaseException) -> None:
    """Writes where an error comes from; Ray keeps it in a file, so without passwords in URLs."""
    _write(without_secrets("".join(traceback.format_exception(error)).rstrip()), sys.stderr)


def _write(text: str, *streams: TextIO) -> None:
    for stream in streams:
        print(text, file=stream, flush=True)
