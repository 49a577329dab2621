"""One trial from specification to numbers, on features that are drawn."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from operators.backbones import unit
from operators.episodes.episode import Classes, batch_of
from operators.episodes.table import Table
from operators.episodes.views import View
from operators.methods import METHODS, methods_of
from operators.methods.hyperparameters import resolve
from operators.methods.image_classification.base import StaticClassifier
from operators.metrics import scores_of
from operators.metrics.predictions import CLASSIFICATION
from operators.tracks import track_of
from operators.tracks.rows import episode_of
from operators.trials.trial import lanes_of, run_trial
from operators.trials.tuned import teacher_of
from operators.tuning import Tuning, TuningError

LABELS = np.array([row % 5 for row in range(100)], dtype=np.int32)
SPLITS = np.array(["train"] * 50 + ["val"] * 20 + ["test"] * 30)


class Data:
    """Five classes in two domains, ten train, four validation and six test images each."""

    table = Table(LABELS, SPLITS, 5, domains=LABELS % 2, domain_names=("ink", "oil"))
    names = ("cat", "dog", "boat", "oak tree", "photo")
    sentences = tuple((f"a {name} in the grass.", f"an old {name}.") for name in names)
    all_classes = Classes(names, ("a photo of a {}.",), descriptions=sentences)


@pytest.fixture
def images(drawn_images):
    return drawn_images(LABELS, 24)


@pytest.fixture
def asked(spec):
    """Makes a specification as the plan does, with every hyperparameter."""

    def make(method="coop", protocol="few_shot", shots=2, **fields):
        given = fields.pop("given", {"epochs": 2} if method == "coop" else {})
        values = resolve(method, METHODS[method], given, protocol=protocol, shots=shots)
        return spec(method=method, hyperparameters=values, protocol=protocol, shots=shots, **fields)

    return make


def column(outcome, name, split):
    chosen = np.array(outcome.predictions["split"].to_pylist()) == split
    return outcome.predictions[name].to_numpy()[chosen]


def same(one, other):
    return (
        one.predictions.equals(other.predictions)
        and one.metrics == other.metrics
        and all(torch.equal(one.learned[name], other.learned[name]) for name in one.learned)
    )


def test_seeds_of_methods_without_a_tower_in_their_steps_are_tuned_one_by_one(clip, asked):
    spec = asked()
    episode = episode_of(spec, Data.table)
    assert lanes_of(spec, clip, episode) > 1
    for method in ("zs-lp", "clip-adapter", "linear-probe", "zero-shot"):
        assert lanes_of(asked(method), clip, episode) == 1


def test_a_trial_in_tf32_has_it_on_while_it_lasts(clip, images, asked, monkeypatch):
    seen = []
    read = type(images).features

    def watched(self, *where):
        seen.append(torch.backends.cuda.matmul.allow_tf32)
        return read(self, *where)

    monkeypatch.setattr(type(images), "features", watched)
    plain = run_trial(asked(), clip, Data(), images)
    assert set(seen) == {False}
    seen.clear()
    cut = run_trial(asked(precision="tf32"), clip, Data(), images)
    assert set(seen) == {True}
    assert not torch.backends.cuda.matmul.allow_tf32
    assert same(plain, cut)  # a CPU knows no such products


def test_predictions_have_their_schema_and_every_test_row_once(clip, images, asked):
    outcome = run_trial(asked(), clip, Data(), images)
    assert outcome.predictions.schema.equals(CLASSIFICATION)
    assert outcome.predictions["row_id"].to_pylist() == list(range(70, 100))
    assert outcome.predictions["label"].to_numpy().tolist() == LABELS[70:].tolist()


@pytest.mark.parametrize("protocol", ["few_shot", "base_to_new"])
def test_metrics_follow_from_the_predictions(clip, images, asked, protocol):
    outcome = run_trial(asked(protocol=protocol), clip, Data(), images)
    wanted = scores_of(outcome.predictions, track_of("few_shot").metrics)
    assert outcome.metrics == tuple(wanted)
    assert None not in {score.value for score in wanted}


def test_base_to_new_keeps_the_labels_of_the_dataset(clip, images, asked):
    outcome = run_trial(asked(protocol="base_to_new"), clip, Data(), images)
    for split, classes in (("base", {0, 1, 2}), ("new", {3, 4})):
        assert set(column(outcome, "label", split)) == classes
        assert set(column(outcome, "predicted", split)) <= classes
    rows = column(outcome, "row_id", "new")
    assert column(outcome, "label", "new").tolist() == LABELS[rows].tolist()


def test_predictions_are_those_of_the_plain_rule(clip, images, asked):
    outcome = run_trial(asked("zero-shot", "zero_shot", shots=0), clip, Data(), images)
    texts = clip.text_features(Data.all_classes.prompts("a photo of a {}."))
    chances = (clip.logit_scale * unit(images.values[70:]) @ texts.T).double().softmax(dim=1)
    assert column(outcome, "predicted", "all").tolist() == chances.argmax(dim=1).tolist()
    found = torch.tensor(column(outcome, "confidence", "all"))
    torch.testing.assert_close(found, chances.max(dim=1).values.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("search_on", "rows"), [("shots", 10), ("split", 20)])
def test_a_method_may_choose_on_the_whole_validation_split_of_its_classes(
    clip, images, asked, search_on, rows
):
    spec = asked("tip-adapter", given={"search_on": search_on, "search_steps_beta": 3})
    watched = Watched(images)
    outcome = run_trial(spec, clip, Data(), watched)
    assert len({row for row in watched.read if SPLITS[row] == "val"}) == rows
    assert outcome.episode_fingerprint == episode_of(asked(), Data.table).fingerprint
    assert set(outcome.report.selected) == {"alpha", "beta"}


class Watched:
    """Remembers which rows were read of a source, as features or as pixels."""

    def __init__(self, source):
        self.source = source
        self.read = []

    def features(self, rows, view=None):
        self.read += rows.tolist()
        return self.source.features(rows, view)

    def pixels(self, rows, view=None):
        self.read += rows.tolist()
        return self.source.pixels(rows, view)


@pytest.mark.parametrize("method", methods_of("image-classification"))
def test_no_test_row_is_read_before_fitting_ends(
    clip, drawn_pictures, asked, method, monkeypatch, taught
):
    read = []
    images = Watched(drawn_pictures(clip, LABELS))
    fit = METHODS[method].fit

    def watched(self, shots, **keywords):
        report = fit(self, shots, **keywords)
        read.extend(images.read)
        return report

    monkeypatch.setattr(METHODS[method], "fit", watched)
    has = resolve(method, METHODS[method], {}, protocol="few_shot", shots=2)
    brief = {"search_steps_beta": 3, "epochs": 1, "prompt_epochs": 1, "total_steps": 0}
    given = {n: v for n, v in brief.items() if n in has}
    teacher = taught.by(METHODS[method], clip, Data.all_classes)
    run_trial(asked(method, given=given), clip, Data(), images, **teacher)
    card = METHODS[method].card
    assert bool(read) == (card.learns or card.unlabelled)
    assert max(read, default=0) < 70
    assert max(images.read) == 99


def test_fitting_knows_the_drawn_rows_alone(clip, images, asked, monkeypatch):
    given = []
    monkeypatch.setattr(
        METHODS["coop"], "fit", lambda self, shots, **_: given.append(shots) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        run_trial(asked(protocol="base_to_new"), clip, Data(), images)
    episode = episode_of(asked(protocol="base_to_new"), Data.table)
    assert given[0].n_shots == 2
    assert np.array_equal(given[0].train.rows, episode.train)
    assert np.array_equal(given[0].val.rows, episode.val)


@pytest.fixture
def given(clip, drawn_pictures, taught, monkeypatch):
    """What a student is given by `run_trial` for a specification, before it learns anything."""

    def ask(spec):
        shots, method = [], METHODS[spec.method]
        monkeypatch.setattr(method, "fit", lambda self, it, **_: shots.append(it) or 1 / 0)
        teacher = taught.by(method, clip, Data.all_classes)
        with pytest.raises(ZeroDivisionError):
            run_trial(spec, clip, Data(), drawn_pictures(clip, LABELS), **teacher)
        return shots[0]

    return ask


def test_images_without_labels_are_for_methods_that_ask_for_them(given, asked):
    assert given(asked("ivlp")).unlabelled is None
    unlabelled = given(asked("promptkd")).unlabelled
    assert unlabelled.images.rows.tolist() == list(range(50))
    assert unlabelled.classes == Data.all_classes


def test_images_without_labels_have_none_to_read(given, asked):
    images = given(asked("promptkd")).unlabelled.images
    for batch in (
        images,
        images.select(torch.arange(3)),
        images.under(View(1)),
        images.through(images._source),
    ):
        with pytest.raises(ValueError, match="these examples have no labels"):
            batch.labels  # noqa: B018
        assert not any(isinstance(v, torch.Tensor) for v in vars(batch).values())


@pytest.mark.parametrize(("setting", "labels"), [("paper", {0, 1, 2, 3, 4}), ("clean", {0, 1, 2})])
def test_new_classes_are_among_them_as_published_and_not_under_clean(given, asked, setting, labels):
    unlabelled = given(asked("promptkd", "base_to_new", setting=setting)).unlabelled
    assert set(LABELS[unlabelled.images.rows].tolist()) == labels
    assert len(unlabelled.images) == 10 * len(labels)
    assert len(unlabelled.classes) == len(labels)


def test_the_episode_of_a_student_is_that_of_other_methods(asked):
    student, other = (asked(method, "base_to_new") for method in ("promptkd", "coop"))
    fingerprints = {episode_of(spec, Data.table).fingerprint for spec in (student, other)}
    assert len(fingerprints) == 1


def test_a_student_needs_a_teacher_and_others_take_none(clip, images, asked, taught):
    with pytest.raises(ValueError, match="promptkd learns from a teacher: give one"):
        run_trial(asked("promptkd"), clip, Data(), images)
    teacher = taught.by(METHODS["promptkd"], clip, Data.all_classes)
    with pytest.raises(ValueError, match="coop has no teacher"):
        run_trial(asked(), clip, Data(), images, **teacher)


@pytest.mark.parametrize("protocol", ["few_shot", "base_to_new"])
def test_a_student_learns_from_what_a_trial_left_behind(clip, drawn_pictures, asked, protocol):
    pictures = drawn_pictures(clip, LABELS)
    teaching = asked("ivlp", protocol, given={"epochs": 1, "image_depth": 2})
    outcome = run_trial(teaching, clip, Data(), pictures)
    teacher = teacher_of(teaching, clip, Data(), outcome.learned, None)
    assert teacher.method.classes == Data.all_classes.subset(
        episode_of(teaching, Data.table).classes
    )
    assert all(
        torch.equal(value, outcome.learned[name])
        for name, value in teacher.method.state_dict().items()
    )
    spec = asked(
        "promptkd", protocol, given={"epochs": 1, "kd_weight": 1.0}, aids={"teacher": teaching}
    )
    found = run_trial(spec, clip, Data(), pictures, teacher)
    assert found.cost.steps == 50 // 8
    assert {metric.split for metric in found.metrics} == {m.split for m in outcome.metrics}
    assert found.episode_fingerprint == outcome.episode_fingerprint


def test_a_method_without_class_vectors_is_no_teacher(clip, asked):
    with pytest.raises(ValueError, match="cocoop has no class vectors, so it is no teacher"):
        teacher_of(asked("cocoop"), clip, Data(), {}, None)


def test_the_same_specification_gives_the_same_outcome_bit_by_bit(clip, images, asked):
    one, other = (run_trial(asked(seed=0), clip, Data(), images) for _ in range(2))
    assert same(one, other)
    assert one.episode_fingerprint == other.episode_fingerprint


def test_seeds_zero_and_one_differ(clip, images, asked):
    one, other = (run_trial(asked(seed=seed), clip, Data(), images) for seed in (0, 1))
    assert one.episode_fingerprint != other.episode_fingerprint
    assert not torch.equal(one.learned["context"], other.learned["context"])


def built(spec, clip, generator):
    data = Data()
    return track_of(spec.protocol).build(spec, clip, data, episode_of(spec, data.table), generator)


def test_the_generator_decides_the_initialisation(clip, asked):
    starts = [
        built(asked(), clip, torch.Generator().manual_seed(seed)).learned()["context"]
        for seed in (0, 0, 1)
    ]
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


def test_the_seed_decides_the_order_of_the_images(clip, images, asked, monkeypatch):
    draws = []
    monkeypatch.setattr(
        METHODS["coop"],
        "fit",
        lambda self, shots, *, generator, **_: draws.append(generator) or 1 / 0,
    )
    for seed in (0, 0, 1):
        with pytest.raises(ZeroDivisionError):
            run_trial(asked(seed=seed), clip, Data(), images)
    first, again, other = (torch.randperm(50, generator=each).tolist() for each in draws)
    assert first == again != other


def test_the_cost_is_counted(clip, images, asked):
    outcome = run_trial(asked(), clip, Data(), images)
    assert outcome.cost.trainable_parameters == 16 * clip.token_width
    assert outcome.cost.steps == len(outcome.report.losses) == 2
    assert outcome.cost.peak_memory_bytes > 1e6
    assert outcome.cost.tune_seconds > 0
    assert outcome.cost.evaluate_seconds > 0


def counted_by_torch(run):
    """What a run gives, and the operations that torch counts in it."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        outcome = run()
    return outcome, counter.get_total_flops()


def plain_pass(layers, width, mlp_width, tokens, features):
    """Operations of one sequence through a tower: each way, attention twice on the way back."""
    linear = 2 * tokens * width * (4 * width + 2 * mlp_width) * layers
    attention = 4 * tokens**2 * width * layers
    output = 2 * width * features
    return linear + attention + output, linear + 2 * attention + output


def test_the_operations_of_tuning_are_those_of_the_towers(clip, images, asked, monkeypatch):
    spent, unwatched = [], METHODS["coop"].fit

    def fit(self, shots, **keywords):
        report, count = counted_by_torch(lambda: unwatched(self, shots, **keywords))
        spent.append(count)
        return report

    monkeypatch.setattr(METHODS["coop"], "fit", fit)
    cost = run_trial(asked(), clip, Data(), images).cost
    b, k, d = 10, 5, 24  # two shots of each class are one batch
    products = 2 * 2 * b * k * d  # of image and class features, there and back, are the method's
    assert cost.steps == 2
    assert cost.tune_flops == spent[0] - cost.steps * products > 0


def test_the_plain_form_encodes_every_image_and_pads_every_text(clip, images, asked):
    cost = run_trial(asked(), clip, Data(), images).cost
    b, k = 10, 5
    there, back = plain_pass(3, 32, 40, tokens=40, features=24)
    image, _ = plain_pass(3, 48, 56, tokens=17, features=24)
    image += 16 * 2 * (3 * 8 * 8) * 48  # its patches
    assert cost.plain_tune_flops == cost.steps * (b * image + k * (there + back))
    assert cost.tune_flops < cost.plain_tune_flops / 3


def test_methods_that_read_kept_features_save_what_their_codes_encode(clip, images, asked):
    def cost(method, given, protocol="few_shot", shots=2):
        spec = asked(method, protocol, shots=shots, given=given)
        return run_trial(spec, clip, Data(), images).cost

    probe = cost("linear-probe", {})
    assert probe.tune_flops == probe.plain_tune_flops == 0
    zero = cost("zero-shot", {}, "zero_shot", 0)
    assert zero.tune_flops == zero.plain_tune_flops == 0  # its texts are part of evaluation
    there, _ = plain_pass(3, 32, 40, tokens=40, features=24)
    search = {"search_steps_beta": 3}
    adapter = cost("tip-adapter", search)
    assert 0 < adapter.tune_flops < adapter.plain_tune_flops == 5 * there
    tuned = cost("tip-adapter-f", search)
    assert tuned.tune_flops == adapter.tune_flops
    encoded = tuned.steps * 10 * clip.image_flops  # its code encodes the batch of each step
    assert tuned.plain_tune_flops == 5 * there + encoded


def test_what_was_learned_is_the_prompt(clip, images, asked):
    outcome = run_trial(asked(), clip, Data(), images)
    assert {name: value.shape for name, value in outcome.learned.items()} == {
        "context": (1, 16, clip.token_width)
    }


def test_the_cap_cuts_the_test_rows(clip, images, asked):
    outcome = run_trial(asked(test_rows_per_class=2), clip, Data(), images)
    assert {metric.n for metric in outcome.metrics} == {10}


def test_a_method_that_can_not_carry_over_says_so(clip, images, asked):
    with pytest.raises(ValueError, match="Linear probe learns something of its own"):
        run_trial(asked("linear-probe", "base_to_new"), clip, Data(), images)


def test_a_loss_that_is_no_number_fails_the_trial(clip, images, asked):
    images.values[:50] = torch.nan
    with pytest.raises(TuningError, match="nan in epoch 1 of 2"):
        run_trial(asked(), clip, Data(), images)


def test_logits_that_are_no_numbers_fail_the_trial(clip, images, asked):
    images.values[75] = torch.inf
    said = "the logits of 1 of the 30 rows of split 'all' are infinite or nan: what"
    with pytest.raises(ValueError, match=said):
        run_trial(asked(), clip, Data(), images)


def test_a_rate_that_is_too_large_fails_the_trial_and_says_when(clip, images, asked):
    trial = asked("tip-adapter-f", given={"lr": 100, "epochs": 3})
    with pytest.raises(TuningError, match=r"became \w+ in epoch \d of 3 at lr=100\.0: try a small"):
        run_trial(trial, clip, Data(), images)


@pytest.mark.parametrize("method", ["linear-probe", "tip-adapter"])
def test_what_is_learned_without_steps_and_is_no_number_fails_the_trial(
    clip, images, asked, method
):
    images.values[:50] = torch.nan
    with pytest.raises(TuningError, match=r"of the \d+ learned numbers of \w+ are infinite or nan"):
        run_trial(asked(method), clip, Data(), images)


def test_a_backbone_that_gives_no_numbers_fails_the_trial(clip, images, asked, monkeypatch):
    monkeypatch.setattr(clip, "logit_scale", torch.nan)
    with pytest.raises(ValueError, match=r"30 of the 30 rows.*or data or backbone are damaged"):
        run_trial(asked("zero-shot", "zero_shot", shots=0), clip, Data(), images)


def test_a_split_without_test_rows_fails_the_trial(clip, images, asked):
    class Untested(Data):
        table = Table(LABELS[:70], SPLITS[:70], 5)

    with pytest.raises(ValueError, match="split 'all' has no test rows"):
        run_trial(asked(), clip, Untested(), images)


def test_a_batch_refuses_no_row_but_one_of_another_class(images):
    with pytest.raises(KeyError):
        batch_of(images, np.array([0, 3]), LABELS, (0, 1), torch.device("cpu"))


def test_a_selected_batch_does_not_read_again(images):
    batch = batch_of(images, np.arange(5), LABELS, tuple(range(5)), torch.device("cpu"))
    features = batch.features
    part = batch.select(torch.tensor([3, 1]))
    assert torch.equal(part.features, features[[3, 1]])
    assert images.read == [0, 1, 2, 3, 4]
    assert part.rows.tolist() == part.labels.tolist() == [3, 1]


def test_class_vectors_follow_their_parameters(clip):
    class Learned(StaticClassifier):
        """One learned vector a class."""

        card = METHODS["zero-shot"].card
        tuning = Tuning(epochs=1)

        def __init__(self, backbone, classes):
            super().__init__(backbone, classes)
            self.vectors = torch.nn.Parameter(torch.eye(5, 24))

        def class_features(self):
            return self.vectors

    method = Learned(clip, Data.all_classes).eval()
    first = method.weights().clone()
    method.load_state_dict({"vectors": torch.eye(5, 24).flip(0)})
    assert torch.equal(method.weights(), first.flip(0))
    method.train()
    assert method.weights().requires_grad
