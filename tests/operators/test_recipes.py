"""Every published setting, by method, protocol, shots and dataset: recipes.csv beside `resolve`.

A row of the table holds wherever its protocol, shots and dataset are; an empty cell is any. A later
row changes what an earlier one says. So the table says all that a trial without settings of the
user's gets, and nothing else may. The column `source` names the repository and the file.
"""

import csv
import json
import re
from itertools import product
from pathlib import Path

import pytest

from operators.bounds import bounds_of, read
from operators.methods import METHODS
from operators.methods.hyperparameters import (
    OTHER_NAMES,
    PUBLISHED_ON,
    annotations,
    defaults,
    later_defaults,
    published,
    resolve,
)

DASSL = {  # dassl/config/defaults.py, and OPTIM of all configurations that are read here
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "eps": 1e-8,
    "warmup_epochs": 1,
    "warmup_lr": 1e-5,
    "schedule": "epoch",
    "drop_last": True,
    "selection": "last",
    "total_steps": 0,
}
LEARNT = ("few_shot", "base_to_new", "cross_dataset", "domain_generalization")
SHOTS = (1, 2, 4, 8, 16)
COLUMNS = ("protocol", "shots", "dataset")
ROWS = list(csv.DictReader((Path(__file__).parent / "recipes.csv").open()))


def values_of(text):
    """`lr=0.002 context_init="a photo of a"` as a dict."""
    return {name: json.loads(value) for name, value in re.findall(r'(\w+)=("[^"]*"|\S+)', text)}


def wanted(method, place):
    """What the table says of a place."""
    found = dict(DASSL) if METHODS[method].tuning else {}
    for row in ROWS:
        if row["method"] == method and all(
            not row[column] or str(place[column]) in row[column].split() for column in COLUMNS
        ):
            found |= values_of(row["values"])
    return found


def places(method):
    """Every protocol, shots and dataset that settings were published for, and one dataset more."""
    learns = METHODS[method].card.learns
    return (
        dict(zip(COLUMNS, place, strict=True))
        for place in product(
            LEARNT if learns else ("zero_shot",),
            SHOTS if learns else (0,),
            ("digits", *PUBLISHED_ON),
        )
    )


@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_gets_is_what_was_published(name):
    left_out = later_defaults(METHODS[name])
    for place in places(name):
        found = resolve(name, METHODS[name], {}, **place)
        assert {**left_out, **found} == wanted(name, place), place


@pytest.mark.parametrize("name", METHODS)
def test_every_number_has_bounds_and_every_published_value_lies_within(name):
    method = METHODS[name]
    kinds = annotations(method)
    for key, default in defaults(method).items():
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert bounds_of(kinds[key]), f"{name}.{key} declares no bounds"
        assert read(key, default, kinds[key], default) == default
    values = {
        (key, repr(value)): value
        for place in places(name)
        for key, value in published(method, **place).items()
    }
    for (key, _), value in values.items():  # each once: most are the same at every place
        same = read(key, value, kinds[key], value)
        assert (same, type(same)) == (value, type(value)), key


def test_the_table_names_known_methods_places_and_a_source():
    known = {*METHODS}, {*LEARNT}, {*map(str, SHOTS)}, {*PUBLISHED_ON}
    for row in ROWS:
        cells = [row["method"], *(row[column] for column in COLUMNS)]
        assert all({*cell.split()} <= names for cell, names in zip(cells, known, strict=True)), row
        assert row["source"]
    assert {row["method"] for row in ROWS} == {*METHODS}


@pytest.mark.parametrize("name", ["tip-adapter-f", "coop", "coprompt"])
def test_a_dataset_has_its_settings_under_any_of_its_names(name):
    for other, usual in OTHER_NAMES.items():
        place = {"protocol": "few_shot", "shots": 4}
        found, wanted = (
            resolve(name, METHODS[name], {}, **place, dataset=dataset) for dataset in (other, usual)
        )
        assert found == wanted
