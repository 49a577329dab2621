"""Trials of one cell that are tuned together, and what becomes of each."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from tasks.computing.traces import mark, show

if TYPE_CHECKING:
    from operators.spec import TrialSpec

log = logging.getLogger(__name__)
Files = dict[str, bytes]


def computed_together(
    stack: Sequence["TrialSpec"], compute: "Callable[[TrialSpec], Files]", *, traced: bool
) -> list[Files | BaseException]:
    """The files of some trials that are tuned together, or what one raised.

    Args:
        stack: Trials that differ by seed alone.
        compute: Gives the files of one; called in a thread of its own where there are several.
        traced: Whether standard output and error say which trials the lines that follow are of.
    """
    from operators.engine.stacking import Abandoned, run_stacked

    def tried(spec: "TrialSpec") -> Files | BaseException:
        try:
            return compute(spec)
        except Abandoned:
            raise
        except BaseException as error:  # SystemExit or an interrupt: a method may raise it
            if hasattr(error, "ray_terminate_msg"):  # that is how Ray stops a worker
                raise
            if traced:
                show(error)
            return error

    if traced:
        mark([spec.trial_id for spec in stack])
    again = partial(computed_together, compute=compute, traced=traced)
    try:
        ended = run_stacked([partial(tried, spec) for spec in stack])
        return _in_smaller_stacks(stack, ended, again)
    except BaseException as error:
        if hasattr(error, "ray_terminate_msg") or len(stack) == 1:
            raise
        # Raised where lanes meet, by nobody knows which: so each by itself.
        return [end for spec in stack for end in again([spec])]


def _in_smaller_stacks(
    stack: Sequence["TrialSpec"],
    ended: list[Files | BaseException],
    again: "Callable[[Sequence[TrialSpec]], list[Files | BaseException]]",
) -> list[Files | BaseException]:
    """What became of a stack, once those that had no room in it were tried in half of one.

    Args:
        stack: Trials.
        ended: Of each its files, or what it raised.
        again: Computes some of them together.
    """
    from operators.engine.room import NoRoom, give_back

    short = [i for i, end in enumerate(ended) if isinstance(end, NoRoom)]
    if not short or len(stack) == 1:
        return ended
    half = len(stack) // 2
    log.warning("no room for %d seeds at once: goes on with %d.", len(stack), half)
    for start in range(0, len(short), half):
        places = short[start : start + half]
        give_back()
        for place, end in zip(places, again([stack[place] for place in places]), strict=True):
            ended[place] = end
    return ended
