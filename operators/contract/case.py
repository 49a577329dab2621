"""A method on a backbone, with drawn examples and shortened settings: what promises look at."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from operators.backbones import DualEncoder
from operators.backbones.towers.packed_text import PackedText
from operators.bounds import brief_of
from operators.contract.drawn import drawn_for
from operators.episodes.episode import Batch, Classes, FewShot, Unlabelled, batch_of
from operators.episodes.protocols import PROTOCOLS
from operators.episodes.views import CENTRE, View, ViewPolicy
from operators.methods import METHODS, Method, Teacher
from operators.methods.hyperparameters import annotations, defaults, own_of, resolve, tuning_of
from operators.tracks import TRACKS
from operators.tuning import FitReport

LABELS = (0, 1, 2, 3) * 3  # of the training examples
VALIDATION = (0, 1, 2, 3)
TESTED = (0, 1, 2, 3)  # of rows that lie behind them in the same source
EPOCHS = 4
TEXT_LAYERS = 3  # of a copy of a backbone: what holds for three layers holds for more


class Fit(NamedTuple):
    """A fitted method, and what came with it.

    Attributes:
        method: In evaluation mode.
        report: Of its tuning.
    """

    method: Any
    report: FitReport


class Watched:
    """A source that remembers which rows were read under which views."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.read: dict[View | None, set[int]] = {}

    def features(self, rows: np.ndarray, view: View | None = None) -> Tensor:
        """See `ImageSource.features`."""
        self.read.setdefault(view, set()).update(rows.tolist())
        return self.source.features(rows, view)

    def pixels(self, rows: np.ndarray, view: View | None = None) -> Tensor:
        """See `ImageSource.pixels`."""
        self.read.setdefault(view, set()).update(rows.tolist())
        return self.source.pixels(rows, view)

    def texts(self, rows: np.ndarray) -> list[str]:
        """See `TextSource.texts`."""
        self.read.setdefault(None, set()).update(rows.tolist())
        return self.source.texts(rows)


class Case:
    """One method on one backbone; each fit that several promises look at is done once.

    Args:
        name: Id of the method, for messages.
        method: Its class.
        backbone: One that can do what the method needs.
    """

    def __init__(self, name: str, method: type[Method], backbone: Any) -> None:
        self.name = name
        self.method: Any = method
        self.backbone = backbone
        self.classes, self.others, self.draw = drawn_for(TRACKS[method.track])

    @cached_property
    def protocol(self) -> str:
        """The first protocol of its track in which labelled examples are learned from."""
        track = self.method.track
        return next(n for n, p in PROTOCOLS.items() if p.track == track and p.learns)

    def settings(self, **changes: Any) -> dict[str, Any]:
        """All hyperparameters: the published ones, shortened, with changes where it has them."""
        brief = {name: brief_of(kind) for name, kind in annotations(self.method).items()}
        given: dict[str, Any] = {name: mark.value for name, mark in brief.items() if mark}
        if self.method.tuning is not None:
            given |= {"epochs": EPOCHS, "batch_size": len(LABELS), "total_steps": 0}
        given |= {name: v for name, v in changes.items() if name in defaults(self.method)}
        return resolve(self.name, self.method, given, protocol=self.protocol, shots=1)

    def source(self, labels: Sequence[int], *, seed: int = 0) -> Any:
        """Drawn examples with some labels.

        Args:
            labels: Class of each example, from 0; as many are drawn.
            seed: Of what is drawn.
        """
        return self.draw(self.method, self.backbone, labels, seed=seed)

    def shots(
        self,
        train: Sequence[int] = LABELS,
        val: Sequence[int] = VALIDATION,
        *,
        source: Any = None,
        views: ViewPolicy = CENTRE,
    ) -> FewShot:
        """Labelled examples.

        Args:
            train: Labels of the training examples.
            val: Labels of those to choose on.
            source: Has them as its first rows; drawn where it is not given.
            views: As a suite asks for them.
        """
        labels = np.array([*train, *val], dtype=np.int64)
        source = self.source(labels.tolist()) if source is None else source
        learned = range(int(labels.max()) + 1)
        device = self.backbone.device
        first, rest = (
            batch_of(source, rows, labels, learned, device)
            for rows in np.split(np.arange(len(labels)), [len(train)])
        )
        return FewShot(int(np.bincount(train).max()), first, rest, views)

    def build(
        self,
        classes: Classes | None = None,
        *,
        backbone: Any = None,
        seed: int = 0,
        own: dict[str, Any] | None = None,
    ) -> Any:
        """The method before it has learned.

        Args:
            classes: Those of the case unless given.
            backbone: That of the case unless given.
            seed: Of the initial parameters.
            own: Hyperparameters of the constructor; the published ones unless given.
        """
        classes = self.classes if classes is None else classes
        backbone = self.backbone if backbone is None else backbone
        generator = torch.Generator().manual_seed(seed)
        given = {**self.teacher(classes, backbone), **(own or {})}
        return self.method(backbone, classes, generator=generator, **given)

    def teacher(self, classes: Classes, backbone: Any) -> dict[str, Any]:
        """What a method that has a teacher is built with: the published one, before it learned.

        Args:
            classes: Of the case.
            backbone: Of the method; the teacher has the same.
        """
        if not self.method.card.teacher:
            return {}
        build: Any = METHODS[self.method.teaching.teacher]
        teacher = build(backbone, classes, generator=torch.Generator().manual_seed(0))
        return {"teacher": Teacher(teacher.eval())}

    def fit(
        self,
        shots: FewShot,
        classes: Classes | None = None,
        *,
        built: Any = None,
        seed: int = 0,
        **changes: Any,
    ) -> Fit:
        """A method tuned as a trial would tune it.

        Args:
            shots: What it learns from.
            classes: What it learns to choose from; those of the case unless given.
            built: The method to tune; built by the settings unless given.
            seed: Of start and order.
            changes: Hyperparameters by name.
        """
        values = self.settings(**changes)
        if built is None:
            built = self.build(classes, seed=seed, own=own_of(self.method, values))
        tuning = tuning_of(self.method, values)
        tuning = tuning and replace(tuning, warmup_epochs=0)
        given = shots if shots.unlabelled is not None else self.with_extras(shots, classes)
        report = built.fit(given, tuning=tuning, generator=torch.Generator().manual_seed(seed))
        return Fit(built.eval(), report)

    def with_extras(self, shots: FewShot, classes: Classes | None = None) -> FewShot:
        """The shots, with what the method's card asks for beside labels.

        That is their examples once more, unlabelled; or domains, which take turns.

        Args:
            shots: As `shots` gives them.
            classes: Among which the teacher chooses; those of the case unless given.
        """
        if self.method.card.domains:
            shots = replace(shots, domains=self.domains(len(shots.train)))
        if not self.method.card.unlabelled:
            return shots
        train = shots.train
        examples = Batch(train._source, train.rows, None, device=train.device)
        return replace(shots, unlabelled=Unlabelled(examples, classes or self.classes))

    def domains(self, rows: int) -> Tensor:
        """Two domains that take turns."""
        return torch.arange(rows, device=self.backbone.device) % 2

    def seen_unlabelled(self, source: Any, train: Sequence[int], rows: Sequence[int]) -> FewShot:
        """Labelled examples, or none, beside others without labels.

        Args:
            source: Has all of them.
            train: Labels of its first rows, which are learned from; may be empty.
            rows: Of those without labels.
        """
        labels = np.array(train, dtype=np.int64)
        device = self.backbone.device
        learned = range(len(self.classes))
        given = batch_of(source, np.arange(len(labels)), labels, learned, device)
        images = Batch(source, np.array(rows, dtype=np.int64), None, device=device)
        val = given.select(torch.arange(0, device=device))
        shots = int(np.bincount(labels).max()) if len(labels) else 0
        return FewShot(shots, given, val, unlabelled=Unlabelled(images, self.classes))

    @cached_property
    def few(self) -> FewShot:
        """Three examples of each of four classes, and one of each to choose on."""
        return self.shots()

    @cached_property
    def first(self) -> Fit:
        """The method fitted on `few`, for all promises that change nothing about it."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return self.fit(self.few)

    @cached_property
    def again(self) -> Fit:
        """The same fit once more, at another state of the global generator."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            return self.fit(self.few)

    @cached_property
    def watched(self) -> tuple[Watched, FewShot]:
        """A fit under three views in turn: what it read, and what it was given.

        Rows that are tested lie behind the others in the same source.
        """
        source = Watched(self.source([*LABELS, *VALIDATION, *TESTED]))
        shots = self.shots(source=source, views=ViewPolicy("bank", 3))
        self.fit(shots)
        return source, shots


def weights_of(backbone: Any) -> list[Tensor]:
    """Copies of all that is frozen."""
    return [value.clone() for m in backbone.modules() for value in m.state_dict().values()]


def in_precision(backbone: DualEncoder, dtype: torch.dtype = torch.float64) -> DualEncoder:
    """A copy of a backbone, with a short text tower where no ViT has layers to go with its own.

    Args:
        backbone: Left as it is.
        dtype: Of the copy.
    """
    twin: Any = copy.deepcopy(backbone)
    if twin.image_tower is None:
        del twin.text_tower.layers[TEXT_LAYERS:]
        twin.text_tower.shape = replace(twin.text_tower.shape, layers=len(twin.text_tower.layers))
    for module in twin.modules():
        module.to(dtype)
    if hasattr(twin, "centre"):
        twin.centre = twin.centre.to(dtype)
    twin.packed_text = PackedText(twin.text_tower, twin.text_inputs, twin.packed_text.pool)
    return twin
