"""Which part of a GPU trials are given: as much as they need, and as little as keeps it busy."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import torch

from data_catalog import Dataset
from operators.backbones import BackboneReference
from operators.engine.launching import busy
from operators.engine.stacking import lanes_worth
from operators.estimating.memory import memory_of, tower_sizes
from operators.estimating.towers import tower_operations
from operators.estimating.work import known_work
from operators.methods import method_for
from operators.spec import TrialSpec
from tasks.estimating.estimate import size_of
from tasks.planning.encodings import Draws

USED = 0.95  # of the memory of a card: the system and what shows pictures have the rest
MOST = 8  # trials on one GPU: a core has to name the operations of each
GPU = torch.device("cuda")
DIGITS = 4  # of a part of a GPU, as Ray counts them


def share(need: int, card: int, working: float) -> float:
    """The part of a GPU that trials of a kind are given: one over a whole number.

    As many share a GPU as its memory holds, and no more than it takes to keep it busy: beyond that
    each would only be slower. One that needs more than there is has the GPU to itself.

    Args:
        need: Bytes that one takes.
        card: Bytes of the GPU.
        working: The part of its time that the GPU computes for one alone.
    """
    fit, worth = int(USED * card / need), math.ceil(1 / working)
    several = max(1, min(fit, worth, MOST))
    return math.floor(10**DIGITS / several) / 10**DIGITS


def share_of(
    specs: Sequence[TrialSpec],
    datasets: Mapping[str, Dataset],
    references: Mapping[str, BackboneReference],
    card: int,
) -> float:
    """The part of a GPU that each worker of a run holds: what the neediest of its trials is given.

    Workers outlive the bundles of a run, so there is one for all. Trials of methods and backbones
    of which nothing is known have a GPU to themselves.

    Args:
        specs: Trials that are to be computed.
        datasets: All of theirs, by name.
        references: Of the backbones, by name.
        card: Bytes of the smallest GPU.
    """
    works, draws = known_work(), Draws(datasets)
    cells = {spec.cell_id: spec for spec in specs}
    seeds = Counter(spec.cell_id for spec in specs)
    found = [0.0]
    for cell, spec in cells.items():
        which = references[spec.backbone]
        sizes, towers = tower_sizes(which), tower_operations(which)
        work = works.get(spec.method)
        if sizes is None or towers is None or work is None:
            return 1.0
        size, values = size_of(spec, draws), spec.hyperparameters
        images = min(size.images, values.get("batch_size", size.images))
        step = work.step.operations(towers, classes=size.classes, images=images)
        lanes = 1
        if method_for(spec).tuning is not None and method_for(spec).card.tower_steps:
            lanes = min(seeds[cell], lanes_worth(GPU, size.classes, operations=step))
        need = memory_of(work, size, values, sizes, spec.precision, lanes)
        found.append(share(need, card, busy(lanes * step)))
    return max(found) or 1.0
