"""The specification of a trial as columns of the board, and back."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from operators.spec import Target, TrialSpec

COLUMNS = tuple(each.name for each in fields(TrialSpec))
MAPPINGS = ("hyperparameters", "aids", "targets")  # columns of JSON
# The board's `setting` says what was published and what was chosen, see variants.py.
STORED = {name: "spec_setting" if name == "setting" else name for name in COLUMNS}
SELECTED = tuple(f"{column} AS {name}" for name, column in STORED.items())


def identity_row(spec: TrialSpec) -> dict[str, Any]:
    """The columns that both completed and failed trials have; trials among the aids by id."""
    values = {name: getattr(spec, name) for name in COLUMNS}
    values["aids"] = spec.aids_by(lambda trial: trial.trial_id)
    values["targets"] = {name: asdict(target) for name, target in spec.targets.items()}
    return {
        **values,
        **{name: json.dumps(values[name], sort_keys=True) for name in MAPPINGS},
        "trial_id": spec.trial_id,
        "cell_id": spec.cell_id,
        "teacher_trial_id": values["aids"].get("teacher"),
        "variant": "",
        "spec_setting": spec.setting,
    }


def spec_of(row: Mapping[str, Any]) -> TrialSpec:
    """The specification of a row as `SELECTED` reads it.

    What a trial among the aids was is not in its row: here it is its id, which gives the same
    `trial_id` but another `cell_id`.
    """
    values = {name: row[name] for name in COLUMNS}
    values |= {name: json.loads(values[name]) for name in MAPPINGS}
    values["targets"] = {name: Target(**target) for name, target in values["targets"].items()}
    return TrialSpec(**values)
