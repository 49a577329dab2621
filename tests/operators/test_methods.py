"""The contract of all methods. No method has a case of its own.

What only one method promises is in a file of that method. What does not depend on the towers is
looked at on one backbone, the rest on one of each kind of towers.
"""

import pytest
import torch

from operators.backbones import DualEncoder
from operators.backbones.base import CAPABILITIES
from operators.backbones.language import CAPABILITIES as LANGUAGE
from operators.backbones.language import LanguageModel
from operators.contract import PROMISES, Case, broken
from operators.methods import METHODS
from operators.tracks import TRACKS

TOWERS = {  # and what they can do; the first can do all
    "clip": frozenset(CAPABILITIES),
    "siglip": frozenset(CAPABILITIES) - {"class-token"},
    "effnet": frozenset(),
}


MODELS = {
    "tiny_causal": frozenset(LANGUAGE),
    "tiny_masked": frozenset(LANGUAGE) - {"causal"},
}
BACKBONES = {DualEncoder: TOWERS, LanguageModel: MODELS}


def entries():
    """What is looked at: a method on a backbone, and a promise."""
    for name, method in METHODS.items():
        backbones = BACKBONES[TRACKS[method.track].backbones]
        for tower, able in backbones.items():
            for promise in PROMISES if method.card.needs <= able else ():
                if promise.about == "each" or tower == next(iter(backbones)):
                    yield pytest.param(
                        (name, tower), promise, id=f"{name} on {tower}: {promise.name}"
                    )


@pytest.fixture(scope="module")
def effnet(effnet, precise):
    """Half of its text tower, which is as bidirectional and takes half the time."""
    return precise(effnet, torch.float32)


@pytest.fixture(scope="module")
def last():
    """The case that was looked at last: the promises of one follow each other."""
    return {}


@pytest.fixture
def case(request, last):
    name, tower = request.param
    if request.param not in last:
        last.clear()
        last[request.param] = Case(name, METHODS[name], request.getfixturevalue(tower))
    return last[request.param]


@pytest.mark.parametrize(("case", "promise"), entries(), indirect=["case"])
def test_it_keeps_its_promise(case, promise):
    assert broken(promise, case) == []


@pytest.mark.parametrize(("backbone", "able"), [*TOWERS.items(), *MODELS.items()])
def test_what_a_backbone_can_do_is_on_its_card(backbone, able, request):
    assert request.getfixturevalue(backbone).card.capabilities == able
