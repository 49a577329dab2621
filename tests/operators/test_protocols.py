"""Which rows each protocol learns from and tests, on a small table."""

import numpy as np
import pytest

from operators.episodes.protocols import PROTOCOLS, Table, drawn_rows

LABELS = np.array([row % 5 for row in range(150)], dtype=np.int32)
SPLITS = np.array(["train"] * 75 + ["val"] * 25 + ["test"] * 50)
TABLE = Table(LABELS, SPLITS, 5)


@pytest.fixture(params=PROTOCOLS)
def protocol(request):
    return PROTOCOLS[request.param]


def test_test_rows_are_neither_trained_on_nor_selected_on(protocol):
    episode = protocol.episode(TABLE, 4, 1, None)
    for evaluation in episode.evaluations:
        assert set(SPLITS[evaluation.rows]) == {"test"}
        assert not np.isin(evaluation.rows, [*episode.train, *episode.val]).any()
    assert set(SPLITS[episode.train]) <= {"train"}
    assert set(SPLITS[episode.val]) <= {"val"}


def test_every_row_belongs_to_the_classes_it_is_classified_among(protocol):
    episode = protocol.episode(TABLE, 2, 1, 3)
    assert set(LABELS[episode.train]) | set(LABELS[episode.val]) <= set(episode.classes)
    for evaluation in episode.evaluations:
        assert set(LABELS[evaluation.rows]) == set(evaluation.classes)


def test_the_same_arguments_give_the_same_episode(protocol):
    first, second = (protocol.episode(TABLE, 2, 0, 3) for _ in range(2))
    assert first.fingerprint == second.fingerprint


def test_the_cap_keeps_evenly_spaced_rows_of_each_class(protocol):
    episode = protocol.episode(TABLE, 1, 1, 4)
    for evaluation in episode.evaluations:
        for label in evaluation.classes:
            members = np.flatnonzero((label == LABELS) & (SPLITS == "test"))  # ten of them
            kept = evaluation.rows[LABELS[evaluation.rows] == label]
            assert kept.tolist() == members[[0, 2, 5, 7]].tolist()


def test_a_cap_above_the_class_size_keeps_all_rows(protocol):
    capped, whole = (protocol.episode(TABLE, 1, 1, cap) for cap in (10, None))
    assert capped.fingerprint == whole.fingerprint


def test_the_seed_does_not_move_the_test_rows(protocol):
    first, second = (protocol.episode(TABLE, 1, seed, 3) for seed in (1, 2))
    for one, other in zip(first.evaluations, second.evaluations, strict=True):
        assert np.array_equal(one.rows, other.rows)


def test_base_to_new_draws_over_all_classes_and_cuts_then():
    base_to_new, few_shot = (
        PROTOCOLS[name].episode(TABLE, 2, 1, None) for name in ("base_to_new", "few_shot")
    )
    base = np.isin(LABELS[few_shot.train], [0, 1, 2])
    assert base_to_new.train.tolist() == few_shot.train[base].tolist()
    base = np.isin(LABELS[few_shot.val], [0, 1, 2])
    assert base_to_new.val.tolist() == few_shot.val[base].tolist()


def test_base_to_new_tests_each_half_among_itself():
    episode = PROTOCOLS["base_to_new"].episode(TABLE, 2, 1, None)
    assert episode.classes == (0, 1, 2)
    assert [(e.split, e.classes) for e in episode.evaluations] == [
        ("base", (0, 1, 2)),
        ("new", (3, 4)),
    ]


def test_zero_shot_learns_from_no_row():
    episode = PROTOCOLS["zero_shot"].episode(TABLE, 0, 1, None)
    assert len(episode.train) == len(episode.val) == 0
    assert episode.evaluations[0].rows.tolist() == list(range(100, 150))
    assert episode.rows.tolist() == list(range(100, 150))


def test_zero_shots_draw_nothing():
    train, val = drawn_rows(TABLE, 0, 1)
    assert len(train) == len(val) == 0


def test_fingerprint_moves_with_the_drawn_rows():
    episodes = [PROTOCOLS["few_shot"].episode(TABLE, 2, seed, None) for seed in (1, 2)]
    assert episodes[0].fingerprint != episodes[1].fingerprint
