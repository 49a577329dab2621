"""The contract of all methods, with both kinds of text tower. No method has a case of its own.

What only one method promises is in a file of that method.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from operators.backbones.base import CAPABILITIES
from operators.episodes.episode import Batch, Classes, FewShot, Unlabelled, batch_of
from operators.episodes.views import View, ViewPolicy
from operators.methods import METHODS, Teacher, methods_of
from operators.methods.hyperparameters import (
    defaults,
    later_defaults,
    own_of,
    resolve,
    tuning_of,
    variant,
)
from operators.tuning import FitReport

LABELS = [0, 1, 2, 3] * 3
QUICK = {
    "epochs": 4,
    "batch_size": len(LABELS),
    "max_iterations": 30,
    "search_steps": 2,
    "search_steps_beta": 10,
    "kd_weight": 1.0,  # 1000 is for thousands of steps
}
TOWERS = {  # and what they can do
    "clip": frozenset(CAPABILITIES),
    "siglip": frozenset(CAPABILITIES) - {"class-token"},
    "effnet": frozenset(),
}
EVERY = [(name, tower) for name in methods_of("image-classification") for tower in TOWERS]
CAN = [(name, tower) for name, tower in EVERY if METHODS[name].card.needs <= TOWERS[tower]]
CANNOT = [entry for entry in EVERY if entry not in CAN]


@pytest.fixture(scope="module")
def effnet(effnet, precise):
    """Half of its text tower, which is as bidirectional and takes half the time."""
    return precise(effnet, torch.float32)


@pytest.fixture(params=CAN, ids="-".join, scope="module")
def entry(request):
    """A method, and a backbone that it can work with."""
    return request.param


@pytest.fixture(scope="module")
def name(entry):
    return entry[0]


@pytest.fixture(scope="module")
def method(name):
    return METHODS[name]


@pytest.fixture(scope="module")
def backbone(entry, request):
    return request.getfixturevalue(entry[1])


@pytest.fixture(scope="module")
def drawn_images(drawn_images, drawn_pictures, method, backbone):
    """Drawn features, which a method that needs no more must not look behind; else pictures."""
    if not method.card.needs:
        return drawn_images
    return lambda labels, width, **how: drawn_pictures(backbone, labels, **how)


def taught(method, backbone, classes):
    """The teacher of a method that has one: zero-shot classification."""
    if not method.card.teacher:
        return {}
    teacher = METHODS["zero-shot"](backbone, classes, generator=torch.Generator())
    return {"teacher": Teacher(teacher.eval())}


def with_unlabelled(method, shots, classes):
    """The episode, with its images once more for a method that asks for some without labels."""
    if not method.card.unlabelled:
        return shots
    images = Batch(shots.train._source, shots.train.rows, None)
    return replace(shots, unlabelled=Unlabelled(images, classes))


def build(method, backbone, classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return method(backbone, classes, generator=generator, **taught(method, backbone, classes))


def fit(method, backbone, classes, shots, seed=0, **changes):
    """A method tuned by a shortened recipe, as a trial would tune it, and its report."""
    given = {**QUICK, **changes}
    given = {key: value for key, value in given.items() if key in defaults(method)}
    values = resolve("it", method, given, protocol="few_shot", shots=1)
    generator = torch.Generator().manual_seed(seed)
    given = {**taught(method, backbone, classes), **own_of(method, values)}
    built = method(backbone, classes, generator=generator, **given)
    shots = with_unlabelled(method, shots, classes)
    tuning = tuning_of(method, values)
    tuning = tuning and replace(tuning, warmup_epochs=0)
    report = built.fit(shots, tuning=tuning, generator=torch.Generator().manual_seed(seed))
    return built.eval(), report


def frozen(backbone):
    return [value.clone() for m in backbone.modules() for value in m.state_dict().values()]


@pytest.fixture(scope="module")
def shots(backbone, few_shot):
    """Three images of each of four classes, and one of each to validate."""
    return few_shot(backbone.feature_width, LABELS, [0, 1, 2, 3])


class Fit(NamedTuple):
    """A fitted method, and what came with it."""

    method: Any
    report: FitReport
    backbone_before: list[torch.Tensor]


@pytest.fixture(scope="module")
def first(method, backbone, classes, shots):
    """The method fitted on `shots`, once for all tests that look at it and change nothing."""
    before = frozen(backbone)
    torch.manual_seed(1)
    return Fit(*fit(method, backbone, classes, shots), before)


@pytest.fixture(scope="module")
def fitted(first):
    return first.method


@pytest.fixture(scope="module")
def again(method, backbone, classes, shots, first):
    """The same fit once more, at another state of the global generator."""
    torch.manual_seed(2)
    return fit(method, backbone, classes, shots)[0]


def test_one_logit_a_class_before_and_after_fitting(method, backbone, classes, shots, fitted):
    before = build(method, backbone, classes).logits(shots.train)
    for logits in (before, fitted.logits(shots.train)):
        assert logits.shape == (len(LABELS), len(classes))
        assert logits.isfinite().all()


def test_fitting_leaves_the_backbone_alone_bit_by_bit(backbone, first):
    before = first.backbone_before
    assert all(torch.equal(*pair) for pair in zip(before, frozen(backbone), strict=True))
    assert not any(p.requires_grad for m in backbone.modules() for p in m.parameters())
    owned = {id(p) for m in backbone.modules() for p in m.parameters()}
    assert not any(id(p) in owned for p in first.method.parameters())


@pytest.mark.parametrize("tower", TOWERS)
def test_what_a_backbone_can_do_is_on_its_card(tower, request):
    assert request.getfixturevalue(tower).card.capabilities == TOWERS[tower]


@pytest.mark.parametrize(("name", "tower"), CANNOT)
def test_a_backbone_without_what_is_needed_is_refused(name, tower, classes, request):
    backbone = request.getfixturevalue(tower)
    with pytest.raises(
        ValueError, match=f"needs .*, which {backbone.card.name} does not have: use"
    ):
        build(METHODS[name], backbone, classes)


def test_what_requires_a_gradient_gets_one(method, backbone, classes, shots):
    built, _ = fit(method, backbone, classes, shots, epochs=1)  # a loss may move running means
    trained = [p for p in built.parameters() if p.requires_grad]
    assert not trained or method.card.learns
    if trained:
        built.train()
        built.loss(shots.train).backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained)


def test_tuning_moves_what_requires_a_gradient(method, backbone, classes, fitted):
    start = dict(build(method, backbone, classes).named_parameters())
    for name, parameter in fitted.named_parameters():
        if parameter.requires_grad:
            assert not torch.equal(parameter, start[name]), name


def test_fast_paths_change_no_loss_and_no_gradient(
    method, backbone, classes, drawn_images, precise, monkeypatch
):
    if method.tuning is None:
        return
    twin = precise(backbone)
    images = drawn_images(LABELS, backbone.feature_width)
    images.values, images.encode = images.values.double(), twin.encode_images
    batch = batch_of(images, np.arange(len(LABELS)), np.array(LABELS), range(4), twin.device)
    shots = FewShot(3, batch, batch.select(torch.arange(0)))
    built = build(method, twin, classes).double()
    tuning = replace(method.tuning, epochs=1, warmup_epochs=0)
    shots = with_unlabelled(method, shots, classes)
    built.fit(shots, tuning=tuning, generator=torch.Generator())

    def outcome():
        built.train().zero_grad()
        loss = built.loss(batch)
        loss.backward()
        return [loss.detach(), *(p.grad for p in built.parameters() if p.requires_grad)]

    found = outcome()
    monkeypatch.setattr(twin, "encode_prompts", twin.encode_prompts_plainly)
    if (tower := twin.image_tower) is not None:
        monkeypatch.setattr(
            tower, "forward_at", lambda x, at, **how: tower(x, **how)[torch.arange(len(x)), at]
        )
    for fast, plain in zip(found, outcome(), strict=True):
        limit = 1e-10 * max(1.0, float(plain.abs().max()))
        torch.testing.assert_close(fast, plain, rtol=0, atol=limit)


def test_same_generator_same_result(fitted, again):
    for one, other in zip(*(twin.learned().values() for twin in (fitted, again)), strict=True):
        assert torch.equal(one, other)


def test_global_random_state_decides_nothing(shots, fitted, again):
    assert torch.equal(*(twin.logits(shots.train) for twin in (fitted, again)))


class Recorded:
    """A source that remembers which rows were read under which views."""

    def __init__(self, source):
        self.source = source
        self.read: dict[View | None, set[int]] = {}

    def features(self, rows, view=None):
        self.read.setdefault(view, set()).update(rows.tolist())
        return self.source.features(rows, view)

    def pixels(self, rows, view=None):
        self.read.setdefault(view, set()).update(rows.tolist())
        return self.source.pixels(rows, view)


def test_training_images_are_seen_in_as_many_views_as_it_says(
    method, backbone, classes, drawn_images
):
    labels = np.array([*LABELS, 0, 1, 2, 3])
    source = Recorded(drawn_images(labels, backbone.feature_width))
    train, val = (
        batch_of(source, rows, labels, range(4), backbone.device)
        for rows in np.split(np.arange(len(labels)), [len(LABELS)])
    )
    fit(method, backbone, classes, FewShot(3, train, val, ViewPolicy("bank", 3)))
    seen = {view for view, rows in source.read.items() if rows & set(range(len(LABELS)))}
    if method.view_epochs({**defaults(method), **QUICK}):
        assert seen == {View(0), View(1), View(2)}
    else:
        assert seen <= {None}
    assert all(not rows & set(val.rows.tolist()) for view, rows in source.read.items() if view)


def test_gradient_steps_lower_the_loss(method, first):
    if method.tuning is None:
        return
    report = first.report
    assert report.steps == len(report.losses) == QUICK["epochs"]
    assert report.losses[-1] < report.losses[0]


def test_validation_brings_back_all_that_its_epoch_left_behind(
    method, backbone, classes, shots, monkeypatch
):
    if method.tuning is None:
        return
    states = []

    def judge(built, _):
        states.append(built.learned())
        states[-1] = {name: value.clone() for name, value in states[-1].items()}
        return float(len(states) == 1)

    monkeypatch.setattr("operators.methods.classifier.accuracy_on", judge)
    try:
        fitted, report = fit(method, backbone, classes, shots, epochs=2, selection="val")
    except ValueError as error:
        assert "use selection='last'" in str(error)
        return
    assert report.selected["epoch"] == 0.0
    assert any(not torch.equal(states[0][name], value) for name, value in states[1].items())
    later = set(report.selected) - {"epoch", "val_accuracy"}  # searched for after the last step
    tuned = dict(fitted.named_parameters()) if later else fitted.learned()
    for name, value in tuned.items():
        assert torch.equal(value, states[0][name]), name


def test_what_was_learned_survives_a_file(method, backbone, classes, shots, fitted, tmp_path):
    save_file({k: v.contiguous() for k, v in fitted.learned().items()}, tmp_path / "prompt")
    generator = torch.Generator().manual_seed(7)
    given = {**taught(method, backbone, classes), **fitted.hyperparameters}
    fresh = method(backbone, classes, generator=generator, **given)
    fresh.load_state_dict(load_file(tmp_path / "prompt"))
    assert torch.equal(fresh.eval().logits(shots.train), fitted.logits(shots.train))


def test_the_prompt_file_holds_nothing_frozen(backbone, fitted):
    owned = sum(value.numel() for value in fitted.learned().values())
    assert owned < sum(value.numel() for value in frozen(backbone)) / 2


def test_other_classes_are_classified_or_refused(method, classes, shots, fitted):
    described = (("an animal with stripes.",), ("a round pot.", "it has a lid."))
    others = Classes(("zebra", "tea pot"), classes.templates, descriptions=described)
    if not method.card.new_classes:
        with pytest.raises(ValueError, match="cannot classify others"):
            fitted.with_classes(others)
        return
    assert fitted.with_classes(others).logits(shots.train).shape == (len(LABELS), 2)
    there = fitted.with_classes(others).with_classes(classes)
    torch.testing.assert_close(there.logits(shots.train), fitted.logits(shots.train))


@pytest.mark.parametrize("train", [[0, 1], [1, 0, 1]])
def test_two_classes_and_few_images_will_do(method, backbone, classes, few_shot, train):
    two = classes.subset([1, 0])
    shots = few_shot(backbone.feature_width, train)
    fitted, _ = fit(method, backbone, two, shots, epochs=2)
    assert fitted.logits(shots.train).shape == (len(train), 2)


def test_the_order_of_classes_only_reorders_zero_shot_logits(method, backbone, classes, few_shot):
    if method.card.learns:
        return
    batch = few_shot(backbone.feature_width, LABELS).train
    turned = build(method, backbone, classes.subset([3, 2, 1, 0])).logits(batch)
    wanted = build(method, backbone, classes).logits(batch).flip(1)
    torch.testing.assert_close(turned, wanted, rtol=1e-4, atol=1e-4)


def test_descriptions_are_needed_where_the_card_says_so_and_read_nowhere_else(
    method, backbone, classes, shots
):
    bare = Classes(classes.names, classes.templates)
    if not method.card.descriptions:
        starts = (_start(method, backbone, c, shots) for c in (classes, bare))
        for found, wanted in zip(*starts, strict=True):
            assert torch.equal(found, wanted)
        return
    assert method.card.external_knowledge
    with pytest.raises(ValueError, match="reads sentences about each class, and there are none"):
        build(method, backbone, bare)


def _start(method, backbone, classes, shots):
    """What a method is before it learns: its parameters, its logits, and its loss if it has one."""
    built = build(method, backbone, classes)
    found = [*built.learned().values(), built.eval().logits(shots.train)]
    if method.tuning is not None:
        found.append(built.train().loss(shots.train))
    return found


def test_the_card_is_filled(method):
    card = method.card
    assert card.title
    assert card.tunes
    assert any(str(year) in card.source for year in range(2019, 2030))
    assert method.revision >= 1
    assert method.__doc__


def test_defaults_resolve_for_every_protocol_and_differ_from_nothing(name, method):
    for protocol in ("few_shot", "base_to_new", "zero_shot"):
        values = resolve(name, method, {}, protocol=protocol, shots=4)
        assert set(values) == set(defaults(method)) - set(later_defaults(method))
        assert variant(method, values, protocol=protocol, shots=4) == ""
