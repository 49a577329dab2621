"""A set of learned contexts: each as if it were alone, in few passes of the text tower."""

import pytest
import torch

from operators.blocks.learned_context import LearnedContext, LearnedContexts

NAMES = ("cat", "a very small orange boat", "dog")
POSITIONS = ("end", "front", "end", "middle")
WORDS = ("a photo of a", "the photo of the", "a small photo of a", "a photo of a")


def drawn(backbone, **given):
    generator = torch.Generator().manual_seed(3)
    how = {"n_context": 3, "std": 0.02, "count": 4, "positions": POSITIONS, **given}
    return LearnedContexts(backbone, NAMES, generator=generator, **how)


@pytest.mark.parametrize("chosen", [None, [0, 1, 2, 3], [3, 0], [1], [2, 1, 3, 0]])
def test_each_context_gives_what_it_gives_alone(backbone, chosen):
    contexts = drawn(backbone)
    found = contexts.class_features(chosen)
    for features, place in zip(found, chosen or range(4), strict=True):
        alone = LearnedContext(
            backbone,
            NAMES,
            generator=torch.Generator(),
            n_context=3,
            words="",
            std=0.02,
            position=POSITIONS[place],
        )
        wanted = alone.class_features(contexts.context[place : place + 1])
        torch.testing.assert_close(features, wanted, rtol=1e-4, atol=1e-5)


def test_a_phrase_keeps_the_words_that_are_not_learned(clip):
    contexts = drawn(clip, positions=["end"], words=WORDS)
    for features, words in zip(contexts.class_features(), WORDS, strict=True):
        whole = clip.whole_text_features([f"{words} {name}." for name in NAMES])
        torch.testing.assert_close(features, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "passes"),
    [({}, 3), ({"positions": ["end"]}, 1), ({"positions": ["end"], "words": WORDS}, 3)],
)
def test_contexts_whose_names_stand_alike_share_a_pass(clip, monkeypatch, given, passes):
    contexts = drawn(clip, **given)
    seen = []
    encode = clip.encode_prompts

    def watched(prompts, context, **how):
        seen.append(len(context))
        return encode(prompts, context, **how)

    monkeypatch.setattr(clip, "encode_prompts", watched)
    contexts.class_features()
    assert len(seen) == passes
    assert sum(seen) == 4


def test_gradients_of_contexts_that_were_not_asked_for_are_zero(clip):
    contexts = drawn(clip)
    contexts.class_features([3, 0]).sum().backward()
    moved = contexts.context.grad.abs().sum(dim=(1, 2)) > 0
    assert moved.tolist() == [True, False, False, True]
