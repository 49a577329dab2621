"""What travels between the driver of a run and its workers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.planning.own_files import Source

if TYPE_CHECKING:
    from operators.backbones import BackboneReference


class Encoder(NamedTuple):
    """How a backbone sees the dataset of a bundle.

    Attributes:
        backbone: Which weights to load, and in which precision.
        features: Folder of the features under the backbone, all views.
    """

    backbone: "BackboneReference"
    features: Path


class TargetFolders(NamedTuple):
    """A dataset that trials are tested on beside their own.

    Attributes:
        dataset: Folder of the ingested dataset.
        features: Folder of its features under the backbone of the trials.
    """

    dataset: Path
    features: Path


@dataclass(frozen=True)
class Context:
    """What the trials of a bundle share.

    Attributes:
        backbone: Which weights to load, and in which precision.
        dataset: Folder of the ingested dataset.
        features: Folder of its features under the backbone, all views.
        run: Provenance that only the driver knows: suite, flow_run_id, git_commit, git_dirty.
        others: The run's other backbones on this dataset, by name: teachers may need them.
        targets: The datasets that its trials are tested on beside this one, by name.
        sources: Files of users' own methods and backbones, by digest: they travel by their content.
        home: Root of the driver's store, which the folders lie in, where that is at a URL.
        asked: Changes with each asking for features; empty where the store is a folder.
    """

    backbone: "BackboneReference"
    dataset: Path
    features: Path
    run: Mapping[str, Any]
    others: Mapping[str, Encoder] = field(default_factory=dict)
    targets: Mapping[str, TargetFolders] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    home: Path | None = None
    asked: str = ""

    @property
    def key(self) -> str:
        """Stands for what a worker loads for it: its backbone and its dataset."""
        return str((self.backbone, self.dataset))

    @property
    def encoder(self) -> Encoder:
        """How its own backbone sees its own dataset."""
        return Encoder(self.backbone, self.features)


class Done(NamedTuple):
    """What became of one trial.

    Attributes:
        trial_id: Which.
        error: Empty unless it failed.
    """

    trial_id: str
    error: str
