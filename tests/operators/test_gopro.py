"""GOPro: the step in plain arithmetic, what layers say of an image, and the three views."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from operators.backbones import unit
from operators.episodes.episode import FewShot, batch_of
from operators.episodes.views import CENTRE, View, ViewPolicy
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.methods.image_classification.text_prompts.gopro import view_contrast
from operators.tuning import Tuning

GOPro = METHODS["gopro"]
LABELS = [0, 1, 2, 3, 1]
MOCO, AUGMIX = View(0, 0, "mocov3"), View(0, 0, "augmix")


class Moved:
    """Every view shows the same pictures with noise of its own."""

    def __init__(self, source):
        self.source = source
        self.read = []

    def pixels(self, rows, view=None):
        self.read.append((view, len(rows)))
        pixels = self.source.pixels(rows, None)
        if view is None:
            return pixels
        noise = torch.Generator().manual_seed(len(view.name) + view.number)
        return pixels + 0.3 * torch.randn(self.source.values.shape, generator=noise)[rows]

    def features(self, rows, view=None):
        return self.source.encode(self.pixels(rows, view))


@pytest.fixture
def source(clip, drawn_pictures):
    return Moved(drawn_pictures(clip, LABELS))


def shots_of(source, policy=CENTRE):
    labels, cpu = np.array(LABELS), torch.device("cpu")
    every = batch_of(source, np.arange(len(LABELS)), labels, range(4), cpu)
    return FewShot(1, every, every.select(torch.arange(0)), policy)


def build(clip, classes, **given):
    return GOPro(clip, classes, generator=torch.Generator().manual_seed(0), **given)


def plain_texts(method, clip, pixels):
    """(k, d) class features of one image, layer by layer and text by text."""
    states = clip.read_images(clip.embed_images(pixels[None]), layers=range(3)).states
    shift = method.layers.bias
    for layer in range(clip.image_tower.shape.layers):
        tokens = states[layer][0].detach()
        mean, deviation = tokens.mean(dim=0), tokens.std(dim=0, unbiased=False)
        style = F.linear((mean + deviation) / 2, method.style.weight[layer])
        content = F.linear(mean, method.content.weight[layer])
        both = style + method.style.bias[layer] + content + method.content.bias[layer]
        shift = shift + method.layers.weight[0, layer] * both / 2
    context = method.prompt.context + shift
    return unit(clip.encode_prompts_plainly(method.prompt.layout, context))


def plain_contrast(one, other):
    """SimCLR's loss, a row at a time."""
    vectors, losses = unit(torch.cat([one, other])), []
    for row, vector in enumerate(vectors):
        partner = (row + len(one)) % len(vectors)
        others = torch.stack([vectors[o] @ vector for o in range(len(vectors)) if o != row])
        losses.append(torch.logsumexp(others / 0.1, 0) - vectors[partner] @ vector / 0.1)
    return torch.stack(losses).mean()


@pytest.mark.parametrize("view_weight", [0.0, 1.0])
def test_loss_and_gradients_are_those_of_plain_arithmetic(clip, classes, source, view_weight):
    method = build(clip, classes, view_weight=view_weight)
    method.others = (MOCO, AUGMIX)
    batch = shots_of(source).train
    loss = method.loss(batch)

    views = [batch, batch.under(MOCO), batch.under(AUGMIX)]
    texts = [torch.stack([plain_texts(method, clip, p) for p in v.pixels]) for v in views]
    images = [unit(v.features) for v in views]
    logits = clip.logit_scale * torch.stack(
        [t @ image for t, image in zip(texts[0], images[0], strict=True)]
    )
    apart = F.mse_loss(texts[0], texts[1]) + F.mse_loss(texts[0], texts[2])
    norm = nn.BatchNorm1d(clip.feature_width)
    one, other = (norm(method.head(image)) for image in images[:2])
    wanted = F.cross_entropy(logits, batch.labels) + view_weight * apart
    wanted = wanted + 0.1 * plain_contrast(one, other)
    torch.testing.assert_close(loss, wanted)
    for name in ("prompt.context", "style.weight", "content.bias", "layers.weight", "head.weight"):
        parameter = method.get_parameter(name)
        (found,) = torch.autograd.grad(loss, parameter, retain_graph=True)
        (plain,) = torch.autograd.grad(wanted, parameter, retain_graph=True)
        torch.testing.assert_close(found, plain, rtol=1e-3, atol=1e-5)


def test_the_contrast_leaves_all_logits_alone(clip, classes, source):
    method = build(clip, classes)
    method.others = (MOCO, AUGMIX)
    batch = shots_of(source).train
    before = method.logits(batch).detach()
    with torch.no_grad():
        for parameter in (*method.head.parameters(), method.head_scale, method.head_shift):
            parameter.add_(1.0)
    assert torch.equal(method.logits(batch), before)


def test_the_contrast_is_smallest_where_each_view_is_nearest_to_its_own():
    vectors = torch.eye(4, 8)
    near = view_contrast(vectors, vectors + 0.01, 0.1)
    assert near < 0.01 < view_contrast(vectors, vectors.roll(1, dims=0), 0.1)


def test_an_image_alone_has_no_contrast(clip, classes, source):
    method = build(clip, classes, view_weight=0.0)
    batch = shots_of(source).train.select(torch.tensor([2]))
    torch.testing.assert_close(
        method.loss(batch), F.cross_entropy(method.own_logits(batch), batch.labels)
    )


def test_each_epoch_shows_two_views_more_and_centre_crops_are_read_once(clip, classes, source):
    method = build(clip, classes)
    tuning = Tuning(lr=0.001, epochs=2, batch_size=5, warmup_epochs=0)
    method.fit(shots_of(source), tuning=tuning, generator=torch.Generator().manual_seed(0))
    assert source.read == [
        (None, 5), (View(2, 0, "mocov3"), 5), (View(2, 0, "augmix"), 5),
        (View(3, 0, "mocov3"), 5), (View(3, 0, "augmix"), 5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("views", "encoded"), [("none", 20), ("fresh", 30), ("bank:3", 0), ("bank:2", 10)]
)
def test_views_that_nobody_keeps_are_counted(views, encoded):
    values = resolve("gopro", GOPro, {"epochs": 10}, protocol="few_shot", shots=4)
    assert GOPro.encodings(values, ViewPolicy.parse(views)) == (encoded, 0)


def test_another_length_than_the_words_have_is_refused():
    with pytest.raises(ValueError, match="n_context=3, but context_init 'a photo of a' has 4"):
        resolve("gopro", GOPro, {"n_context": 3}, protocol="few_shot", shots=4)
