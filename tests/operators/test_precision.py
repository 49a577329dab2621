"""Frozen towers in half precision: close to single, and what is learned stays in single."""

from contextlib import ExitStack

import pytest
import torch
from torch.nn import functional as F

from operators.backbones import FAMILIES, PRECISIONS, DeepPrompts, DualEncoder, reference
from operators.blocks.prompt_tokens import prompt_tokens, worded_context
from operators.engine.arithmetic import products_in

NAMES = ("cat", "a very small orange boat", "dog", "oak tree")


@pytest.fixture(scope="module", params=["clip", "clip_resnet", "siglip", "effnet"])
def single(request):
    """A backbone in single precision."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module", params=["bf16", "fp16"])
def half(request, single, clip_folder, clip_resnet_folder, siglip_folder):
    """The same in half precision."""
    folders = {"clip": clip_folder, "clip-resnet": clip_resnet_folder, "siglip": siglip_folder}
    places = {family: str(folder) for family, folder in folders.items()}
    found = reference(places.get(single.card.family, single.card.name))
    return found._replace(precision=request.param).load(single.card)


def pixels_of(backbone):
    side = backbone.preprocess.size
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))


def assert_near(half, single):
    assert half.dtype == single.dtype == torch.float32
    assert float(F.cosine_similarity(half, single, dim=-1).min()) > 0.99
    assert not torch.equal(half, single)


def test_the_frozen_weights_are_in_half_precision(half):
    weights = [p for module in half.modules() for p in module.parameters()]
    assert {p.dtype for p in weights} < {torch.bfloat16, torch.float16}
    assert len({p.dtype for p in weights}) == 1


@torch.no_grad()
def test_image_features_are_close(half, single):
    pixels = pixels_of(single)
    assert_near(half.encode_images(pixels), single.encode_images(pixels))


def test_text_features_are_close_on_both_paths(half, single):
    wanted = single.text_features(NAMES)
    assert_near(half.text_features(NAMES), wanted)
    tokens = half.tokenize(NAMES)
    plain = half.encode_text(half.embed(tokens.ids), tokens.end)
    assert_near(F.normalize(plain, dim=-1), wanted)


def test_gradients_reach_prompts_in_single_precision(half, single):
    learned = []
    for backbone in (half, single):
        prompts = prompt_tokens(backbone, NAMES, n_context=4, position="end")
        context = worded_context(backbone, "a photo of a").requires_grad_()
        assert context.dtype == prompts.embeddings.dtype == torch.float32
        tokens = torch.zeros(2, 4, backbone.token_width) + context.detach()
        deep = DeepPrompts(tokens.requires_grad_(), start=backbone.text_start)
        features = F.normalize(backbone.encode_prompts(prompts, context, deep), dim=-1)
        labels = torch.arange(len(NAMES))
        loss = F.cross_entropy(5 * features @ single.text_features(NAMES).T, labels)
        assert loss.dtype == torch.float32
        learned.append(torch.autograd.grad(loss, [context, deep.tokens]))
    for ours, wanted in zip(*learned, strict=True):
        assert ours.dtype == torch.float32
        assert float(F.cosine_similarity(ours.flatten(), wanted.flatten(), dim=0)) > 0.95


def test_gradients_reach_visual_prompts(half, single):
    if "visual-prompts" not in half.card.capabilities:
        return
    width = single.image_tower.shape.width
    start = torch.randn(2, width, generator=torch.Generator().manual_seed(3))
    found = []
    for backbone in (half, single):
        prompts = start.clone().requires_grad_()
        features = backbone.encode_images(pixels_of(backbone), prompts=prompts)
        [gradient] = torch.autograd.grad(F.normalize(features, dim=-1)[:, 0].sum(), [prompts])
        found.append(gradient)
        reading = backbone.read_images(backbone.embed_images(pixels_of(backbone)), layers=[1])
        assert reading.patches.dtype == reading.states[1].dtype == torch.float32
    assert found[0].dtype == torch.float32
    assert float(F.cosine_similarity(found[0].flatten(), found[1].flatten(), dim=0)) > 0.95


def test_a_trial_in_another_precision_is_another_trial(spec):
    ids = {spec(precision=precision).trial_id for precision in PRECISIONS}
    cells = {spec(precision=precision).cell_id for precision in PRECISIONS}
    assert len(ids) == len(cells) == len(PRECISIONS) == 4


def test_a_precision_that_is_not_there_is_refused(clip, clip_folder):
    found = reference(str(clip_folder))._replace(precision="fp8")
    with pytest.raises(LookupError, match="precision 'fp8' is not one of fp32, tf32, bf16, fp16"):
        found.load(clip.card)


def test_every_family_is_covered(clip, clip_resnet, siglip, effnet):
    dual = {name for name, family in FAMILIES.items() if issubclass(family, DualEncoder)}
    assert {b.card.family for b in (clip, clip_resnet, siglip, effnet)} == dual


def switches():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def test_tf32_is_on_within_its_block_alone_and_fp32_cuts_no_convolution():
    before = switches()
    for precision, on in (("tf32", True), ("fp32", False), ("bf16", False)):
        with products_in(precision):
            assert switches() == (on, on)
        assert switches() == before
    with pytest.raises(KeyError), products_in("tf32"):
        raise KeyError
    assert switches() == before


def test_blocks_of_lanes_overlap_and_two_kinds_are_refused():
    before = switches()
    first, second = ExitStack(), ExitStack()
    first.enter_context(products_in("tf32"))
    second.enter_context(products_in("tf32"))
    first.close()  # the other lane goes on
    assert switches() == (True, True)
    with pytest.raises(RuntimeError, match="within a trial with TF32"), products_in("fp32"):
        pass
    second.close()
    assert switches() == before


def test_tf32_is_refused_on_a_cpu_and_its_weights_are_single(clip, clip_folder):
    found = reference(str(clip_folder))._replace(precision="tf32")
    with pytest.raises(ValueError, match=r"'tf32' is how a GPU multiplies.* use fp32"):
        found.load(clip.card)
    assert PRECISIONS["tf32"] == torch.float32
