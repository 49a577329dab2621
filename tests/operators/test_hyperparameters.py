"""From what a user asks of a method to what it is built with."""

import csv
from importlib.resources import files
from typing import ClassVar, Literal

import pytest

from operators.methods import METHODS
from operators.methods.hyperparameters import (
    OTHER_NAMES,
    PUBLISHED_ON,
    defaults,
    later_defaults,
    own_of,
    resolve,
    tuning_of,
    variant,
)
from operators.methods.image_classification.base import StaticClassifier
from operators.tuning import Tuning

COOP = METHODS["coop"]


class Odd(StaticClassifier):
    """Has an argument of every kind."""

    tuning: ClassVar = None

    def __init__(
        self,
        backbone,
        classes,
        *,
        generator,
        size: int = 3,
        share: float = 0.5,
        flag: bool = False,
        word: str = "",
        kind: Literal["a", "b"] = "a",
        cap: int | None = None,
    ) -> None:
        super().__init__(backbone, classes)

    def class_features(self):
        raise NotImplementedError


def asked(method=Odd, protocol="few_shot", shots=16, **given):
    return resolve("odd", method, given, protocol=protocol, shots=shots)


def test_defaults_give_way_to_the_recipe():
    assert asked(COOP, shots=1)["epochs"] == 50
    assert asked(COOP, shots=4)["epochs"] == 100
    assert asked(COOP, shots=8)["epochs"] == 200
    assert asked(COOP, "base_to_new")["context_init"] == "a photo of a"
    assert asked(COOP)["n_context"] == 16


def test_the_recipe_gives_way_to_what_is_asked_for():
    assert asked(COOP, shots=1, epochs=7)["epochs"] == 7
    assert asked(COOP, "base_to_new", context_init="", n_context=8)["n_context"] == 8


def test_every_hyperparameter_is_there_once_and_sorted():
    values = asked(COOP)
    assert list(values) == sorted(defaults(COOP).keys() - later_defaults(COOP).keys())
    assert tuning_of(COOP, values) == Tuning(lr=0.002, epochs=200, batch_size=32)
    assert own_of(COOP, values)["n_context"] == 16
    assert not {"self", "backbone", "classes", "generator"} & set(values)


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(LookupError, match=r"no hyperparameter of odd is called 'n_ctx'.*n_context"):
        asked(COOP, n_ctx=4)


def test_an_unknown_name_far_from_all_offers_all():
    with pytest.raises(LookupError, match="Did you mean cap or flag or kind"):
        asked(qqqqqq=4)


def test_a_method_without_hyperparameters_says_so():
    with pytest.raises(LookupError, match="It has none"):
        asked(METHODS["zero-shot"], lr=4)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "size",
            3.5,
            r"odd\.size=3\.5 is a float, but must be a whole number\. Write odd\.size=3 or",
        ),
        ("size", "3", "is a str, but must be a whole number"),
        ("size", True, "is a bool, but must be a whole number"),
        ("share", True, r"is a bool, but must be a number\. Write odd\.share=0\.5 or the like"),
        ("share", "1", "must be a number"),
        ("flag", 1, r"is a int, but must be true or false\. Write odd\.flag=false or"),
        ("word", 1, r'must be a text\. Write odd\.word="" or'),
        ("kind", "c", r"odd\.kind='c' is not one of a, b"),
        ("kind", ["a"], "is not one of a, b"),
        ("cap", 1.5, r"must be a whole number or null\. Write odd\.cap=null or"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        asked(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("size", 1), ("flag", True), ("kind", "b"), ("cap", None), ("cap", 2)]
)
def test_a_value_of_the_right_type_is_taken_as_it_is(name, value):
    assert asked(**{name: value})[name] is value


def test_a_whole_number_will_do_for_a_float():
    value = asked(share=1)["share"]
    assert (value, type(value)) == (1.0, float)


def test_the_tuning_loop_refuses_its_own():
    with pytest.raises(ValueError, match=r"odd\.epochs=0: give 1 to 10000\. The default is 200"):
        asked(COOP, epochs=0)
    with pytest.raises(ValueError, match=r"odd\.optimizer='lion' is not one of sgd, adam, adamw"):
        asked(COOP, optimizer="lion")


def test_the_published_settings_have_no_variant_text():
    values = asked(COOP, "base_to_new")
    assert variant(COOP, values, protocol="base_to_new", shots=16) == ""


def test_a_dataset_may_have_published_settings_of_its_own_under_any_of_its_names():
    def weight(dataset, **given):
        place = {"protocol": "few_shot", "shots": 16, "dataset": dataset}
        values = resolve("prograd", METHODS["prograd"], given, **place)
        return values["weight"], variant(METHODS["prograd"], values, **place)

    assert weight("flowers102") == weight("oxford_flowers") == (0.8, "")
    assert weight("digits") == (1.0, "")
    assert weight("flowers102", weight=1.0) == (1.0, "weight=1.0")


def test_variant_text_names_what_differs_from_the_published_settings():
    values = asked(COOP, shots=1, epochs=30, lr=0.01, class_position="front", per_class=True)
    found = variant(COOP, values, protocol="few_shot", shots=1)
    assert found == "class_position='front' epochs=30 lr=0.01 per_class=True"


def test_variant_text_can_tell_any_value():
    values = asked(cap=3)
    assert variant(Odd, {**values, "word": None}, protocol="few_shot", shots=1) == "cap=3 word=None"


def test_the_datasets_with_published_settings_have_the_names_that_published_numbers_have():
    rows = csv.DictReader((files("operators.board") / "reference_names.csv").open())
    names = {row["ours"]: row["published"] for row in rows if row["kind"] == "dataset"}
    known = {**{name: name for name in PUBLISHED_ON}, **OTHER_NAMES}
    assert set(known) - set(names) == {"pacs"}  # settings of SPG, without numbers
    del known["pacs"]
    theirs = {names[name] for name in known}
    assert {ours for ours, published in names.items() if published in theirs} == set(known)
    assert all(names[name] == names[known[name]] for name in known)
