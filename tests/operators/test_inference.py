"""What protocols show of examples without labels: unsupervised, transductive and test-time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from operators.contract import PROMISES, Case, broken
from operators.episodes.episode import Batch
from operators.episodes.protocols import PROTOCOLS
from operators.episodes.shots import ALL_SHOTS
from operators.episodes.table import Setup, Table
from operators.methods import METHODS, MethodCard, StaticClassifier
from operators.methods.hyperparameters import resolve
from operators.spec import TrialSpec
from operators.tracks.rows import episode_of, unlabelled_of
from operators.trials.trial import run_trial

N = 48
LABELS = np.array([row % 4 for row in range(N)], dtype=np.int32)
SPLITS = np.array((["train"] * 2 + ["test"]) * 16)
SPLITS[:12:3] = "val"
TRAIN, VAL, TEST = (np.flatnonzero(split == SPLITS) for split in ("train", "val", "test"))
TABLE = Table(LABELS, SPLITS, 4)
NEW = ("unsupervised", "transductive", "test_time")
# What the published rows with labels and without have to agree on.
QUICK = {"epochs": 2, "batch_size": 4, "warmup_epochs": 0}


class RunningMean(StaticClassifier):
    """Turns each image away from the mean of those before it. Source: this file.

    Args:
        backbone: Frozen encoders.
        classes: The k classes.
        generator: Not used.
    """

    card = MethodCard(
        title="Running mean",
        family="drawn",
        tunes="nothing",
        cost="nothing",
        source="Nobody, 2026",
        learns=False,
        test_time=True,
        stream=True,
    )

    def __init__(self, backbone, classes, *, generator):
        super().__init__(backbone, classes)
        self.forget()

    def forget(self):
        """See `Method.forget`."""
        self.total, self.seen = 0.0, 0

    def class_features(self):
        """The hand-written prompts."""
        return self.hand_written

    def image_features(self, batch):
        """Each image without the mean of those before it."""
        turned = []
        for row in batch.features:
            mean = self.total / self.seen if self.seen else torch.zeros_like(row)
            turned.append(row - 0.5 * mean)
            self.total, self.seen = self.total + row, self.seen + 1
        return torch.stack(turned)


class Rows:
    """A source that gives rows of an image source, and remembers which were read."""

    def __init__(self, source):
        self.source, self.read = source, []

    def features(self, rows, view=None):
        self.read.append(rows)
        return self.source.features(rows, view)

    def pixels(self, rows, view=None):
        self.read.append(rows)
        return self.source.pixels(rows, view)


class Pets:
    """The table and the class names of a dataset."""

    def __init__(self, table, classes):
        self.table, self.all_classes = table, classes


@pytest.fixture
def running(monkeypatch):
    monkeypatch.setitem(METHODS, "running-mean", RunningMean)


@pytest.fixture(scope="module")
def pictures(clip, drawn_pictures):
    return drawn_pictures(clip, LABELS.tolist())


@pytest.fixture
def outcome(clip, classes, pictures):
    """Runs a trial on the drawn pictures, labelled by a table; what it read is told too."""

    def run(method, protocol, table=TABLE, *, taught=None, shots=0, seed=1, **given):
        place = {"protocol": protocol, "shots": shots}
        spec = TrialSpec(
            method=method,
            method_revision=1,
            hyperparameters=resolve(method, METHODS[method], given, **place),
            backbone="b",
            backbone_fingerprint="0",
            dataset="d",
            dataset_fingerprint="0",
            seed=seed,
            **place,
        )
        source = Rows(pictures)
        return run_trial(spec, clip, Pets(table, classes), source, taught), spec, source

    return run


@pytest.fixture
def teacher(siglip, classes, drawn_pictures):
    from operators.methods import Teacher

    method = METHODS["zero-shot"](siglip, classes, generator=torch.Generator()).eval()
    return Teacher(method, drawn_pictures(siglip, LABELS.tolist()))


def poisoned(split):
    """The table, with other labels in one split."""
    labels = LABELS.copy()
    labels[split == SPLITS] = (labels[split == SPLITS] + 1) % 4
    return replace(TABLE, labels=labels)


def told(predictions):
    """What was said of each row, in the order of rows, without the labels."""
    found = predictions.to_pandas().sort_values("row_id")
    return found[["row_id", "predicted", "confidence"]].to_numpy().tolist()


def asked(shots=0, seed=1, **setup):
    return Setup(table=TABLE, shots=shots, seed=seed, **setup)


def test_unsupervised_shows_the_train_split_and_no_label():
    episode = PROTOCOLS["unsupervised"].episode(asked())
    assert (len(episode.train), len(episode.val)) == (0, 0)
    assert sorted(episode.unlabelled.rows) == TRAIN.tolist()
    assert episode.unlabelled.classes == (0, 1, 2, 3)
    assert episode.evaluations[0].rows.tolist() == TEST.tolist()


@pytest.mark.parametrize("cap", [None, 2])
@pytest.mark.parametrize("shots", [1, ALL_SHOTS])
def test_transductive_shows_exactly_what_is_tested_beside_the_draw(shots, cap):
    episode = PROTOCOLS["transductive"].episode(asked(shots, cap=cap))
    known = PROTOCOLS["few_shot"].episode(asked(shots, cap=cap))
    assert sorted(episode.unlabelled.rows) == known.evaluations[0].rows.tolist()
    assert episode.train.tolist() == known.train.tolist()
    assert episode.val.tolist() == known.val.tolist()
    assert replace(episode, unlabelled=None).fingerprint == known.fingerprint
    assert episode.fingerprint != known.fingerprint


def test_a_stream_has_every_test_row_in_an_order_that_the_seed_draws():
    one, again, other = (PROTOCOLS["test_time"].episode(asked(seed=seed)) for seed in (1, 1, 2))
    orders = [episode.evaluations[0].rows.tolist() for episode in (one, again, other)]
    assert sorted(orders[0]) == TEST.tolist() != orders[0]
    assert orders[0] == orders[1] != orders[2]
    assert one.fingerprint == again.fingerprint != other.fingerprint
    assert np.random.RandomState(1).permutation(TEST).tolist() == orders[0]


def test_the_order_of_unlabelled_rows_says_nothing_of_their_classes():
    rows = PROTOCOLS["transductive"].episode(asked(1)).unlabelled.rows.tolist()
    assert rows != sorted(rows)
    assert rows == PROTOCOLS["transductive"].episode(asked(4)).unlabelled.rows.tolist()


def test_each_says_what_may_be_seen_of_test_examples():
    found = {name: PROTOCOLS[name].inference for name in NEW}
    assert found == {
        "unsupervised": "inductive",
        "transductive": "transductive",
        "test_time": "test-time",
    }
    assert {p.inference for name, p in PROTOCOLS.items() if name not in NEW} == {"inductive"}
    for name in NEW:
        assert PROTOCOLS[PROTOCOLS[name].inductive].inductive == ""


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("method", ["zero-shot", "cupl"])
def test_what_reads_nothing_of_it_has_its_inductive_numbers(outcome, method, name):
    base, *_ = outcome(method, "zero_shot", seed=0)
    found, *_ = outcome(method, name, seed=0)
    assert told(found.predictions) == told(base.predictions)
    assert {m.metric: m.value for m in found.metrics} == pytest.approx(
        {m.metric: m.value for m in base.metrics}
    )


def test_tpt_has_the_same_numbers_in_any_order_of_the_stream(outcome):
    base, *_ = outcome("tpt", "zero_shot", seed=0, views=10)
    for seed in (0, 3):
        found, spec, _ = outcome("tpt", "test_time", seed=seed, views=10)
        order = episode_of(spec, TABLE).evaluations[0].rows.tolist()
        assert found.predictions["row_id"].to_pylist() == order
        one, other = (np.array(told(each.predictions)) for each in (found, base))
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_what_keeps_something_of_a_stream_depends_on_its_order_and_on_nothing_else(
    outcome, running
):
    one, again, other = (outcome("running-mean", "test_time", seed=s)[0] for s in (1, 1, 2))
    assert told(one.predictions) == told(again.predictions)
    assert told(one.predictions) != told(other.predictions)
    assert one.episode_fingerprint != other.episode_fingerprint
    assert not one.learned  # nothing of the stream stays in the prompt


def test_the_contract_holds_a_stream_to_its_batches(clip, running, monkeypatch):
    case = Case("running-mean", RunningMean, clip)
    wanted = {p.name: p for p in PROMISES if p.about == "one"}
    for promise in wanted.values():
        assert broken(promise, case) == [], promise.name

    class Forgets(RunningMean):
        """Starts anew with each batch. Source: this file."""

        def image_features(self, batch):
            """Of this batch alone."""
            self.forget()
            return super().image_features(batch)

    told = broken(wanted["a stream is told the same however it is cut"], Case("f", Forgets, clip))
    assert any("in batches of 1 move by" in sentence for sentence in told)

    class Peeks(RunningMean):
        """Reads labels. Source: this file."""

        def image_features(self, batch):
            """The images, and their labels."""
            return batch.features + batch.labels[:, None]

    with pytest.raises(ValueError, match="have no labels"):
        broken(wanted["it answers without labels"], Case("p", Peeks, clip))


@pytest.mark.parametrize("protocol", ["few_shot", "unsupervised", "transductive"])
def test_a_student_reads_what_its_protocol_shows_and_no_other_row(outcome, teacher, protocol):
    shots = 2 if PROTOCOLS[protocol].learns else 0
    given = {**QUICK, "teacher": "zero-shot"}
    found, spec, source = outcome("promptkd", protocol, taught=teacher, shots=shots, **given)
    pool = unlabelled_of(spec, TABLE, episode_of(spec, TABLE))
    assert sorted(pool.rows) == (TEST if protocol == "transductive" else TRAIN).tolist()
    batches = [rows for rows in source.read if len(rows) <= QUICK["batch_size"]]
    fitted = set(np.concatenate(batches).tolist())
    assert fitted <= {*pool.rows.tolist()}
    assert found.cost.steps == 2 * -(-len(pool.rows) // 4)


@pytest.mark.parametrize("protocol", ["few_shot", "unsupervised", "transductive", "test_time"])
def test_no_test_label_is_ever_read(outcome, teacher, running, protocol):
    shots = 2 if PROTOCOLS[protocol].learns else 0
    methods = {"zero-shot": {}}
    if protocol == "test_time":
        methods["running-mean"] = {}
    else:
        methods["promptkd"] = {**QUICK, "teacher": "zero-shot"}
    for name, given in methods.items():
        taught = teacher if name == "promptkd" else None
        count = shots if METHODS[name].card.learns else 0
        one, other = (
            outcome(name, protocol, table, taught=taught, shots=count, **given)[0]
            for table in (TABLE, poisoned("test"))
        )
        assert told(one.predictions) == told(other.predictions)
        for key, value in one.learned.items():
            assert torch.equal(value, other.learned[key])
        assert [m.value for m in one.metrics] != [m.value for m in other.metrics]


def test_unsupervised_reads_no_label_of_any_split(outcome, teacher):
    given = {**QUICK, "teacher": "zero-shot"}
    one, other = (
        outcome("promptkd", "unsupervised", table, taught=teacher, **given)[0]
        for table in (TABLE, poisoned("train"))
    )
    assert told(one.predictions) == told(other.predictions)
    for key, value in one.learned.items():
        assert torch.equal(value, other.learned[key])


def test_what_is_tested_comes_without_labels(outcome, monkeypatch):
    seen = []
    monkeypatch.setattr(METHODS["zero-shot"], "logits", _watched(METHODS["zero-shot"].logits, seen))
    outcome("zero-shot", "zero_shot", seed=0)
    assert seen
    for batch in seen:
        with pytest.raises(ValueError, match="have no labels"):
            batch.labels  # noqa: B018


def _watched(logits, seen):
    def watched(self, batch: Batch):
        seen.append(batch)
        return logits(self, batch)

    return watched
