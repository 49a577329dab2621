"""How a method leans on other trials: on a tuned teacher, or on a start that was learned before."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from operators.bounds import Bounds


@dataclass(frozen=True, kw_only=True)
class Leaning:
    """What a method asks of another trial: its fields are hyperparameters of that method.

    A plan adds such trials, computes them first, and makes them part of the identity of those that
    lean on them.

    Attributes:
        role: Key of `AIDS` under which that trial stands.
        does: What the method does, in words.
        chosen_by: How a user asks for another such trial.
    """

    role: ClassVar[str]
    does: ClassVar[str]
    chosen_by: ClassVar[str]

    @staticmethod
    def idle(values: Mapping[str, Any]) -> dict[str, str]:
        """Settings that change nothing beside others, by name, and how to make them count."""
        return {}

    def check(self) -> None:
        """Refuses values that cannot work.

        Raises:
            ValueError: Names the value and the rule.
        """


@dataclass(frozen=True, kw_only=True)
class Teaching(Leaning):
    """Which tuned model a method learns from: a trial of its own on the same draw.

    Attributes:
        teacher: Id in `METHODS`.
        teacher_backbone: Name, folder or hub id; empty for the student's own.
        teacher_hyperparameters: What differs from the teacher's published settings, by name.
    """

    role = "teacher"
    does = "learns from a teacher"
    chosen_by = "teacher=NAME"
    teacher: str
    teacher_backbone: str = ""
    teacher_hyperparameters: dict | None = None


@dataclass(frozen=True, kw_only=True)
class Starting(Leaning):
    """Which datasets the start of a method was learned on: a trial of the same method on them.

    That trial has the same backbone and seed, and the settings that `Method.source_settings` gives.

    Attributes:
        source_datasets: Names in alphabetical order, with commas between; the one that is learned
            itself is left out. Empty for a start that nothing was learned for.
        source_shots: Labelled examples a class of each, -1 for all of their train splits.
        source_hyperparameters: What differs from the published settings of that trial, by name.
    """

    role = "source"
    does = "starts from what was learned before"
    chosen_by = "source_datasets='NAME,NAME'"
    source_datasets: str
    source_shots: Annotated[int, Bounds(-1, 10_000)] = 16
    source_hyperparameters: dict | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The datasets, one by one."""
        return tuple(self.source_datasets.split(",")) if self.source_datasets else ()

    @staticmethod
    def idle(values: Mapping[str, Any]) -> dict[str, str]:
        """See `Leaning.idle`."""
        if values["source_datasets"]:
            return {}
        reason = "nothing is learned before. Name source_datasets as well."
        return dict.fromkeys(("source_shots", "source_hyperparameters"), reason)

    def check(self) -> None:
        """See `Leaning.check`; a start has one spelling, so that it is one trial.

        Raises:
            ValueError: Says how the names are written, or that there is nothing to learn from.
        """
        written = ",".join(sorted({name.strip() for name in self.names}))
        if self.source_datasets != written or "" in self.names:
            raise ValueError(
                f"source_datasets={self.source_datasets!r}: write the names in alphabetical order, "
                f"each once, with commas and no blanks between: {written.strip(',')!r}."
            )
        if self.names and not self.source_shots:
            raise ValueError(
                "source_shots=0: a start is learned from labelled examples. Give 1 or more, -1 for "
                "all, or leave the start out with source_datasets=''."
            )


LEANINGS: dict[str, type[Leaning]] = {kind.role: kind for kind in (Teaching, Starting)}
