"""GRIP: its rounds in each setting and modality against plain torch, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from operators.backbones import unit
from operators.episodes.episode import Batch, Classes, FewShot, Unlabelled, batch_of
from operators.estimating.work import Size, steps_of
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.methods.image_classification.text_prompts.pseudo_labels import confident_by_class
from operators.tuning import Tuning, learning_rate

GRIP = METHODS["grip"]
CPU = torch.device("cpu")
LABELS = np.array([0, 1, 2, 3] * 6)
MODALITIES = ("text", "visual", "multimodal")
QUICK = Tuning(
    **{"lr": 0.01, "epochs": 2, "batch_size": 4, "warmup_epochs": 0},
    **{"schedule": "ramp", "drop_last": False, "weight_decay": 0.1},
)


@pytest.fixture
def pictures(clip, drawn_pictures):
    return drawn_pictures(clip, LABELS)


@pytest.fixture
def shots(pictures, classes):
    def make(labelled=(0, 1, 2, 3), unlabelled=range(4, 24), learned=range(4), shown=None):
        train = batch_of(pictures, np.array(labelled, dtype=np.int64), LABELS, learned, CPU)
        images = Batch(pictures, np.array(unlabelled), None)
        named = Unlabelled(images, shown or classes)
        return FewShot(1, train, train.select(torch.arange(0)), unlabelled=named)

    return make


def build(clip, classes, **given):
    given = {"n_context": 2, "image_tokens": 2, "unified_tokens": 2, "unified_width": 8, **given}
    return GRIP(clip, classes, generator=torch.Generator().manual_seed(0), **given)


def fit(method, shots, tuning=QUICK):
    return method.fit(shots, tuning=tuning, generator=torch.Generator().manual_seed(1))


def plain_logits(method, clip, classes, batch):
    """Prompts in and features out, without the blocks."""
    prompt = method.prompt
    if method.modality == "visual":
        texts = clip.text_features([f"a photo of a {name}" for name in classes.names])
        images = clip.encode_images(batch.pixels, prompts=prompt.image[0])
    else:
        text = prompt.context if method.modality == "text" else prompt.tokens()[0][None]
        texts = clip.encode_prompts_plainly(prompt.layout, text)
        images = batch.features
        if method.modality == "multimodal":
            images = clip.encode_images(batch.pixels, prompts=prompt.tokens()[1][0])
    return clip.logit_scale * unit(images) @ unit(texts).T


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_step_is_the_gradient_of_both_means(clip, classes, shots, modality):
    given = shots()
    method = build(clip, classes, modality=modality, strategy="fpl").train()
    method.two_parts = method.weighed(given.train.rows, 20, apart=False)
    rows = np.array([0, 5, 1, 6, 7])
    batch = batch_of(given.train._source, rows, LABELS, range(4), CPU)
    loss = method.loss(batch)
    loss.backward()
    found = {name: p.grad.clone() for name, p in method.named_parameters()}
    method.zero_grad()
    gamma = 20 / 4 if modality != "multimodal" else (20 / 4) ** 0.5
    logits = plain_logits(method, clip, classes, batch)
    known = F.cross_entropy(logits[[0, 2]], batch.labels[[0, 2]])
    plain = gamma * known + F.cross_entropy(logits[[1, 3, 4]], batch.labels[[1, 3, 4]])
    plain.backward()
    torch.testing.assert_close(loss, plain, rtol=1e-4, atol=1e-4)
    for name, parameter in method.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("strategy", ["fpl", "ifpl", "grip"])
def test_rounds_are_labelled_as_the_strategy_says(clip, classes, shots, strategy):
    """Step by step, without the loop: labels, a start and SGD for every round."""
    given = shots(labelled=())
    method = build(clip, classes, strategy=strategy, rounds=2, pseudo_shots=3)
    start = method.prompt.context.detach().clone()
    report = fit(method, given)
    images = given.unlabelled.images
    generator = torch.Generator().manual_seed(1)
    texts = unit(clip.text_features([f"a photo of a {name}" for name in classes.names]))
    scores = clip.logit_scale * unit(images.features) @ texts.T
    steps = 0
    for count in {"fpl": [3], "ifpl": [3, 3], "grip": [2, 5]}[strategy]:
        found = confident_by_class(scores.softmax(dim=1), count)
        context = start.clone().requires_grad_()
        optimizer = torch.optim.SGD([context], lr=0.01, momentum=0.9, weight_decay=0.1)
        for epoch in range(2):
            for index in torch.randperm(len(found.images), generator=generator).split(4):
                optimizer.param_groups[0]["lr"] = learning_rate(QUICK, epoch)
                optimizer.zero_grad()
                features = images.features[found.images[index]]
                texts = unit(clip.encode_prompts_plainly(method.prompt.layout, context))
                logits = clip.logit_scale * unit(features) @ texts.T
                F.cross_entropy(logits, found.labels[index]).backward()
                optimizer.step()
                steps += 1
        with torch.no_grad():
            texts = unit(clip.encode_prompts_plainly(method.prompt.layout, context))
        scores = clip.logit_scale * unit(images.features) @ texts.T
    assert report.steps == steps
    torch.testing.assert_close(method.prompt.context.detach(), context.detach())


@pytest.mark.parametrize("modality", MODALITIES)
def test_classes_without_a_label_are_learned_from_their_names(
    clip, classes, shots, modality, monkeypatch
):
    """Transductive zero-shot: two classes have labels, and the images of two others have none."""
    seen, unseen = classes.subset([0, 1]), classes.subset([2, 3])
    rows = np.flatnonzero(LABELS > 1)
    given = shots(labelled=(0, 1, 4, 5), unlabelled=rows, learned=range(2), shown=unseen)
    method = build(clip, seen, modality=modality, strategy="fpl", pseudo_shots=2)
    asked, loss = [], GRIP.loss

    def watched(self, batch):
        asked.append((self.classes.names, self.two_parts[1:], batch.labels.tolist()))
        return loss(self, batch)

    monkeypatch.setattr(GRIP, "loss", watched)
    fit(method, given)
    assert {told[:2] for told in asked} == {(classes.names, (1.0, 1.0))}  # four of each kind
    assert sorted(asked[0][2] + asked[1][2]) == [0, 0, 1, 1, 2, 2, 3, 3]
    batch = Batch(given.train._source, rows, None)
    assert method.with_classes(classes).logits(batch).shape == (len(rows), 4)


@pytest.mark.parametrize("strategy", ["fpl", "ifpl", "grip"])
@pytest.mark.parametrize("labelled", [(), (0, 1, 4, 5), range(8)])
@pytest.mark.parametrize(
    ("count", "changes"), [(2, {}), (10, {}), (2, {"total_steps": 3, "epochs": 1})]
)
def test_steps_are_known_before_they_are_taken(
    clip, classes, shots, strategy, labelled, count, changes
):
    given = shots(labelled=labelled)
    own = {"strategy": strategy, "rounds": 3, "pseudo_shots": count}
    rest = set(given.unlabelled.images.rows.tolist()) - set(given.train.rows.tolist())
    runs = GRIP.tuned_on(
        {**own, "train_share": 0.8},
        images=len(given.unlabelled.images),
        classes=len(classes),
        labelled=len(given.train),
        unlabelled=len(rest),
    )
    tuning = replace(GRIP.tuning, epochs=2, batch_size=3, warmup_epochs=0)
    tuning = replace(tuning, **changes)
    asked = {"epochs": tuning.epochs, "batch_size": 3, "drop_last": False}
    asked["total_steps"] = tuning.total_steps
    method = build(clip, classes, **own)
    report = method.fit(given, tuning=tuning, generator=torch.Generator().manual_seed(0))
    assert report.steps == steps_of(Size(len(classes), len(given.train), (), runs), asked)


@pytest.mark.parametrize("rules", ["paper", "released"])
def test_with_labels_for_all_it_learns_from_these_in_one_round(clip, classes, shots, rules):
    given = shots(labelled=range(8), unlabelled=range(8))
    report = fit(build(clip, classes, rules=rules), given)
    assert report.steps == 2 * 2  # two epochs of two batches


def test_released_prompts_go_on_and_first_labels_are_of_other_sentences(clip, classes, shots):
    given = shots(labelled=())
    released = build(clip, classes, rules="released", rounds=2, strategy="ifpl", pseudo_shots=2)
    texts = unit(clip.text_features([f"a photo of a {{}}{name}" for name in classes.names]))
    scores = clip.logit_scale * unit(given.unlabelled.images.features) @ texts.T
    torch.testing.assert_close(released.first_scores(given.unlabelled), scores)
    start = {name: value.clone() for name, value in released.state_dict().items()}
    with torch.no_grad():
        released.prompt.context += 1.0
    released.restart(start)
    assert torch.equal(released.prompt.context, start["context"] + 1.0)
    clean = build(clip, classes)
    with torch.no_grad():
        clean.prompt.context += 1.0
    clean.restart(start)
    assert torch.equal(clean.prompt.context, start["context"])
    fit(released, given)


def test_labelled_images_are_weighed_as_the_strategy_and_the_balance_say(clip, classes):
    def weights(strategy, apart=False, **given):
        method = build(clip, classes, strategy=strategy, **given)
        found = method.weighed(np.arange(2), 8, apart=apart)
        return found.labelled, found.pseudo

    assert weights("fpl") == (4.0, 1.0)
    assert weights("grip") == weights("ifpl") == (0.25, 1.0)
    assert weights("grip", balance="even") == (4.0, 1.0)
    assert weights("grip", balance="even", modality="multimodal") == (2.0, 1.0)
    assert weights("grip", modality="multimodal") == (0.25, 1.0)
    assert weights("fpl", modality="multimodal") == (2.0, 1.0)
    assert weights("grip", apart=True) == (1.0, 0.25)


def test_the_multimodal_form_learns_at_a_tenth_of_the_rate(clip, classes, shots):
    given = shots(labelled=())
    slow, same = (
        build(clip, classes, modality="multimodal", strategy="fpl", unified_rate=rate)
        for rate in (0.1, 1.0)
    )
    fit(slow, given)
    fit(same, given, tuning=Tuning(**{**vars(QUICK), "lr": 0.001}))
    for one, other in zip(slow.parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_an_estimate_counts_the_epochs_of_all_rounds():
    usual = {"epochs": 10, "train_share": 0.5, "rounds": 3}
    passes = {s: GRIP.passes({**usual, "strategy": s}) for s in ("fpl", "ifpl", "grip")}
    assert passes == {"fpl": 5.0, "ifpl": 15.0, "grip": 10.0}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"strategy": "fpl", "rounds": 3}, "strategy=fpl has one"),
        ({"pseudo_shots": 3}, "strategy=grip reads none"),
        ({"strategy": "fpl", "balance": "even"}, "strategy=fpl has one rule"),
        ({"unified_width": 64}, "modality=text reads none"),
        ({"modality": "visual", "n_context": 4}, "modality=visual reads none"),
        ({"template": "a photo"}, "no single {}"),
    ],
)
def test_what_changes_nothing_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        resolve("grip", GRIP, given, protocol="few_shot", shots=1)


def test_new_names_are_behind_the_learned_ones(clip):
    learned = Classes(("cat", "dog"), ("a photo of a {}.",))
    named = Classes(("boat", "dog"), ("a photo of a {}.",))
    assert build(clip, learned).over(named).classes.names == ("cat", "dog", "boat")


def test_text_prompts_need_no_tokens_in_images(effnet, classes):
    assert build(effnet, classes).class_features().shape == (4, effnet.feature_width)
    for modality in ("visual", "multimodal"):
        with pytest.raises(ValueError, match=f"modality='{modality}' needs visual-prompts, which"):
            build(effnet, classes, modality=modality)
