"""Cross-modal linear probe: texts as examples, vectors of any length, texts mixed in."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.tuning import learning_rate

pytestmark = pytest.mark.bits

CrossModal = METHODS["cross-modal"]
LABELS = [0, 1, 2, 3, 1, 0]


@pytest.fixture
def shots(clip, few_shot):
    return few_shot(clip.feature_width, LABELS, [0, 1, 2, 3])


def built(clip, classes, seed=0, **given):
    return CrossModal(clip, classes, generator=torch.Generator().manual_seed(seed), **given)


def fitted(clip, classes, shots, *, epochs=3, batch_size=6, seed=0, **given):
    method = built(clip, classes, epoch_steps=given.pop("epoch_steps", 0), **given)
    tuning = replace(
        CrossModal.tuning, epochs=epochs, batch_size=batch_size, warmup_epochs=0, selection="last"
    )
    report = method.fit(shots, tuning=tuning, generator=torch.Generator().manual_seed(seed))
    return method.eval(), report


def test_steps_are_those_of_adamw_on_images_and_texts_through_one_head(clip, classes, shots):
    found, report = fitted(clip, classes, shots)
    texts = clip.whole_text_features(classes.prompts("a photo of a {}."))
    examples = F.normalize(torch.cat([shots.train.features, texts]), dim=1)
    labels = torch.tensor([*LABELS, 0, 1, 2, 3])
    head = F.normalize(texts, dim=1).requires_grad_()
    optimizer = torch.optim.AdamW([head], weight_decay=0.0)
    losses = []
    tuning = replace(CrossModal.tuning, epochs=3, warmup_epochs=0)
    for step in range(3):
        optimizer.param_groups[0]["lr"] = learning_rate(tuning, step)
        optimizer.zero_grad()
        loss = F.cross_entropy(clip.logit_scale * examples @ head.T, labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert report.losses == pytest.approx(losses, rel=1e-4)
    torch.testing.assert_close(found.head.vectors, head, rtol=1e-3, atol=1e-4)
    wanted = clip.logit_scale * F.normalize(shots.val.features, dim=1) @ head.T
    torch.testing.assert_close(found.logits(shots.val), wanted, rtol=1e-3, atol=1e-2)


def test_the_length_of_a_vector_counts_unless_cosines_are_asked_for(clip, classes, shots):
    plain, turned = (built(clip, classes, cosine=cosine).eval() for cosine in (False, True))
    before = plain.logits(shots.val), turned.logits(shots.val)
    for method in (plain, turned):
        with torch.no_grad():
            method.train().head.vectors[2] *= 3
        method.eval()
    torch.testing.assert_close(plain.logits(shots.val)[:, 2], 3 * before[0][:, 2])
    torch.testing.assert_close(turned.logits(shots.val), before[1])


def test_an_epoch_has_the_steps_asked_for_over_several_passes(clip, classes, shots):
    _, report = fitted(clip, classes, shots, epochs=2, batch_size=4, epoch_steps=5)
    assert report.steps == 10


def test_every_sentence_is_an_example(clip, classes):
    features, labels = built(clip, classes, templates="imagenet").examples_of_text()
    assert features.shape == (28, clip.feature_width)
    assert labels.tolist() == [0, 1, 2, 3] * 7


def test_texts_are_mixed_in_at_the_end(clip, classes, shots):
    alone, _ = fitted(clip, classes, shots)
    mixed, _ = fitted(clip, classes, shots, text_share=0.5)
    wanted = (alone.head.vectors + alone.texts) / 2
    torch.testing.assert_close(mixed.head.vectors, wanted)


def test_a_random_start_is_that_of_torch_and_texts_stay_examples(clip, classes):
    one, other = (built(clip, classes, seed=seed, start="random") for seed in (0, 1))
    assert not torch.equal(one.head.vectors, other.head.vectors)
    assert one.head.vectors.abs().max() <= clip.feature_width**-0.5
    assert torch.equal(one.examples_of_text()[0], built(clip, classes).examples_of_text()[0])


def test_the_published_warm_up_rises_over_fifty_steps_then_falls_with_each():
    given = resolve("cross-modal", CrossModal, {}, protocol="few_shot", shots=16)
    tuning, steps = CrossModal.tuning, given["epoch_steps"]
    rates = [learning_rate(tuning, *divmod(step, steps), steps) for step in range(12_800)]
    assert rates[:3] == pytest.approx([1e-5, 2e-5, 4e-5])
    assert rates[49:51] == pytest.approx([0.00098, 0.001])
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.001)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12_800)
    for _ in range(200):
        optimizer.step()
        theirs.step()
    assert rates[250] == pytest.approx(theirs.get_last_lr()[0])
