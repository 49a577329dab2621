"""Which completed trials of the board are meant: by id, by what they are, by chance."""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from data_catalog.wording import did_you_mean
from operators.episodes.shots import shots_word
from tasks.pages.asking import rows
from tasks.planning.resolve import RequestError
from tasks.storage.store import Store

_COLUMNS = {  # by option
    **{"methods": "method", "protocols": "protocol", "datasets": "dataset"},
    **{"backbones": "backbone", "shots": "shots", "seeds": "seed"},
}


@dataclass(frozen=True)
class Chosen:
    """Trials with one of the values of each; None for all.

    Attributes:
        methods: Of the board.
        protocols: Likewise.
        datasets: Likewise.
        backbones: Likewise.
        shots: Likewise.
        seeds: Likewise.
    """

    methods: Sequence[str] | None = None
    protocols: Sequence[str] | None = None
    datasets: Sequence[str] | None = None
    backbones: Sequence[str] | None = None
    shots: Sequence[int] | None = None
    seeds: Sequence[int] | None = None


def chosen(
    store: Store, named: Sequence[str], wanted: Chosen, sample: int | None = None
) -> list[str]:
    """Ids of trials: those that are named, and those of the board that are as wanted.

    Args:
        store: Whose board.
        named: Whole ids.
        wanted: Left without a value where nothing but the named is meant.
        sample: How many of them at most, drawn anew each time; default: all.

    Raises:
        RequestError: Nothing is asked for, a value is that of no trial, or no trial is so.
    """
    asked = {name: values for name, values in asdict(wanted).items() if values is not None}
    if not (named or asked or sample):
        raise RequestError(
            "which trials? Name some, select some, such as --methods coop --datasets digits, or "
            "draw some of all with --sample 10."
        )
    found = list(dict.fromkeys(named))
    if asked or not named:
        there = rows(
            store,
            f"SELECT trial_id, {', '.join(_COLUMNS.values())} FROM trials "
            "WHERE status = 'completed' ORDER BY trial_id",
        )
        for option, values in asked.items():
            known = {row[_COLUMNS[option]] for row in there}
            said = shots_word if option == "shots" else str
            for value in values:
                if value not in known:
                    near = did_you_mean(said(value), map(said, known))
                    raise RequestError(
                        f"--{option} {said(value)}: no trial of the board has it. {near}"
                    )
        matching = [
            row["trial_id"]
            for row in there
            if all(row[_COLUMNS[option]] in values for option, values in asked.items())
        ]
        if not matching:
            raise RequestError("no trial of the board is all that is asked for together.")
        found = list(dict.fromkeys([*found, *matching]))
    if sample is not None and sample < len(found):
        return random.SystemRandom().sample(found, sample)
    return found
