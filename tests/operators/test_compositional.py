"""Pairs of attribute and object: who sees which, what is feasible, and the curve over biases."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from operators.contract.drawn import DrawnFeatures
from operators.episodes.compositional import lacking, pair_split
from operators.episodes.episode import Batch, Classes, Vocabulary
from operators.episodes.protocols import PROTOCOLS
from operators.episodes.shots import ALL_SHOTS
from operators.episodes.splits import CLOSED, OPEN
from operators.episodes.table import Setup, Table
from operators.methods import METHODS
from operators.metrics import METRICS, scores_of
from operators.metrics.compositional import bias_curve
from operators.tracks import TRACKS
from operators.tracks.feasibility import feasibility

ATTRIBUTES, OBJECTS = ("blue", "green", "old", "red"), ("cat", "cup", "dog", "hat")
PAIRS = tuple((a, o) for a in ATTRIBUTES for o in OBJECTS)
PROTOCOL, TRACK = PROTOCOLS["compositional"], TRACKS["compositional"]


def table(shown=None, pairs=PAIRS):
    """Six rows of each pair, two of each split, or those of the splits that it is `shown` in."""
    rows = [
        (label, split)
        for split in ("train", "val", "test")
        for label, pair in enumerate(pairs)
        for _ in range(2)
        if shown is None or split in shown(pair)
    ]
    labels, splits = zip(*rows, strict=True)
    return Table(
        np.array(labels, dtype=np.int32),
        np.array(splits),
        len(pairs),
        tuple(map(" ".join, pairs)),
        pairs=pairs,
    )


def published(pair):
    """Three pairs are unseen: one in val, two in test."""
    unseen = {("red", "hat"): ("val",), ("old", "dog"): ("test",), ("blue", "cup"): ("test",)}
    return unseen.get(pair, ("train", "val", "test"))


def labels_of(pairs):
    return tuple(sorted(PAIRS.index(pair) for pair in pairs))


def test_the_split_of_a_dataset_is_taken_as_it_is():
    split = pair_split(table(published))
    assert split.val == labels_of([("red", "hat")])
    assert split.test == labels_of([("old", "dog"), ("blue", "cup")])
    assert len(split.seen) == 13


def test_where_all_pairs_are_in_train_some_are_drawn_and_no_word_is_lost():
    split = pair_split(table())
    assert (len(split.test), len(split.val)) == (3, 2)
    assert sorted([*split.seen, *split.val, *split.test]) == list(range(16))
    known = [PAIRS[label] for label in split.seen]
    assert {a for a, _ in known} == set(ATTRIBUTES) and {o for _, o in known} == set(OBJECTS)
    assert split == pair_split(table()) == pair_split(table().untested)


def test_a_drawn_split_keeps_a_word_that_one_pair_alone_shows():
    pairs = (*PAIRS, ("dusty", "lamp"))
    assert pairs.index(("dusty", "lamp")) in pair_split(table(pairs=pairs)).seen


def test_unseen_pairs_are_not_learned_and_settings_are_chosen_on_those_of_val():
    known = table()
    split = pair_split(known)
    episode = PROTOCOL.episode(Setup(table=known, shots=ALL_SHOTS, seed=1))
    assert episode.classes == split.seen
    assert set(known.labels[episode.train]) == set(known.labels[episode.val]) == set(split.seen)
    assert [each.split for each in episode.evaluations] == [CLOSED, OPEN] == [*PROTOCOL.splits]
    assert set(episode.evaluations[0].classes) == {*split.seen, *split.test}
    assert set(known.labels[episode.validation.rows]) == {*split.seen, *split.val}
    assert set(known.splits[episode.validation.rows]) == {"val"}
    assert set(episode.validation.rows) <= set(episode.rows)


@pytest.mark.parametrize(
    ("odd", "said"),
    [(Table(np.zeros(1), np.array(["test"]), 5), "its classes are no pairs"),
     (table(lambda pair: () if pair == ("red", "hat") else ("train", "val", "test")),
      "its val rows are not of seen and of unseen pairs both"),
     (table(lambda pair: ("val", "test") if pair[0] == "red" else ("train", "val", "test")),
      "nobody can compose the unseen pair 'red' 'cat'")],
)  # fmt: skip
def test_what_cannot_be_measured_is_refused_with_the_way_out(odd, said):
    assert said in lacking(odd)
    assert not lacking(table()) and not lacking(table(published))


def test_a_pair_is_as_feasible_as_the_most_similar_seen_ones():
    seen = torch.tensor([[1, 0, 1], [0, 1, 0]], dtype=torch.bool)
    attributes = torch.tensor([[1.0, 0.2], [0.2, 1.0]])
    objects = torch.tensor([[1.0, 0.5, 0.1], [0.5, 1.0, 0.3], [0.1, 0.3, 1.0]])
    found = feasibility(seen, attributes, objects)
    # Object 1 is like object 0 (0.5), which has attribute 0; attribute 1, which it has, is 0.2 off.
    assert found[0, 1] == pytest.approx((0.5 + 0.2) / 2)
    # Attribute 1 has object 1 alone, 0.3 from object 2; object 2 has attribute 0, 0.2 off.
    assert found[1, 2] == pytest.approx((0.3 + 0.2) / 2)


def test_a_word_that_nothing_else_shares_is_least_feasible():
    seen = torch.tensor([[1, 0], [0, 0]], dtype=torch.bool)
    assert feasibility(seen, torch.eye(2), torch.eye(2))[1, 1] == -1


def answers(n=200, seed=0):
    """Columns as a weak model would give them; labels below 6 are seen."""
    drawn = np.random.default_rng(seed)
    label = drawn.integers(0, 10, n)
    scores = drawn.normal(size=(n, 10))
    scores[np.arange(n), label] += 1.5
    scores[:, :6] += 1.0
    return label, scores, {
        "label": label,
        "seen": (label < 6).astype(np.int32),
        "seen_predicted": scores[:, :6].argmax(axis=1),
        "seen_score": scores[:, :6].max(axis=1),
        "unseen_predicted": 6 + scores[:, 6:].argmax(axis=1),
        "unseen_score": scores[:, 6:].max(axis=1),
    }  # fmt: skip


def test_the_curve_is_that_of_biased_scores():
    """Each point by adding the bias to all scores of unseen pairs, as one would read the paper."""
    label, scores, columns = answers()
    unseen = label >= 6
    right = columns["unseen_predicted"] == label
    margins = columns["seen_score"] - scores[np.arange(len(label)), label]
    biases = np.sort(margins[unseen & right] - 1e-4)
    biases = biases[:: max(len(biases) // 20, 1)]
    seen_accuracy, unseen_accuracy = [], []
    for bias in (*biases, 1e3):
        moved = scores.copy()
        moved[:, 6:] += bias
        hit = moved.argmax(axis=1) == label
        seen_accuracy.append(hit[~unseen].mean())
        unseen_accuracy.append(hit[unseen].mean())
    curve = bias_curve(columns)
    np.testing.assert_allclose(curve.seen, seen_accuracy)
    np.testing.assert_allclose(curve.unseen, unseen_accuracy)
    assert METRICS["auc"].of(columns) == pytest.approx(np.trapezoid(seen_accuracy, unseen_accuracy))
    both = [2 * s * u / (s + u) if s + u else 0 for s, u in zip(*curve, strict=True)]
    assert METRICS["best_harmonic_mean"].of(columns) == pytest.approx(max(both))
    assert METRICS["best_seen"].of(columns) == max(seen_accuracy)
    assert METRICS["best_unseen"].of(columns) == max(unseen_accuracy)


def test_where_no_unseen_pair_is_ever_right_the_area_is_nothing():
    _, _, columns = answers()
    columns["unseen_predicted"] = np.full(200, 11)
    assert METRICS["auc"].of(columns) == METRICS["best_harmonic_mean"].of(columns) == 0


@pytest.fixture
def fitted(clip):
    """Zero-shot over the seen pairs of a table, and images that lie round their pair's text."""
    known = table()
    names = tuple(map(" ".join, PAIRS))
    data = SimpleNamespace(
        table=known, all_classes=Classes(names, ("a photo of a {}.",), ("a {}.", "the {}."))
    )
    episode = PROTOCOL.episode(Setup(table=known, shots=0, seed=0))
    generator = torch.Generator().manual_seed(0)
    classes = TRACK.known(data).subset(episode.classes)
    method = METHODS["zero-shot"](clip, classes, generator=generator)
    whole = METHODS["zero-shot"](clip, TRACK.known(data), generator=generator).eval().weights()
    noise = 0.05 * torch.randn(len(known.labels), whole.shape[1], generator=generator)
    return method, data, DrawnFeatures(whole[torch.tensor(known.labels).long()] + noise), episode


def test_the_closed_world_is_scored_as_plain_scores_say(fitted):
    method, data, source, episode = fitted
    asked = episode.evaluations[0]
    found = TRACK.evaluate(method, data, source, episode, asked)
    assert found.schema == TRACK.predictions
    twin = method.with_classes(TRACK.known(data).subset(asked.classes))
    scores = twin.eval().logits(Batch(source, asked.rows, None)).detach()
    classes = np.array(asked.classes)
    assert found["predicted"].to_pylist() == classes[scores.argmax(dim=1)].tolist()
    seen = np.isin(classes, episode.classes)
    assert found["seen_predicted"].to_pylist() == classes[seen][scores[:, seen].argmax(1)].tolist()
    np.testing.assert_allclose(found["unseen_score"], scores[:, ~seen].max(1).values, rtol=1e-5)
    np.testing.assert_allclose(found["confidence"], scores.softmax(1).max(1).values, rtol=1e-4)
    attributes = [ATTRIBUTES.index(PAIRS[x][0]) for x in found["predicted"].to_pylist()]
    assert found["predicted_attribute"].to_pylist() == attributes
    assert found["threshold"].null_count == len(asked.rows)


def test_in_the_open_world_a_threshold_of_validation_leaves_infeasible_pairs_out(fitted):
    method, data, source, episode = fitted
    open_world = episode.evaluations[1]
    source.read.clear()
    found = TRACK.evaluate(method, data, source, episode, open_world)
    chosen = found["threshold"][0].as_py()
    assert set(found["threshold"].to_pylist()) == {chosen}
    settled = len(episode.validation.rows)
    assert source.read[:settled] == episode.validation.rows.tolist()  # before any test row
    unseen = set(found["unseen_predicted"].to_pylist())
    assert unseen and not unseen & set(episode.classes)
    scores = dict((s.metric, s.value) for s in scores_of(found, TRACK.metrics))
    assert scores.keys() == set(TRACK.metrics) and 0 <= scores["auc"] <= 1


def test_pairs_that_the_dataset_lacks_are_numbered_behind_its_classes(clip):
    pairs = tuple(pair for pair in PAIRS if pair != ("red", "hat"))
    known = table(pairs=pairs)
    data = SimpleNamespace(
        table=known, all_classes=Classes(tuple(map(" ".join, pairs)), ("a photo of a {}.",))
    )
    episode = PROTOCOL.episode(Setup(table=known, shots=0, seed=0))
    classes = TRACK.known(data).subset(episode.classes)
    method = METHODS["zero-shot"](clip, classes, generator=torch.Generator())
    new = Classes(("red hat",), ("a photo of a {}.",))
    text = METHODS["zero-shot"](clip, new, generator=torch.Generator()).eval().weights()
    source = DrawnFeatures(text.expand(len(known.labels), -1))
    found = TRACK.evaluate(method, data, source, episode, episode.evaluations[1])
    number = len(pairs) + ATTRIBUTES.index("red") * len(OBJECTS) + OBJECTS.index("hat")
    assert set(found["unseen_predicted"].to_pylist()) == {number} or found["threshold"][0].as_py()


def test_methods_of_other_tracks_serve_where_they_compare_images_to_class_vectors():
    has_a_place = {name for name, method in METHODS.items() if not TRACK.misfit(method)}
    assert {"zero-shot", "zero-shot-ensemble", "coop", "kgcoop", "csp"} <= has_a_place
    assert not has_a_place & {"cocoop", "cupl", "promptkd", "soft-prompt"}
    assert "no class vectors" in TRACK.misfit(METHODS["cocoop"])
    assert TRACKS["image-classification"].misfit(METHODS["csp"])


def test_a_vocabulary_keeps_all_words_of_a_dataset_for_some_of_its_classes():
    whole = Vocabulary.of(PAIRS)
    part = Classes(whole.names(), (), vocabulary=whole).subset([3, 0])
    assert part.vocabulary.names() == part.names == ("blue hat", "blue cat")
    assert part.vocabulary.attributes == ATTRIBUTES
