"""CoPrompt: its loss in plain torch, and which views and sentences the frozen towers are shown."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from operators.backbones import DeepPrompts
from operators.episodes.episode import Classes, FewShot, batch_of
from operators.episodes.views import View, ViewPolicy
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.tuning import Tuning

CoPrompt = METHODS["coprompt"]
LABELS = [0, 1, 2, 3, 0, 1]
TUNING = Tuning(lr=0.01, epochs=3, batch_size=3, warmup_epochs=0)


def build(backbone, classes, method=CoPrompt, **given):
    return method(backbone, classes, generator=torch.Generator().manual_seed(0), **given)


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


class Shifted:
    """Pictures that a view darkens, by as much as its number; their features are those of that."""

    def __init__(self, backbone, pixels):
        self.backbone, self.values = backbone, pixels
        self.asked: list[tuple[str, View | None]] = []

    def darkened(self, rows, view):
        return self.values[rows] - (0 if view is None else 0.1 * (view.number + 1))

    def pixels(self, rows, view=None):
        self.asked.append(("pixels", view))
        return self.darkened(rows, view)

    def features(self, rows, view=None):
        self.asked.append(("features", view))
        return self.backbone.encode_images(self.darkened(rows, view))


@pytest.fixture
def source(clip, drawn_pictures):
    return Shifted(clip, drawn_pictures(clip, LABELS).values)


@pytest.fixture
def shots(source):
    rows = np.arange(len(LABELS))
    train = batch_of(source, rows, np.array(LABELS), range(4), torch.device("cpu"))
    return FewShot(2, train, train.select(torch.arange(0)))


def adapted(adapter, features, ratio):
    hidden = (features @ adapter.down.T).clamp(min=0)
    return ratio * (hidden @ adapter.up.T).clamp(min=0) + (1 - ratio) * features


def one_by_one(backbone, texts):
    tokens = (backbone.tokenize([text]) for text in texts)
    return torch.cat([backbone.encode_text(backbone.embed(t.ids), t.end) for t in tokens])


@pytest.mark.parametrize(("place", "chosen"), [(0.0, 0), (0.49, 0), (0.5, 1), (0.99, 1)])
def test_the_loss_is_cross_entropy_and_the_distance_of_both_modalities(
    clip, precise, drawn_pictures, place, chosen
):
    twin = precise(clip)
    source = Shifted(twin, drawn_pictures(clip, LABELS).values.double())
    names = ("cat", "a very small orange boat", "dog", "oak tree")
    described = tuple((f"photo of a {name}", f"a {name} by a tree") for name in names)
    classes = Classes(names, ("a photo of a {}.",), descriptions=described)
    method = build(twin, classes, consistency_weight=3.0).double().train()
    method.second_view, method.place = View(2, 7), place
    batch = batch_of(source, np.arange(6), np.array(LABELS), range(4), torch.device("cpu"))

    text, visual = method.prompt.text, method.prompt.coupling(method.prompt.text)
    texts = twin.encode_prompts_plainly(
        method.prompt.layout, text[:1], DeepPrompts(text[1:], start=1)
    )
    images = twin.encode_images(
        batch.pixels, prompts=visual[0], deep_prompts=DeepPrompts(visual[1:], start=-2)
    )
    texts = adapted(method.text_adapter, texts, 0.2)
    images = adapted(method.image_adapter, images, 0.1)
    logits = twin.logit_scale * F.normalize(images) @ F.normalize(texts).T
    seen = twin.encode_images(batch.pixels - 0.3)
    told = one_by_one(twin, [sentences[chosen] for sentences in described])
    wanted = (
        F.cross_entropy(logits, batch.labels)
        + 3 * (1 - F.cosine_similarity(images, seen)).mean()
        + 3 * (1 - F.cosine_similarity(texts, told)).mean()
    )
    torch.testing.assert_close(method.loss(batch), wanted, rtol=1e-9, atol=1e-9)


def test_classes_may_have_as_many_sentences_as_they_like(clip, shots):
    described = (("one cat", "a small cat", "a cat"), ("a dog",))
    classes = Classes(("cat", "dog"), ("a photo of a {}.",), descriptions=described)
    method = build(clip, classes).train()
    assert [len(own) for own in method.described] == [3, 1]
    told = {}
    batch = shots.train.select(torch.tensor([0, 1]))
    for place in (0.1, 0.4, 0.8):
        method.place = place
        told[place] = float(method.loss(batch).detach())
    assert len(set(told.values())) == 3


def test_a_sentence_that_is_too_long_is_cut(clip):
    described = (("a photo of a cat " * 20,), ("a dog",))
    classes = Classes(("cat", "dog"), ("a photo of a {}.",), descriptions=described)
    assert build(clip, classes).described[0].isfinite().all()


def test_without_adapters_and_consistency_it_is_tuned_as_maple(clip, classes, shots):
    free = {"image_ratio": 0.0, "text_ratio": 0.0, "consistency_weight": 0.0}
    method = build(clip, classes, **free).train()
    twin = build(clip, classes, METHODS["maple"]).train()
    twin.load_state_dict(method.state_dict(), strict=False)
    torch.testing.assert_close(method.loss(shots.train), twin.loss(shots.train))


@pytest.mark.parametrize(
    ("views", "prompted", "frozen"),
    [
        ("none", [None] * 3, [View(3, 5), View(4, 5), View(5, 5)]),
        ("fresh", [View(0, 5), View(1, 5), View(2, 5)], [View(3, 5), View(4, 5), View(5, 5)]),
        ("bank:2", [View(0), View(1), View(0)], [View(1), View(0), View(1)]),
        ("bank:8", [View(0), View(1), View(2)], [View(1), View(2), View(0)]),
        ("bank:1", [View(0)] * 3, [View(3, 5), View(4, 5), View(5, 5)]),
        (
            "fresh:randaugment",
            [View(number, 5, "randaugment") for number in range(3)],
            [View(number, 5, "randaugment") for number in range(3, 6)],
        ),
    ],
)
def test_the_frozen_tower_sees_another_view_of_each_epoch(
    clip, classes, source, shots, views, prompted, frozen
):
    shots = replace(shots, views=ViewPolicy.parse(views), seed=5)
    build(clip, classes).fit(shots, tuning=TUNING, generator=seeded())
    asked = {kind: [view for what, view in source.asked if what == kind] for kind in
             ("pixels", "features")}  # fmt: skip
    assert asked["pixels"] == [view for view in prompted for _ in range(2)]
    assert asked["features"] == [view for view in frozen for _ in range(2)]


def test_every_step_draws_a_sentence_and_the_generator_decides(clip, classes, shots, monkeypatch):
    def places(seed):
        found, loss = [], CoPrompt.loss
        with monkeypatch.context() as patch:
            patch.setattr(
                CoPrompt, "loss", lambda self, batch: found.append(self.place) or loss(self, batch)
            )
            build(clip, classes).fit(shots, tuning=TUNING, generator=seeded(seed))
        return found

    first = places(1)
    assert len(first) == len(set(first)) == 6
    assert all(0 <= place < 1 for place in first)
    assert first == places(1) != places(2)


def test_what_classifies_reads_no_sentence_and_no_second_view(clip, classes, source, shots):
    method = build(clip, classes).eval()
    with torch.no_grad():
        method.logits(shots.train)
    assert "described" not in vars(method)
    assert source.asked == [("pixels", None)]


def test_the_defaults_are_those_of_the_general_configuration():
    for protocol in ("base_to_new", "few_shot", "cross_dataset"):
        values = resolve("coprompt", CoPrompt, {}, protocol=protocol, shots=16)
        assert (values["lr"], values["epochs"], values["batch_size"]) == (0.0035, 8, 4)
        assert (values["depth"], values["n_context"], values["consistency_weight"]) == (9, 2, 1.0)
        assert (values["image_ratio"], values["text_ratio"]) == (0.1, 0.2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_context": 5}, "n_context=5, but context_init 'a photo of a' has 4"),
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_starts(given, message):
    with pytest.raises(ValueError, match=message):
        resolve("coprompt", CoPrompt, given, protocol="few_shot", shots=4)
