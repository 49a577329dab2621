"""Several datasets learned at once: which rows and classes, and what a start is taken over from."""

import numpy as np
import pytest
import torch

from operators.episodes.episode import Classes
from operators.episodes.joined import JoinedImages, joined_classes, joined_table, starts_of
from operators.episodes.protocols import PROTOCOLS
from operators.episodes.table import Setup, Table
from operators.methods import METHODS
from operators.methods.hyperparameters import defaults, leanings_of, resolve
from operators.methods.leaning import Starting
from operators.spec import Target, TrialSpec
from operators.tracks import TargetData
from operators.trials.trial import run_trial
from operators.trials.tuned import method_of

SPLITS = np.array(["train"] * 8 + ["val"] * 4 + ["test"] * 8)


class Animals:
    """Four classes."""

    names = ("cat", "dog", "boat", "photo")
    table = Table(np.array([row % 4 for row in range(20)]), SPLITS, 4, names, fingerprint="a")
    all_classes = Classes(names, ("a photo of a {}.",))


class Trees:
    """Two, of which one is called as one of the others."""

    names = ("oak", "cat")
    table = Table(np.array([row % 2 for row in range(20)]), SPLITS, 2, names, fingerprint="t")
    all_classes = Classes(names, ("a drawing of a {}.",))


BOTH = [Animals.table, Trees.table]
ROOM = {"form": "coop", "n_tokens": 2, "epochs": 1, "source_datasets": ""}


@pytest.fixture
def others(drawn_images):
    return {"trees": TargetData(Trees(), drawn_images(Trees.table.labels, 24, seed=1))}


@pytest.fixture
def images(drawn_images):
    return drawn_images(Animals.table.labels, 24)


@pytest.fixture
def asked(spec):
    def make(protocol="multi_task", given=None, **fields):
        values = resolve(
            "mvlpt", METHODS["mvlpt"], {**ROOM, **(given or {})}, protocol=protocol, shots=2
        )
        if protocol == "multi_task":
            fields = {"targets": {"trees": Target("t")}, **fields}
        return spec(method="mvlpt", hyperparameters=values, protocol=protocol, shots=2, **fields)

    return make


def test_rows_and_classes_follow_each_other_and_keep_their_task():
    table = joined_table(BOTH)
    assert table.classes == 6
    assert table.labels.tolist() == [*Animals.table.labels, *(4 + Trees.table.labels)]
    assert table.splits.tolist() == [*SPLITS, *SPLITS]
    classes = joined_classes([Animals.all_classes, Trees.all_classes])
    assert classes.names == (*Animals.names, *Trees.names)
    assert classes.tasks == (0, 0, 0, 0, 1, 1)
    assert classes.templates == ("a photo of a {}.",)  # those of the two differ
    assert classes.subset([5, 0]).tasks == (1, 0)
    assert joined_classes([Trees.all_classes]) is Trees.all_classes


def test_images_come_from_their_own_dataset_in_the_order_asked_for(images, others):
    joined = JoinedImages([images, others["trees"].source], starts_of(BOTH))
    rows = np.array([25, 3, 20, 19, 39])
    trees = others["trees"].source.values
    wanted = torch.stack([trees[5], images.values[3], trees[0], images.values[19], trees[19]])
    assert torch.equal(joined.features(rows), wanted)


def test_each_dataset_gives_its_own_few_shot_draw():
    setup = Setup(table=Animals.table, shots=1, seed=3, targets={"trees": Trees.table})
    episode = PROTOCOLS["multi_task"].episode(setup)
    few = PROTOCOLS["few_shot"].episode
    alone = [few(Setup(table=table, shots=1, seed=3)) for table in BOTH]
    assert episode.classes == (0, 1, 2, 3, 4, 5)
    assert episode.train.tolist() == [*alone[0].train, *(20 + alone[1].train)]
    assert episode.val.tolist() == [*alone[0].val, *(20 + alone[1].val)]
    own, trees = episode.evaluations
    assert (own.split, own.dataset, own.classes) == ("all", "", (0, 1, 2, 3))
    assert (trees.split, trees.dataset, trees.classes) == ("trees", "trees", (0, 1))
    assert own.rows.tolist() == trees.rows.tolist() == list(range(12, 20))


def test_a_trial_learns_all_of_them_and_answers_about_each(clip, images, others, asked):
    outcome = run_trial(asked(), clip, Animals(), images, targets=others)
    assert outcome.report.steps == 1  # 2 x 4 and 2 x 2 images
    split = np.array(outcome.predictions["split"].to_pylist())
    predicted = outcome.predictions["predicted"].to_numpy()
    assert set(predicted[split == "all"]) <= {0, 1, 2, 3}
    assert set(predicted[split == "trees"]) <= {0, 1}
    assert {score.split for score in outcome.metrics} == {"all", "trees"}
    # Alone it answers with the classes of its own dataset.
    method = method_of(asked(), clip, Animals(), outcome.learned)
    assert method.classes.names == Animals.names


@pytest.mark.parametrize("protocol", ["few_shot", "base_to_new"])
def test_a_start_is_what_the_source_learned(clip, images, others, asked, protocol):
    learned = run_trial(asked(), clip, Animals(), images, targets=others).learned
    still = asked(protocol, {"warmup_lr": 1e-30, "warmup_epochs": 1})
    started = run_trial(still, clip, Animals(), images, start=learned)
    alone = run_trial(still, clip, Animals(), images)
    assert torch.equal(started.learned["context"], learned["context"])
    assert not torch.equal(alone.learned["context"], learned["context"])


def test_the_source_is_part_of_the_identity(asked):
    source = asked()
    one, other = (asked("few_shot", aids={"source": s}) for s in (source, asked(seed=7)))
    plain = asked("few_shot")
    assert len({one.trial_id, other.trial_id, plain.trial_id}) == 3
    assert one.source == source
    assert one.leant_on == (source,)
    assert plain.source is None
    assert TrialSpec.from_json(one.to_json()) == one
    assert one.on_validation.source == source


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source_datasets": "dtd,caltech101"}, r"each once, .*: 'caltech101,dtd'"),
        ({"source_datasets": "dtd, eurosat"}, "no blanks between: 'dtd,eurosat'"),
        ({"source_datasets": "dtd,dtd"}, "each once"),
        ({"source_datasets": "dtd,"}, "each once"),
        ({"source_datasets": "dtd", "source_shots": 0}, "source_shots=0: a start is learned from"),
        ({"source_datasets": "", "source_shots": 1}, "source_shots=1 would change nothing"),
    ],
)
def test_a_start_has_one_spelling_and_something_to_learn_from(given, message):
    with pytest.raises(ValueError, match=message):
        resolve("mvlpt", METHODS["mvlpt"], given, protocol="few_shot", shots=4)


def test_what_a_method_leans_on_is_read_from_its_hyperparameters():
    values = defaults(METHODS["mvlpt"]) | {"source_datasets": "dtd,eurosat"}
    (starting,) = leanings_of(METHODS["mvlpt"], values)
    assert isinstance(starting, Starting)
    assert starting.names == ("dtd", "eurosat")
    assert len(leanings_of(METHODS["mvlpt"], defaults(METHODS["mvlpt"]))[0].names) == 11
