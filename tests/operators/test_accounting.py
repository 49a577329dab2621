"""Operations from shapes, against those that torch counts in a run of the same thing."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from operators.backbones import DeepPrompts
from operators.backbones.towers import packing
from operators.backbones.towers.packed_text import PackedText
from operators.backbones.towers.prompts import TextPrompts
from operators.blocks.prompt_tokens import prompt_tokens
from operators.engine.accounting import counted, counting

NAMES = ("cat", "a very small orange boat", "dog", "oak tree", "a", "tree of a dog", "boats")
LAYOUTS = [("end", False), ("middle", False), ("front", True)]


def measured(run):
    """Operations that torch counts; attention as plain products, since it counts no fused one."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def learned(*shape, grad=True):
    values = 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return values.requires_grad_(grad)


def fresh(backbone):
    """Forgets the layouts of class lists, so that the next call makes and counts them."""
    backbone.packed_text = PackedText(
        backbone.packed_text.tower, backbone.packed_text.inputs, backbone.packed_text.pool
    )


def compare(backbone, run, plainly, monkeypatch):
    """Both counts of a fast run are those of torch, for itself and for its plain twin."""
    monkeypatch.setattr(backbone, "padded_length", None, raising=False)  # as the plain twin pads
    fresh(backbone)
    with counting() as work:
        found = measured(run)
    assert 0 < work.done == found
    assert work.plain == measured(plainly)


def both(backbone, prompts, context, deep=None):
    """The fast and the plain form of one pass, with its way back where there is one."""

    def pass_through(encode):
        features = encode(prompts, context, deep)
        if features.requires_grad:
            features.square().sum().backward()

    return (
        lambda: pass_through(backbone.encode_prompts),
        lambda: pass_through(backbone.encode_prompts_plainly),
    )


@pytest.mark.parametrize("rows", [0, 1e9], ids=["many rows", "one row"])
@pytest.mark.parametrize("grad", [False, True], ids=["forward", "and back"])
@pytest.mark.parametrize("images", [None, 3])
@pytest.mark.parametrize(("position", "per_class"), LAYOUTS)
def test_texts(clip, monkeypatch, rows, grad, images, position, per_class):
    monkeypatch.setattr(packing, "PREFIX_COST", rows)
    prompts = prompt_tokens(clip, NAMES, n_context=4, position=position)
    copies = len(NAMES) if per_class else 1
    leading = () if images is None else (images,)
    context = learned(*leading, copies, 4, clip.token_width, grad=grad)
    compare(clip, *both(clip, prompts, context), monkeypatch)


@pytest.mark.parametrize("images", [None, 2])
@pytest.mark.parametrize("name", ["effnet", "siglip"])
def test_texts_of_a_bidirectional_tower(request, monkeypatch, name, images):
    backbone = request.getfixturevalue(name)
    prompts = prompt_tokens(backbone, NAMES, n_context=4, position="end")
    leading = () if images is None else (images,)
    context = learned(*leading, 1, 4, backbone.token_width)
    compare(backbone, *both(backbone, prompts, context), monkeypatch)


@pytest.mark.parametrize("shallow", [True, False])
@pytest.mark.parametrize("first", [1, 2])
def test_texts_with_deep_prompts(clip, monkeypatch, shallow, first):
    monkeypatch.setattr(packing, "PREFIX_COST", 0)
    prompts = prompt_tokens(clip, NAMES, n_context=2, position="end")
    w = clip.token_width
    context, deep = learned(1, 2, w, grad=shallow), DeepPrompts(learned(1, 2, w), 1, first)
    run, plainly = both(clip, prompts, context, deep)
    compare(clip, run, plainly, monkeypatch)


def test_a_class_list_is_laid_out_once(clip):
    prompts = prompt_tokens(clip, NAMES, n_context=2, position="end")
    run, _ = both(clip, prompts, learned(1, 2, clip.token_width))
    fresh(clip)
    counts = []
    for _ in range(3):
        with counting() as work:
            assert measured(run) == work.done
        counts.append(work.done)
    assert counts[0] > counts[1] == counts[2]


def test_what_is_computed_again_counts_twice(clip, monkeypatch):
    prompts = prompt_tokens(clip, NAMES * 4, n_context=2, position="end")
    run, _ = both(clip, prompts, learned(4, 1, 2, clip.token_width))
    run()  # lays the classes out
    with counting() as whole:
        run()
    [piece] = clip.packed_text.pieces(prompts, 1, True)
    size = piece.saved_bytes(clip.text_tower.shape)
    monkeypatch.setattr(clip, "text_budget", 2 * size, raising=False)
    with counting() as halves:
        found = measured(run)
    assert halves.done > 1.1 * whole.done
    # torch leaves out the last product of what it computes again: that of the end tokens.
    assert found <= halves.done <= 1.01 * found
    assert halves.plain == whole.plain


def test_the_plain_form_pads_texts_as_published_codes_do(clip):
    names = prompt_tokens(clip, NAMES, n_context=4, position="end")
    k, n = names.ids.shape
    more = clip.context_length - n
    ids = torch.cat([names.ids, names.ids[:, :1].expand(k, more)], dim=1)
    padded = TextPrompts(ids, clip.embed(ids), names.end, names.slots)
    context = learned(1, 4, clip.token_width)
    _, plainly = both(clip, padded, context)
    with counting() as work:
        clip.encode_prompts(names, context).sum().backward()
    assert clip.context_length == clip.padded_length == 40
    assert work.plain == measured(plainly)


def test_the_plain_form_is_the_arithmetic_of_transformers(clip, clip_folder):
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(clip_folder, attn_implementation="sdpa").eval()
    ids = torch.zeros(len(NAMES), 40, dtype=torch.long)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad(), counting() as work:
        found = measured(lambda: model.get_text_features(input_ids=ids))
        clip.text_features([f"a photo of a {name}." for name in NAMES])
        assert work.plain == found
        assert 2 * clip.image_flops == measured(lambda: model.get_image_features(pixels))


@pytest.mark.parametrize("place", ["last", "second"])
@pytest.mark.parametrize("kind", ["none", "frozen", "shallow", "deep", "both", "inserted"])
def test_images(clip, monkeypatch, kind, place):
    pixels, width = torch.randn(3, 3, 32, 32), clip.image_tower.shape.width
    shallow, later = kind in ("frozen", "shallow", "both"), kind in ("deep", "both", "inserted")
    prompts = learned(2, width, grad=kind != "frozen") if shallow else None
    start, first = -2 if place == "last" else 1, 1 if kind == "inserted" else 2
    tokens = learned(1, 2, width)
    deep = DeepPrompts(tokens, start, first, insert=kind == "inserted") if later else None

    def fast():
        features = clip.encode_images(pixels, prompts=prompts, place=place, deep_prompts=deep)
        if features.requires_grad:
            features.sum().backward()

    def plainly():
        tokens = clip.prompted(clip.embed_images(pixels), prompts, place)
        features = clip.image_outputs(clip.image_tower(tokens, deep_prompts=deep)[:, 0])
        if features.requires_grad:
            features.sum().backward()

    compare(clip, fast, plainly, monkeypatch)


def test_images_whose_head_has_a_query_of_its_own(siglip):
    pixels, prompts = torch.randn(3, 3, 32, 32), learned(2, siglip.image_tower.shape.width)
    with counting() as work:
        found = measured(lambda: siglip.encode_images(pixels, prompts=prompts).sum().backward())
    assert work.done == work.plain
    assert found <= work.done <= 1.01 * found  # the frozen query has no way back


def test_images_read_in_full(clip):
    width = clip.image_tower.shape.width
    pixels, prompts = torch.randn(3, 3, 32, 32), learned(2, width)

    def run():
        reading = clip.read_images(clip.embed_images(pixels), prompts=prompts)
        (reading.features.sum() + reading.patches.sum()).backward()

    with counting() as work:
        found = measured(run)
    assert work.done == work.plain == found


def test_an_image_of_the_cnn(effnet):
    pixels = torch.randn(2, 3, 224, 224)
    each = effnet.image_flops
    with counting() as work:
        found = measured(lambda: effnet.encode_images(pixels))
    assert work.done == work.plain == found == 2 * each


def test_a_way_back_that_is_not_taken_does_not_count(clip):
    prompts = prompt_tokens(clip, NAMES, n_context=2, position="end")
    context = learned(1, 2, clip.token_width)
    clip.encode_prompts(prompts, context)  # lays the classes out
    with counting() as there:
        features = clip.encode_prompts(prompts, context)
    done, plain = there.done, there.plain
    with counting() as frozen:
        clip.encode_prompts(prompts, context.detach())
    assert (frozen.done, frozen.plain) == (done, plain)
    features.sum().backward(retain_graph=True)
    once = there.done
    features.sum().backward()
    assert there.done - once == once - done > 0.9 * done


def test_nobody_counts_unless_asked(clip):
    prompts = prompt_tokens(clip, NAMES, n_context=2, position="end")
    with counting() as work:
        pass
    features = clip.encode_prompts(prompts, learned(1, 2, clip.token_width))
    assert counted() is None
    assert work.done == work.plain == 0
    assert not features._backward_hooks


def test_each_thread_counts_its_own(clip):
    with counting() as work, ThreadPoolExecutor(1) as pool:
        pool.submit(clip.text_features, ["a cat"]).result()
        assert work.done == 0
        clip.text_features(["a cat"])
        assert work.done > 0
