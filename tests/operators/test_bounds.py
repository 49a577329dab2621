"""What is refused before anything starts: of every number of every method, and of what kind."""

import math
from typing import Annotated, Literal

import pytest

from operators.bounds import LATER, Bounds, Share, Tokens, bounds_of, described, is_later, read
from operators.methods import METHODS
from operators.methods.hyperparameters import annotations, defaults, resolve

PLACE = {"protocol": "few_shot", "shots": 16}


def asked(name, **given):
    return resolve(name, METHODS[name], given, **PLACE)


def numbers(name):
    """The bounds of every number that a method takes."""
    kinds = annotations(METHODS[name])
    return {key: bounds for key, kind in kinds.items() if (bounds := bounds_of(kind))}


KINDS = {  # of numbers, and a method that takes each: those of the tuning loop are the same in all
    (key, bounds): name for name in METHODS for key, bounds in numbers(name).items()
}


def outside(bounds, default):
    """The nearest values that are too small and too large."""
    step = 1 if isinstance(default, int) else 1e-6
    low = bounds.low if bounds.above else bounds.low - step
    high = bounds.high if bounds.below else bounds.high + step
    return low, high


def refusal(name, key, value):
    with pytest.raises(ValueError) as error:
        asked(name, **{key: value})
    assert str(error.value).startswith(f"{name}.{key}="), str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", METHODS)
def test_a_number_out_of_its_bounds_is_refused_with_method_value_and_bounds(name):
    usual = defaults(METHODS[name])
    for key, bounds in numbers(name).items():
        for value in outside(bounds, usual[key]):
            assert f": give {bounds}. The default is " in refusal(name, key, value)


@pytest.mark.parametrize(("key", "bounds"), KINDS)
def test_what_is_far_from_its_bounds_or_no_number_is_refused(key, bounds):
    name = KINDS[key, bounds]
    for value in (min(-1, bounds.low - 1), 1e300, 10**400):
        assert f": give {bounds}. The default is " in refusal(name, key, value)
    for value in (math.nan, math.inf, -math.inf, True, "1", [1], {"a": 1}):
        said = refusal(name, key, value)
        assert "no finite number" in said or "but must be" in said


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("coop", {"momentum": 50}),
        ("coop", {"lr": 1e5}),
        ("coop", {"batch_size": 1e9}),
        ("coop", {"weight_decay": -0.1}),
        ("maple", {"epochs": 2.5}),
        ("tip-adapter", {"alpha": 1e300}),
        ("kgcoop", {"weight": math.nan}),
        ("promptsrc", {"warmup_epochs": -1}),
    ],
)
def test_what_an_audit_found_to_be_taken_is_refused(name, given):
    ((key, _),) = given.items()
    with pytest.raises(ValueError, match=rf"^{name}\.{key}="):
        asked(name, **given)


def test_a_whole_number_may_be_written_as_a_float():
    found = asked("coop", epochs=1e2)["epochs"]
    assert (found, type(found)) == (100, int)
    with pytest.raises(ValueError, match=r"coop\.epochs=100\.5 is a float, but must be a whole"):
        asked("coop", epochs=100.5)


def test_a_bound_itself_is_taken_unless_it_is_told_otherwise():
    assert asked("clip-adapter", ratio=0)["ratio"] == 0.0
    assert asked("clip-adapter", ratio=1)["ratio"] == 1.0
    assert asked("coop", momentum=0)["momentum"] == 0.0
    with pytest.raises(ValueError, match="momentum=1: give 0 or more, below 1"):
        asked("coop", momentum=1)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Share, "0 to 1"),
        (Tokens, "1 to 64"),
        (Annotated[float, Bounds(0, 1e6, above=True)], "above 0, up to 1000000"),
        (Annotated[float, Bounds(0, 1, below=True)], "0 or more, below 1"),
        (Annotated[float, Bounds(0, 1, above=True, below=True)], "above 0, below 1"),
        (Annotated[float | None, Bounds(0, 1), LATER], "0 to 1 or null"),
        (Annotated[Literal["a", "b", "c"], LATER], "a, b or c"),
        (Literal["a"], "a"),
        (bool, "true or false"),
        (str, "a text"),
    ],
)
def test_what_a_value_may_be_is_told_in_words(kind, words):
    assert described(kind) == words


def test_nothing_is_asked_of_a_value_of_a_users_own_method_that_says_no_type():
    assert read("mine.it", 3, annotations(Untyped)["it"], 1) == 3


class Untyped(METHODS["zero-shot"]):
    """A method as a user may write it."""

    def __init__(self, backbone, classes, *, generator, it=1):
        super().__init__(backbone, classes, generator=generator)


@pytest.mark.parametrize(
    ("name", "given", "way_out"),
    [
        ("tip-adapter", {"alpha": 2.0}, "Ask for search_on=none as well, or for another search_a"),
        ("tip-adapter", {"beta": 2.0}, "Ask for search_on=none as well, or for another search_b"),
        ("tip-adapter", {"search_on": "none", "search_beta": 9}, "nothing is searched"),
        ("tip-adapter-f", {"momentum": 0.5}, "adamw reads none. Ask for optimizer=sgd as well"),
        ("coop", {"eps": 1e-3}, "sgd reads none. Ask for optimizer=adamw as well"),
        ("coop", {"warmup_epochs": 0, "warmup_lr": 1e-4}, "Ask for warmup_epochs=1 as well"),
        ("kgcoop", {"init_std": 0.1}, "Ask for context_init='' as well"),
        ("pre", {"bottleneck": 8}, "Ask for encoder=mlp1 or mlp2 as well"),
        ("prograd", {"init_std": 0.1}, "Ask for worded=false as well"),
        ("tpt", {"steps": 0, "lr": 0.1}, "no step is taken"),
    ],
)
def test_what_would_change_nothing_is_refused_with_the_way_out(name, given, way_out):
    *_, key = given
    with pytest.raises(ValueError, match=rf"^{name}\.{key}=\S+ would change nothing: ") as error:
        asked(name, **given)
    assert way_out in str(error.value)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("tip-adapter", {"search_on": "none", "alpha": 2.0}),
        ("tip-adapter", {"alpha": 1.17}),  # the default: it is the same trial
        ("tip-adapter-f", {"alpha": 2.0}),  # keys are learned with it
        ("coop", {"optimizer": "adamw", "eps": 1e-3}),
        ("coop", {"context_init": "", "init_std": 0.1}),
        ("pre", {"encoder": "mlp1", "bottleneck": 8}),
    ],
)
def test_what_changes_something_is_taken(name, given):
    assert asked(name, **given).items() >= given.items()


def test_a_later_hyperparameter_is_left_out_at_its_default_so_that_ids_stay():
    later = [key for key, kind in annotations(METHODS["tip-adapter"]).items() if is_later(kind)]
    assert later == ["search_on", "scale", "templates", "augment_epochs"]
    assert not {*later} & {*asked("tip-adapter")}
    assert asked("tip-adapter", search_on="shots", scale=None) == asked("tip-adapter")
    assert asked("tip-adapter", search_on="split")["search_on"] == "split"
