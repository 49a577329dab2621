"""Protocols of more than one dataset or domain: of those that are learned, or that are tested."""

from collections.abc import Sequence

import numpy as np

from operators.episodes.episode import Episode, Evaluation
from operators.episodes.joined import joined_table, starts_of
from operators.episodes.names import keyed
from operators.episodes.table import Setup, Table, capped, drawn_rows, test_rows

OWN_TEST = "all"  # the split of the learned dataset's own test rows; no target is called so


def cross_dataset(setup: Setup) -> Episode:
    """The draw over all classes of one dataset, tested on others among the classes of each.

    The learned dataset's own test rows are the split `all`.

    Source: CoOp, `scripts/cocoop/xd_train.sh` and `xd_test.sh`; CoCoOp, section 4.2.
    """
    every = tuple(range(setup.table.classes))
    train, val = drawn_rows(setup.table, setup.shots, setup.seed)
    own = Evaluation(OWN_TEST, every, test_rows(setup.table, every, setup.cap))
    others = (
        _target(name, table, range(table.classes), setup.cap)
        for name, table in setup.targets.items()
    )
    return Episode(every, train, val, (own, *others))


def domain_generalization(setup: Setup) -> Episode:
    """Learned from one dataset and tested on variants of it, or on a domain that was left out.

    A variant is asked among its own classes, as CoOp does: those of ImageNet-A and ImageNet-R are
    200 of the source's 1,000. They stand in the order of the source's, by name, so that a
    variant with all of them has the source's own logits.

    Where a domain is left out, the draw is over the train and val rows of the others together,
    and all rows of that domain are tested, whatever their split. Dassl learns from all train
    rows of the other domains; k of each class of that list are what its few-shot draw gives.

    Source: CoOp, `scripts/cocoop/xd_test.sh`, `datasets/imagenet_a.py`; Dassl,
    `data/datasets/dg/pacs.py`, `DatasetBase.generate_fewshot_dataset`.

    Raises:
        ValueError: A target has a class that was not learned.
    """
    every = tuple(range(setup.table.classes))
    train, val = drawn_rows(setup.table.without(setup.held_out), setup.shots, setup.seed)
    if setup.held_out:
        rows = capped(setup.table, setup.table.rows_in(setup.held_out), every, setup.cap)
        tested = (Evaluation(setup.held_out, every, rows, domain=setup.held_out),)
        return Episode(every, train, val, tested)
    own = Evaluation(OWN_TEST, every, test_rows(setup.table, every, setup.cap))
    others = []
    for name, table in setup.targets.items():
        if unknown := strange_classes(setup.table.names, table.names):
            raise ValueError(f"{name} has classes that are not learned: {', '.join(unknown)}.")
        others.append(_target(name, table, in_order(setup.table.names, table.names), setup.cap))
    return Episode(every, train, val, (own, *others))


def multi_task(setup: Setup) -> Episode:
    """The draws of several datasets together, over all of their classes; each is tested by itself.

    Rows and labels that are learned are those of `joined_table`. Of each dataset they are the rows
    of its own few-shot draw with the same seed. What is tested has the rows and labels of its own
    dataset; the first dataset's are the split `all`.

    Source: Shen et al., "Multitask Vision-Language Prompt Tuning", WACV 2024, section 3.2; in the
    authors' code `trainers/mvlpt.py`, `MVLPTCOOPDataManager`.
    """
    tables = [setup.table, *setup.targets.values()]
    draws = [drawn_rows(table, setup.shots, setup.seed) for table in tables]
    train, val = (
        np.concatenate([start + rows for start, rows in zip(starts_of(tables), part, strict=True)])
        for part in zip(*draws, strict=True)
    )
    every = tuple(range(joined_table(tables).classes))
    own = tuple(range(setup.table.classes))
    tested = Evaluation(OWN_TEST, own, test_rows(setup.table, own, setup.cap))
    others = (
        _target(name, table, range(table.classes), setup.cap)
        for name, table in setup.targets.items()
    )
    return Episode(every, train, val, (tested, *others))


def strange_classes(learned: Sequence[str], tested: Sequence[str]) -> list[str]:
    """Names of classes that are tested and not learned.

    Args:
        learned: Names of the classes that are learned.
        tested: Of those that are tested.
    """
    known = set(keyed(learned))
    return [name for key, name in zip(keyed(tested), tested, strict=True) if key not in known]


def in_order(learned: Sequence[str], tested: Sequence[str]) -> tuple[int, ...]:
    """Labels of the tested classes in the order that the learned ones of the same names have.

    Args:
        learned: Names of the classes that are learned.
        tested: Of those that are tested; each is among them.
    """
    place = {key: index for index, key in enumerate(keyed(learned))}
    keys = keyed(tested)
    return tuple(sorted(range(len(keys)), key=lambda label: place[keys[label]]))


def _target(name: str, table: Table, classes: Sequence[int], cap: int | None) -> Evaluation:
    rows = test_rows(table, classes, cap)
    return Evaluation(name, tuple(classes), rows, dataset=name, version=table.fingerprint)
