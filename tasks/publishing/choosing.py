"""Which trial is the `best` of a registered model: by a rule that never looks at a test row.

Trials of one model differ in shots, seed and hyperparameters. Chosen is, of those of the newest
revision of the method and with the most labelled examples,

1. where some have a validation score, the one with the best;
2. else one with the published settings, if there is one, of the first seed: papers average
   over their seeds and choose none.

Of equals it is the one that was computed last.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operators.episodes.shots import shots_order, shots_word
from operators.spec import TrialSpec
from tasks.publishing.mlflow_client import safe

RULE = 2  # moves with the rule, so that what was chosen by another one is chosen again
MODEL = ("method", "backbone", "dataset", "protocol", "held_out")
_SCORE = "val_"
_NO_TEST = "No test row was looked at."


@dataclass(frozen=True)
class Candidate:
    """A trial that may be the best of its model.

    Attributes:
        name: Of the registered model.
        trial_id: Of the trial.
        cell_id: Of its cell.
        rank: The greater, the rather it is chosen; JSON can hold it.
        chosen_by: `validation`, or `published rule`.
    """

    name: str
    trial_id: str
    cell_id: str
    rank: tuple[Any, ...]
    chosen_by: str


def candidate(trial: Mapping[str, Any]) -> Candidate:
    """A completed trial as a candidate.

    Args:
        trial: As `trial.json` holds it.
    """
    spec = trial["spec"]
    scores = [value for name, value in trial["selected"].items() if name.startswith(_SCORE)]
    rank = (
        spec["method_revision"],
        shots_order(spec["shots"]),
        bool(scores),
        scores[0] if scores else 0.0,
        nearness(TrialSpec.from_json(spec)),
        -spec["seed"],
        trial["provenance"]["started_at"],
    )
    name = safe("-".join(spec[key] for key in MODEL if key in spec))
    how = "validation" if scores else "published rule"
    return Candidate(name, trial["trial_id"], trial["cell_id"], rank, how)


def reason(trial: Mapping[str, Any]) -> str:
    """How a trial was chosen, as a sentence.

    Args:
        trial: As `trial.json` holds it.
    """
    spec = trial["spec"]
    among = f"Of the trials with the most labelled examples a class ({shots_word(spec['shots'])}), "
    for name, value in trial["selected"].items():
        if name.startswith(_SCORE):
            return f"{among}the best on validation rows ({name} {value:.4f}). {_NO_TEST}"
    settings = {
        2: "those with the published settings",
        1: f"those with the published hyperparameters, views {spec['views']}",
        0: "of which none has the published settings",
    }[nearness(TrialSpec.from_json(spec))]
    return f"{among}{settings}, the first seed ({spec['seed']}). {_NO_TEST}"


def nearness(spec: TrialSpec) -> int:
    """How near a trial is to what was published: 2 in all, 1 but for its views, else 0."""
    from tasks.planning.planned import chosen_of

    chosen = chosen_of(spec)
    if chosen.differences or chosen.marks:
        return 0
    return 1 if chosen.views else 2
