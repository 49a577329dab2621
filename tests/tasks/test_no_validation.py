"""The suite `no-validation`: no trial of it reads a validation image, whatever the dataset."""

from dataclasses import replace
from typing import NoReturn

import numpy as np
import pytest
import torch

from flows.suites import load_suite
from operators.episodes.episode import Batch
from operators.methods import METHODS
from operators.methods.hyperparameters import own_of, tuning_of
from tasks.planning import resolve
from tasks.planning.settings import hyperparameters

SUITE = load_suite("no-validation")


class Forbidden(Batch):
    """Validation images that are there, and say so when they are looked at."""

    def __init__(self) -> None:
        super().__init__(Nobody(), np.arange(4), torch.arange(4))

    def select(self, index) -> NoReturn:
        raise AssertionError("validation images are chosen on")

    @property
    def labels(self) -> NoReturn:
        raise AssertionError("validation labels are read")

    @property
    def features(self) -> NoReturn:
        raise AssertionError("validation images are read")

    pixels = features


class Nobody:
    """Reads no image."""

    def features(self, rows, view=None) -> NoReturn:
        raise AssertionError("validation images are read")

    def pixels(self, rows, view=None) -> NoReturn:
        raise AssertionError("validation images are read")


def settings(choice):
    """The different settings that a choice has over the suite's datasets and shots."""
    found = []
    for dataset in SUITE.all_datasets:
        for shots in SUITE.shots if METHODS[choice.id].card.learns else (0,):
            place = {"protocol": "few_shot", "shots": shots, "dataset": dataset}
            values = hyperparameters(choice, resolve.method(choice.id), **place)
            if values not in found:
                found.append(values)
    return found


def fitted(choice, values, clip, classes, shots):
    method = METHODS[choice.id]
    built = method(clip, classes, generator=torch.Generator(), **own_of(method, values))
    tuning = tuning_of(method, values)
    tuning = tuning and replace(tuning, epochs=3, warmup_epochs=0)
    report = built.fit(shots, tuning=tuning, generator=torch.Generator())
    return built, report


@pytest.mark.parametrize("choice", SUITE.methods, ids=str)
def test_no_cell_reads_a_validation_row(choice, clip, classes, few_shot):
    shots = replace(few_shot(clip.feature_width, [0, 1, 2, 3] * 2), val=Forbidden())
    for values in settings(choice):
        assert not METHODS[choice.id].whole_validation(values)
        assert values.get("selection", "last") == "last"
        _, report = fitted(choice, values, clip, classes, shots)
        assert report.selected is None


@pytest.mark.parametrize("name", ["linear-probe", "tip-adapter", "lp-plus-plus", "cross-modal"])
def test_those_that_choose_by_themselves_are_noticed(name, clip, classes, few_shot):
    shots = replace(few_shot(clip.feature_width, [0, 1, 2, 3] * 2), val=Forbidden())
    (choice,) = [choice for choice in load_suite("zoo").methods if choice.id == name]
    place = {"protocol": "few_shot", "shots": 1, "dataset": "digits"}
    values = hyperparameters(choice, resolve.method(name), **place)
    with pytest.raises(AssertionError, match="validation"):
        fitted(choice, values, clip, classes, shots)


def test_it_is_a_grid_of_few_shot_trials_on_known_datasets_under_twenty_views():
    assert SUITE.protocols == ("few_shot",)
    assert set(SUITE.all_datasets) == set(load_suite("coop-few-shot").all_datasets)
    assert SUITE.views == "bank:20:published"
    assert SUITE.seeds == (1, 2, 3)
