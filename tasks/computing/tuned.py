"""Trials of the store as tuned methods: read here for the worker and for `shotboard predict`."""

from typing import TYPE_CHECKING, Any

from tasks.storage.store import Store

if TYPE_CHECKING:
    from torch import Tensor

    from operators.backbones import Backbone
    from operators.methods import Teacher
    from operators.spec import TrialSpec
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
        return load_file(folder / "prompt.safetensors", device=device)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"the prompt of trial {spec.trial_id}, {spec.method} on {spec.backbone}, cannot be "
            f"read: {error}. Remove the folder {folder}, and the next run computes it again."
        ) from error


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

    if not store.trial(spec.trial_id).exists():
        error = store.failure(spec.trial_id)
        trouble = f"it failed: {error}" if error else "it is not in the store."
        raise ValueError(
            f"its teacher, {spec.method} on {spec.backbone} (trial {spec.trial_id}), has no "
            f"prompt: {trouble} Mend that and run the suite again, or choose another with "
            "teacher=NAME."
        )
    learned = learned_by(store, spec, str(backbone.device))
    return teacher_of(spec, backbone, data, learned, images)
