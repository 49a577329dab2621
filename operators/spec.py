"""What one trial is: everything that can change its number, and the name that follows.

A trial is the unit that yields numbers: method x backbone x dataset x protocol x shots x
seed. Its id is a digest of its specification, so that a trial that is there is never done
again and a trial whose inputs moved is never mistaken for it. A cell is a trial without its
seed: the trials of a cell are what a mean and a standard deviation are taken over.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any

ID_LENGTH = 16  # hex digits
# Marks a field that came when there were trials already. At its default it is left out of the
# identity and of the file: no id moves for what a trial does not use, and an older file reads as
# that of a trial that does not use it. So that default never changes again.
LATER = {"later": True}
TEST, VALIDATION = "test", "val"  # what a trial is tested on: splits of its dataset
# What a trial may lean on beside its backbone and dataset. A role is a key of the identity and of
# `trial.json`, so it is no name of a field, and stays.
AIDS = {
    "teacher": "the trial whose prompt this one learns from, on the same draw",
    "source": "the trial whose prompt this one starts from, learned on other datasets",
    "method_source": "the file of a user's own method",
    "captioner": "the model that describes images in words",
    "generator": "the model that makes images or texts to learn from",
    "corpus": "the texts or images beyond the dataset that are looked up or learned from",
    "language_model": "the model that writes or proposes words of prompts",
}


def digest(value: Any) -> str:
    """Returns the first 16 hex digits of the SHA-256 of `value` as canonical JSON.

    Args:
        value: Whatever `json` can write. Mappings are sorted by key; NaN is refused.

    Raises:
        TypeError: A part of `value` has no JSON form.
        ValueError: A number is NaN or infinite.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


def template_set(template: str, templates: Sequence[str] = ()) -> str:
    """Name of the prompts that a dataset's card gives, a digest of their texts.

    Args:
        template: The prompt of one class, with `{}` for its name.
        templates: The ensemble; empty for `template` alone.
    """
    return f"card-{digest([template, *templates])[:8]}"


@dataclass(frozen=True)
class Target:
    """A dataset that a trial is tested on beside its own.

    It does not learn from it, unless its protocol learns several datasets at once.

    Attributes:
        fingerprint: Digest of its images, labels, splits and class names.
        template_set: Name of its own prompt templates and a digest of their texts.
    """

    fingerprint: str
    template_set: str = "card"


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """Everything that can change the number of a trial, and nothing else.

    A field that is added is marked `LATER`, so that the trials of all stores keep their ids.

    The device, the date and the commit are not here: they are recorded in the result.

    Attributes:
        method: Id in `METHODS`.
        method_revision: The method's own revision; moves when its arithmetic does.
        hyperparameters: All of them, after defaults and the recipe of the protocol.
        backbone: Name or location of the frozen model.
        backbone_fingerprint: Digest of its weights, tokenizer and preprocessing.
        dataset: Name in the catalog or the store.
        dataset_fingerprint: Digest of its images, labels, splits and class names.
        protocol: Id in `PROTOCOLS`.
        shots: Labelled examples a class; 0 for a method that reads none, -1 for all of the train
            split.
        seed: Seed of the draw, the initialisation and the order of batches.
        protocol_revision: The protocol's own revision; moves when its draw or its test rows do.
        setting: `paper` reproduces the published recipe, quirks included; `clean` corrects it.
        selection: `last` step or best on `val`; never on test rows.
        template_set: Name of the prompt templates and a digest of their texts.
        transform_version: Version of the image preprocessing arithmetic.
        views: Augmented views that training sees, see operators/episodes/views.py: `none`,
            `bank:K` or `fresh`, and of which kind.
        precision: Arithmetic of the frozen encoders, `fp32`, `tf32` (of GPUs), `bf16` or `fp16`.
        test_rows_per_class: Cap on the test rows of each class; None means all.
        aids: What else it leans on, by role, a key of `AIDS`: a trial, or the fingerprint of what
            is no trial; empty for most.
        text_version: Of what the tokenizer is given: 2 where the cleaning of texts changed one that
            the trial reads; see operators/backbones/formats/cleaning.py.
        targets: Datasets that are tested beside `dataset`, by name; empty for most.
        held_out: Domain of `dataset` that nothing is learned from and that is tested; empty for
            most.
        tested_on: `test` rows; or the `val` rows of the draw, which a candidate of a search is
            scored on: no test row has a part in it.
        composition: Digest of the attribute and the object of each class, where the protocol asks
            for them; they are no part of the dataset's fingerprint.
    """

    method: str
    method_revision: int
    hyperparameters: Mapping[str, Any]
    backbone: str
    backbone_fingerprint: str
    dataset: str
    dataset_fingerprint: str
    protocol: str
    shots: int
    seed: int
    protocol_revision: int = 1
    setting: str = "paper"
    selection: str = "last"
    template_set: str = "card"
    transform_version: int = 1
    views: str = "none"
    precision: str = "fp32"
    test_rows_per_class: int | None = None
    text_version: int = field(default=1, metadata=LATER)
    aids: "Mapping[str, TrialSpec | str]" = field(default_factory=dict, metadata=LATER)
    targets: Mapping[str, Target] = field(default_factory=dict, metadata=LATER)
    held_out: str = field(default="", metadata=LATER)
    tested_on: str = field(default=TEST, metadata=LATER)
    composition: str = field(default="", metadata=LATER)

    def __post_init__(self) -> None:
        if odd := sorted(set(self.aids) - set(AIDS)):
            raise ValueError(
                f"trial specification: {', '.join(odd)} is no role of an aid; roles are "
                f"{', '.join(AIDS)}."
            )

    @property
    def teacher(self) -> "TrialSpec | None":
        """The trial whose prompt this one learns from; None for most."""
        aid = self.aids.get("teacher")
        return aid if isinstance(aid, TrialSpec) else None

    @property
    def source(self) -> "TrialSpec | None":
        """The trial whose prompt this one starts from; None for most."""
        aid = self.aids.get("source")
        return aid if isinstance(aid, TrialSpec) else None

    @property
    def leant_on(self) -> "tuple[TrialSpec, ...]":
        """The trials that have to be over before this one begins: a teacher, a source."""
        return tuple(aid for aid in self.aids.values() if isinstance(aid, TrialSpec))

    @property
    def on_validation(self) -> "TrialSpec":
        """The same fit, scored on the validation rows of its draw: a candidate of a search.

        A teacher's test rows have no part in it either. Those of a source are of other datasets,
        and nothing is chosen by them.
        """
        teacher = {"teacher": self.teacher.on_validation} if self.teacher else {}
        return replace(
            self,
            tested_on=VALIDATION,
            targets={},
            test_rows_per_class=None,
            aids={**self.aids, **teacher},
        )

    @cached_property
    def trial_id(self) -> str:
        """Sixteen hex digits that name this trial everywhere."""
        return digest(self.identity())

    @cached_property
    def cell_id(self) -> str:
        """Sixteen hex digits shared by the trials that differ from this one by seed alone."""
        shared = self._values(lambda trial: trial.cell_id)
        return digest({name: value for name, value in shared.items() if name != "seed"})

    def identity(self) -> dict[str, Any]:
        """What the ids are taken from: all that says something, trials among the aids by id.

        A dataset or backbone that is registered again under another name gives the same
        numbers, but rows of the board are read by name, so the names stay part of it.
        """
        return self._values(lambda trial: trial.trial_id)

    def to_json(self) -> dict[str, Any]:
        """The specification as plain values, as `trial.json` keeps it."""
        return self._values(lambda trial: trial.to_json())

    def aids_by(self, name: "Callable[[TrialSpec], Any]") -> dict[str, Any]:
        """The aids by role, trials as `name` writes them and fingerprints as they are."""
        return {
            role: name(aid) if isinstance(aid, TrialSpec) else aid
            for role, aid in self.aids.items()
        }

    def _values(self, of_trial: "Callable[[TrialSpec], Any]") -> dict[str, Any]:
        values = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if not (each.metadata.get("later") and getattr(self, each.name) == _neutral(each))
        }
        values["hyperparameters"] = dict(self.hyperparameters)
        if self.targets:
            values["targets"] = {name: asdict(target) for name, target in self.targets.items()}
        values.pop("aids", None)  # each is a key of its own
        return values | self.aids_by(of_trial)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrialSpec":
        """Reads what `to_json` wrote.

        Raises:
            ValueError: A key is missing or unknown.
        """
        known = {each.name for each in fields(cls)} - {"aids"} | set(AIDS)
        needed = {each.name for each in fields(cls) if not each.metadata.get("later")}
        odd = sorted((needed - set(values)) | (set(values) - known))
        if odd:
            raise ValueError(f"trial specification: {', '.join(odd)} missing or unknown.")
        aids = {
            role: cls.from_json(aid) if isinstance(aid, Mapping) else str(aid)
            for role, aid in values.items()
            if role in AIDS
        }
        own = {name: value for name, value in values.items() if name not in AIDS}
        targets = {name: Target(**target) for name, target in values.get("targets", {}).items()}
        return cls(**{**own, "aids": aids, "targets": targets})


def _neutral(of: Field) -> Any:
    """The value at which a field says nothing."""
    return of.default if of.default_factory is MISSING else of.default_factory()
