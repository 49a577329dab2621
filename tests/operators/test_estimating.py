"""What trials take, from how often a method passes the towers."""

import pytest
import torch

from operators.backbones import DualEncoder, reference
from operators.contract import Case
from operators.engine.accounting import counting
from operators.estimating.probing import _NAMES, BATCHES, CLASSES, probe
from operators.estimating.towers import tower_operations
from operators.estimating.work import Passes, Size, Work, known_work, operations_of, steps_of
from operators.methods import METHODS
from operators.tracks import TRACKS

DUAL_METHODS = [n for n, m in METHODS.items() if TRACKS[m.track].backbones is DualEncoder]


@pytest.fixture(scope="module")
def mini():
    chosen = reference("mini-clip")
    return chosen.load(chosen.describe())


def test_every_method_that_ships_is_known():
    assert list(known_work()) == DUAL_METHODS


def test_the_card_says_whose_steps_pass_no_tower():
    nothing = Passes()
    still = {n for n, work in known_work().items() if METHODS[n].tuning and work.step == nothing}
    said = {name for name in DUAL_METHODS if not METHODS[name].card.tower_steps}
    assert said == still - {"spg"}  # its other stage tunes CoOp, which the estimate counts as once


@pytest.mark.parametrize("name", ["zero-shot", "coop", "cocoop", "maple", "clip-adapter"])
def test_the_table_is_what_is_counted_now(name, mini):
    found = probe(name, METHODS[name], mini).to_json()
    known = known_work()[name].to_json()
    for part, passes in known.items():
        assert found[part] == pytest.approx(passes, rel=1e-3), part


@pytest.mark.parametrize("name", ["coop", "maple", "cocoop"])
def test_an_estimate_is_the_count_where_the_classes_are_those_of_the_probe(name, mini):
    """Between the points of the probe it is a little off, since names differ in length."""
    classes, images = CLASSES[1], BATCHES[1]
    case = Case(name, METHODS[name], mini)
    shots = case.shots([label % classes for label in range(images)], tuple(range(classes)))
    with counting() as work, torch.random.fork_rng(devices=[]):
        case.fit(shots, _NAMES, epochs=3, batch_size=images)
    size = Size(classes, images, ())
    tower = tower_operations(reference("mini-clip"))
    settings = {"epochs": 3, "batch_size": images}
    assert operations_of(known_work()[name], size, settings, tower) == pytest.approx(
        work.done, rel=0.05
    )


def test_what_a_trial_takes_grows_as_its_method_does():
    step = Passes(texts=2.0, images=3.0)
    work = Work(once=Passes(texts=1.0), step=step, answer=Passes(pairs=0.5))
    tower = tower_operations(reference("clip-vit-b16"))
    size = Size(classes=10, images=40, answers=((10, 7), (5, 2)))
    once = 10 * tower.text
    steps = 8 * (2 * 10 * tower.text + 3 * 16 * tower.image)
    answers = 0.5 * tower.text * (10 * 7 + 5 * 2)
    settings = {"epochs": 4, "batch_size": 16}
    assert operations_of(work, size, settings, tower) == pytest.approx(once + steps + answers)


@pytest.mark.parametrize(
    ("images", "settings", "steps"),
    [
        (40, {"epochs": 4, "batch_size": 16}, 8),
        (40, {"epochs": 4, "batch_size": 16, "drop_last": False}, 12),
        (10, {"epochs": 4, "batch_size": 16}, 4),  # the only batch is not dropped
        (10, {}, 0),
    ],
)
def test_steps_are_those_of_the_tuning_loop(images, settings, steps):
    assert steps_of(Size(2, images, ()), settings) == steps


def test_towers_of_a_folder_are_counted_from_its_settings(mini, clip_folder, clip, effnet):
    from operators.backbones.towers.flops import full_layers
    from operators.engine.accounting import forward

    found = tower_operations(reference("mini-clip"))
    assert found.image == pytest.approx(mini.image_flops, rel=0.01)
    assert found.text == forward(full_layers(mini.packed_text.tower.shape, 1, 77))
    tiny = tower_operations(reference(str(clip_folder)))
    assert tiny.image == pytest.approx(clip.image_flops, rel=0.05)
    assert tower_operations(reference("effnet-minilm")).image == pytest.approx(
        effnet.image_flops, rel=0.01
    )


def test_nobody_knows_the_towers_of_a_hub_id_that_is_not_here():
    assert tower_operations(reference("somebody/some-clip")) is None
