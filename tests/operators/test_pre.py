"""PRE: what passes the text tower, how often the encoder runs, and its settings."""

import pytest
import torch

from operators.backbones import unit
from operators.episodes.episode import Classes
from operators.methods import METHODS
from operators.methods.hyperparameters import resolve
from operators.methods.image_classification.text_prompts.prompt_encoder import PromptEncoder

PRE, CoOp = METHODS["pre"], METHODS["coop"]
LABELS = [0, 1, 2, 3]
KINDS = ("lstm1", "lstm2", "mlp1", "mlp2", "transformer")


def build(backbone, classes, method=PRE, seed=0, **given):
    generator = torch.Generator().manual_seed(seed)
    return method(backbone, classes, generator=generator, **given)


@pytest.mark.parametrize("kind", KINDS)
def test_the_prompts_hold_the_encoded_context(backbone, classes, few_shot, kind):
    method = build(backbone, classes, encoder=kind).eval()
    batch = few_shot(backbone.feature_width, LABELS).train
    filled = method.prompt.layout.fill(method.encoder(method.prompt.context))
    texts = unit(backbone.encode_text(filled, method.prompt.layout.end))
    wanted = backbone.logit_scale * unit(batch.features) @ texts.T
    torch.testing.assert_close(method.logits(batch), wanted, rtol=1e-4, atol=1e-4)


def test_with_an_encoder_that_gives_nothing_the_residual_is_coop(clip, classes):
    method = build(clip, classes)
    coop = build(clip, classes, CoOp, context_init="a photo of a")
    assert torch.equal(method.prompt.context, coop.prompt.context)
    assert not torch.allclose(method.eval().weights(), coop.eval().weights())
    with torch.no_grad():
        for parameter in method.encoder.parameters():
            parameter.zero_()
    torch.testing.assert_close(method.train().weights(), coop.weights())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_context_and_encoder(clip, classes, few_shot, kind):
    shots = few_shot(clip.feature_width, LABELS)
    method = build(clip, classes, encoder=kind, bottleneck=4)
    start = {name: value.clone() for name, value in method.state_dict().items()}
    report = method.fit(shots, tuning=PRE.tuning, generator=torch.Generator().manual_seed(0))
    assert report.losses[-1] < report.losses[0]
    assert all(not torch.equal(value, start[n]) for n, value in method.state_dict().items())


def test_after_training_the_encoder_runs_once(clip, classes, few_shot):
    shots = few_shot(clip.feature_width, LABELS)
    method = build(clip, classes)
    calls = []
    method.encoder.register_forward_hook(lambda *_: calls.append(1))
    method.train().loss(shots.train)
    method.loss(shots.train)
    assert len(calls) == 2
    method.eval()
    for _ in range(3):
        method.logits(shots.train)
    assert len(calls) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_new_classes_get_the_encoded_context_of_the_old(clip, classes, few_shot, kind):
    method = build(clip, classes, encoder=kind, residual=False, bottleneck=6, seed=4).eval()
    others = Classes(("zebra", "tea pot"), classes.templates)
    twin = method.with_classes(others)
    assert torch.equal(twin.encoder(twin.prompt.context), method.encoder(method.prompt.context))
    assert twin.weights().shape == (2, clip.feature_width)


def test_a_random_context_comes_before_the_encoder(clip, classes):
    given = {"context_init": "", "n_context": 3}
    method, coop = build(clip, classes, **given), build(clip, classes, CoOp, **given)
    assert torch.equal(method.prompt.context, coop.prompt.context)


def test_its_size_at_the_width_of_vit_b16():
    device, generator = torch.device("cpu"), torch.Generator()
    encoder = PromptEncoder(
        "lstm1", 512, residual=True, bottleneck=64, generator=generator, device=device
    )
    assert sum(p.numel() for p in encoder.parameters()) == 2 * 4 * 256 * (512 + 256 + 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_context": 16}, "n_context=16, but context_init 'a photo of a' has 4 words"),
        ({"encoder": "gru"}, "encoder='gru' is not one of lstm1, lstm2, mlp1, mlp2, transformer"),
    ],
)
def test_values_that_cannot_work_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        resolve("pre", PRE, given, protocol="few_shot", shots=4)


def test_the_published_settings_are_the_same_for_every_protocol_and_shot():
    for protocol, shots in (("few_shot", 1), ("few_shot", 16), ("base_to_new", 16)):
        values = resolve("pre", PRE, {}, protocol=protocol, shots=shots)
        assert (values["epochs"], values["batch_size"], values["lr"]) == (50, 32, 0.002)
        assert (values["encoder"], values["residual"], values["n_context"]) == ("lstm1", True, 4)
