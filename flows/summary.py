"""What a run of a suite did, in the words of people."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it takes torch, and a refusal comes before that
    from tasks.pages.regressions import Moves
    from tasks.planning.planned import Plan
    from tasks.storage.runs import Run


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        run: Its manifest, which counts what it computed and what was there.
        plan: What was asked for.
        failed: Trial id and error of each that failed.
        board: The published file.
        moves: What it made worse, and what moved by itself.
    """

    run: "Run"
    plan: "Plan"
    failed: tuple[tuple[str, str], ...]
    board: Path
    moves: "Moves"

    @property
    def run_id(self) -> str:
        """Of its manifest."""
        return self.run.run_id

    @property
    def text(self) -> str:
        """One sentence."""
        run = self.run
        parts = [f"{len(run.trial_ids)} trials: {run.computed} computed"]
        parts += [f"{run.elsewhere} computed by another run meanwhile"] if run.elsewhere else []
        parts += [f"{run.reused} there already"] if run.reused else []
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
