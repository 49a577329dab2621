"""PromptKD: its formula and loss in plain torch, what it learns from, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from operators.episodes.episode import Batch, Classes, FewShot, Unlabelled, batch_of
from operators.methods import METHODS, Teacher
from operators.methods.hyperparameters import defaults, leanings_of, resolve
from operators.methods.image_classification.deep_prompts.promptkd import Projector
from operators.tuning import Tuning

PromptKD = METHODS["promptkd"]
LABELS = np.array([0, 1, 2, 3] * 3)
QUICK = Tuning(lr=0.001, epochs=2, batch_size=4, warmup_epochs=0)


def rows_of(source, rows, labels=None):
    if labels is None:
        return Batch(source, np.array(rows), None)
    return batch_of(source, np.array(rows), labels, range(4), torch.device("cpu"))


@pytest.fixture
def teacher(siglip, classes, drawn_pictures):
    """A teacher with another tower and wider features than the student."""
    method = METHODS["ivlp"](siglip, classes, generator=torch.Generator().manual_seed(3)).eval()
    return Teacher(method, drawn_pictures(siglip, LABELS))


@pytest.fixture
def pictures(clip, drawn_pictures):
    return drawn_pictures(clip, LABELS)


@pytest.fixture
def shots(pictures, classes):
    train = rows_of(pictures, [0, 1, 2, 3], LABELS)
    images = rows_of(pictures, range(len(LABELS)))
    return FewShot(1, train, train.select(torch.arange(0)), unlabelled=Unlabelled(images, classes))


def build(clip, classes, teacher, **given):
    generator = torch.Generator().manual_seed(0)
    return PromptKD(clip, classes, generator=generator, teacher=teacher, **given)


def project(method, features):
    """The projector as 1 x 1 convolutions on maps of one pixel, with batch statistics."""
    p = method.projector
    found = F.conv2d(features[:, :, None, None], p.first.weight[:, :, None, None], p.first.bias)
    mean, var = found.mean(dim=0), found.var(dim=0, unbiased=False)
    found = (found - mean) / (var + p.norm.eps).sqrt()
    found = (found * p.norm.weight[:, None, None] + p.norm.bias[:, None, None]).relu()
    return F.conv2d(found, p.last.weight[:, :, None, None], p.last.bias)[:, :, 0, 0]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_loss_is_the_divergence_from_the_teacher(clip, classes, teacher, shots, temperature):
    method = build(clip, classes, teacher, temperature=temperature, kd_weight=7.0).train()
    batch = shots.unlabelled.images
    towards = teacher.method.weights()
    raw = clip.encode_images(batch.pixels, prompts=method.image[0], deep_prompts=deep(method))
    student = clip.logit_scale * F.normalize(project(method, raw), dim=1) @ towards.T
    wanted = F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.softmax(teacher.logits(batch) / temperature, dim=1),
        reduction="sum",
    )
    wanted = 7.0 * wanted * temperature**2 / (len(LABELS) * len(classes))
    torch.testing.assert_close(method.loss(batch), wanted, rtol=1e-4, atol=1e-4)


def deep(method):
    from operators.backbones import DeepPrompts

    return DeepPrompts(method.image[1:], start=-method.image.shape[1])


def test_images_are_compared_to_the_class_vectors_of_the_teacher(clip, classes, teacher, shots):
    method = build(clip, classes, teacher)
    method.fit(shots, tuning=QUICK, generator=torch.Generator().manual_seed(0))
    method.eval()
    found = method.logits(shots.train)
    features = F.normalize(method.image_features(shots.train), dim=1)
    torch.testing.assert_close(found, clip.logit_scale * features @ teacher.method.weights().T)
    others = Classes(("zebra", "tea pot"), classes.templates)
    wanted = teacher.method.with_classes(others).weights()
    torch.testing.assert_close(method.with_classes(others).weights(), wanted)


def test_the_student_has_no_text_tower(clip, classes, teacher, shots, monkeypatch):
    def never(*_, **__):
        raise AssertionError("the student's text tower was used")

    monkeypatch.setattr(clip, "encode_prompts", never)
    method = build(clip, classes, teacher)
    method.fit(shots, tuning=QUICK, generator=torch.Generator().manual_seed(0))
    assert method.eval().logits(shots.train).shape == (4, 4)


def test_it_learns_from_the_unlabelled_images_alone(clip, classes, teacher, pictures, shots):
    """Labels and training images make no difference; other unlabelled images do."""
    shown = rows_of(pictures, range(8))
    turned = rows_of(pictures, [4, 5, 6, 7], LABELS[::-1].copy())
    found = {}
    for name, train, images in (
        ("it", shots.train, shots.unlabelled.images),
        ("other labels", turned, shots.unlabelled.images),
        ("other images", shots.train, shown),
    ):
        method = build(clip, classes, teacher)
        given = FewShot(1, train, shots.val, unlabelled=Unlabelled(images, classes))
        report = method.fit(given, tuning=QUICK, generator=torch.Generator().manual_seed(0))
        assert report.steps == 2 * (len(images) // 4)
        found[name] = method.learned()
    for name, value in found["it"].items():
        assert torch.equal(value, found["other labels"][name])
    assert not torch.equal(found["it"]["image"], found["other images"]["image"])


def test_the_names_of_all_classes_that_the_images_may_show_are_compared(
    clip, classes, teacher, pictures, shots
):
    """As in base-to-new under the setting paper, where new names are among them."""
    base = classes.subset([0, 1])
    taught = teacher.over(base)
    method = build(clip, base, taught)
    method.fit(shots, tuning=QUICK, generator=torch.Generator().manual_seed(0))
    batch = shots.unlabelled.images
    torch.testing.assert_close(method.teacher_logits.logits(batch), teacher.logits(batch))
    assert method.eval().logits(batch).shape == (len(LABELS), 2)


def test_the_teacher_sees_each_image_once_however_many_epochs(clip, classes, pictures, shots):
    method = METHODS["ivlp"](clip, classes, generator=torch.Generator().manual_seed(3)).eval()
    seen, read = [], method.image_features

    def watched(batch):
        seen.extend(batch.rows.tolist())
        return read(batch)

    method.image_features = watched
    student = build(clip, classes, Teacher(method))
    tuning = Tuning(lr=0.001, epochs=5, batch_size=4, warmup_epochs=0)
    student.fit(shots, tuning=tuning, generator=torch.Generator().manual_seed(0))
    assert sorted(seen) == list(range(len(LABELS)))


def test_the_prompt_file_holds_tokens_projector_and_its_statistics(clip, classes, teacher, shots):
    method = build(clip, classes, teacher)
    method.fit(shots, tuning=QUICK, generator=torch.Generator().manual_seed(0))
    d, t = clip.feature_width, teacher.method.backbone.feature_width
    learned = method.learned()
    assert {name.partition(".")[0] for name in learned} == {"image", "projector"}
    assert learned["projector.first.weight"].shape == (t, d)
    assert learned["projector.last.weight"].shape == (t, t)
    assert int(learned["projector.norm.num_batches_tracked"]) == 6
    trained = sum(p.numel() for p in method.parameters())
    assert trained == method.image.numel() + (d + 1) * t + 2 * t + (t + 1) * t


def test_a_projector_starts_as_linear_maps_do_and_its_norm_follows_the_batches():
    device = torch.device("cpu")
    made = Projector(400, 300, generator=torch.Generator().manual_seed(0), device=device)
    for linear in (made.first, made.last):
        bound = linear.in_features**-0.5
        assert linear.weight.abs().max() <= bound
        assert float(linear.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.02)
    features = torch.randn(50, 400, generator=torch.Generator().manual_seed(1))
    made.train()(features)
    mean = nn.functional.linear(features, made.first.weight, made.first.bias).mean(dim=0)
    torch.testing.assert_close(made.norm.running_mean, 0.1 * mean)
    torch.testing.assert_close(made.eval()(features[:1]), made(features)[:1], rtol=1e-4, atol=1e-4)


def test_published_settings():
    values = defaults(PromptKD)
    assert (values["lr"], values["epochs"], values["batch_size"]) == (0.005, 20, 8)
    assert (values["image_tokens"], values["image_depth"]) == (4, 9)
    assert (values["temperature"], values["kd_weight"]) == (1.0, 1000.0)
    assert (values["teacher"], values["teacher_backbone"]) == ("promptsrc", "")
    assert PromptKD.recipe(protocol="cross_dataset", shots=16, dataset="digits") == {
        "image_depth": 3
    }
    assert PromptKD.recipe(protocol="base_to_new", shots=16, dataset="digits") == {}
    assert PromptKD.recipe(protocol="base_to_new", shots=16, dataset="dtd") == {"kd_weight": 200.0}


def test_a_teacher_is_named_by_hyperparameters():
    given = {"teacher": "coop", "teacher_hyperparameters": {"epochs": 3}}
    values = resolve("promptkd", PromptKD, given, protocol="few_shot", shots=4)
    (teaching,) = leanings_of(PromptKD, values)
    assert (teaching.teacher, teaching.teacher_hyperparameters) == ("coop", {"epochs": 3})
    assert leanings_of(METHODS["coop"], defaults(METHODS["coop"])) == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 1}, "batch_size=1: the projector has a batch norm, so give at least 2"),
        ({"teacher": 3}, "promptkd.teacher=3 is a int"),
        ({"teacher_hyperparameters": "epochs"}, "is a str, but must be {name: value} or null"),
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_starts(given, message):
    with pytest.raises(ValueError, match=message):
        resolve("promptkd", PromptKD, given, protocol="few_shot", shots=4)


def test_a_teacher_without_shared_class_vectors_is_refused():
    PromptKD.check_teacher(METHODS["coop"])
    for name in ("cocoop", "mocoop", "tpt", "linear-probe"):
        with pytest.raises(ValueError, match=r"no class vectors that are the same for every ima"):
            PromptKD.check_teacher(METHODS[name])


@pytest.mark.parametrize(("count", "drop_last"), [(1, True), (5, False)])
def test_an_image_that_would_be_a_batch_of_its_own_is_refused(
    clip, classes, teacher, pictures, shots, count, drop_last
):
    method = build(clip, classes, teacher)
    images = Unlabelled(rows_of(pictures, range(count)), classes)
    given = FewShot(1, shots.train, shots.val, unlabelled=images)
    tuning = Tuning(batch_size=4, drop_last=drop_last)
    with pytest.raises(ValueError, match=rf"{count} unlabelled images in batches of 4 leave one"):
        method.fit(given, tuning=tuning, generator=torch.Generator())


def test_without_unlabelled_images_there_is_nothing_to_learn_from(clip, classes, teacher, shots):
    given = FewShot(1, shots.train, shots.val)
    with pytest.raises(ValueError, match="there are no unlabelled images"):
        build(clip, classes, teacher).fit(given, tuning=QUICK, generator=torch.Generator())
