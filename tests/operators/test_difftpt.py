"""DiffTPT: which views it takes, its steps, and who makes them."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from operators import functions
from operators.blocks.prompt_per_image import entropy_of_mean
from operators.episodes.episode import batch_of
from operators.episodes.views import CENTRE, GENERATORS, View
from operators.images import Preprocessing
from operators.methods import METHODS
from operators.methods.image_classification.test_time.difftpt import made_views

DiffTPT = METHODS["difftpt"]


@pytest.fixture
def batch(drawn_images, clip):
    source = drawn_images([0, 1, 2, 3, 0], clip.feature_width)
    return batch_of(source, np.arange(5), np.array([0, 1, 2, 3, 0]), range(4), torch.device("cpu"))


def build(clip, classes, **given):
    return DiffTPT(clip, classes, generator=torch.Generator(), **given).eval()


def restated(logits, similar, confident):
    """Both filters of one image, step by step."""
    distances = [float(logits[0] @ each / logits[0].norm() / each.norm()) for each in logits[1:]]
    near = [1 + place for place in np.argsort(-np.array(distances), kind="stable")[:similar]]
    kept = [0, *near]
    chosen = logits[kept]
    entropies = [float(-(p * p.log()).sum()) for p in chosen.softmax(dim=1)]
    return [kept[place] for place in np.argsort(entropies, kind="stable")[:confident]]


def test_of_the_views_that_resemble_the_image_the_certain_ones_are_taken(clip, classes):
    method = build(clip, classes, crops=6, generated=5, similar=0.7, confident=0.5)
    assert (method.similar, method.confident) == (7, 4)
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(3, 12, 4, generator=generator, dtype=torch.double)
    found = method.chosen(logits)
    assert found.tolist() == [restated(each, 7, 4) for each in logits]


def test_published_numbers_of_views(clip, classes):
    method = build(clip, classes)
    assert len(method.views) == 64 + 63
    assert (method.similar, method.confident) == (101, 30)  # of 127, of 102


def test_steps_are_those_of_adamw_on_the_views_chosen_before_the_first(clip, classes, batch):
    given = {"crops": 5, "generated": 4, "steps": 3, "lr": 0.01, "confident": 0.5}
    method = build(clip, classes, **given)
    found = method.logits(batch)
    views = [None, *(View(n, 0) for n in range(1, 6)), *made_views(4, "jitter")]
    for image in range(5):
        one = batch.select(torch.tensor([image]))
        features = torch.nn.functional.normalize(torch.cat([one.under(v).features for v in views]))
        context = method.prompt.start.clone().requires_grad_()

        def plain(context, features=features):
            texts = clip.encode_prompts(method.prompt.prompts, context)
            return clip.logit_scale * features @ torch.nn.functional.normalize(texts).T

        optimizer = torch.optim.AdamW([context], lr=0.01, weight_decay=0.01)
        places = restated(plain(context).detach(), method.similar, method.confident)
        for _ in range(3):
            optimizer.zero_grad()
            entropy_of_mean(plain(context)[places][None]).sum().backward()
            optimizer.step()
        torch.testing.assert_close(found[image], plain(context)[0].detach(), rtol=1e-3, atol=2e-2)


def test_what_is_made_is_kept_for_all_trials_and_crops_are_not():
    values = {"generated": 3, "maker": "jitter", "crops": 64}
    views = DiffTPT.views_of_tested(values)
    assert [view.name for view in views] == [f"bank-{n}-jitter" for n in range(3)]
    assert all(view.kept for view in views)
    assert DiffTPT.encodings(values, CENTRE) == (0, 64)


def picture(side=40):
    drawn = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    content = BytesIO()
    Image.fromarray(drawn).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def preprocess():
    return Preprocessing(24, 24, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_variations_that_ship_differ_and_follow_from_row_and_number(preprocess):
    def seen(row, number):
        return preprocess([picture()], made_views(2, "jitter")[number].crops(np.array([row])))

    found = [seen(row, number) for row in (0, 1) for number in (0, 1)]
    assert len({value.numpy().tobytes() for value in found}) == 4
    assert torch.equal(seen(1, 1), found[3])


def test_a_generator_of_ones_own_makes_views(preprocess, monkeypatch):
    monkeypatch.setattr(functions, "_OWN", {})
    name = functions.own_name("mine:make", "a" * 16)
    functions.add_own(name, lambda image, draw: np.full_like(image, 255 if draw() < 2 else 0))
    view = View(0, augmentation=name)
    assert torch.equal(preprocess([picture()], view.crops(np.array([0]))), torch.ones(1, 3, 24, 24))
    functions.add_own(name, lambda image, draw: image[:2])
    with pytest.raises(ValueError, match=r"gave an array of shape \(2, 24, 3\) for an image of"):
        preprocess([picture()], view.crops(np.array([0])))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda image, draw: None, r"gave an array of shape \(\) for an image of shape"),
        (lambda image, draw: image / 255, "gave numbers from 0 to 1 for an image of 0 to 255"),
        (lambda image, draw: image * np.nan, "gave numbers from nan to nan"),
        (lambda image, draw: image * 2.0, "gave numbers from 0 to 510"),
        (lambda image, draw: image > 9, "gave an array of bool"),
    ],
)
def test_a_generator_that_gives_no_image_is_refused(make, said, monkeypatch):
    monkeypatch.setattr(functions, "_OWN", {})
    name = functions.own_name("mine:make", "a" * 16)
    functions.add_own(name, make)
    image = np.array([[[0, 10, 255]]], dtype=np.uint8)
    with pytest.raises(ValueError, match=f"{name} {said}.*: a generator of images gives an image"):
        GENERATORS.find(name)(image, None)


def test_a_generator_that_paints_over_its_image_spoils_no_other_view(monkeypatch):
    monkeypatch.setattr(functions, "_OWN", {})
    name = functions.own_name("mine:black", "a" * 16)

    def black(image, draw):
        image[:] = 0
        return image

    functions.add_own(name, black)
    decoded = np.full((24, 24, 3), 200, dtype=np.uint8)  # as large as what the backbone reads
    read = Preprocessing(24, 24, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    made = read([decoded], View(0, augmentation=name).crops(np.array([0])))
    assert made.max() == 0
    assert (decoded == 200).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"crops": 2, "generated": 0, "confident": 0.1}, "ask for more crops, or a larger share"),
        ({"context_init": " "}, "give the words to start from"),
    ],
)
def test_what_cannot_work_is_refused(given, said):
    values = {"context_init": "a", "crops": 64, "generated": 63, "similar": 0.8, "confident": 0.3}
    with pytest.raises(ValueError, match=said):
        DiffTPT.check(values | given, protocol="zero_shot")


def test_what_changes_nothing_is_told():
    values = {"steps": 0, "generated": 0, "crops": 0}
    found = DiffTPT.idle(values)
    assert set(found) == {
        "lr",
        "weight_decay",
        "similar",
        "confident",
        "maker",
        "augmentation",
        "view_seed",
    }
    assert not DiffTPT.idle({"steps": 4, "generated": 63, "crops": 64})
