"""Which rows each protocol learns from and tests, on a small table."""

from dataclasses import replace

import numpy as np
import pytest

from operators.episodes.protocols import PROTOCOLS
from operators.episodes.shots import ALL_SHOTS
from operators.episodes.table import Setup, Table, drawn_rows
from operators.episodes.transfer import in_order, strange_classes

LABELS = np.array([row % 5 for row in range(150)], dtype=np.int32)
SPLITS = np.array(["train"] * 75 + ["val"] * 25 + ["test"] * 50)
NAMES = ("cat", "dog", "boat", "oak tree", "photo")
DOMAINS = np.array([row // 5 % 3 for row in range(150)], dtype=np.int32)
TABLE = Table(LABELS, SPLITS, 5, NAMES, DOMAINS, ("clean", "sketch", "art"))
VARIANT = Table(
    np.array([row % 3 for row in range(60)], dtype=np.int32),
    np.array(["train"] * 30 + ["test"] * 30),
    3,
    ("Photo", "dog", "cat"),
)


def asked(shots, seed, cap=None, **setup):
    return Setup(table=TABLE, shots=shots, seed=seed, cap=cap, **setup)


@pytest.fixture(params=PROTOCOLS)
def protocol(request):
    return PROTOCOLS[request.param]


def test_test_rows_are_neither_trained_on_nor_selected_on(protocol):
    episode = protocol.episode(asked(4, 1))
    for evaluation in episode.evaluations:
        assert set(SPLITS[evaluation.rows]) == {"test"}
        assert not np.isin(evaluation.rows, [*episode.train, *episode.val]).any()
    assert set(SPLITS[episode.train]) <= {"train"}
    assert set(SPLITS[episode.val]) <= {"train", "val"}
    assert not set(episode.train) & set(episode.val)


def test_every_row_belongs_to_the_classes_it_is_classified_among(protocol):
    episode = protocol.episode(asked(2, 1, 3))
    assert set(LABELS[episode.train]) | set(LABELS[episode.val]) <= set(episode.classes)
    for evaluation in episode.evaluations:
        assert set(LABELS[evaluation.rows]) <= set(evaluation.classes)


def test_the_same_arguments_give_the_same_episode(protocol):
    first, second = (protocol.episode(asked(2, 0, 3)) for _ in range(2))
    assert first.fingerprint == second.fingerprint


def test_the_cap_keeps_evenly_spaced_rows_of_each_class(protocol):
    episode = protocol.episode(asked(1, 1, 4))
    for evaluation in episode.evaluations:
        for label in set(LABELS[evaluation.rows]):
            members = np.flatnonzero((label == LABELS) & (SPLITS == "test"))  # ten of them
            kept = np.sort(evaluation.rows[LABELS[evaluation.rows] == label])
            assert kept.tolist() == members[[0, 2, 5, 7]].tolist()


def test_a_cap_above_the_class_size_keeps_all_rows(protocol):
    capped, whole = (protocol.episode(asked(1, 1, cap)) for cap in (10, None))
    assert capped.fingerprint == whole.fingerprint


def test_the_seed_does_not_move_the_test_rows(protocol):
    """Of a stream it moves their order alone."""
    first, second = (protocol.episode(asked(1, seed, 3)) for seed in (1, 2))
    for one, other in zip(first.evaluations, second.evaluations, strict=True):
        assert np.array_equal(one.rows, other.rows) != protocol.stream
        assert np.array_equal(np.sort(one.rows), np.sort(other.rows))


def test_base_to_new_draws_over_all_classes_and_cuts_then():
    base_to_new, few_shot = (
        PROTOCOLS[name].episode(asked(2, 1)) for name in ("base_to_new", "few_shot")
    )
    base = np.isin(LABELS[few_shot.train], [0, 1, 2])
    assert base_to_new.train.tolist() == few_shot.train[base].tolist()
    base = np.isin(LABELS[few_shot.val], [0, 1, 2])
    assert base_to_new.val.tolist() == few_shot.val[base].tolist()


def test_base_to_new_tests_each_half_among_itself():
    episode = PROTOCOLS["base_to_new"].episode(asked(2, 1))
    assert episode.classes == (0, 1, 2)
    assert [(e.split, e.classes) for e in episode.evaluations] == [
        ("base", (0, 1, 2)),
        ("new", (3, 4)),
    ]


def test_transductive_zero_shot_tests_each_half_among_all_and_shows_the_new_one_unlabelled():
    episode = PROTOCOLS["transductive_zero_shot"].episode(asked(2, 1))
    apart = PROTOCOLS["base_to_new"].episode(asked(2, 1))
    assert episode.classes == (0, 1, 2)
    assert episode.train.tolist() == apart.train.tolist()
    assert episode.unlabelled.classes == (3, 4)
    new = np.flatnonzero(np.isin(LABELS, (3, 4)) & (SPLITS == "train"))
    assert sorted(episode.unlabelled.rows) == new.tolist() != episode.unlabelled.rows.tolist()
    for joint, other in zip(episode.evaluations, apart.evaluations, strict=True):
        assert (joint.split, joint.rows.tolist()) == (other.split, other.rows.tolist())
        assert joint.classes == (0, 1, 2, 3, 4)


def test_zero_shot_learns_from_no_row():
    episode = PROTOCOLS["zero_shot"].episode(asked(0, 1))
    assert len(episode.train) == len(episode.val) == 0
    assert episode.evaluations[0].rows.tolist() == list(range(100, 150))
    assert episode.rows.tolist() == list(range(100, 150))


def test_zero_shots_draw_nothing():
    train, val = drawn_rows(TABLE, 0, 1)
    assert len(train) == len(val) == 0


@pytest.mark.parametrize("name", ["few_shot", "cross_dataset", "text_few_shot"])
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_all_shots_are_the_train_split_and_the_val_split_as_they_are(name, seed):
    episode = PROTOCOLS[name].episode(asked(ALL_SHOTS, seed))
    assert episode.train.tolist() == list(range(75))
    assert episode.val.tolist() == list(range(75, 100))
    draw = PROTOCOLS[name].episode(asked(4, seed))
    for mine, other in zip(episode.evaluations, draw.evaluations, strict=True):
        assert mine.identity() == other.identity()


def test_all_shots_of_base_to_new_are_those_of_the_base():
    episode = PROTOCOLS["base_to_new"].episode(asked(ALL_SHOTS, 1))
    assert episode.train.tolist() == [row for row in range(75) if LABELS[row] < 3]
    assert episode.val.tolist() == [row for row in range(75, 100) if LABELS[row] < 3]


def test_all_shots_beside_a_domain_are_all_rows_of_the_others():
    episode = PROTOCOLS["domain_generalization"].episode(asked(ALL_SHOTS, 1, held_out="sketch"))
    others = [row for row in range(100) if DOMAINS[row] != 1]
    assert [*episode.train.tolist(), *episode.val.tolist()] == others


def test_fingerprint_moves_with_the_drawn_rows():
    episodes = [PROTOCOLS["few_shot"].episode(asked(2, seed)) for seed in (1, 2)]
    assert episodes[0].fingerprint != episodes[1].fingerprint


PINNED = {
    "zero_shot": "8ea0e80c7d9ffea9",
    "few_shot": "f3619c1358800cd0",
    "base_to_new": "822aa026803bc93e",
}


def test_the_fingerprints_of_older_episodes_are_pinned():
    """Paired tests of a board find the same episode in trials of any version."""
    found = {
        name: PROTOCOLS[name].episode(asked(int(PROTOCOLS[name].learns), 1, 3)).fingerprint
        for name in ("zero_shot", "few_shot", "base_to_new")
    }
    assert found == PINNED


def test_a_dataset_is_learned_whole_and_others_are_tested_among_their_own_classes():
    episode = PROTOCOLS["cross_dataset"].episode(asked(4, 1, 3, targets={"pets": VARIANT}))
    few_shot = PROTOCOLS["few_shot"].episode(asked(4, 1, 3))
    assert episode.train.tolist() == few_shot.train.tolist()
    assert episode.val.tolist() == few_shot.val.tolist()
    own, other = episode.evaluations
    assert own.identity() == few_shot.evaluations[0].identity()
    assert (other.split, other.dataset, other.classes) == ("pets", "pets", (0, 1, 2))
    assert other.rows.tolist() == [30, 31, 32, 39, 40, 41, 48, 49, 50]  # of ten each
    assert episode.tested("pets").tolist() == other.rows.tolist()
    assert set(episode.rows) == {*few_shot.rows}


def test_another_version_of_a_target_is_another_episode():
    first, second = (
        PROTOCOLS["cross_dataset"].episode(asked(4, 1, targets={"pets": table})).fingerprint
        for table in (VARIANT, replace(VARIANT, fingerprint="f" * 16))
    )
    assert first != second


def test_a_variant_is_asked_among_its_own_classes_in_the_order_of_the_learned_ones():
    setup = asked(4, 1, targets={"sketches": VARIANT})
    own, variant = PROTOCOLS["domain_generalization"].episode(setup).evaluations
    assert own.classes == (0, 1, 2, 3, 4)
    assert variant.classes == (2, 1, 0)  # cat, dog, photo
    assert variant.rows.tolist() == list(range(30, 60))


def test_a_target_with_a_class_that_was_not_learned_is_no_variant():
    table = Table(VARIANT.labels, VARIANT.splits, 3, ("photo", "frog", "cat"))
    with pytest.raises(ValueError, match="frogs has classes that are not learned: frog"):
        PROTOCOLS["domain_generalization"].episode(asked(1, 1, targets={"frogs": table}))


def test_two_classes_of_one_name_are_two():
    learned = ("missile", "sail", "missile")
    assert in_order(learned, learned) == (0, 1, 2)
    assert in_order(learned, ("sail", "missile")) == (1, 0)
    assert strange_classes(learned, ("missile", "Missile", "missile")) == ["missile"]


@pytest.mark.parametrize("domain", TABLE.domain_names)
def test_a_domain_that_is_held_out_is_tested_whole_and_never_learned(domain):
    episode = PROTOCOLS["domain_generalization"].episode(asked(4, 1, held_out=domain))
    code = TABLE.domain_names.index(domain)
    (tested,) = episode.evaluations
    assert (tested.split, tested.domain, tested.dataset) == (domain, domain, "")
    assert tested.rows.tolist() == np.flatnonzero(code == DOMAINS).tolist()
    assert set(SPLITS[tested.rows]) == {"train", "val", "test"}
    assert code not in DOMAINS[[*episode.train, *episode.val]]
    assert np.bincount(LABELS[episode.train]).tolist() == [4] * 5
    assert set(SPLITS[episode.train]) == {"train"}
    assert set(SPLITS[episode.val]) == {"val"}


def test_the_draw_of_the_other_domains_is_that_of_a_dataset_without_the_one_held_out():
    episode = PROTOCOLS["domain_generalization"].episode(asked(2, 3, held_out="sketch"))
    left = np.flatnonzero(DOMAINS != 1)
    alone = Table(LABELS[left], SPLITS[left], 5)
    train, val = drawn_rows(alone, 2, 3)
    assert episode.train.tolist() == left[train].tolist()
    assert episode.val.tolist() == left[val].tolist()


def test_a_domain_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no domain 'oil'; the dataset has clean, sketch, art"):
        PROTOCOLS["domain_generalization"].episode(asked(1, 1, held_out="oil"))
