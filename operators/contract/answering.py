"""What a classifier says once it is tuned, and what it keeps of that in a file."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from operators.contract.case import LABELS, Case, weights_of
from operators.episodes.episode import Batch, Classes
from operators.methods.hyperparameters import own_of

ROUNDING = 1e-4  # of logits, between orders of the same sums
# Of training examples that lie apart, a method that learned their classes knows more than half.
KNOWN = 0.5


def it_gives_one_finite_logit_a_class_before_and_after_fitting(case: Case) -> Iterator[str]:
    """(b, k), in the order of the classes."""
    for when, method in (("before", case.build()), ("after", case.first.method)):
        logits = method.logits(case.few.train)
        if logits.shape != (len(LABELS), len(case.classes)):
            yield (
                f"{len(LABELS)} examples of {len(case.classes)} classes give logits of shape "
                f"{tuple(logits.shape)} {when} fitting."
            )
        elif not logits.isfinite().all():
            yield f"some logits are no finite numbers {when} fitting."


def it_answers_without_labels(case: Case) -> Iterator[str]:
    """Examples that are tested come without them."""
    train = case.few.train
    bare = Batch(train._source, train.rows, None, device=train.device)
    if not _close(_logits(case.first.method, bare), _logits(case.first.method, train)):
        yield "logits of examples depend on whether their labels are there."


def a_stream_is_told_the_same_however_it_is_cut(case: Case) -> Iterator[str]:
    """What is kept of the examples before goes from batch to batch, and `forget` ends it."""
    if not case.method.card.stream:
        return
    method, train = case.first.method, case.few.train
    kept = {name: value.clone() for name, value in method.state_dict().items()}
    whole = _logits(method, train)
    for size in (1, 5):
        method.forget()
        parts = torch.arange(len(train), device=train.device).split(size)
        with torch.no_grad():
            cut = torch.cat([method.logits(train.select(part)) for part in parts])
        if not _close(cut, whole):
            yield f"logits of a stream in batches of {size} move by {_gap(cut, whole):g}."
    if any(not torch.equal(value, kept[name]) for name, value in method.state_dict().items()):
        yield "what it keeps of a stream is in its state_dict: keep it elsewhere."
    method.forget()


def an_example_is_told_the_same_whatever_stands_beside_it(case: Case) -> Iterator[str]:
    """Test rows go through a method in batches of any size; of a stream, see above."""
    if case.method.card.stream:
        return
    train = case.few.train
    whole = _logits(case.first.method, train)
    alone = _logits(case.first.method, train.select(torch.tensor([len(train) - 1])))
    if not _close(alone[0], whole[-1]):
        yield f"logits of an example move by {_gap(alone[0], whole[-1]):g} with those beside it."


def its_logits_stand_in_the_order_of_the_classes(case: Case) -> Iterator[str]:
    """Other orders of the same classes give the same logits in another order."""
    train, backwards = case.few.train, range(len(case.classes))[::-1]
    turned = case.classes.subset(backwards)
    fitted = case.first.method
    if not case.method.card.learns:
        found = _logits(case.build(turned).eval(), train).flip(1)
        if not _close(found, _logits(case.build().eval(), train)):
            yield "it learns nothing, and the order of the classes moves its logits."
    if case.method.card.new_classes:
        if not _close(_logits(fitted.with_classes(turned), train).flip(1), _logits(fitted, train)):
            yield "after with_classes, logits do not stand in the order of the new classes."
    elif case.method.card.learns:
        said = _logits(fitted, train)
        # Small steps from the texts move logits to where they belong before they decide anything.
        moved = said - _logits(case.build(own=own_of(case.method, case.settings())).eval(), train)
        hits = [found.argmax(dim=1) == train.labels for found in (said, moved)]
        right = max(hits, key=torch.count_nonzero)
        if right.float().mean() <= KNOWN:
            yield (
                f"it classifies {int(right.sum())} of {len(LABELS)} training examples right, which "
                "lie far apart: are its logits in the order of the classes?"
            )


def other_classes_are_classified_or_refused(case: Case) -> Iterator[str]:
    """As the card says; and back at the learned classes it says what it said."""
    others = replace(case.others, templates=case.classes.templates)
    fitted, train = case.first.method, case.few.train
    if not case.method.card.new_classes:
        try:
            fitted.with_classes(others)
        except ValueError as error:
            if "cannot classify others" not in str(error):
                yield f"it refuses other classes with: {error}"
        else:
            yield "its card says new_classes=False, and with_classes takes others."
        return
    twin = fitted.with_classes(others)
    if (shape := tuple(twin.logits(train).shape)) != (len(LABELS), 2):
        yield f"over two other classes, {len(LABELS)} examples give logits of shape {shape}."
    elif not _close(_logits(twin.with_classes(case.classes), train), _logits(fitted, train)):
        yield "at other classes and back, its logits are others: something learned was lost."


def where_unseen_classes_have_another_head_it_answers(case: Case) -> Iterator[str]:
    """A learned class among others has another logit than among the learned ones alone."""
    card, known = case.method.card, case.classes
    if not (card.new_classes and card.unseen_head):
        return
    descriptions = known.descriptions and (*known.descriptions, ("an animal with stripes.",))
    wider = Classes((*known.names, "zebra"), known.templates, descriptions=descriptions)
    fitted, train = case.first.method, case.few.train
    if _close(_logits(fitted.with_classes(wider), train)[:, : len(known)], _logits(fitted, train)):
        yield "its card names a head for unseen classes, and the same one answers for them."


def what_was_learned_survives_a_file(case: Case) -> Iterator[str]:
    """A safetensors file of `learned()` makes a method of any other start the same."""
    fitted = case.first.method
    learned = {name: value.contiguous() for name, value in fitted.learned().items()}
    fresh = case.build(seed=7, own=fitted.hyperparameters)
    fresh.load_state_dict(load(save(learned)))
    if not torch.equal(*(_logits(each.eval(), case.few.train) for each in (fresh, fitted))):
        yield "from its file it gives other logits: something learned is not in its state."


def its_file_holds_nothing_frozen(case: Case) -> Iterator[str]:
    """Or every trial would keep a backbone."""
    owned = sum(value.numel() for value in case.first.method.learned().values())
    frozen = sum(value.numel() for value in weights_of(case.backbone))
    if owned >= frozen / 2:
        yield (
            f"it keeps {owned} numbers, and the whole backbone has {frozen}: register frozen "
            "tensors with persistent=False."
        )


def descriptions_are_needed_where_the_card_says_so_and_read_nowhere_else(
    case: Case,
) -> Iterator[str]:
    """Their digest is part of a trial only where they are read."""
    bare = replace(case.classes, descriptions=())
    if case.method.card.descriptions:
        try:
            case.build(bare)
        except ValueError as error:
            if "reads sentences about each class, and there are none" not in str(error):
                yield f"it refuses classes without descriptions with: {error}"
        else:
            yield "its card says descriptions=True, and it is built without any."
        return
    starts = (_start(case, classes) for classes in (case.classes, bare))
    if not all(torch.equal(*pair) for pair in zip(*starts, strict=True)):
        yield "it reads descriptions of classes: say descriptions=True on its card."


def a_backbone_that_lacks_what_it_needs_is_refused(case: Case) -> Iterator[str]:
    """With what is lacking, and the way out."""
    if not case.method.card.needs:
        return
    poor: Any = copy.copy(case.backbone)
    poor.card = replace(poor.card, capabilities=frozenset())
    try:
        case.build(backbone=poor)
    except ValueError as error:
        if f"which {poor.card.name} does not have: use" not in str(error):
            yield f"a backbone that lacks what it needs is refused with: {error}"
    else:
        yield f"a backbone without {', '.join(sorted(case.method.card.needs))} is not refused."


def _start(case: Case, classes: Classes) -> list[Tensor]:
    """What a method is before it learns: its parameters, its logits, and its loss if it has one."""
    built = case.build(classes)
    found = [*built.learned().values(), _logits(built.eval(), case.few.train)]
    if case.method.tuning is not None:
        found.append(built.train().loss(case.few.train).detach())
    return found


@torch.no_grad()
def _logits(method: Any, batch: Any) -> Tensor:
    method.forget()  # a stream begins
    return method.logits(batch)


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=ROUNDING, atol=ROUNDING)


def _gap(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


ONE = (
    it_answers_without_labels,
    a_stream_is_told_the_same_however_it_is_cut,
    an_example_is_told_the_same_whatever_stands_beside_it,
    its_logits_stand_in_the_order_of_the_classes,
    where_unseen_classes_have_another_head_it_answers,
    what_was_learned_survives_a_file,
    its_file_holds_nothing_frozen,
    descriptions_are_needed_where_the_card_says_so_and_read_nowhere_else,
    a_backbone_that_lacks_what_it_needs_is_refused,
)
EACH = (
    it_gives_one_finite_logit_a_class_before_and_after_fitting,
    other_classes_are_classified_or_refused,
)
