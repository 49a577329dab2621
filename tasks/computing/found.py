"""What a completed trial was computed with, found here again, or refused with a way out."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from data_catalog import Dataset
from data_catalog.wording import some
from operators.backbones import (
    BACKBONES,
    Backbone,
    BackboneCard,
    BackboneReference,
    is_location,
)
from operators.episodes.episode import Classes
from operators.images import TRANSFORM_VERSION
from operators.methods import method_for
from operators.methods.constructing import own_defaults
from operators.methods.hyperparameters import later_defaults
from operators.spec import TrialSpec
from operators.trials.results import TrialResult
from tasks.computing.device import device_for
from tasks.planning import resolve
from tasks.planning.data import text_version_of
from tasks.planning.own_backbones import FILE as CODE
from tasks.planning.own_backbones import find_backbone, installed_backbones, read_backbone
from tasks.planning.resolve import RequestError
from tasks.storage.store import Store

NAMING = "--backbone {}"  # how the command line is told where a backbone is


def spec_of(store: Store, trial_id: str) -> TrialSpec:
    """The specification of a completed trial.

    Raises:
        RequestError: Its file cannot be read.
    """
    try:
        return TrialResult.from_json(store.result(trial_id)).spec
    except (AttributeError, KeyError, TypeError) as error:
        raise RequestError(
            f"{store.trial(trial_id) / 'trial.json'} cannot be read ({error}). Remove the folder, "
            "and the next run computes the trial again."
        ) from error


def refuse_other_version(spec: TrialSpec) -> None:
    """Raises where what a trial learned does not mean the same in this version of the code."""
    method, protocol = method_for(spec), resolve.protocol(spec.protocol)
    then = spec.method_revision, spec.protocol_revision, spec.transform_version
    now = method.revision, protocol.revision, TRANSFORM_VERSION
    if (
        then != now
        or own_defaults(method).keys() - spec.hyperparameters.keys() - later_defaults(method).keys()
    ):
        what = f"{spec.method}, {spec.protocol} and the image transform"
        raise RequestError(
            f"trial {spec.trial_id} was computed by another version of Shotboard: it has revisions "
            f"{some(then)} of {what}, here they are {some(now)}. What it learned does not mean "
            "the same here: run its suite again."
        )


def refuse_other_texts(spec: TrialSpec, card: BackboneCard, known: Classes) -> None:
    """Raises where the tokenizer would be given other texts than when a trial was computed."""
    if text_version_of(card, known, spec.hyperparameters) != spec.text_version:
        raise RequestError(
            f"trial {spec.trial_id} was computed when texts were not yet cleaned as CLIP's "
            f"tokenizer cleans them, and that changes some that it reads of {spec.dataset}: run "
            "its suite again."
        )


def dataset_of(store: Store, spec: TrialSpec) -> Dataset:
    """The dataset that a trial learned from, in the version that it saw.

    Raises:
        RequestError: It is not in the store.
    """
    folder = store.bring(store.data / spec.dataset / spec.dataset_fingerprint)
    if not folder.is_dir():
        raise RequestError(
            f"trial {spec.trial_id} has its class names from {spec.dataset} with the fingerprint "
            f"{spec.dataset_fingerprint}, which is not in {store.data}. If its source is as it "
            f"was, `shotboard datasets ingest {spec.dataset}` brings it back."
        )
    return Dataset.open(folder)


class FoundBackbone(NamedTuple):
    """A backbone that is here."""

    reference: BackboneReference
    card: BackboneCard


def backbones_of(
    store: Store, specs: Sequence[TrialSpec], places: Sequence[str], naming: str = NAMING
) -> dict[str, FoundBackbone]:
    """The backbones of a trial and its teacher, by fingerprint.

    Args:
        store: What the trials keep of code for their backbones.
        specs: The trials.
        places: That the user gave.
        naming: How whoever asks says where a backbone is, with `{}` for the place.

    Raises:
        RequestError: One is not here, or has other weights.
    """
    found: dict[str, FoundBackbone] = {}
    wanted = {spec.backbone_fingerprint: spec for spec in specs}
    for place in places:
        which = find_backbone(place)
        card = which.describe()
        if card.fingerprint not in wanted:
            raise RequestError(f"{naming.format(place)}: {_others(specs[0], card)}")
        found[card.fingerprint] = FoundBackbone(which, card)
    for fingerprint, spec in wanted.items():
        if fingerprint in found:
            continue
        which = read_backbone(store, spec) or _named(spec, naming)
        card = which.describe()
        if card.fingerprint != fingerprint:
            way_out = f"Name the right one with {naming.format('PATH')}."
            raise RequestError(f"{_others(spec, card)} {way_out}")
        found[fingerprint] = FoundBackbone(which, card)
    return found


def _named(spec: TrialSpec, naming: str) -> BackboneReference:
    """What the name of a trial's backbone stands for here.

    Args:
        spec: Of the trial.
        naming: As in `backbones_of`.
    """
    known = spec.backbone in BACKBONES or is_location(spec.backbone)
    if known or spec.backbone in installed_backbones():
        return find_backbone(spec.backbone)
    if ":" in spec.backbone:
        raise RequestError(
            f"trial {spec.trial_id} was tuned on {spec.backbone}, code that its folder keeps no "
            f"copy of ({CODE}): add {naming.format('FILE.py:CLASS')}."
        )
    raise RequestError(
        f"trial {spec.trial_id} was tuned on {spec.backbone}, a folder, and where that is "
        f"belongs to no trial: add {naming.format('PATH')}."
    )


def _others(spec: TrialSpec, card: BackboneCard) -> str:
    """That a backbone is not the one of a trial."""
    return (
        f"trial {spec.trial_id} was tuned on {spec.backbone} with the fingerprint "
        f"{spec.backbone_fingerprint}, and that of {card.source} is {card.fingerprint}: weights, "
        "tokenizer or preprocessing differ, so its prompt does not fit."
    )


def load_backbone(spec: TrialSpec, found: Mapping[str, FoundBackbone]) -> Backbone:
    """The backbone of a trial, in its precision, on this machine's device.

    A trial in TF32 answers on a CPU in fp32, which is as exact or more.
    """
    which, card = found[spec.backbone_fingerprint]
    device, precision = device_for("auto"), spec.precision
    if precision == "tf32" and device == "cpu":
        precision = "fp32"
    return which._replace(precision=precision).load(card, device)
