"""TPT: which views it keeps, its step, and that nothing is left of it after an image."""

import numpy as np
import pytest
import torch

from operators.blocks.prompt_per_image import entropy_of_mean, most_confident
from operators.episodes.episode import Classes, batch_of
from operators.episodes.views import CENTRE, View
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve

TPT = METHODS["tpt"]


def build(backbone, classes, **given):
    return TPT(backbone, classes, generator=torch.Generator(), **given).eval()


def softmax(x):
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def entropy(p):
    return -(p * np.log(p)).sum(axis=-1)


@pytest.fixture
def classes():
    return Classes(("cat", "a very small orange boat", "dog"), ("a photo of a {}.",))


@pytest.fixture
def images(drawn_images, clip):
    return drawn_images([0, 1, 2, 1, 0], clip.feature_width)


@pytest.fixture
def batch(images):
    labels = np.array([0, 1, 2, 1, 0])
    return batch_of(images, np.arange(5), labels, (0, 1, 2), torch.device("cpu"))


def logits_of_views(seed=0):
    return 4 * torch.randn(3, 10, 5, generator=torch.Generator().manual_seed(seed))


def test_the_kept_views_are_the_most_confident_ones():
    logits = logits_of_views()
    found = most_confident(logits, 4)
    uncertainty = entropy(softmax(logits.double().numpy()))
    assert found.tolist() == uncertainty.argsort(axis=1)[:, :4].tolist()


def test_of_equally_confident_views_the_first_are_kept():
    assert most_confident(torch.zeros(1, 6, 3), 2).tolist() == [[0, 1]]


def test_the_entropy_is_that_of_the_mean_prediction_of_the_views():
    logits = logits_of_views()
    wanted = entropy(softmax(logits.double().numpy()).mean(axis=1))
    np.testing.assert_allclose(entropy_of_mean(logits), wanted, rtol=1e-5)


def test_views_that_are_sure_of_different_classes_are_uncertain_together():
    logits = torch.tensor([[[900.0, 0.0], [0.0, 900.0]]])
    assert float(entropy_of_mean(logits)[0]) == pytest.approx(np.log(2))
    assert float(entropy_of_mean(logits[:, :1])[0]) == 0


def test_one_step_is_that_of_adamw_on_the_entropy_of_the_confident_views(clip, classes, batch):
    method = build(clip, classes, views=20, confident=0.25, lr=0.01, weight_decay=0.1)
    found = method.logits(batch)
    for image in range(5):
        one = batch.select(torch.tensor([image]))
        views = [one, *(one.under(View(number, 0)) for number in range(1, 20))]
        features = torch.nn.functional.normalize(torch.cat([view.features for view in views]))
        context = method.prompt.start.clone().requires_grad_()

        def logits(context, features=features):
            texts = clip.encode_prompts(method.prompt.prompts, context)
            return clip.logit_scale * features @ torch.nn.functional.normalize(texts).T

        probabilities = logits(context).softmax(dim=1)
        order = entropy(probabilities.detach().double().numpy()).argsort()
        mean = probabilities[order[:5].copy()].mean(dim=0)
        (gradient,) = torch.autograd.grad(-(mean * mean.log()).sum(), context)
        # The first step of Adam, after both corrections, is gradient / |gradient|.
        moved = context * (1 - 0.01 * 0.1) - 0.01 * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(found[image], logits(moved)[0].detach(), rtol=1e-3, atol=1e-2)


def test_a_step_makes_the_confident_views_more_certain_together(clip, classes, batch):
    method = build(clip, classes, views=16, confident=0.5, lr=0.001)
    seen = method.seen(batch)
    start = method.prompt.start.expand(5, 1, -1, -1)
    before = method.prompt.compared(seen, start)
    kept = most_confident(before, 8)[..., None].expand(-1, -1, 3)
    contexts = []
    compared = method.prompt.compared
    method.prompt.compared = lambda features, context: (
        contexts.append(context.detach().clone()),
        compared(features, context),
    )[1]
    method.tuned(seen)
    after = compared(seen, contexts[-1])
    change = entropy_of_mean(after.gather(1, kept)) - entropy_of_mean(before.gather(1, kept))
    assert (change < 0).all()


def test_without_a_step_it_is_zero_shot_with_the_words_it_starts_from(clip, classes, batch):
    zero_shot = METHODS["zero-shot"](clip, classes, generator=torch.Generator()).eval()
    found = build(clip, classes, steps=0).logits(batch)
    torch.testing.assert_close(found, zero_shot.logits(batch), rtol=1e-4, atol=1e-4)


def test_nothing_is_left_of_an_image_when_the_next_one_comes(clip, classes, batch):
    method = build(clip, classes, views=12, confident=0.2)
    start = method.prompt.start.clone()
    one, others = batch.select(torch.tensor([0])), batch.select(torch.tensor([1, 2, 3]))
    first = method.logits(one)
    method.logits(others)
    assert torch.equal(method.logits(one), first)
    assert torch.equal(method.prompt.start, start)
    assert method.state_dict() == {}


def test_an_image_is_classified_alike_whatever_stands_beside_it(clip, classes, batch):
    method = build(clip, classes, views=12, confident=0.2)
    together = method.logits(batch)
    backwards = method.logits(batch.select(torch.arange(5).flip(0))).flip(0)
    torch.testing.assert_close(backwards, together, rtol=1e-3, atol=1e-2)
    method.prompt.images_at_once = 1
    torch.testing.assert_close(method.logits(batch), together, rtol=1e-3, atol=1e-2)


def test_more_steps_and_another_seed_of_views_give_other_logits(clip, classes, batch):
    found = [
        build(clip, classes, views=12, confident=0.2, **given).logits(batch)
        for given in ({}, {"steps": 2}, {"view_seed": 1})
    ]
    assert not torch.allclose(found[0], found[1], atol=1e-3)
    assert not torch.allclose(found[0], found[2], atol=1e-3)


def test_the_views_are_the_centre_crop_and_fresh_ones_of_each_image(clip, classes, batch, images):
    build(clip, classes, views=5, confident=0.2, view_seed=3).logits(batch)
    assert set(images.views) == {None, *(View(number, 3) for number in range(1, 5))}


def test_the_published_settings_keep_6_of_64_views(clip, classes):
    method = build(clip, classes)
    assert (len(method.views) + 1, method.kept, method.steps, method.lr) == (64, 6, 1, 0.005)
    assert method.prompt.start.shape == (1, 4, clip.token_width)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"views": 9}, "confident=0.1 of views=9 is less than one view: ask for more"),
        ({"context_init": " "}, "give the words to start from"),
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_starts(given, message):
    with pytest.raises(ValueError, match=message):
        resolve("tpt", TPT, given, protocol="zero_shot", shots=0)


@pytest.mark.parametrize(
    ("dataset", "augmentation"),
    [("dtd", "augmix"), ("imagenet", "crop-bilinear"), ("imagenet_a", "crop-bilinear"),
     ("digits", "")],
)  # fmt: skip
def test_views_are_the_published_ones_where_there_are_some(clip, classes, dataset, augmentation):
    given = resolve("tpt", TPT, {}, protocol="zero_shot", shots=0, dataset=dataset)
    built = build(clip, classes, **given)
    assert [view.augmentation for view in built.views] == [augmentation] * 63
    assert ("augmentation" in given) == bool(augmentation)  # so ids of other trials stay
    assert TPT.encodings(given, CENTRE) == (0, 63)
