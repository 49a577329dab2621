"""What a trial leaves behind: its predictions, what it has learned, and all that is known of it."""

from typing import TYPE_CHECKING

from tasks.computing.context import Context
from tasks.planning import own_backbones, own_functions
from tasks.planning.own_methods import FILE, source_of

if TYPE_CHECKING:
    from torch import Tensor

    from operators.episodes.episode import Classes
    from operators.spec import TrialSpec
    from operators.trials.trial import Outcome


def files_of(
    spec: "TrialSpec",
    outcome: "Outcome",
    *,
    classes: "Classes",
    started: str,
    device: str,
    context: Context,
) -> dict[str, bytes]:
    """The files of a trial, by name.

    Args:
        spec: The trial.
        outcome: What came of it.
        classes: All of its dataset, with the templates that were asked for.
        started: When, as ISO 8601 in UTC.
        device: It was computed on.
        context: What it shares with others.
    """
    import json
    from hashlib import sha256

    import pyarrow as pa
    import pyarrow.parquet as pq
    from safetensors.torch import save

    from operators.metrics.predictions import PARQUET
    from operators.trials.machine import machine
    from operators.trials.results import ATTENTION, Provenance, TrialResult

    predictions = pa.BufferOutputStream()
    pq.write_table(outcome.predictions, predictions, **PARQUET)
    learned: dict[str, Tensor] = {k: v.contiguous() for k, v in outcome.learned.items()}
    files = {
        "predictions.parquet": predictions.getvalue().to_pybytes(),
        "prompt.safetensors": save(learned, {"trial_id": spec.trial_id}),
    }
    if outcome.picture is not None:
        files[ATTENTION] = outcome.picture
    if (source := source_of(spec)) is not None:  # so that `predict` needs no other file
        files[FILE] = source.text.encode()
    for digest, source in own_functions.sources_of(spec).items():
        files[own_functions.file_name(digest)] = source.text.encode()
    if (source := own_backbones.source_of(context.backbone)) is not None:
        files[own_backbones.FILE] = source.text.encode()
    result = TrialResult(
        spec=spec,
        metrics=outcome.metrics,
        cost=outcome.cost,
        provenance=Provenance(
            started_at=started,
            device=_device_name(device),
            templates=(*classes.templates, *classes.ensemble),
            **machine(),
            **context.run,
        ),
        episode_fingerprint=outcome.episode_fingerprint,
        selected=outcome.report.selected or {},
        found=outcome.report.found,
        losses=outcome.report.losses,
        validation=outcome.report.validation,
        sha256={name: sha256(content).hexdigest() for name, content in files.items()},
    )
    # Made last: it holds the digests of the others, by which damage on disk is found later.
    return {**files, "trial.json": json.dumps(result.to_json(), indent=1).encode()}


def _device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
