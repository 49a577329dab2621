"""What a trial leaves behind: the schema of `trials/<trial_id>/`.

    trial.json           a TrialResult as JSON; written last
    predictions.parquet  one row per test row and split, in the schema of the trial's track
    prompt.safetensors   what was learned, and nothing frozen
    attention.webp       what methods that can say so look at in some test images

These files are the truth. The board and MLflow are rebuilt from them at any time.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from operators.metrics import Score
from operators.spec import TrialSpec

FORMAT = 1
ATTENTION = "attention.webp"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a trial took. Times are wall seconds, memory is the peak of its process.

    Attributes:
        tune_seconds: Building and fitting.
        evaluate_seconds: Classifying the test rows.
        peak_memory_bytes: Of the GPU where there is one, else resident.
        trainable_parameters: Numbers that tuning learns.
        steps: Of the optimiser.
        tune_flops: Floating-point operations of the towers while tuning, as
            operators/engine/accounting.py counts them. None in files from before they were counted.
        plain_tune_flops: The same in plain arithmetic, as the published codes tune.
    """

    tune_seconds: float
    evaluate_seconds: float
    peak_memory_bytes: int
    trainable_parameters: int
    steps: int
    tune_flops: int | None = None
    plain_tune_flops: int | None = None


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where, when and with what a trial was computed; never part of its identity.

    What has a default is None in files that were written before it was noted.

    Attributes:
        started_at: ISO 8601, UTC.
        device: `cpu`, or what the GPU calls itself.
        torch_version: Of torch.
        git_commit: That the code was checked out at; None where it was installed.
        flow_run_id: Of Prefect.
        suite: That asked for the trial.
        git_dirty: Whether the code differed from that commit.
        threads: That torch computes one operation with.
        cpu_model: What the processor calls itself.
        cpu_capability: The newest instructions that torch's own kernels use, such as `AVX2`.
        numpy_version: Of numpy.
        python_version: Of Python.
        templates: Texts of the dataset's prompt templates, its own first; `template_set` of the
            specification is their digest.
        fit_trial_id: The candidate of a search whose fit it is; None where it was fitted itself.
    """

    started_at: str
    device: str
    torch_version: str
    git_commit: str | None = None
    flow_run_id: str | None = None
    suite: str | None = None
    git_dirty: bool | None = None
    threads: int | None = None
    cpu_model: str | None = None
    cpu_capability: str | None = None
    numpy_version: str | None = None
    python_version: str | None = None
    templates: tuple[str, ...] | None = None
    fit_trial_id: str | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Provenance":
        """Reads what `asdict` wrote."""
        texts = values.get("templates")
        return cls(**{**values, "templates": None if texts is None else tuple(texts)})


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """A completed trial."""

    spec: TrialSpec
    metrics: tuple[Score, ...]
    cost: Cost
    provenance: Provenance
    episode_fingerprint: str
    selected: Mapping[str, Any] = field(default_factory=dict)  # what validation chose, if it did
    losses: tuple[float, ...] = ()  # mean training loss of each epoch
    validation: tuple[float, ...] = ()  # score after each epoch, if one was chosen by it
    sha256: Mapping[str, str] = field(default_factory=dict)  # of the files beside, by name
    found: Mapping[str, Any] = field(default_factory=dict)  # see `FitReport`

    def to_json(self) -> dict[str, Any]:
        """The result as `trial.json` holds it."""
        return {
            "format": FORMAT,
            "trial_id": self.spec.trial_id,
            "cell_id": self.spec.cell_id,
            **asdict(self),
            "spec": self.spec.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrialResult":
        """Reads what `to_json` wrote.

        Raises:
            ValueError: The file is of another format or its id does not follow from its spec.
        """
        if values.get("format") != FORMAT:
            raise ValueError(f"trial.json has format {values.get('format')!r}, not {FORMAT}.")
        spec = TrialSpec.from_json(values["spec"])
        if values["trial_id"] != spec.trial_id:
            raise ValueError(
                f"trial.json names trial {values['trial_id']}, but its specification is that of "
                f"{spec.trial_id}: the file was edited. Remove its folder to compute it again."
            )
        return cls(
            spec=spec,
            metrics=tuple(Score(**score) for score in values["metrics"]),
            cost=Cost(**values["cost"]),
            provenance=Provenance.from_json(values["provenance"]),
            episode_fingerprint=values["episode_fingerprint"],
            selected=values["selected"],
            losses=tuple(values["losses"]),
            validation=tuple(values.get("validation", ())),  # older files have none
            sha256=dict(values.get("sha256", {})),
            found=dict(values.get("found", {})),
        )
