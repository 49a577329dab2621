"""What a run of a suite did, in the words of people."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it takes torch, and a refusal comes before that
    from tasks.pages.regressions import Moves
    from tasks.planning.planned import Plan


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        run_id: Of its manifest.
        plan: What was asked for and what was there already.
        computed: Trials that were computed.
        failed: Of those, trial id and error of each that failed.
        board: The published file.
        moves: What it made worse, and what moved by itself.
        elsewhere: Trials that it missed, and that other runs completed meanwhile.
    """

    run_id: str
    plan: "Plan"
    computed: int
    failed: tuple[tuple[str, str], ...]
    board: Path
    moves: "Moves"
    elsewhere: int = 0

    @property
    def text(self) -> str:
        """One sentence."""
        there = len(self.plan.done)
        parts = [f"{len(self.plan.specs)} trials: {self.computed - len(self.failed)} computed"]
        others = self.elsewhere
        parts += [f"{others} computed by another run meanwhile"] if others else []
        parts += [f"{there} there already"] if there else []
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        return ", ".join(parts) + "."


class TrialsFailed(RuntimeError):
    """Some trials failed; the board holds the others.

    Attributes:
        summary: What the run did.
    """

    def __init__(self, summary: Summary) -> None:
        first = "; ".join(f"{trial}: {error}" for trial, error in summary.failed[:3])
        super().__init__(f"{summary.text} {first}")
        self.summary = summary
