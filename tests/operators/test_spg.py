"""SPG: the game of generator and critic, the words of domains, and noise that a row has."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from operators.backbones import unit
from operators.episodes.episode import FewShot, batch_of
from operators.episodes.views import ViewPolicy
from operators.methods import METHODS
from operators.methods.classifier import logits_of
from operators.methods.hyperparameters import in_epochs, own_of, published, resolve, tuning_of
from operators.methods.image_classification.text_prompts.prompt_game import (
    Critic,
    critic_loss,
    shortened,
)
from operators.tuning import Tuning, learning_rate

SPG = METHODS["spg"]
LABELS = np.array([0, 1, 2, 3, 0, 1, 2, 3])
SMALL = {"hidden": 4, "critic_width": 6, "noise_width": 3, "prompt_epochs": 1}
TUNING = Tuning(optimizer="adamw", epochs=3, warmup_epochs=0, schedule="climb", batch_size=4)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def build(clip, classes, **given):
    return SPG(clip, classes, generator=seeded(), **{**SMALL, **given})


@pytest.fixture
def shots(clip, drawn_images):
    source = drawn_images(LABELS, clip.feature_width)
    train = batch_of(source, np.arange(8), LABELS, range(4), clip.device)
    none = train.select(torch.arange(0))
    return FewShot(2, train, none, domains=torch.tensor([3, 5] * 4))


def plain(maps, norms, x):
    """The generator as torch's own layers."""
    layers = [maps[0], nn.LeakyReLU(0.2)]
    for linear, norm in zip(maps[1:-1], norms, strict=True):
        layers += [linear, norm, nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, maps[-1], nn.Tanh())(x)


def test_the_generator_is_the_published_net(clip, classes):
    prompt = build(clip, classes).prompt.train()
    noise, images = torch.randn(5, 3, generator=seeded(1)), torch.randn(5, 24, generator=seeded(2))
    wanted = plain(prompt.maps, prompt.norms, torch.cat([noise, images], 1))
    torch.testing.assert_close(prompt(noise, images), wanted.view(5, 4, 32))
    assert [linear.out_features for linear in prompt.maps] == [4, 8, 16, 32, 128]
    assert all(norm.eps == 0.8 for norm in prompt.norms)
    for linear in prompt.maps:  # He's uniform start
        assert float(linear.weight.detach().abs().max()) <= math.sqrt(6 / linear.in_features)


def test_a_step_is_that_of_the_plain_arithmetic(clip, classes, shots):
    method = build(clip, classes, generator_biases=1e6, generator_weights=1e-3).train()
    domains = torch.tensor([0, 1] * 4)
    labels = torch.randn(2, 4, 32, generator=seeded(3))
    game = method.game(shots, labels, domains, TUNING, seeded(4))
    twin = Critic(24, (4, 32), 6, 0.4, generator=seeded(), device=clip.device)
    twin.load_state_dict(game.critic.state_dict())
    draws = seeded()
    draws.set_state(game.generator.get_state())
    batch = shots.train.select(torch.tensor([1, 6, 4]))
    loss = game.step(batch)

    twin.generator = draws
    order = torch.randperm(8, generator=draws)[:3]
    noise = torch.randn(3, 3, generator=draws)
    images = unit(batch.features)
    others = unit(shots.train.select(order).features)
    made = method.prompt(noise, others)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=TUNING.lr, weight_decay=5e-4)
    told = critic_loss(twin, labels[torch.tensor([1, 0, 0])], images, made.detach(), others)
    told.backward()
    for place, linear in enumerate(twin.maps):
        ends = place in (0, 3)
        nn.utils.clip_grad_norm_([linear.weight], 5.0 if ends else 0.05)
        nn.utils.clip_grad_norm_([linear.bias], 5.0 if ends else 0.5)
    optimizer.step()
    for own, other in zip(game.critic.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(own, other)
    wanted = (twin(made, others) - 1).square().mean()
    torch.testing.assert_close(loss, told.detach())
    for name, parameter in method.prompt.named_parameters():
        gradient = torch.autograd.grad(wanted, parameter, retain_graph=True)[0]
        length = 1e-3 if name.endswith("weight") else 1.0 if name in ENDS else 1e6
        torch.testing.assert_close(parameter.grad, shortened(gradient, length))


ENDS = ("norms.2.bias", "maps.4.bias")


def test_a_domain_has_the_words_that_coop_learns_on_its_own_images(clip, classes, shots):
    method = build(clip, classes, prompt_epochs=2)
    found = method.words_of(shots, shots.domains == 5, seeded(7))
    own = replace(shots, train=shots.train.select(torch.arange(1, 8, 2)), domains=None)
    coop = METHODS["coop"](
        clip, classes, generator=seeded(), n_context=4, context_init="a photo of a"
    )
    coop.fit(own, tuning=Tuning(lr=0.002, epochs=2, batch_size=32), generator=seeded(7))
    torch.testing.assert_close(found, coop.prompt.context.detach()[0])


def test_noise_follows_from_trial_and_row(clip, classes, shots):
    method = build(clip, classes).eval()
    whole = logits_of(method, shots.train)
    part = logits_of(method, shots.train.select(torch.tensor([5, 2])))
    torch.testing.assert_close(part, whole[[5, 2]])
    twin = method.with_classes(classes)
    assert torch.equal(twin.drawn_noise(np.arange(3)), method.drawn_noise(np.arange(3)))
    other = SPG(clip, classes, generator=seeded(1), **SMALL)
    assert not torch.equal(other.drawn_noise(np.arange(3)), method.drawn_noise(np.arange(3)))


def test_an_image_is_compared_to_the_texts_of_its_own_prompt(clip, classes, shots):
    method = build(clip, classes).eval()
    image = shots.train.select(torch.tensor([3]))
    feature = unit(image.features)
    context = method.prompt(method.drawn_noise(image.rows), feature)
    texts = unit(clip.encode_prompts(method.layout, context))
    torch.testing.assert_close(method.logits(image), clip.logit_scale * feature @ texts.T)


def test_examples_without_domains_are_refused(clip, classes, shots):
    with pytest.raises(ValueError, match="choose a dataset with domains"):
        build(clip, classes).fit(replace(shots, domains=None), tuning=TUNING, generator=seeded())


def test_the_warm_up_climbs_epoch_by_epoch():
    values = resolve("spg", SPG, {}, protocol="domain_generalization", shots=16)
    tuning = tuning_of(SPG, values)
    rates = [learning_rate(tuning, epoch, step=1, steps_an_epoch=9) for epoch in range(6)]
    assert rates[:4] == pytest.approx([1e-5, 0.0005, 0.001, 0.0015])
    assert rates[4] == pytest.approx(0.002)
    assert rates[5] == pytest.approx(0.001 * (1 + math.cos(math.pi / 70)))


def test_gradients_are_longer_on_pacs():
    place = {"protocol": "domain_generalization", "shots": 16}
    one, other = (published(SPG, dataset=name, **place) for name in ("pacs", "vlcs"))
    assert {k: one[k] for k in one if one[k] != other[k]} == {
        "critic_weights": 0.5,
        "generator_weights": 0.05,
        "generator_biases": 5e-7,
        "generator_ends": 5.0,
    }
    assert set(own_of(SPG, one)) == set(own_of(SPG, other))


def test_a_batch_of_one_has_no_norm():
    with pytest.raises(ValueError, match="give at least 2"):
        resolve("spg", SPG, {"batch_size": 1}, protocol="few_shot", shots=4)


def test_an_image_that_would_be_alone_in_a_batch_is_refused_before_words_are_tuned(
    clip, classes, shots, monkeypatch
):
    method = build(clip, classes)
    monkeypatch.setattr(method, "words_of", lambda *_: pytest.fail("words were tuned"))
    one_more = replace(shots, train=shots.train.select(torch.arange(5)))
    for rows, ragged in ((5, replace(TUNING, drop_last=False)), (1, TUNING)):
        few = replace(one_more, train=one_more.train.select(torch.arange(rows)))
        few = replace(few, domains=torch.tensor([3, 5, 3, 5, 3])[:rows])
        with pytest.raises(ValueError, match=f"{rows} images in batches of 4 leave one alone"):
            method.fit(few, tuning=ragged, generator=seeded())


def test_where_steps_are_asked_for_both_stages_are_estimated_by_what_they_take():
    place = {"protocol": "domain_generalization", "shots": 1}
    values = resolve("spg", SPG, {"total_steps": 90, "batch_size": 4, "prompt_epochs": 7}, **place)
    taken = in_epochs(SPG, values, images=9)
    fresh = ViewPolicy.parse("fresh")
    assert SPG.encodings(taken, fresh) == (2 * 45 + 7, 0)  # two steps an epoch
    assert SPG.view_epochs(taken) == 45
