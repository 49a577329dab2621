"""The packed path of texts against the plain one: features, loss and every gradient.

No method has a case of its own: what is covered is every layout of learned tokens, for both
kinds of text tower.
"""

import weakref

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from operators.backbones import DeepPrompts
from operators.backbones.towers import packing
from operators.backbones.towers.packed_text import PackedText
from operators.backbones.towers.prompts import TextPrompts
from operators.blocks.prompt_tokens import prompt_tokens

NAMES = ("cat", "a very small orange boat", "dog", "oak tree", "a", "tree of a dog", "boats")
WORDS = ("cat", "dog", "a", "boat", "tree", "of", "photo")  # one token each
CLASSES = {"one": NAMES[1:2], "two alike": NAMES[:1] * 2, "mixed": NAMES}
LAYOUTS = [("end", False), ("middle", False), ("front", False), ("end", True), ("middle", True)]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


@pytest.fixture(autouse=True)
def rows_of_many(monkeypatch):
    """Lets towers as narrow as these have many rows, as wide ones do."""
    monkeypatch.setattr(packing, "PREFIX_COST", 0)


# Every kind of text tower in double precision; single precision is the same code, so one shows it.
ENCODERS = [(name, torch.float64) for name in ("clip", "effnet", "siglip")]
ENCODERS.append(("clip", torch.float32))


@pytest.fixture(scope="module", params=ENCODERS, ids=lambda one: f"{one[0]}-{one[1]}")
def encoder(request, precise):
    """A backbone in a precision."""
    name, dtype = request.param
    return precise(request.getfixturevalue(name), dtype)


@pytest.fixture(scope="module")
def double_clip(clip, precise):
    return precise(clip)


@pytest.fixture(scope="module", params=["clip", "siglip"])
def double(request, precise):
    """A backbone that reads one state of each text, in double precision."""
    return precise(request.getfixturevalue(request.param))


def drawn(*shape, like, seed=0, std=0.3):
    generator = torch.Generator().manual_seed(seed)
    values = std * torch.randn(shape, generator=generator, dtype=torch.float64)
    return values.to(like).requires_grad_()


def outcome(features, learned):
    """Loss of a small classification, and its gradient in everything learned."""
    images = torch.randn(6, features.shape[-1], generator=torch.Generator().manual_seed(1))
    images = F.normalize(images.to(features), dim=1)
    texts = F.normalize(features, dim=-1)
    logits = (
        5 * (images[: len(texts), None] * texts).sum(-1)
        if texts.ndim == 3
        else (5 * images @ texts.T)
    )
    labels = torch.arange(len(logits)) % logits.shape[1]
    loss = F.cross_entropy(logits, labels) + features.square().mean()
    return [loss, *torch.autograd.grad(loss, learned)]


def assert_equal_paths(backbone, prompts, context, deep=None, attention=None):
    """Both paths give the same features, the same loss and the same gradients."""
    learned = [context] if deep is None else [context, deep.tokens]
    features = backbone.encode_prompts_plainly(prompts, context, deep, attention)
    wanted = [features, *outcome(features, learned)]
    features = backbone.encode_prompts(prompts, context, deep, attention)
    found = [features, *outcome(features, learned)]
    limit = TOLERANCE[context.dtype]
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == theirs.shape
        largest = float(theirs.detach().abs().max())
        torch.testing.assert_close(ours, theirs, rtol=0, atol=limit * max(1, largest))
    assert all(float(gradient.abs().max()) > 0 for gradient in found[2:])


@pytest.mark.parametrize("names", CLASSES)
@pytest.mark.parametrize(("position", "per_class"), LAYOUTS)
def test_every_layout_of_a_context(encoder, names, position, per_class):
    prompts = prompt_tokens(encoder, CLASSES[names], n_context=4, position=position)
    copies = len(CLASSES[names]) if per_class else 1
    context = drawn(copies, 4, encoder.token_width, like=prompts.embeddings)
    assert_equal_paths(encoder, prompts, context)


@pytest.mark.parametrize("position", ["end", "front"])
def test_one_learned_token_and_a_class_of_one(encoder, position):
    prompts = prompt_tokens(encoder, ("a",), n_context=1, position=position)
    assert_equal_paths(encoder, prompts, drawn(1, 1, encoder.token_width, like=prompts.embeddings))


def test_a_few_texts_stand_in_one_row_and_give_the_same(encoder, monkeypatch):
    layouts = []
    for cost in (0, 1e9):
        monkeypatch.setattr(packing, "PREFIX_COST", cost)
        prompts = prompt_tokens(encoder, NAMES, n_context=4, position="end")
        context = drawn(2, 1, 4, encoder.token_width, like=prompts.embeddings)
        assert_equal_paths(encoder, prompts, context)
        [piece] = encoder.packed_text.pieces(prompts, 1, True)
        layouts.append((piece.plan.prefix, piece.plan.rows))
    if encoder.text_tower.causal:
        assert layouts[0][0] == 5 and layouts[0][1] > 1
        assert layouts[1] == (0, 1)


@pytest.mark.parametrize(("position", "per_class"), LAYOUTS)
def test_a_context_for_each_image(encoder, position, per_class, images=3):
    prompts = prompt_tokens(encoder, NAMES, n_context=3, position=position)
    copies = len(NAMES) if per_class else 1
    context = drawn(images, copies, 3, encoder.token_width, like=prompts.embeddings)
    assert_equal_paths(encoder, prompts, context)


@pytest.mark.parametrize(
    ("position", "per_class"), [("end", False), ("end", True), ("front", False)]
)
@pytest.mark.parametrize(("layers", "first"), [(1, 1), (2, 1), (1, 2)])
def test_deep_prompts_in_any_layers(encoder, position, per_class, layers, first):
    names = ("cat dog", "a very small orange boat", "tree of a dog")
    prompts = prompt_tokens(encoder, names, n_context=2, position=position)
    w, like = encoder.token_width, prompts.embeddings
    context = drawn(len(names) if per_class else 1, 2, w, like=like)
    tokens = drawn(layers, 2, w, like=like, seed=3)
    assert_equal_paths(encoder, prompts, context, DeepPrompts(tokens, start=1, first=first))


@pytest.mark.parametrize("own", [False, True])
def test_deep_prompts_and_a_context_for_each_image(encoder, own):
    prompts = prompt_tokens(encoder, NAMES, n_context=2, position="end")
    w, like = encoder.token_width, prompts.embeddings
    context = drawn(3, 1, 2, w, like=like)
    tokens = drawn(*((2, 3, 2, w) if own else (2, 2, w)), like=like, seed=3)
    assert_equal_paths(encoder, prompts, context, DeepPrompts(tokens, start=1))


@pytest.mark.parametrize("names", CLASSES)
@pytest.mark.parametrize("images", [None, 2])
@pytest.mark.parametrize("per_class", [False, True])
def test_deep_prompts_of_each_text_s_own(encoder, names, images, per_class):
    prompts = prompt_tokens(encoder, CLASSES[names], n_context=2, position="end")
    k, w, like = len(CLASSES[names]), encoder.token_width, prompts.embeddings
    context = drawn(*(() if images is None else (images,)), k if per_class else 1, 2, w, like=like)
    tokens = drawn(1, images or 1, k, 2, w, like=like, seed=3)
    deep = DeepPrompts(tokens, start=encoder.text_start, first=1)
    assert_equal_paths(encoder, prompts, context, deep)


def test_deep_prompts_of_each_text_s_own_are_cut_with_the_classes(clip, monkeypatch):
    prompts = prompt_tokens(clip, NAMES, n_context=2, position="end")
    w, like = clip.token_width, prompts.embeddings
    tokens = drawn(1, 1, len(NAMES), 2, w, like=like, seed=3)
    context = drawn(1, 2, w, like=like)
    deep = DeepPrompts(tokens, start=clip.text_start, first=2)
    whole = clip.encode_prompts(prompts, context, deep)
    states = clip.packed_text(prompts, context[None], deep, budget=1)
    torch.testing.assert_close(clip.text_outputs(states[0]), whole)


def test_deep_prompts_of_each_text_s_own_begin_where_the_context_does(clip):
    prompts = prompt_tokens(clip, NAMES, n_context=2, position="front")
    deep = DeepPrompts(torch.zeros(1, 1, len(NAMES), 1, clip.token_width), start=1)
    with pytest.raises(ValueError, match=r"own at position 1, and contexts begin at \[\d"):
        clip.encode_prompts(prompts, torch.zeros(1, 2, clip.token_width), deep)


def test_words_after_the_learned_tokens_belong_to_the_prefix(encoder):
    texts = [f"X X of a {name}." for name in NAMES]  # MaPLe: two learned, two fixed
    tokens = encoder.tokenize(texts)
    slots = torch.tensor([[1, 2]]).expand(len(texts), -1)
    prompts = TextPrompts(tokens.ids, encoder.embed(tokens.ids), tokens.end, slots)
    w = encoder.token_width
    context = drawn(1, 2, w, like=prompts.embeddings)
    deep = DeepPrompts(drawn(2, 2, w, like=prompts.embeddings, seed=3), start=1)
    assert_equal_paths(encoder, prompts, context, deep)


ATTENTIONS = {
    "usual": lambda q, k, v, mask: F.scaled_dot_product_attention(q, k, v, attn_mask=mask),
    "flat": lambda q, k, v, mask: F.scaled_dot_product_attention(q / 3, k, v, attn_mask=mask),
    "of itself": lambda q, k, v, mask: v + q,
}


@pytest.mark.parametrize("position", ["end", "front"])
@pytest.mark.parametrize("layers", [{0: "usual"}, {1: "flat"}, {0: "of itself", 2: "flat"}])
@pytest.mark.parametrize("images", [None, 2])
def test_attention_may_be_replaced_in_any_layer(encoder, position, layers, images):
    prompts = prompt_tokens(encoder, NAMES, n_context=2, position=position)
    w, like = encoder.token_width, prompts.embeddings
    context = drawn(*(() if images is None else (images,)), 1, 2, w, like=like)
    deep = DeepPrompts(drawn(1, 1, w, like=like, seed=3), start=encoder.text_start)
    attention = {layer: ATTENTIONS[name] for layer, name in layers.items()}
    assert_equal_paths(encoder, prompts, context, deep, attention)
    if set(layers.values()) != {"usual"}:
        plain, other = (encoder.encode_prompts(prompts, context, None, a) for a in ({}, attention))
        assert not torch.allclose(plain, other, atol=1e-3)


def test_an_override_of_a_text_layer_that_is_not_there_is_refused(clip):
    prompts = prompt_tokens(clip, NAMES, n_context=1, position="end")
    with pytest.raises(ValueError, match="layer 3 of a tower of 3 layers"):
        context = torch.zeros(1, 1, clip.token_width)
        clip.encode_prompts(prompts, context, attention={3: ATTENTIONS["usual"]})


def test_deep_prompts_are_not_inserted_into_texts(clip):
    prompts = prompt_tokens(clip, NAMES, n_context=2, position="end")
    deep = DeepPrompts(torch.zeros(1, 1, clip.token_width), start=1, insert=True)
    with pytest.raises(ValueError, match="of texts cannot be inserted"):
        clip.encode_prompts(prompts, torch.zeros(1, 2, clip.token_width), deep)
    with pytest.raises(ValueError, match="of texts cannot be inserted"):
        clip.encode_text(prompts.embeddings, prompts.end, deep)


def test_more_deep_prompts_than_slots_reach_the_names(double_clip):
    prompts = prompt_tokens(double_clip, NAMES, n_context=1, position="end")
    w = double_clip.token_width
    context = drawn(1, 1, w, like=prompts.embeddings)
    deep = DeepPrompts(drawn(2, 2, w, like=prompts.embeddings, seed=3), start=1)
    assert_equal_paths(double_clip, prompts, context, deep)


@pytest.mark.parametrize("budget", [1, 40_000])
@pytest.mark.parametrize("images", [None, 2])
def test_pieces_under_a_budget_change_nothing(double, monkeypatch, budget, images):
    monkeypatch.setattr(double, "text_budget", budget, raising=False)
    names = [*NAMES, *(f"{one} {two}" for one in WORDS[:4] for two in WORDS[:4])]
    prompts = prompt_tokens(double, names, n_context=2, position="end")
    w, like = double.token_width, prompts.embeddings
    context = drawn(*(() if images is None else (images,)), 1, 2, w, like=like)
    tokens = drawn(2, *(() if images is None else (images,)), 2, w, like=like, seed=3)
    assert_equal_paths(double, prompts, context, DeepPrompts(tokens, start=double.text_start))
    assert len(double.packed_text.parts(prompts, context[None], budget)) > 1


@pytest.mark.parametrize("images", [None, 2])
@pytest.mark.parametrize("position", ["end", "middle"])
def test_classes_with_contexts_of_their_own_may_be_encoded_one_by_one(
    double, monkeypatch, position, images
):
    monkeypatch.setattr(double, "text_budget", 1)
    names = ("cat", "dog", *NAMES)
    prompts = prompt_tokens(double, names, n_context=2, position=position)
    shape = (*(() if images is None else (images,)), len(names), 2, double.token_width)
    context = drawn(*shape, like=prompts.embeddings)
    assert_equal_paths(double, prompts, context)
    parts = double.packed_text.parts(prompts, context[None] if images is None else context, 1)
    assert len(parts) == len(names) * (images or 1)


class Living(TorchDispatchMode):
    """Follows the bytes of all tensors that live at once, made while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self.follow(tensor.untyped_storage())
        return out

    def follow(self, storage) -> None:
        if not hasattr(storage, "followed"):
            storage.followed = True
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self.forget, storage.nbytes())

    def forget(self, size: int) -> None:
        self.now -= size


def most_bytes(tower, prompts, context, budget):
    path = PackedText(tower.text_tower, tower.text_inputs, tower.packed_text.pool)
    path(prompts, context, budget=budget)  # lays the classes out
    with Living() as living:
        path(prompts, context, budget=budget).square().sum().backward()
    return living.most


def test_a_thousand_classes_need_no_more_memory_than_the_budget_and_one_piece(clip):
    names = [f"{one} {two} {three}" for one in WORDS for two in WORDS for three in WORDS]
    prompts = prompt_tokens(clip, names * 3, n_context=2, position="end")
    assert len(prompts.ids) > 1000
    context = drawn(1, 1, 2, clip.token_width, like=prompts.embeddings)
    free = most_bytes(clip, prompts, context, budget=1 << 40)
    [whole] = clip.packed_text.pieces(prompts, 1, True)
    need = whole.saved_bytes(clip.text_tower.shape)
    assert need / 2 < free < need * 2  # the estimate that pieces are cut by is a fair one
    assert most_bytes(clip, prompts, context, budget=need // 10) < free / 4


def test_pieces_that_fit_the_budget_together_are_computed_once(clip):
    prompts = prompt_tokens(clip, NAMES * 4, n_context=2, position="end")
    context = drawn(4, 1, 2, clip.token_width, like=prompts.embeddings)
    [whole] = clip.packed_text.pieces(prompts, 1, True)
    size = whole.saved_bytes(clip.text_tower.shape)
    assert [p.recompute for p in clip.packed_text.parts(prompts, context, 4 * size)] == [False]
    parts = clip.packed_text.parts(prompts, context, 2 * size)
    assert [part.recompute for part in parts] == [True, False]
    assert [part.contexts for part in parts] == [slice(0, 2), slice(2, 4)]
    with torch.no_grad():
        parts = clip.packed_text.parts(prompts, context, 2 * size)
    assert not any(part.recompute for part in parts)


def test_a_class_list_is_laid_out_once(clip):
    prompts = prompt_tokens(clip, NAMES, n_context=2, position="end")
    first, again = (clip.packed_text.pieces(prompts, 1, True) for _ in range(2))
    assert first is again


@pytest.mark.parametrize("start", [-2, 2])
def test_deep_prompts_over_the_end_of_a_text_are_refused(clip, start):
    prompts = prompt_tokens(clip, ("a", "cat dog"), n_context=1, position="end")
    deep = DeepPrompts(torch.zeros(1, 3, clip.token_width), start=start)
    with pytest.raises(ValueError, match="the shortest has its last token at position 4"):
        clip.encode_prompts(prompts, torch.zeros(1, 1, clip.token_width), deep)
