"""KAPT: its two prompts, its head, and what it refuses."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from operators.backbones import unit
from operators.episodes.episode import Classes, FewShot, batch_of
from operators.episodes.views import ViewPolicy
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.methods.image_classification.text_prompts.keywords import keywords
from operators.tuning import Tuning

KAPT, CoOp = METHODS["kapt"], METHODS["coop"]
LABELS = [0, 1, 2, 3, 1]


@pytest.fixture(params=["clip", "siglip"])
def tower(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def pictures(tower, drawn_pictures):
    return drawn_pictures(tower, LABELS)


@pytest.fixture
def batch(tower, pictures):
    return batch_of(pictures, np.arange(5), np.array(LABELS), range(4), tower.device)


def build(tower, classes, **given):
    return KAPT(tower, classes, generator=torch.Generator().manual_seed(0), **given)


def test_class_vectors_are_those_of_the_prompts_written_out(tower, classes, moved):
    method = moved(build(tower, classes))
    found = unit(method.class_features())
    words = keywords(classes.names, classes.descriptions, 4)
    assert "fur" in words[0]
    for place, own in enumerate(words):
        if place in (1, 3):  # of names and words that leave no room, see below
            continue
        e = unit(tower.text_features(classes.descriptions[place]).mean(dim=0))
        hidden = F.gelu(method.narrow(e))
        context = method.context + (method.widen @ hidden).view_as(method.context)
        tokens = tower.tokenize(
            [f"a photo of a {', '.join([classes.names[place], *own])}."], cut=True
        )
        embedded = tower.embed(tokens.ids).clone()
        start = tower.text_start
        embedded[0, start : start + 4] = context
        wanted = unit(tower.encode_text(embedded, tokens.end))[0]
        torch.testing.assert_close(found[place], wanted, rtol=1e-3, atol=1e-4)


def test_the_discrete_prompt_is_the_name_and_its_keywords(tower, classes):
    short = classes.subset([0, 2])
    first, second = keywords(short.names, short.descriptions, 2)
    wanted = tower.tokenize([f"a photo of a cat, {first[0]}, {first[1]}.",
                             f"a photo of a dog, {second[0]}, {second[1]}."], cut=True)  # fmt: skip
    assert torch.equal(build(tower, short, n_keywords=2).prompts.ids, wanted.ids)
    bare = tower.tokenize(["a photo of a cat.", "a photo of a dog."])
    assert torch.equal(build(tower, short, n_keywords=0).prompts.ids, bare.ids)


def test_without_keywords_and_shift_a_class_vector_is_that_of_coop(tower, classes):
    method = build(tower, classes, n_keywords=0)
    coop = CoOp(
        tower,
        classes,
        generator=torch.Generator(),
        n_context=4,
        context_init="a photo of a",
    )
    torch.nn.init.zeros_(method.widen)
    torch.testing.assert_close(method.eval().weights(), coop.eval().weights(), rtol=1e-4, atol=1e-5)


def test_classes_that_are_described_differently_have_different_contexts(tower, moved):
    said = (("it is red.",), ("it is green and tall.",), ("it is red.",))
    method = moved(build(tower, Classes(("a", "b", "c"), ("a {}.",), descriptions=said)))
    one, two, three = method.contexts()
    torch.testing.assert_close(one, three)
    assert not torch.allclose(one, two, atol=1e-3)


def test_keywords_that_do_not_fit_are_cut_and_a_name_is_not(tower):
    many = " ".join(f"w{letter}rd" * 2 for letter in "abcdefghijklmnop")
    said = (("it purrs.",), (many,))
    method = build(tower, Classes(("cat", "dog"), ("a {}.",), descriptions=said), n_keywords=16)
    assert int(method.prompts.end[1]) == tower.context_length - 1
    name = "a cat in a tree " * 20
    with pytest.raises(ValueError, match=f"the text tower of {tower.card.name} reads"):
        build(tower, Classes(("cat", name), ("a {}.",), descriptions=said))


def test_an_image_is_its_unit_feature_and_what_the_head_adds(
    tower, classes, batch, pictures, moved
):
    method = moved(build(tower, classes)).eval()
    reading = tower.read_images(tower.embed_images(pictures.values))
    features, patches = unit(reading.features), unit(reading.patches)
    adapted = features + method.head(features, patches)
    wanted = tower.logit_scale * unit(adapted) @ method.weights().T
    torch.testing.assert_close(method.logits(batch), wanted, rtol=1e-4, atol=1e-3)
    start = build(tower, classes).eval()
    torch.testing.assert_close(start.image_features(batch), features, rtol=1e-4, atol=1e-5)


def test_images_read_in_parts_give_the_same(tower, classes, batch, monkeypatch, moved):
    method = moved(build(tower, classes)).eval()
    whole = method.image_features(batch)
    monkeypatch.setattr("operators.methods.image_classification.text_prompts.kapt.IMAGE_ROWS", 2)
    with torch.no_grad():
        torch.testing.assert_close(method.image_features(batch), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("views", "passes"), [(ViewPolicy(), 1), (ViewPolicy("bank", 2), 2)])
def test_tuning_takes_each_view_of_an_image_through_the_tower_once(
    tower, classes, batch, pictures, views, passes, monkeypatch
):
    encoded = []
    read = tower.read_images
    monkeypatch.setattr(tower, "read_images", lambda t, **k: encoded.append(len(t)) or read(t, **k))
    shots = FewShot(1, batch, batch.select(torch.arange(0)), views)
    tuning = Tuning(epochs=6, batch_size=2, drop_last=False)
    build(tower, classes).fit(shots, tuning=tuning, generator=torch.Generator().manual_seed(0))
    assert sum(encoded) == 5 * passes


def test_its_patches_are_forgotten_after_tuning(tower, classes, batch):
    method = build(tower, classes)
    shots = FewShot(1, batch, batch.select(torch.arange(0)))
    method.fit(shots, tuning=Tuning(epochs=1), generator=torch.Generator().manual_seed(0))
    assert not method.patches._readings._kept.values


def test_a_random_start_has_a_place_for_every_token(tower, classes):
    method = build(tower, classes, n_context=3, context_init="")
    assert method.context.shape == (3, tower.token_width)
    assert method.prompts.slots.shape == (4, 3)
    assert float(method.context.detach().std()) == pytest.approx(0.02, rel=0.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_context": 5}, "n_context=5, but context_init 'a photo of a' has 4 words"),
    ],
)
def test_values_that_cannot_work_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        resolve("kapt", KAPT, given, protocol="few_shot", shots=4)
