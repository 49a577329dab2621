"""Domain generalization from ImageNet to its published variants, by the names of the classes."""

import numpy as np
import pytest

from data_catalog import DatasetCard
from data_catalog.published import PUBLISHED
from data_catalog.published.names import class_names, wordnet_names
from operators.episodes.table import Setup, Table
from operators.episodes.transfer import domain_generalization

VARIANTS = {"imagenetv2": 1000, "imagenet_sketch": 1000, "imagenet_a": 200, "imagenet_r": 200}


def table(names, splits):
    """One row of each class in each split."""
    labels = np.tile(np.arange(len(names), dtype=np.int32), len(splits))
    rows = np.repeat(np.array(splits), len(names))
    return Table(labels, rows, len(names), DatasetCard.prompt_names(names))


@pytest.fixture(scope="module")
def episode():
    return domain_generalization(
        Setup(
            table=table(class_names("imagenet"), ["train", "test"]),
            shots=1,
            seed=1,
            targets={name: table(PUBLISHED[name].classes, ["test"]) for name in VARIANTS},
        )
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_asked_among_its_own_classes_in_the_order_of_imagenet(episode, name):
    tested = next(each for each in episode.evaluations if each.dataset == name)
    assert tested.classes == tuple(range(VARIANTS[name]))
    assert len(tested.rows) == VARIANTS[name]


def test_the_two_missiles_of_imagenet_are_two_classes():
    names = list(wordnet_names().items())
    assert [label for label, (_, name) in enumerate(names) if name == "missile"] == [657, 744]
    assert PUBLISHED["imagenetv2"].duplicate_class_names
    assert PUBLISHED["imagenet_sketch"].duplicate_class_names
