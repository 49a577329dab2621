"""The one tuning loop: every method that learns by gradient steps goes through it."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Protocol, get_type_hints, runtime_checkable

import torch
from torch import Tensor, nn

from operators.bounds import LATER, Bounds, Decay, Epochs, Images, Rate, read
from operators.engine.graphs import RepeatedSteps, asked
from operators.engine.stacking import in_lane, take_step
from operators.episodes.ahead import ReadingAhead
from operators.episodes.episode import Batch, FewShot


class TuningError(RuntimeError):
    """The loss, or what is learned, is no number any more; says when and what to try."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How the prompts are optimised. The defaults are Dassl's, as CoOp uses them.

    Attributes:
        optimizer: `sgd`, `adam`, `adamw`, or `adafactor` (without its own scaling by the
            parameters).
        lr: Learning rate after the warm-up.
        epochs: Passes over the training examples.
        batch_size: Images a step. An incomplete batch is dropped unless it is the only one.
        momentum: Of SGD.
        weight_decay: L2 factor; AdamW's is apart from the gradient, Adam's is part of it.
        eps: Of Adam and AdamW.
        warmup_epochs: Epochs at the constant `warmup_lr`.
        warmup_lr: Learning rate of the warm-up.
        schedule: `epoch` moves a cosine once an epoch, `step` once a step; `ramp` moves once an
            epoch too, from 0 up over the warm-up and by a cosine back to 0; `linear` falls to 0
            step by step, `constant` stays. `rise` is `step` after a warm-up that begins at
            `warmup_lr` and rises to `lr` step by step; `climb` is `epoch` after one that does so
            epoch by epoch.
        drop_last: Whether an incomplete batch is dropped.
        selection: `last` keeps the last step, `val` the epoch that is best on validation.
        total_steps: Optimiser steps in all, the last epoch cut short; 0 for whole epochs.
    """

    optimizer: Literal["sgd", "adam", "adamw", "adafactor"] = "sgd"
    lr: Rate = 0.002
    epochs: Epochs = 200
    batch_size: Images = 32
    momentum: Annotated[float, Bounds(0, 1, below=True)] = 0.9
    weight_decay: Decay = 5e-4
    eps: Annotated[float, Bounds(0, 1, above=True)] = 1e-8
    warmup_epochs: Annotated[int, Bounds(0, 10_000)] = 1
    warmup_lr: Annotated[float, Bounds(0, 100)] = 1e-5
    schedule: Literal["epoch", "step", "linear", "constant", "ramp", "rise", "climb"] = "epoch"
    drop_last: bool = True
    selection: Literal["last", "val"] = "last"
    total_steps: Annotated[int, Bounds(0, 10_000_000), LATER] = 0

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self), include_extras=True).items():
            read(name, getattr(self, name), kind, getattr(Tuning, name))

    @staticmethod
    def idle(values: Mapping[str, Any]) -> dict[str, str]:
        """Settings that change nothing beside others, by name, and how to make them count."""
        found = {}
        if values["optimizer"] not in ("adam", "adamw"):
            found["eps"] = f"{values['optimizer']} reads none. Ask for optimizer=adamw as well."
        if values["optimizer"] != "sgd":
            found["momentum"] = f"{values['optimizer']} reads none. Ask for optimizer=sgd as well."
        if values["total_steps"]:
            found["epochs"] = "the steps say how long it is tuned. Ask for total_steps=0 as well."
        if not values["warmup_epochs"]:
            found["warmup_lr"] = "there is no warm-up. Ask for warmup_epochs=1 as well."
        elif values["schedule"] == "ramp":
            found["warmup_lr"] = "schedule=ramp starts at 0. Ask for schedule=epoch as well."
        return found

    def leaves_one_alone(self, rows: int) -> bool:
        """Whether a batch would hold one example, of which a batch norm knows no variance.

        Args:
            rows: Training examples.
        """
        dropped = self.drop_last and rows > self.batch_size
        return rows % self.batch_size == 1 and not dropped

    def over(self, rows: int) -> "Tuning":
        """The same for so many training examples: where it says steps, the epochs they take."""
        if not self.total_steps:
            return self
        whole, rest = divmod(rows, self.batch_size)
        batches = whole + bool(rest and not (self.drop_last and whole))
        longer = copy.copy(self)  # in epochs it may be longer than one may ask for
        object.__setattr__(longer, "epochs", -(-self.total_steps // batches))
        return longer


@dataclass(frozen=True)
class FitReport:
    """What happened while fitting.

    Attributes:
        losses: Mean loss of each epoch.
        steps: Optimiser steps.
        selected: What validation chose, by name; empty where nothing was selected.
        validation: Validation score after each epoch, the greater the better; empty where no epoch
            is chosen by it.
        found: What else a user should know of the fit, by name, as JSON has it: words that a search
            found, what it tried, a bound.
    """

    losses: tuple[float, ...] = ()
    steps: int = 0
    selected: dict[str, float] | None = None
    validation: tuple[float, ...] = ()
    found: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Tunable(Protocol):
    """What the loop needs of a method.

    Attributes:
        selects_by: Name of what `validation_score` gives.
    """

    selects_by: ClassVar[str]

    def parameters(self) -> Iterator[nn.Parameter]:
        """As `nn.Module.parameters`."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """As `nn.Module.named_parameters`."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """As `nn.Module.state_dict`."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """As `nn.Module.load_state_dict`."""
        ...

    def train(self, mode: bool = True) -> nn.Module:
        """As `nn.Module.train`."""
        ...

    def loss(self, batch: Batch) -> Tensor:
        """What a step minimises."""
        ...

    def validation_score(self, batch: Batch) -> float:
        """What an epoch is chosen by: the greater the better."""
        ...


def learning_rate(tuning: Tuning, epoch: int, step: int = 0, steps_an_epoch: int = 1) -> float:
    """Learning rate in use during a step.

    With the epoch schedule: `warmup_lr` for the warm-up epochs, then half a cosine that is
    evaluated at the number of epochs since the warm-up over ALL epochs, so that it starts at
    `lr` and does not reach 0. That is what Dassl's `ConstantWarmupScheduler` does.

    Args:
        tuning: The schedule.
        epoch: From 0.
        step: Step within the epoch, from 0; the epoch schedule does not read it.
        steps_an_epoch: Steps in an epoch.
    """
    if tuning.schedule == "ramp":
        return tuning.lr * _ramp(epoch, tuning.warmup_epochs, tuning.epochs)
    if epoch < tuning.warmup_epochs:
        risen = epoch * steps_an_epoch + (step if tuning.schedule == "rise" else 0)
        if tuning.schedule not in ("rise", "climb") or not risen:
            return tuning.warmup_lr
        return tuning.lr * risen / (tuning.warmup_epochs * steps_an_epoch)
    if tuning.schedule == "constant":
        return tuning.lr
    done = epoch - tuning.warmup_epochs
    every = tuning.total_steps or tuning.epochs * steps_an_epoch
    if tuning.schedule == "linear":
        steps = every - tuning.warmup_epochs * steps_an_epoch
        return tuning.lr * (1 - (done * steps_an_epoch + step) / steps)
    if tuning.schedule in ("step", "rise"):
        progress = (done * steps_an_epoch + step) / every
    else:
        progress = done / tuning.epochs
    return tuning.lr / 2 * (1 + math.cos(math.pi * progress))


def _ramp(epoch: int, warmup: int, epochs: int) -> float:
    """Up by a line and down by half a cosine, as transformers' scheduler has it."""
    if epoch < warmup:
        return epoch / warmup
    return (1 + math.cos(math.pi * (epoch - warmup) / max(1, epochs - warmup))) / 2


def tune(
    method: Tunable,
    shots: FewShot,
    tuning: Tuning,
    generator: torch.Generator,
    *,
    backward: Callable[[Batch], Tensor] | None = None,
    epoch_end: Callable[[int], None] | None = None,
    rates: Mapping[str, float] | None = None,
    draw: Callable[[Tuning, torch.Generator], list[Tensor]] | None = None,
    later_of_equals: bool = False,
) -> FitReport:
    """Minimises `method.loss` over the training examples.

    Args:
        method: What requires a gradient in it is learned, in place.
        shots: Training examples, and validation examples for `selection="val"`.
        tuning: Optimiser, schedule and selection.
        generator: Draws the order of the examples, on the CPU.
        backward: Puts the gradients of a step into the parameters and returns the loss to
            report; those of `method.loss` where it is not given.
        epoch_end: Called with the number of each epoch, from 0, after its last step.
        rates: What the learning rate is multiplied by, by name of a parameter; 1 for the others.
        draw: Gives the positions of the examples of each step of an epoch, for those who do not
            pass through all examples once; `batches` where it is not given.
        later_of_equals: Whether of epochs that are equally good on validation the last is kept.

    Raises:
        TuningError: A loss, or something that is learned, is infinite or no number.
        ValueError: `selection="val"` without validation examples.
    """
    if tuning.selection == "val" and not len(shots.val):
        raise ValueError(
            "selection='val' needs validation examples, and the draw has none: use "
            "selection='last'."
        )
    tuning = tuning.over(len(shots.train))
    parameters = [p for p in method.parameters() if p.requires_grad]
    optimizer = _optimizer(_groups(method, rates or {}), tuning)
    method.train()
    losses: list[float] = []
    steps = 0
    best = _Best(method, later=later_of_equals) if tuning.selection == "val" else None
    go_back = backward or _way_back(method, parameters, shots.train.device)
    with ReadingAhead(shots.train.device) as ahead:
        for epoch in range(tuning.epochs):
            examples = shots.in_epoch(epoch)
            order = draw or partial(batches, len(examples))
            drawn = order(tuning, generator)
            whole = len(drawn)
            if tuning.total_steps:
                drawn = drawn[: tuning.total_steps - steps]
            # Summed where it is, read once an epoch: a GPU would be waited for at every read.
            total = torch.zeros((), device=shots.train.device)
            for step, batch in enumerate(ahead.batches(examples, drawn)):
                for group in optimizer.param_groups:
                    group["lr"] = group["rate"] * learning_rate(tuning, epoch, step, whole)
                optimizer.zero_grad(set_to_none=True)
                total += go_back(batch).detach()
                optimizer.step()
            steps += len(drawn)
            losses.append(_mean_loss(total, len(drawn), parameters, epoch, tuning))
            if epoch_end is not None:
                epoch_end(epoch)
            if best is not None:
                best.offer(method.validation_score(shots.val), epoch)
                method.train()
    method.train(False)
    if best is None:
        return FitReport(tuple(losses), steps)
    best.restore()
    chosen = {"epoch": float(best.epoch), f"val_{method.selects_by}": best.score}
    return FitReport(tuple(losses), steps, chosen, tuple(best.scores))


def batches(rows: int, tuning: Tuning, generator: torch.Generator) -> list[Tensor]:
    """A random order of rows, cut into the batches of an epoch.

    Args:
        rows: How many there are.
        tuning: Says how large a batch is, and whether an incomplete one is dropped.
        generator: Draws the order.

    Returns:
        Positions in the rows, a tensor a step.
    """
    parts = list(torch.randperm(rows, generator=generator).split(tuning.batch_size))
    if tuning.drop_last and len(parts) > 1 and len(parts[-1]) < tuning.batch_size:
        parts.pop()
    return parts


class _Best:
    """Remembers parameters and buffers of the epoch with the best validation score.

    Args:
        method: What is tuned.
        later: Whether of equals the last is kept, else the first.
    """

    def __init__(self, method: Tunable, *, later: bool) -> None:
        self.method, self.later = method, later
        self.score, self.epoch = -math.inf, -1
        self.scores: list[float] = []
        self.state: dict[str, Tensor] = {}

    def offer(self, score: float, epoch: int) -> None:
        self.scores.append(score)
        if score > self.score or (self.later and score == self.score):
            self.score, self.epoch = score, epoch
            state = self.method.state_dict()
            self.state = {name: value.detach().clone() for name, value in state.items()}

    def restore(self) -> None:
        self.method.load_state_dict(self.state)


def _way_back(
    method: Tunable, parameters: list[nn.Parameter], device: torch.device
) -> Callable[[Batch], Tensor]:
    """What puts the gradients of a step into the parameters and gives its loss."""
    on_gpu = device.type == "cuda" and torch.cuda.is_available()  # and not pretended
    if asked() and on_gpu and getattr(method, "repeats", False) and not in_lane():
        return RepeatedSteps(method.loss, parameters).take
    return lambda batch: take_step(partial(method.loss, batch))


def _mean_loss(
    total: Tensor, steps: int, parameters: list[nn.Parameter], epoch: int, tuning: Tuning
) -> float:
    """The mean loss of an epoch, whose last step left numbers: of that the loss says nothing.

    Raises:
        TuningError: The loss is no number, or something learned is none; says when, and what to
            try.
    """
    # The extremes of what holds a nan are nan; one pass, where a mask of all numbers takes ten.
    some = [p.detach() for p in parameters if p.numel()]
    extremes = [value for p in some for value in p.aminmax()]
    # All in one read, for which a GPU is waited for.
    loss, *extreme = torch.stack([value.double() for value in (total, *extremes)]).tolist()
    loss, what = loss / steps, ""
    if not math.isfinite(loss):
        what = f"the loss became {loss}"
    elif not all(map(math.isfinite, extreme)):
        lost = sum(int((~p.isfinite()).sum()) for p in parameters)
        every = sum(p.numel() for p in parameters)
        what = f"{lost} of the {every} learned numbers became infinite or nan"
    if what:
        raise TuningError(
            f"{what} in epoch {epoch + 1} of {tuning.epochs} at lr={tuning.lr}: try a smaller lr "
            "or precision fp32."
        )
    return loss


def _groups(method: Tunable, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """What is learned, in groups of one learning rate each."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(rates.get(name, 1.0), []).append(parameter)
    return [{"params": parameters, "rate": rate} for rate, parameters in groups.items()]


def _adafactor(groups: list[dict[str, Any]], tuning: Tuning) -> torch.optim.Optimizer:
    from transformers.optimization import Adafactor  # seconds to import

    fixed = {"scale_parameter": False, "relative_step": False, "warmup_init": False}
    return Adafactor(groups, lr=tuning.lr, weight_decay=tuning.weight_decay, **fixed)


def _optimizer(parameters: list[dict[str, Any]], tuning: Tuning) -> torch.optim.Optimizer:
    build: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "sgd": lambda: torch.optim.SGD(
            parameters,
            lr=tuning.lr,
            momentum=tuning.momentum,
            weight_decay=tuning.weight_decay,
        ),
        "adam": lambda: torch.optim.Adam(
            parameters, lr=tuning.lr, eps=tuning.eps, weight_decay=tuning.weight_decay
        ),
        "adamw": lambda: torch.optim.AdamW(
            parameters, lr=tuning.lr, eps=tuning.eps, weight_decay=tuning.weight_decay
        ),
        "adafactor": lambda: _adafactor(parameters, tuning),
    }
    return build[tuning.optimizer]()
