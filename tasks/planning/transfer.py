"""What the trials of a dataset are tested on beside its own test rows: datasets, or a domain."""

from collections.abc import Mapping
from typing import NamedTuple

from data_catalog import Dataset, DatasetCard
from data_catalog.wording import some
from operators.episodes.protocols import Protocol
from operators.episodes.transfer import OWN_TEST, strange_classes
from tasks.planning.data import Preview
from tasks.planning.suite import Suite


class Ground(NamedTuple):
    """What some trials of a dataset are tested on.

    Attributes:
        targets: Other datasets.
        held_out: A domain of its own that nothing is learned from.
    """

    targets: "tuple[Dataset | Preview, ...]" = ()
    held_out: str = ""


class Grounds(NamedTuple):
    """All that the trials of a dataset are tested on, and why some of it is not."""

    tested: tuple[Ground, ...]
    left_out: tuple[str, ...] = ()


def grounds_of(
    suite: Suite,
    dataset: "Dataset | Preview",
    name: str,
    protocol: Protocol,
    datasets: "Mapping[str, Dataset | Preview]",
) -> Grounds:
    """What a protocol tests what was learned from a dataset on.

    Targets are those that the suite names, else its other datasets. Where none of those that it
    names fits, each domain of the dataset is left out in turn if the protocol does so.

    Args:
        suite: What was asked for.
        dataset: That is learned.
        name: Of the protocol, for messages.
        protocol: Says what may be tested.
        datasets: All of the suite's, by name, targets included.
    """
    if not protocol.targets:
        return Grounds((Ground(),))
    named = suite.targets if protocol.held_out else suite.targets or suite.datasets
    if protocol.joins and dataset.name != (first := min(dataset.name, *named)):
        reason = f"it is learned together with {first}, under whose name their trials are."
        return Grounds((), (f"{name} on {dataset.name}: {reason}",))
    chosen: list[Dataset | Preview] = []
    left_out = []
    named = sorted(named) if protocol.joins else named
    for target in (datasets[each] for each in named if each != dataset.name):
        if reason := _unfit(dataset, target, protocol):
            left_out.append(f"{name} from {dataset.name} to {target.name}: {reason}")
        else:
            chosen.append(target)
    if chosen:
        return Grounds((Ground(tuple(chosen)),), tuple(left_out))
    if protocol.held_out and len(dataset.domain_names) > 1:
        return Grounds(tuple(Ground(held_out=domain) for domain in dataset.domain_names))
    if not left_out:
        left_out.append(f"{name} on {dataset.name}: {_nothing(dataset, protocol)}")
    return Grounds((), tuple(left_out))


def _nothing(dataset: "Dataset | Preview", protocol: Protocol) -> str:
    """Why there is nothing to test on, and the way out."""
    way_out = "with --targets, or `targets` in the suite."
    if not protocol.held_out:
        return f"there is no other dataset to test on. Name some {way_out}"
    domains = dataset.domain_names
    has = f"the one domain {domains[0]}" if domains else "no domains"
    return f"it has {has}, so none can be left out. Name datasets of the same classes {way_out}"


def _unfit(dataset: "Dataset | Preview", target: "Dataset | Preview", protocol: Protocol) -> str:
    """Why a dataset is no target of another; empty if it is one."""
    if target.kind != dataset.kind:
        return f"it holds {target.kind}s, and {dataset.name} holds {dataset.kind}s."
    if target.name == OWN_TEST:
        return (
            f"{OWN_TEST!r} is what the scores of the source's own test rows are called. Register "
            "it under another name."
        )
    if isinstance(target, Dataset) and not len(target.rows_of("test")):
        return "it has no test rows."
    if protocol.new_classes:
        return ""
    names = (DatasetCard.prompt_names(each.classes) for each in (dataset, target))
    if strange := strange_classes(*names):
        return f"it has classes that are not learned: {some(strange, 3)}. Try cross_dataset."
    return ""


def alike(dataset: "Dataset | Preview", target: "Dataset | Preview") -> bool:
    """Whether a target has all classes that are learned, and no others.

    Args:
        dataset: That is learned.
        target: That is tested.
    """
    one, other = (DatasetCard.prompt_names(each.classes) for each in (dataset, target))
    return not strange_classes(one, other) and not strange_classes(other, one)
