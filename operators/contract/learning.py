"""What fitting does, and what it leaves alone."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.contract.case import (
    EPOCHS,
    LABELS,
    TESTED,
    VALIDATION,
    Case,
    Watched,
    in_precision,
    weights_of,
)
from operators.episodes.episode import Batch
from operators.episodes.views import View
from operators.methods.hyperparameters import defaults, own_of
from operators.tuning import TuningError

ODD = 5  # a batch size that leaves two of twelve examples over
TOLERANCE = 1e-10  # of sums in double precision


def fitting_leaves_the_backbone_alone_bit_by_bit(case: Case) -> Iterator[str]:
    """The backbone is frozen, and nothing of it is the method's."""
    before = weights_of(case.backbone)
    method = case.first.method
    after = weights_of(case.backbone)
    if not all(torch.equal(*pair) for pair in zip(before, after, strict=True)):
        yield "fitting moved weights of the frozen backbone."
    frozen = [p for m in case.backbone.modules() for p in m.parameters()]
    if any(p.requires_grad for p in frozen):
        yield "weights of the backbone require a gradient after fitting."
    if {id(p) for p in frozen} & {id(p) for p in method.parameters()}:
        yield "weights of the backbone are parameters of the method: keep them out of its modules."


def the_loss_is_finite_and_reaches_what_is_learned_alone(case: Case) -> Iterator[str]:
    """Each parameter that asks for a gradient gets one, and the backbone gets none."""
    try:
        built = case.fit(case.few, epochs=1).method  # a loss may move running means
    except TuningError as error:
        yield str(error)
        return
    learned = {name: p for name, p in built.named_parameters() if p.requires_grad}
    if not learned:
        return
    if not (case.method.card.learns or case.method.card.unlabelled):
        yield f"its card says that it learns nothing, but {', '.join(learned)} require a gradient."
    built.train().zero_grad()
    loss = built.loss(case.few.train)
    if loss.shape != () or not loss.isfinite():
        yield f"its loss is {loss.tolist()}, no finite number."
        return
    loss.backward()
    for name, parameter in learned.items():
        if parameter.grad is None or not parameter.grad.abs().sum() > 0:
            yield f"{name} requires a gradient and gets none from the loss."
    if any(p.grad is not None for m in case.backbone.modules() for p in m.parameters()):
        yield "the loss gives weights of the backbone a gradient."


def tuning_moves_what_requires_a_gradient(case: Case) -> Iterator[str]:
    """Else it is a constant that takes memory."""
    start = dict(case.build().named_parameters())
    for name, parameter in case.first.method.named_parameters():
        if parameter.requires_grad and torch.equal(parameter, start[name]):
            yield f"{name} requires a gradient and is where it started after tuning."


def gradient_steps_lower_the_loss(case: Case) -> Iterator[str]:
    """On training examples that are easy to tell apart."""
    if case.method.tuning is None:
        return
    report = case.first.report
    if not report.steps == len(report.losses) == EPOCHS:
        yield f"{EPOCHS} epochs of one step each were told as {report.steps} steps."
    if not report.losses[-1] < report.losses[0]:
        yield f"the loss went from {report.losses[0]:g} to {report.losses[-1]:g} in {EPOCHS} steps."


def the_same_generator_gives_the_same_result(case: Case) -> Iterator[str]:
    """Bit by bit, whatever the global random state is."""
    fits = case.first.method, case.again.method
    one, other = (fitted.learned() for fitted in fits)
    for name, value in one.items():
        if not torch.equal(value, other[name]):
            yield f"{name} differs between two fits with the same generator."
    if not torch.equal(*(_logits(fitted, case) for fitted in fits)):
        yield "logits differ between two fits with the same generator."


def fast_paths_change_no_loss_and_no_gradient(case: Case) -> Iterator[str]:
    """Packed texts and single tokens of the last layer are exact with its prompts too."""
    if case.method.tuning is None or not isinstance(case.backbone, DualEncoder):
        return
    twin: Any = in_precision(case.backbone)
    exact = Case(case.name, case.method, twin)
    images: Any = exact.source(LABELS)
    images.values = images.values.double()
    shots = exact.shots(source=images, val=())
    built = exact.build(own=own_of(case.method, exact.settings())).double()
    tuning = replace(case.method.tuning, epochs=1, warmup_epochs=0, selection="last")
    given = exact.with_extras(shots)
    built.fit(given, tuning=tuning, generator=torch.Generator())

    def outcome() -> list[Tensor]:
        built.train().zero_grad()
        loss = built.loss(shots.train)
        loss.backward()
        return [loss.detach(), *(p.grad for p in built.parameters() if p.requires_grad)]

    found = outcome()
    twin.encode_prompts = twin.encode_prompts_plainly
    if (tower := twin.image_tower) is not None:
        tower.forward_at = lambda x, at, **how: tower(x, **how)[torch.arange(len(x)), at]
    for fast, plain in zip(found, outcome(), strict=True):
        gap, largest = float((fast - plain).abs().max()), float(plain.abs().max())
        if not gap <= TOLERANCE * max(1.0, largest):
            yield f"the fast path of the backbone moves its loss or a gradient by {gap:g}."


def it_reads_training_rows_in_as_many_views_as_it_says_and_no_test_row(
    case: Case,
) -> Iterator[str]:
    """Validation rows are read as the centre crop alone; training rows may be, beside their views.

    Such crops are kept, so that nobody has to know how often. Where validation rows are test rows,
    as ImageNet's, users are told who reads them.
    """
    source, shots = case.watched
    settings = {**defaults(case.method), **case.settings()}
    train, val = (set(part.rows.tolist()) for part in (shots.train, shots.val))
    chooses = case.method.chooses_on_validation(settings)
    if chooses != any(rows & val for rows in source.read.values()):
        does, says = ("none", "that it does") if chooses else ("some", "that it does not")
        yield f"of the validation examples it reads {does}, and chooses_on_validation says {says}."
    seen = {view for view, rows in source.read.items() if rows & train}
    shown = {View(number) for number in range(3)}
    if case.method.view_epochs(settings):
        if seen - {None} != shown:
            yield f"view_epochs promises the 3 views of the suite, but it reads {_told(seen)}."
    elif not seen <= {None}:
        yield f"view_epochs promises the centre crop alone, but it reads {_told(seen)}."
    if any(view and rows & val for view, rows in source.read.items()):
        yield "validation examples are read under a random view."
    tested = set(range(len(train) + len(val), len(train) + len(val) + len(TESTED)))
    if any(rows & tested for rows in source.read.values()):
        yield "fitting reads rows that it was not given: those that are tested."


def it_learns_without_labels_where_its_card_says_so(case: Case) -> Iterator[str]:
    """From unlabelled examples alone, or from those that are tested: no other row is read."""
    card = case.method.card
    places = {"unsupervised": card.unsupervised, "transductive": card.transductive}
    for name, declared in places.items():
        if not (declared and card.unlabelled):
            continue
        train = [] if name == "unsupervised" else [*TESTED]
        rows = range(len(train), len(train) + len(LABELS))
        source = Watched(case.source([*train, *LABELS, *VALIDATION]))
        fitted = case.fit(case.seen_unlabelled(source, train, rows)).method
        read = set().union(*source.read.values())
        if others := sorted(read - {*range(len(train)), *rows}):
            yield f"{name}: it reads rows {others}, which it was not given."
        with torch.no_grad():
            logits = fitted.logits(Batch(source, np.array([*rows]), None))
        if logits.shape != (len(LABELS), len(case.classes)) or not logits.isfinite().all():
            yield f"{name}: some logits are no finite numbers, or not one a class."


def an_incomplete_batch_is_learned_from_as_well(case: Case) -> Iterator[str]:
    """The last one of an epoch, unless `drop_last` says otherwise."""
    if case.method.tuning is None:
        return
    for drop_last, steps in ((False, 3), (True, 2)):
        report = case.fit(case.few, epochs=1, batch_size=ODD, drop_last=drop_last).report
        if report.steps != steps:
            yield (
                f"{len(LABELS)} examples in batches of {ODD} with drop_last={drop_last} took "
                f"{report.steps} steps, not {steps}."
            )


def validation_brings_back_all_that_its_epoch_left_behind(case: Case) -> Iterator[str]:
    """Or `selection="val"` is refused, with the way out."""
    if case.method.tuning is None:
        return
    states: list[dict[str, Tensor]] = []
    asked = {"epochs": 2, "selection": "val"}

    def judge(_: Any) -> float:
        states.append({name: value.clone() for name, value in built.learned().items()})
        return float(len(states) == 1)

    try:
        built = case.build(own=own_of(case.method, case.settings(**asked)))
        built.validation_score = judge
        fitted, report = case.fit(case.few, built=built, **asked)
    except ValueError as error:
        if "use selection='last'" not in str(error):
            yield f"selection='val' is refused without a way out: {error}"
        return
    if report.selected is None or report.selected["epoch"] != 0.0:
        yield f"the first epoch was the best, but {report.selected} was chosen."
        return
    if all(torch.equal(states[0][name], value) for name, value in states[1].items()):
        yield "an epoch changes nothing that is learned."
    # What is searched for after the last step has no epoch.
    later = set(report.selected) - {"epoch", f"val_{case.method.selects_by}"}
    kept = dict(fitted.named_parameters()) if later else fitted.learned()
    for name, value in kept.items():
        if not torch.equal(value, states[0][name]):
            yield f"{name} is not what it was at the end of the epoch that validation chose."


def two_classes_and_few_examples_will_do(case: Case) -> Iterator[str]:
    """One of each, and two beside one."""
    two = case.classes.subset([1, 0])
    for train in ([0, 1], [1, 0, 1]):
        shots = case.shots(train, ())
        fitted = case.fit(shots, two, epochs=2, selection="last").method
        shape = tuple(fitted.logits(shots.train).shape)
        if shape != (len(train), 2):
            yield f"{len(train)} examples of two classes give logits of shape {shape}."


def _logits(method: Any, case: Case) -> Tensor:
    method.forget()  # a stream begins
    with torch.no_grad():
        return method.logits(case.few.train)


def _told(views: set[View | None]) -> str:
    names = sorted("the centre crop" if view is None else view.name for view in views)
    return ", ".join(names) or "nothing"


ONE = (
    it_learns_without_labels_where_its_card_says_so,
    it_reads_training_rows_in_as_many_views_as_it_says_and_no_test_row,
    an_incomplete_batch_is_learned_from_as_well,
    validation_brings_back_all_that_its_epoch_left_behind,
    two_classes_and_few_examples_will_do,
    the_same_generator_gives_the_same_result,
)
EACH = (
    fitting_leaves_the_backbone_alone_bit_by_bit,
    the_loss_is_finite_and_reaches_what_is_learned_alone,
    tuning_moves_what_requires_a_gradient,
    gradient_steps_lower_the_loss,
    fast_paths_change_no_loss_and_no_gradient,
)
