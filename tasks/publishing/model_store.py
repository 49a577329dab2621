"""What a tuned prompt needs, packed as a store that holds one trial and nothing to compute it from.

    trials/<trial_id>/             trial.json, prompt.safetensors, code of the user's own; and so of
                                   its teacher
    data/<dataset>/<fingerprint>/  class names, labels and splits, without the examples
    datasets/                      sentences about the classes, where the method reads some

`predictor` reads it as any store, so what it says is what `shotboard predict` says. The frozen
backbone is large and everybody has it: the trial names it, with its fingerprint.
"""

import shutil
from pathlib import Path

from data_catalog import Dataset
from data_catalog.bare import write_bare
from data_catalog.descriptions import described, kept_file
from operators.spec import TrialSpec
from tasks.planning.data import DESCRIBED
from tasks.storage.store import Store

_LEFT_OUT = "predictions.parquet"
CONFIG = "backbones"  # what a model is told of where they are
TOP = 5  # classes of each example, where nobody asks for another number


def pack(store: Store, spec: TrialSpec, folder: Path) -> Store:
    """Writes what a trial needs to answer.

    Args:
        store: Where the trial is.
        spec: Of it.
        folder: A new one.

    Returns:
        The folder as a store.

    Raises:
        OSError: Something is not there any more: the teacher's trial, or the dataset.
        ValueError: Something cannot be read.
    """
    packed = Store(folder)
    specs = [spec] if spec.teacher is None else [spec, spec.teacher]
    for each in specs:
        there = packed.trial(each.trial_id)
        ignore = shutil.ignore_patterns(_LEFT_OUT)
        shutil.copytree(store.trial(each.trial_id), there, ignore=ignore)
    place = Path(spec.dataset) / spec.dataset_fingerprint
    write_bare(Dataset.open(store.data / place), packed.data / place)
    if any(DESCRIBED in each.template_set for each in specs):
        found = described(spec.dataset, store.cards)
        if found is not None:
            packed.cards.mkdir()
            shutil.copyfile(found[1], kept_file(spec.dataset, packed.cards))
    return packed


def trial_in(packed: Store) -> str:
    """The trial that a packed store answers with: the one that is no teacher of another.

    Raises:
        ValueError: It holds no trial, or more than one.
    """
    specs = [TrialSpec.from_json(values["spec"]) for values in packed.results()]
    teachers = {spec.teacher.trial_id for spec in specs if spec.teacher is not None}
    found = {spec.trial_id for spec in specs} - teachers
    if len(found) != 1:
        raise ValueError(f"{packed.home} is no model: it holds {len(found)} trials to ask.")
    return found.pop()
