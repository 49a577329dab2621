"""What a track is: a kind of task, and all that a trial has to know of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import torch

from operators.backbones import Backbone
from operators.episodes.episode import Classes, Episode, Evaluation, FewShot
from operators.episodes.table import Table
from operators.methods import Method
from operators.spec import TrialSpec


@runtime_checkable
class Data(Protocol):
    """What a trial needs of a dataset."""

    @property
    def table(self) -> Table:
        """Labels and splits."""
        ...

    @property
    def all_classes(self) -> Classes:
        """All classes in label order, with the card's templates."""
        ...


class TargetData(NamedTuple):
    """A dataset that a trial is tested on beside its own.

    Attributes:
        data: Of it.
        source: Reads its examples, as `Track.source` gives it.
    """

    data: Data
    source: Any


class Track(ABC):
    """A kind of task: what is shown, what is asked for, and how the answers are scored.

    Protocols belong to one track each, and methods by their contract. Everything above (trials,
    plans, workers, the board, MLflow, pages) asks the track and names none.

    Attributes:
        name: Key of `TRACKS`.
        title: One line for listings.
        kind: Of the data, key of `data_catalog.KINDS`.
        contract: What every method of the track is.
        backbones: What every backbone of the track is.
        predictions: Columns of what a trial says of its test rows.
        metrics: Keys of `METRICS`, in the order of the board.
        primary: The one that rows are ranked and curves are drawn by.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    kind: ClassVar[str]
    contract: ClassVar[type[Method]]
    backbones: ClassVar[type[Backbone]]
    predictions: ClassVar[pa.Schema]
    metrics: ClassVar[tuple[str, ...]]
    primary: ClassVar[str]

    def misfit(self, method: type[Method]) -> str:
        """Why a method has no place among the methods of the track; empty if it has.

        Those of the track itself have one. Others may serve as they are, where the track says so.

        Args:
            method: Its class.
        """
        if method.track == self.name:
            return ""
        return f"it is a method of {method.track}, and the protocol is of {self.name}."

    def known(self, data: Data) -> Classes:
        """All classes of a dataset, in label order, as the methods of the track read them.

        Args:
            data: Of the dataset.
        """
        return data.all_classes

    @abstractmethod
    def source(self, read: Callable[[np.ndarray], list[Any]], backbone: Any, stores: Any) -> Any:
        """Where methods read the examples of a dataset.

        Args:
            read: From row ids to raw examples, as the dataset's kind gives them.
            backbone: Frozen.
            stores: From a view to the store of frozen features that were encoded under it; None
                where there are none.
        """

    @abstractmethod
    def build(
        self,
        spec: TrialSpec,
        backbone: Any,
        data: Data,
        episode: Episode,
        generator: torch.Generator,
        teacher: Any = None,
    ) -> Method:
        """The method of a trial, not fitted yet.

        Args:
            spec: Says which method and hyperparameters.
            backbone: Frozen.
            data: Of the dataset that is learned.
            episode: Says what of it.
            generator: Source of the initial parameters.
            teacher: For methods that learn from another tuned model.

        Raises:
            ValueError: The method has a teacher and none was given, or one was given in vain.
        """

    @abstractmethod
    def shots(
        self, spec: TrialSpec, backbone: Any, data: Data, source: Any, episode: Episode
    ) -> FewShot:
        """What `Method.fit` is given.

        Args:
            spec: Says how many shots, which views and which seed.
            backbone: Says on which device.
            data: Of the dataset that is learned.
            source: As `source` gives it.
            episode: Rows of the draw; none of those that are tested is handed on.
        """

    @abstractmethod
    def evaluate(
        self, method: Any, data: Data, source: Any, episode: Episode, evaluation: Evaluation
    ) -> pa.Table:
        """What a tuned method says of some test rows, in the schema `predictions`.

        Args:
            method: As it was after tuning.
            data: Of the dataset that the evaluation is about.
            source: Of that dataset.
            episode: What was learned.
            evaluation: What is asked.

        Raises:
            ValueError: There are no such rows, or what the method says of one is no number.
        """
