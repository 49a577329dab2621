"""Trials of the store as tuned methods: read here for the worker and for `shotboard predict`."""

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tasks.storage.store import Store

PROMPT = "prompt.safetensors"

if TYPE_CHECKING:
    from torch import Tensor

    from operators.backbones import Backbone
    from operators.methods import Teacher
    from operators.spec import TrialSpec
    from operators.trials.trial import Fitted
    from tasks.planning.data import TrialData


def learned_by(store: Store, spec: "TrialSpec", device: str) -> "dict[str, Tensor]":
    """What a completed trial has learned, on a device.

    Raises:
        ValueError: Its file cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = store.trial(spec.trial_id)
    try:
        return load_file(folder / PROMPT, device=device)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"the prompt of trial {spec.trial_id}, {spec.method} on {spec.backbone}, cannot be "
            f"read: {error}. Remove the folder {folder}, and the next run computes it again."
        ) from error


def fit_of(store: Store, spec: "TrialSpec", device: str) -> "Fitted | None":
    """The fit of a trial of the store; None where it has none that is whole.

    Args:
        store: Where it would be.
        spec: Of the trial.
        device: That its tensors go to.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    from operators.trials.results import TrialResult
    from operators.trials.trial import Fitted
    from operators.tuning import FitReport

    folder = store.trial(spec.trial_id)
    if not spec.shots or not folder.exists():
        return None
    try:
        result = TrialResult.from_json(store.result(spec.trial_id))
        content = (folder / PROMPT).read_bytes()
        if sha256(content).hexdigest() != result.sha256[PROMPT]:
            return None
        learned = {name: value.to(device) for name, value in load(content).items()}
    except (OSError, ValueError, LookupError, TypeError, SafetensorError):
        return None  # damaged: it is computed again
    selected = dict(result.selected) or None
    report = FitReport(result.losses, result.cost.steps, selected, result.validation, result.found)
    return Fitted(learned, result.cost, report)


def teacher_from(
    store: Store,
    spec: "TrialSpec",
    backbone: "Backbone",
    data: "TrialData",
    images: Any,
) -> "Teacher":
    """What a trial of the store has learned, ready to teach.

    Args:
        store: Where it is.
        spec: Of the teacher's trial.
        backbone: The backbone that `spec` names.
        data: The dataset that `spec` names.
        images: As in `Teacher`.

    Raises:
        ValueError: The trial is not in the store, or what it left cannot be read.
    """
    from operators.trials.tuned import teacher_of

    learned = leant_on(store, spec, str(backbone.device), "teacher")
    return teacher_of(spec, backbone, data, learned, images)


def leant_on(store: Store, spec: "TrialSpec", device: str, role: str) -> "dict[str, Tensor]":
    """What a trial has learned that another one leans on, on a device.

    Args:
        store: Where it is.
        spec: Of it.
        device: That its tensors go to.
        role: What it is to the other one.

    Raises:
        ValueError: The trial is not in the store, or what it left cannot be read.
    """
    from operators.methods.leaning import LEANINGS

    if not store.bring(store.trial(spec.trial_id)).exists():
        error = store.failure(spec.trial_id)
        trouble = f"it failed: {error}" if error else "it is not in the store."
        raise ValueError(
            f"its {role}, {spec.method} on {spec.backbone} (trial {spec.trial_id}), has no "
            f"prompt: {trouble} Mend that and run the suite again, or choose another with "
            f"{LEANINGS[role].chosen_by}."
        )
    return learned_by(store, spec, device)
