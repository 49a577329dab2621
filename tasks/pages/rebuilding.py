"""The board brought to what the store holds, with all that is known of what is on it."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from operators.board.variants import Chosen
from operators.spec import TrialSpec
from tasks.pages import board
from tasks.pages.cards import class_rows, dataset_rows
from tasks.pages.known import backbone_rows, method_rows
from tasks.planning.own_methods import read_method
from tasks.planning.plan import chosen_of
from tasks.planning.resolve import RequestError
from tasks.progress import reporter
from tasks.storage.store import Store


def rebuild_board(
    store: Store,
    *,
    backbones: Iterable[Mapping[str, Any]] | None = None,
    full: bool = False,
) -> board.Rebuilt:
    """Rebuilds the board and says what was left out.

    Args:
        store: Whose board.
        backbones: Rows of the table `backbones`; default: those with a name.
        full: Read every trial again.

    Raises:
        BoardError: The board could not be written; the published one is as it was.
    """

    def chosen(spec: TrialSpec) -> Chosen:
        with suppress(RequestError):  # the code of a method may be gone; its numbers stay
            read_method(store, spec)
        return chosen_of(spec)

    rebuilt = board.rebuild(
        store,
        datasets=dataset_rows(store),
        classes=class_rows(store),
        methods=method_rows(),
        backbones=backbone_rows() if backbones is None else backbones,
        chosen=chosen,
        full=full,
    )
    for path, reason in rebuilt.skipped.items():
        reporter().say(f"not on the board: {path}: {reason}")
    return rebuilt
