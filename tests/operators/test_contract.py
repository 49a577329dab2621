"""The contract notices what breaks it: for each promise a method that does, in a sentence."""

import copy
import re
from dataclasses import replace
from functools import wraps

import pytest
import torch
from torch import nn

from operators.bounds import Share
from operators.contract import PROMISES, Case, broken, misshapen, report
from operators.episodes.views import CENTRE
from operators.methods import METHODS, StaticClassifier
from operators.tuning import FitReport, Tuning

CoOp, ClipAdapter, ZeroShot = METHODS["coop"], METHODS["clip-adapter"], METHODS["zero-shot"]
BY_NAME = {promise.name: promise for promise in PROMISES}


def card(**changes):
    return replace(CoOp.card, **changes)


class NotWritten(StaticClassifier):
    """Leaves out what is abstract."""


class NoCard(CoOp):
    """Source: nowhere, 2026."""

    card = None


class OneWithout(CoOp):
    """Has a teacher on its card alone."""

    card = card(teacher=True)


class NoDefault(ZeroShot):
    """Has an argument that nobody can know."""

    def __init__(self, backbone, classes, *, generator, it: Share):
        super().__init__(backbone, classes, generator=generator)


class NoBounds(ZeroShot):
    """Takes any number."""

    def __init__(self, backbone, classes, *, generator, it: float = 1.0):
        super().__init__(backbone, classes, generator=generator)


class NoType(ZeroShot):
    """Takes anything."""

    def __init__(self, backbone, classes, *, generator, it=1.0):
        super().__init__(backbone, classes, generator=generator)


class OutOfBounds(ZeroShot):
    """Has a default that it would refuse."""

    def __init__(self, backbone, classes, *, generator, it: Share = 2.0):
        super().__init__(backbone, classes, generator=generator)


class OtherHead(CoOp):
    """Says that other classes have another head, and they have the same."""

    card = card(unseen_head="another head")


class HeadOfNobody(ClipAdapter):
    """Says which head answers for classes that it refuses."""

    card = replace(METHODS["linear-probe"].card, unseen_head="another head")


class NoPolicy(CoOp):
    """Asks for views that there are not."""

    card = card(views="sometimes")


class NoViewsSource(CoOp):
    """Says nowhere where its views are from."""

    card = card(views_source="")


class NoYear(CoOp):
    """Source: somewhere."""

    card = card(source="somewhere")


class NoSource(CoOp):
    """Says nothing of where it comes from."""

    __module__ = "torch"


class Elsewhere(CoOp):
    """Source: CoOp."""

    __module__ = CoOp.__module__
    card = card(family="feature_heads")


class Forgets(CoOp):
    """Has a recipe for a hyperparameter that it lacks."""

    @classmethod
    def recipe(cls, **_):
        return {"no_such": 1}


class Moves(CoOp):
    """Moves the frozen weights."""

    def fit(self, shots, **how):
        with torch.no_grad():
            next(self.backbone.modules()[0].parameters()).add_(1e-3)
        return super().fit(shots, **how)


class Idle(CoOp):
    """Has a parameter that no loss depends on."""

    @wraps(CoOp.__init__)
    def __init__(self, backbone, classes, **how):
        super().__init__(backbone, classes, **how)
        self.unused = nn.Parameter(torch.zeros(3))


class Infinite(CoOp):
    """Has no loss."""

    def loss(self, batch):
        return super().loss(batch) / 0


class Stays(CoOp):
    """Takes no step."""

    def fit(self, shots, *, tuning, generator):
        return FitReport(losses=(1.0,) * tuning.epochs, steps=tuning.epochs)


class Random(ClipAdapter):
    """Asks the global generator."""

    def fit(self, shots, **how):
        report = super().fit(shots, **how)
        with torch.no_grad():
            next(self.parameters()).add_(torch.rand(()))
        return report


class Peeks(ClipAdapter):
    """Reads rows behind those that it was given."""

    def fit(self, shots, **how):
        source, rows = shots.train._source, shots.train.rows
        source.features(rows[:4] + len(rows) + len(shots.val))
        return super().fit(shots, **how)


class Restless(ClipAdapter):
    """Sees one view of all that a suite asks for."""

    def fit(self, shots, **how):
        return super().fit(replace(shots, views=CENTRE), **how)


class Chooses(ClipAdapter):
    """Looks at validation images and says nothing of it."""

    def fit(self, shots, **how):
        assert shots.val.features.isfinite().all()
        return super().fit(shots, **how)


class Drops(CoOp):
    """Takes whole batches alone."""

    def fit(self, shots, *, tuning, generator):
        return super().fit(shots, tuning=replace(tuning, drop_last=True), generator=generator)


class Keeps(ClipAdapter):
    """Learns something that validation cannot bring back."""

    def fit(self, shots, **how):
        report = super().fit(shots, **how)
        with torch.no_grad():
            next(self.parameters()).add_(1.0)
        return report


class Four(CoOp):
    """Gives a logit for each of four classes, whatever is asked."""

    def logits(self, batch):
        found = super().logits(batch)
        return found[:, torch.arange(4) % found.shape[1]]


class Centres(CoOp):
    """Compares an example to those beside it."""

    def logits(self, batch):
        found = super().logits(batch)
        return found - found.mean(dim=0)


class Backwards(METHODS["tip-adapter-f"]):
    """Turns the classes round."""

    def logits(self, batch):
        found = super().logits(batch)
        return found if self.training else found.flip(1)


class Loses(CoOp):
    """Keeps something that it learned out of its state."""

    def fit(self, shots, **how):
        self.shift = torch.arange(4.0)
        return super().fit(shots, **how)

    def logits(self, batch):
        found = super().logits(batch)
        return found + getattr(self, "shift", torch.zeros(4))[: found.shape[1]]


class Hoards(CoOp):
    """Keeps the backbone in its state."""

    @wraps(CoOp.__init__)
    def __init__(self, backbone, classes, **how):
        super().__init__(backbone, classes, **how)
        self.towers = nn.ModuleList(backbone.modules())


class Reads(ZeroShot):
    """Reads descriptions that its card says nothing of."""

    def logits(self, batch):
        return super().logits(batch) + len(self.classes.descriptions)


class Needs(ZeroShot):
    """Does not look whether a backbone has what it needs."""

    card = METHODS["vpt"].card
    tuning = Tuning()

    def __init__(self, backbone, classes, *, generator):
        nn.Module.__init__(self)


class Raises(CoOp):
    """Source: nowhere. Cannot count."""

    def fit(self, shots, **how):
        return 1 / 0


SHAPES = [
    (object, "it is no method"),
    (NotWritten, "it does not write"),
    (NoCard, "it has no card"),
    (OneWithout, "card.teacher and teaching go together"),
    (NoDefault, "its argument it has no default"),
    (NoBounds, "it has no bounds: write Annotated"),
    (NoType, "it has no type: write it: Share = 1.0"),
    (OutOfBounds, "the default it=2.0: give 0 to 1"),
]
VIEWS = "it reads training rows in as many views as it says and no test row"
BREAKS = [
    (NoYear, "the card is filled", "names no year"),
    (HeadOfNobody, "the card is filled", "clear unseen_head"),
    (
        OtherHead,
        "where unseen classes have another head it answers",
        "the same one answers for them",
    ),
    (NoPolicy, "its published views are a policy and have a source", "give none for"),
    (NoViewsSource, "its published views are a policy and have a source", "has no source"),
    (
        NoSource,
        "the docstrings say what it is and where it comes from",
        "no docstring has a line",
    ),
    (Elsewhere, "a file of ours lies where its card says", "move the file, or mend card.family"),
    (Forgets, "published settings resolve and differ from nothing", "its recipe sets no_such"),
    (Moves, "fitting leaves the backbone alone bit by bit", "fitting moved weights"),
    (Idle, "the loss is finite and reaches what is learned alone", "unused requires a gradient"),
    (Infinite, "the loss is finite and reaches what is learned alone", "the loss became inf"),
    (Stays, "tuning moves what requires a gradient", "context requires a gradient and is where it"),
    (Stays, "gradient steps lower the loss", "the loss went from 1 to 1 in 4 steps"),
    (Random, "the same generator gives the same result", "differs between two fits"),
    (
        Peeks,
        VIEWS,
        "those that are tested",
    ),
    (Restless, VIEWS, "the 3 views"),
    (Chooses, VIEWS, "reads some, and chooses_on_validation says that it does not"),
    (Drops, "an incomplete batch is learned from as well", "took 2 steps, not 3"),
    (Keeps, "validation brings back all that its epoch left behind", "is not what it was at the"),
    (Four, "two classes and few examples will do", "2 examples of two classes give logits of shap"),
    (Four, "other classes are classified or refused", "give logits of shape (12, 4)"),
    (Centres, "an example is told the same whatever stands beside it", "with those beside it"),
    (Backwards, "its logits stand in the order of the classes", "in the order of the classes?"),
    (Loses, "what was learned survives a file", "something learned is not in its state"),
    (Hoards, "its file holds nothing frozen", "register frozen tensors with persistent=False"),
    (Hoards, "fitting leaves the backbone alone bit by bit", "are parameters of the method"),
    (
        Reads,
        "descriptions are needed where the card says so and read nowhere else",
        "say descriptions=True on its card",
    ),
    (Needs, "a backbone that lacks what it needs is refused", "is not refused"),
]


@pytest.fixture
def own(clip):
    """A backbone that may be moved."""
    return copy.deepcopy(clip)


@pytest.mark.parametrize(("method", "sentence"), SHAPES)
def test_what_cannot_be_run_is_told_in_one_sentence(method, sentence):
    assert sentence in misshapen("mine", method)


def test_every_shipped_method_has_the_shape():
    assert [misshapen(name, method) for name, method in METHODS.items()] == [""] * len(METHODS)


@pytest.mark.parametrize(("method", "name", "sentence"), BREAKS)
def test_what_breaks_a_promise_is_told(own, method, name, sentence):
    (told, *_) = broken(BY_NAME[name], Case("mine", method, own))
    assert sentence in told


def test_a_report_goes_on_after_what_raises_and_names_the_line(own):
    told = {promise.name: sentences for promise, sentences in report("mine", Raises, own)}
    assert told.keys() == BY_NAME.keys()
    assert next(name for name, sentences in told.items() if sentences) == (
        "it reads training rows in as many views as it says and no test row"
    )
    (sentence,) = told["gradient steps lower the loss"]
    assert re.fullmatch(r"it raised ZeroDivisionError in line \d+: .*", sentence)


def test_a_report_ends_where_nothing_can_run(own):
    (*kept, (promise, sentences)) = report("mine", NoBounds, own)
    assert promise.about == "shape"
    assert [told for _, told in kept] == [[]] * len(kept)
    assert "it has no bounds" in sentences[0]
