"""Whether a dataset has the rows that a protocol asks for, before anything is tuned on it."""

from collections.abc import Iterator

import numpy as np

from data_catalog import Dataset
from data_catalog.wording import some
from operators.episodes.compositional import NO_PAIRS
from operators.episodes.episode import Episode
from operators.episodes.joined import joined_table
from operators.episodes.protocols import PROTOCOLS, Protocol, pool_of
from operators.episodes.table import Setup
from operators.methods.material import Material
from operators.tracks import TRACKS
from operators.wording import either
from tasks.planning.data import Preview, TrialData
from tasks.planning.transfer import Ground

# The way out where val rows are test rows.
UNLESS_MADE = "ingested with --splits train=train,test=test, val is made of train rows"


def unsuited(dataset: "Dataset | Preview", protocol: Protocol) -> str:
    """Why a dataset has no place in a protocol; empty if it has.

    Args:
        dataset: Ingested, or what its card says.
        protocol: What is asked of it.
    """
    asked = TRACKS[protocol.track].kind
    if dataset.kind != asked:
        return (
            f"it holds {dataset.kind}s, and the protocol asks about {asked}s. "
            f"{another(protocol.learns, kind=dataset.kind)}"
        )
    if len(dataset.classes) < protocol.minimum_classes:
        return f"it has {len(dataset.classes)} classes, and {protocol.minimum_classes} are needed."
    if isinstance(dataset, Dataset):
        if not len(dataset.rows_of("test")):
            return "it has no test rows."
        if protocol.learns and not len(dataset.rows_of("train")):
            return f"it has no train rows to draw from. {another(False, kind=asked)}"
        if protocol.unlabelled == "train" and not len(dataset.rows_of("train")):
            return f"it has no train rows to learn from. {another(False, kind=asked)}"
        return protocol.lacking(TrialData(dataset).table)
    return NO_PAIRS if protocol.pairs and dataset.composed is False else ""


def another(learns: bool, *, kind: str = "", track: str = "") -> str:
    """The way out of a protocol that does not fit; empty if no other one would.

    Args:
        learns: Whether methods are given labelled examples in the protocol that is wanted.
        kind: Of the data that it asks about; any if not given.
        track: That it belongs to; any if not given.
    """
    for name, protocol in PROTOCOLS.items():
        fits = track in ("", protocol.track) and kind in ("", TRACKS[protocol.track].kind)
        if fits and protocol.learns == learns:
            return f"Choose another with --protocols, such as {name}."
    return ""


def testing_targets(tracks: set[str]) -> str:
    """The way out where no protocol tests other datasets: those of these tracks that do, if any."""
    known = {name: protocol.track for name, protocol in PROTOCOLS.items() if protocol.targets}
    own = [name for name, track in known.items() if track in tracks]
    if own:
        return f"Add {either(own)} to them."
    of = ", ".join(sorted(set(known.values())))
    return f"Leave targets out: {' and '.join(known)} do, and are of {of}."


def without_rows(dataset: "Dataset | Preview", protocol: Protocol, ground: Ground) -> str:
    """Which of the classes that are learned or tested together have no rows at all, if any.

    A draw of one row a class tells: which classes go together depends on no seed.

    Args:
        dataset: That is learned; of one that is not ingested nothing is known.
        protocol: What is asked of it.
        ground: What is tested.
    """
    datasets = {each.name: each for each in (dataset, *ground.targets) if isinstance(each, Dataset)}
    episode = _sample(dataset, protocol, ground, 1 if protocol.learns else 0)
    if episode is None:
        return ""
    way_out = "Give it some, or leave the protocol out."
    own = datasets[dataset.name]
    if protocol.learns and not len(episode.train):
        beside = f" beside the domain {ground.held_out}" if ground.held_out else ""
        return f"{_of(own, episode.classes)} have no train rows to learn from{beside}. {way_out}"
    for evaluation in episode.evaluations:
        if not len(evaluation.rows):
            which = _of(datasets[evaluation.dataset or dataset.name], evaluation.classes)
            return f"{which}, the split {evaluation.split!r}, have no test rows. {way_out}"
    return ""


def lacks_validation(
    dataset: "Dataset | Preview", protocol: Protocol, ground: Ground, shots: int
) -> bool:
    """Whether a draw has no rows to choose on, wherever its protocol takes them from.

    Args:
        dataset: That is learned; of one that is not ingested nothing is known.
        protocol: Says from where the rows come.
        ground: What is tested.
        shots: That are drawn of a class, at least 1.
    """
    episode = _sample(dataset, protocol, ground, shots)
    return episode is not None and not len(episode.val)


def material_of(
    dataset: "Dataset | Preview",
    protocol: Protocol,
    ground: Ground,
    shots: int,
    *,
    templates: tuple[str, ...],
    unlabelled: bool,
    clean: bool,
) -> Material | None:
    """What a method is given to learn from; None where a dataset is not ingested.

    Args:
        dataset: That is learned.
        protocol: Says from where the rows come.
        ground: What is tested.
        shots: That are drawn of a class; 0 where the method learns from no label.
        templates: Of its card, as methods read them.
        unlabelled: Whether it is given examples without labels.
        clean: Whether these are of the learned classes alone.
    """
    episode = _sample(dataset, protocol, ground, shots)
    if episode is None or not isinstance(dataset, Dataset):
        return None
    table = TrialData(dataset).table
    pool = episode.unlabelled
    if unlabelled and pool is None:
        pool = pool_of(table.without(ground.held_out), episode, clean=clean)
    learned = [dataset, *(ground.targets if protocol.joins else ())]
    every = joined_table([TrialData(each).table for each in learned if isinstance(each, Dataset)])
    return Material(
        templates=templates,
        present=len(np.unique(every.labels[episode.train])),
        train=len(episode.train),
        unlabelled=len(pool.rows) if unlabelled and pool is not None else 0,
    )


def _sample(
    dataset: "Dataset | Preview", protocol: Protocol, ground: Ground, shots: int
) -> Episode | None:
    """An episode of a protocol, of any seed; None where a dataset is not ingested."""
    known = [dataset, *ground.targets]
    if not all(isinstance(each, Dataset) for each in known):
        return None
    tables = {each.name: TrialData(each).table for each in known if isinstance(each, Dataset)}
    own = tables.pop(dataset.name)
    setup = Setup(table=own, shots=shots, seed=1, targets=tables, held_out=ground.held_out)
    return protocol.episode(setup)


def small_classes(dataset: Dataset, shots: int) -> Iterator[str]:
    """What a user should know of classes that lack rows.

    Args:
        dataset: Ingested.
        shots: The most that are drawn of a class; 0 where nothing is learned.
    """
    train, test = (_sizes(dataset, split) for split in ("train", "test"))
    classes, nouns = dataset.classes, f"{dataset.kind}s"
    small = [f"{n} ({size})" for n, size in zip(classes, train, strict=True) if size < shots]
    if small:
        yield (
            f"{dataset.name}: {len(small)} classes have fewer than {shots} train {nouns} and give "
            f"all they have: {some(small, 3)}."
        )
    untested = [n for n, size in zip(classes, test, strict=True) if not size]
    if untested:
        yield (
            f"{dataset.name}: {len(untested)} classes have no test {nouns}, so no score says how "
            f"well they are recognised: {some(untested, 3)}."
        )


def _of(dataset: Dataset, classes: tuple[int, ...]) -> str:
    return f"its classes {some([dataset.classes[label] for label in classes], 3)}"


def _sizes(dataset: Dataset, split: str) -> list[int]:
    """Rows of each class."""
    labels = dataset.labels[dataset.rows_of(split)]
    return np.bincount(labels, minlength=len(dataset.classes)).tolist()
