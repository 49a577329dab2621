"""DePT: its two heads under each host, which classes have which, and what it refuses."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from operators.backbones import unit
from operators.episodes.episode import Classes, batch_of
from operators.episodes.views import ViewPolicy
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.tuning import Tuning

DePT = METHODS["dept-clip"]
LABELS = [0, 1, 2, 3, 1]
HOSTS = ("coop", "kgcoop", "cocoop", "maple")


def build(backbone, classes, **given):
    return DePT(backbone, classes, generator=torch.Generator().manual_seed(0), **given)


@pytest.fixture
def batch(clip, drawn_pictures):
    pictures = drawn_pictures(clip, LABELS)
    return batch_of(pictures, np.arange(5), np.array(LABELS), range(4), clip.device)


def alone(host, clip, classes):
    """The published method that has these prompts, from the same start."""
    given = {"n_context": 16, "context_init": ""} if host == "coop" else {}
    return METHODS[host](clip, classes, generator=torch.Generator().manual_seed(0), **given)


@pytest.mark.parametrize("host", HOSTS)
def test_a_step_is_that_of_the_paper_s_arithmetic(clip, classes, batch, moved, host):
    method = moved(build(clip, classes, host=host, head_weight=0.6, anchor_weight=3.0)).train()
    images = batch.features
    if host == "cocoop":
        texts = method.prompt.class_features(unit(images)[:, None])
    else:
        texts = method.prompt.class_features().expand(len(LABELS), -1, -1)
    if host == "maple":
        images = method.prompt.image_features(batch)
    cosine = clip.logit_scale * (unit(images)[:, None] * unit(texts)).sum(dim=-1)
    own = torch.stack([texts[i, y] for i, y in enumerate(LABELS)])
    maps = method.text_map, method.image_map
    parts = [f * m.scale + m.shift for f, m in zip((own, images), maps, strict=True)]
    head = torch.cat(parts) @ method.head.weight.T + method.head.bias
    labels = torch.tensor(LABELS)
    wanted = 0.4 * F.cross_entropy(cosine, labels) + 0.6 * F.cross_entropy(head, labels.repeat(2))
    if host == "kgcoop":
        near = (unit(texts[0]) * method.hand_written).sum(dim=1).mean()
        wanted = wanted + 3.0 * (1 - near)
    learned = list(method.parameters())
    gradients = torch.autograd.grad(wanted, learned)
    loss = method.loss(batch)
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-5)
    for found, gradient in zip(torch.autograd.grad(loss, learned), gradients, strict=True):
        # The one unit of CoCoOp's network is dead here, so the gradient of its weights is 0.
        limit = 1e-4 * max(1e-3, float(gradient.abs().max()))
        torch.testing.assert_close(found, gradient, rtol=0, atol=limit)
    fused = 0.4 * cosine + 0.6 * (parts[1] @ method.head.weight.T + method.head.bias)
    torch.testing.assert_close(method.eval().logits(batch), fused, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("host", HOSTS)
def test_classes_that_were_not_learned_have_the_host_s_logits(clip, classes, batch, host):
    method, other = build(clip, classes, host=host), alone(host, clip, classes)
    new = Classes((classes.names[2], "zebra"), classes.templates)
    found, wanted = (m.with_classes(new).logits(batch) for m in (method, other))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_some_of_the_learned_classes_have_their_rows_of_the_head(clip, classes, batch):
    method = build(clip, classes).eval()
    fewer = classes.subset([3, 0])
    turned = Classes(tuple(n.upper() for n in fewer.names), fewer.templates)
    for some in (fewer, turned):
        twin = method.with_classes(some)
        with torch.no_grad():
            cosine = clip.logit_scale * unit(batch.features) @ twin.weights().T
        wanted = 0.3 * cosine + 0.7 * method.head(batch.features)[:, [3, 0]]
        torch.testing.assert_close(twin.logits(batch), wanted, rtol=1e-4, atol=1e-4)


def test_head_and_maps_learn_at_a_rate_of_their_own(clip, classes, few_shot):
    moves = []
    for rate in (0.0625, 4.0):
        method = build(clip, classes, head_rate=rate)
        start = {name: value.clone() for name, value in method.state_dict().items()}
        shots = few_shot(clip.feature_width, [0, 1, 2, 3])
        tuning = Tuning(lr=1e-3, epochs=1, batch_size=4, warmup_epochs=0)
        method.fit(shots, tuning=tuning, generator=torch.Generator().manual_seed(0))
        moves.append({n: float((v - start[n]).norm()) for n, v in method.state_dict().items()})
    slow, fast = moves
    for name, moved in slow.items():
        assert fast[name] == pytest.approx(moved * (1 if name == "context" else 64), rel=0.02)


def test_a_host_that_prompts_images_needs_their_tower(effnet, classes):
    with pytest.raises(ValueError, match=r"host='maple' needs visual-prompts, which .* use a CLIP"):
        build(effnet, classes, host="maple")


def test_images_are_encoded_beforehand_for_hosts_that_leave_their_tower_alone():
    fresh = ViewPolicy.parse("fresh")
    counts = {
        host: DePT.encodings(
            resolve("dept-clip", DePT, {"host": host}, protocol="few_shot", shots=4), fresh
        )
        for host in HOSTS
    }
    assert counts == {**dict.fromkeys(HOSTS, (10, 0)), "maple": (0, 0)}


def test_a_weight_of_anchors_is_refused_where_the_host_has_none():
    assert "Ask for host=kgcoop" in DePT.idle({"host": "coop"})["anchor_weight"]
    assert DePT.idle({"host": "kgcoop"}) == {}


def test_classes_of_one_name_have_a_row_each(clip, few_shot):
    names = ("missile", "cat", "Missile")
    method = build(clip, Classes(names, ("{}.",)))
    shots = few_shot(clip.feature_width, [0, 1, 2])
    same = method.with_classes(Classes(names, ("{}.",)))
    assert torch.equal(same.logits(shots.train), method.eval().logits(shots.train))
    turned = method.with_classes(Classes(names[1:], ("{}.",)))
    assert turned.rows.tolist() == [1, 0]
