"""The tuning loop: schedule, optimiser, batches, selection, and what it says when it fails."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from operators.tuning import Tuning, TuningError, learning_rate, tune

pytestmark = pytest.mark.bits


class Linear(nn.Module):
    """Classifies features by a learned matrix; enough of a method for the loop."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        start = torch.randn(classes, width, generator=torch.Generator().manual_seed(3))
        self.weight = nn.Parameter(0.1 * start)
        self.seen: list[int] = []

    selects_by = "accuracy"

    def logits(self, batch):
        return batch.features @ self.weight.T

    def validation_score(self, batch):
        self.train(False)
        with torch.no_grad():
            return float((self.logits(batch).argmax(dim=1) == batch.labels).float().mean())

    def loss(self, batch):
        self.seen.append(len(batch))
        return F.cross_entropy(self.logits(batch), batch.labels)


@pytest.fixture
def linear():
    return Linear(6, 3)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rates(tuning: Tuning) -> list[float]:
    return [learning_rate(tuning, epoch) for epoch in range(tuning.epochs)]


def test_the_warm_up_is_one_epoch_at_its_own_rate():
    assert rates(Tuning())[0] == 1e-5
    assert rates(Tuning())[1] == 0.002


def test_the_last_of_five_epochs_is_not_near_zero():
    assert rates(Tuning(lr=0.0035, epochs=5))[-1] == pytest.approx(1.21e-3, abs=5e-6)


def test_the_second_of_two_epochs_has_the_full_rate():
    assert rates(Tuning(lr=0.0026, epochs=2)) == [1e-5, 0.0026]


def test_the_epoch_schedule_is_that_of_torch_after_the_warm_up():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.002)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    wanted = [1e-5]
    for _ in range(49):
        wanted.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    assert rates(Tuning(epochs=50)) == pytest.approx(wanted, rel=1e-9)


def test_the_step_schedule_is_that_of_torch():
    tuning = Tuning(lr=0.001, epochs=4, warmup_epochs=0, schedule="step")
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.001)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4 * 3)
    for epoch in range(4):
        for step in range(3):
            found = learning_rate(tuning, epoch, step, 3)
            assert found == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
            optimizer.step()
            theirs.step()


def test_the_linear_schedule_is_that_of_transformers():
    from transformers import get_linear_schedule_with_warmup

    tuning = Tuning(lr=0.03, epochs=4, warmup_epochs=0, schedule="linear")
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.03)
    theirs = get_linear_schedule_with_warmup(optimizer, 0, 4 * 3)
    for epoch in range(4):
        for step in range(3):
            found = learning_rate(tuning, epoch, step, 3)
            assert found == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
            optimizer.step()
            theirs.step()


def test_the_ramp_is_that_of_transformers_once_an_epoch():
    from transformers import get_cosine_schedule_with_warmup

    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = get_cosine_schedule_with_warmup(optimizer, 5, 20)
    wanted = []
    for _ in range(20):
        wanted.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    tuning = Tuning(lr=0.1, epochs=20, warmup_epochs=5, schedule="ramp")
    assert rates(tuning) == pytest.approx(wanted, rel=1e-9)
    assert "warmup_lr" in Tuning.idle({**vars(tuning), "optimizer": "sgd"})


def test_the_constant_schedule_stays_behind_its_warm_up():
    assert rates(Tuning(lr=0.3, epochs=4, schedule="constant")) == [1e-5, 0.3, 0.3, 0.3]


def test_sgd_is_momentum_with_weight_decay_on_the_scheduled_rate(linear, few_shot):
    shots = few_shot(6, [0, 1, 2])
    tuning = Tuning(lr=0.1, epochs=3, batch_size=3, weight_decay=0.01)
    weight, velocity = linear.weight.detach().clone(), torch.zeros(3, 6)
    tune(linear, shots, tuning, seeded())
    x, onehot = shots.train.features, F.one_hot(shots.train.labels).float()
    for epoch in range(3):
        residual = (x @ weight.T).softmax(dim=1) - onehot
        velocity = 0.9 * velocity + residual.T @ x / 3 + 0.01 * weight
        weight = weight - learning_rate(tuning, epoch) * velocity
    torch.testing.assert_close(linear.weight.detach(), weight)


@pytest.mark.parametrize(
    ("rows", "drop_last", "sizes"),
    [(7, True, [3, 3]), (7, False, [3, 3, 1]), (6, True, [3, 3]), (2, True, [2]), (3, True, [3])],
)
def test_an_incomplete_batch_is_dropped_unless_it_is_the_only_one(
    linear, few_shot, rows, drop_last, sizes
):
    shots = few_shot(6, [row % 3 for row in range(max(rows, 3))][:rows] or [0])
    tuning = Tuning(epochs=1, batch_size=3, drop_last=drop_last)
    report = tune(linear, shots, tuning, seeded())
    assert linear.seen == sizes
    assert report.steps == len(sizes)


def test_every_image_is_seen_once_an_epoch(linear, few_shot):
    shots, seen = few_shot(6, [0, 1, 2] * 3), []
    loss = linear.loss
    linear.loss = lambda batch: (seen.extend(batch.rows), loss(batch))[1]
    tune(linear, shots, Tuning(epochs=2, batch_size=3), seeded())
    assert sorted(seen[:9]) == sorted(seen[9:]) == list(range(9))
    assert seen[:9] != seen[9:]


@pytest.mark.parametrize("seed", [0, 1])
def test_same_generator_same_result(few_shot, seed):
    shots, results = few_shot(6, [0, 1, 2] * 4), []
    for _ in range(2):
        twin = Linear(6, 3)
        tune(twin, shots, Tuning(epochs=3, batch_size=4), seeded(seed))
        results.append(twin.weight.detach())
    assert torch.equal(*results)


def test_another_seed_gives_another_result(few_shot):
    shots, results = few_shot(6, [0, 1, 2] * 4), []
    for seed in (0, 1):
        twin = Linear(6, 3)
        tune(twin, shots, Tuning(epochs=3, batch_size=4), seeded(seed))
        results.append(twin.weight.detach())
    assert not torch.equal(*results)


def test_validation_keeps_the_first_of_the_best_epochs(few_shot):
    class Scripted(Linear):
        """Has a given validation accuracy after each epoch."""

        answers = iter(())

        def logits(self, batch):
            if self.training:
                return super().logits(batch)
            right = next(self.answers)
            chosen = [*batch.labels[:right], *(batch.labels[right:] + 1) % 3]
            return F.one_hot(torch.stack(chosen), 3).float()

    shots = few_shot(6, [0, 1, 2] * 2, [0, 1, 2, 0])
    states = []
    for epochs, selection in ((2, "last"), (4, "val")):
        scripted = Scripted(6, 3)
        scripted.answers = iter([1, 3, 3, 2])
        # The cosine is taken over all epochs, so a constant rate compares the two.
        tuning = Tuning(
            epochs=epochs, batch_size=6, warmup_epochs=9, warmup_lr=0.1, selection=selection
        )
        report = tune(scripted, shots, tuning, seeded())
        states.append(scripted.weight.detach().clone())
    assert report.selected == {"epoch": 1.0, "val_accuracy": 0.75}
    assert report.validation == (0.25, 0.75, 0.75, 0.5)
    assert torch.equal(*states)


def test_the_last_of_equally_good_epochs_is_kept_where_that_is_asked_for(few_shot):
    class Equal(Linear):
        def validation_score(self, batch):
            self.states.append(self.weight.detach().clone())
            return 0.5

    equal = Equal(6, 3)
    equal.states = []
    tuning = Tuning(epochs=3, batch_size=6, warmup_epochs=0, selection="val")
    shots = few_shot(6, [0, 1, 2] * 2, [0, 1, 2])
    report = tune(equal, shots, tuning, seeded(), later_of_equals=True)
    assert report.selected == {"epoch": 2.0, "val_accuracy": 0.5}
    assert torch.equal(equal.weight, equal.states[2])


def test_steps_are_of_the_rows_that_are_drawn(linear, few_shot):
    shots = few_shot(6, [0, 1, 2] * 2)
    asked = []

    def draw(tuning, generator):
        asked.append((tuning, generator))
        return [torch.tensor([0, 0, 3]), torch.tensor([5]), torch.tensor([1, 2])]

    tuning, generator = Tuning(epochs=2, warmup_epochs=0), seeded()
    report = tune(linear, shots, tuning, generator, draw=draw)
    assert asked == [(tuning, generator)] * 2
    assert (linear.seen, report.steps) == ([3, 1, 2] * 2, 6)


def test_the_rate_rises_over_the_warm_up_and_falls_as_the_step_schedule_does():
    rise = Tuning(lr=0.1, epochs=4, warmup_epochs=2, warmup_lr=0.003, schedule="rise")
    found = [learning_rate(rise, *divmod(step, 5), 5) for step in range(20)]
    assert found[:11] == pytest.approx([0.003, *(0.01 * step for step in range(1, 11))])
    level = replace(rise, schedule="step")
    assert found[10:] == [learning_rate(level, *divmod(step, 5), 5) for step in range(10, 20)]


def test_last_selection_never_reads_validation_images(linear, few_shot):
    shots = few_shot(6, [0, 1, 2], [0, 1, 2])
    tune(linear, shots, Tuning(epochs=1), seeded())
    assert "features" not in vars(shots.val)


def test_selection_without_validation_examples_is_refused(linear, few_shot):
    with pytest.raises(ValueError, match="selection='val' needs validation examples"):
        tune(linear, few_shot(6, [0, 1, 2]), Tuning(selection="val"), seeded())


def test_a_loss_that_is_no_number_stops_with_epoch_and_rate(linear, few_shot):
    linear.loss = lambda batch: linear.weight.sum() * math.nan
    with pytest.raises(TuningError, match=r"nan in epoch 1 of 5 at lr=0\.25"):
        tune(linear, few_shot(6, [0, 1, 2]), Tuning(lr=0.25, epochs=5), seeded())


def test_a_last_step_that_leaves_no_number_stops_though_the_loss_was_one(linear, few_shot):
    linear.loss = lambda batch: linear.weight[0].sum() * 1e38
    said = r"^6 of the 18 learned numbers became infinite or nan in epoch 1 of 1 at lr=100\.0"
    with pytest.raises(TuningError, match=said):
        tuning = Tuning(lr=100.0, epochs=1, warmup_epochs=0)
        tune(linear, few_shot(6, [0, 1, 2]), tuning, seeded())


@pytest.mark.parametrize(
    "values",
    [
        {"lr": 0.0},
        {"lr": math.nan},
        {"epochs": 0},
        {"batch_size": -1},
    ],
)
def test_settings_that_cannot_work_are_refused(values):
    ((name, value),) = values.items()
    with pytest.raises(ValueError, match=rf"^{name}={value!r}"):
        Tuning(**values)


@pytest.mark.parametrize(
    ("name", "build"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_adam_and_adamw_are_those_of_torch(linear, few_shot, name, build):
    shots = few_shot(6, [0, 1, 2])
    tuning = Tuning(
        optimizer=name, lr=0.01, eps=1e-3, weight_decay=0.1, epochs=2, warmup_epochs=2,
        warmup_lr=0.01,
    )  # fmt: skip
    twin = Linear(6, 3)
    optimizer = build(twin.parameters(), lr=0.01, eps=1e-3, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        twin.loss(shots.train).backward()
        optimizer.step()
    tune(linear, shots, tuning, seeded())
    torch.testing.assert_close(linear.weight.detach(), twin.weight.detach())


def test_adafactor_is_that_of_transformers_without_its_own_scaling(linear, few_shot):
    from transformers.optimization import Adafactor

    shots = few_shot(6, [0, 1, 2])
    tuning = Tuning(
        optimizer="adafactor", lr=0.3, weight_decay=1e-5, epochs=3, warmup_epochs=0,
        schedule="constant",
    )  # fmt: skip
    twin = Linear(6, 3)
    optimizer = Adafactor(
        twin.parameters(), lr=0.3, weight_decay=1e-5, scale_parameter=False, relative_step=False
    )
    for _ in range(3):
        optimizer.zero_grad()
        twin.loss(shots.train).backward()
        optimizer.step()
    tune(linear, shots, tuning, seeded())
    torch.testing.assert_close(linear.weight.detach(), twin.weight.detach())
    assert set(Tuning.idle(vars(tuning))) == {"eps", "momentum", "warmup_lr"}


def test_a_part_may_learn_at_a_rate_of_its_own(linear, few_shot):
    shots = few_shot(6, [0, 1, 2])
    tuning = Tuning(lr=0.1, epochs=2, warmup_epochs=0, weight_decay=0.0, schedule="constant")
    twin = Linear(6, 3)
    tune(linear, shots, tuning, seeded(), rates={"weight": 0.5})
    tune(twin, shots, replace(tuning, lr=0.05), seeded())
    torch.testing.assert_close(linear.weight.detach(), twin.weight.detach())


def test_a_method_may_give_the_gradients_of_a_step_itself(linear, few_shot):
    shots, start = few_shot(6, [0, 1, 2]), linear.weight.detach().clone()

    def backward(batch):
        linear.weight.grad = torch.full_like(linear.weight, 2.0)
        return torch.tensor(float(len(batch)))

    tuning = Tuning(lr=0.1, epochs=1, warmup_epochs=0, weight_decay=0.0)
    report = tune(linear, shots, tuning, seeded(), backward=backward)
    torch.testing.assert_close(linear.weight.detach(), start - 0.1 * 2.0)
    assert report.losses == (3.0,)
    assert linear.seen == []  # the loss of the method is not asked


@pytest.mark.parametrize("schedule", ["step", "linear"])
def test_steps_say_how_long_it_is_tuned_and_cut_the_last_epoch_short(linear, few_shot, schedule):
    shots = few_shot(6, [0, 1, 2, 0, 1, 2])
    tuning = Tuning(
        lr=0.1, epochs=9, total_steps=5, batch_size=2, warmup_epochs=0, schedule=schedule
    )  # fmt: skip
    assert tuning.over(6).epochs == 2
    assert replace(tuning, total_steps=60_000).over(2).epochs == 60_000  # more than one may ask for
    report = tune(linear, shots, tuning, seeded())
    assert (report.steps, len(report.losses)) == (5, 2)
    half = learning_rate(tuning, 1, 0, 3)  # after three of the five
    wanted = 0.1 / 2 * (1 + math.cos(math.pi * 3 / 5)) if schedule == "step" else 0.1 * (1 - 3 / 5)
    assert half == pytest.approx(wanted)


def test_epochs_beside_steps_are_refused_as_idle():
    assert "Ask for total_steps=0" in Tuning.idle(vars(Tuning(total_steps=5)))["epochs"]
