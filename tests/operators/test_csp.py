"""CSP: where its words start, what a step is, and which words new pairs are read with."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from operators.contract.drawn import drawn_features
from operators.engine.stacking import run_stacked
from operators.episodes.episode import Classes, FewShot, Vocabulary, batch_of
from operators.methods import METHODS
from operators.methods.compositional.base import read_pairs
from operators.methods.compositional.vocabulary.csp import word_embeddings
from operators.tuning import Tuning

CSP = METHODS["csp"]
COMPOSED = (("old", "cat"), ("very small", "cat"), ("old", "oak tree"))
WHOLE = Vocabulary.of((*COMPOSED, ("very small", "oak tree")))
CLASSES = Classes(WHOLE.names(), ("a photo of a {}.",), vocabulary=WHOLE).subset(range(3))
NEW = Classes(WHOLE.names(), ("a photo of a {}.",), vocabulary=WHOLE).subset([3, 0])


def build(clip, **own):
    return CSP(clip, CLASSES, generator=torch.Generator().manual_seed(0), **own)


def shots_of(clip, dtype=torch.float32):
    labels = torch.arange(12).remainder(3).numpy()
    source = drawn_features(labels, clip.feature_width)
    source.values = source.values.to(dtype)
    train = batch_of(source, torch.arange(12).numpy(), labels, range(3), clip.device)
    return FewShot(4, train, train.select(torch.arange(0)))


def plain_features(clip, words, pairs):
    """Each prompt by itself, as a list of token embeddings with two of them replaced."""
    features = []
    for attribute, object_ in pairs:
        tokens = clip.tokenize(["a photo of X X"])
        embeddings = clip.embed(tokens.ids).clone()
        end = int(tokens.end[0])
        embeddings[0, end - 2] = words[attribute]
        embeddings[0, end - 1] = words[object_]
        features.append(clip.encode_text(embeddings, tokens.end)[0])
    return F.normalize(torch.stack(features), dim=1)


def test_a_word_starts_from_the_mean_of_its_tokens(clip):
    words = build(clip).words
    assert len(words) == len(WHOLE.attributes) + len(WHOLE.objects) == 4
    tokens = clip.tokenize(["oak tree"])
    own = clip.embed(tokens.ids)[0, clip.text_start : int(tokens.end[0])]
    assert len(own) > 1
    torch.testing.assert_close(words[3], own.mean(dim=0))


def test_a_step_is_that_of_prompts_written_one_by_one(clip, precise):
    clip = precise(clip)
    method = build(clip).double().train()
    shots = shots_of(clip, torch.float64)
    loss = method.loss(shots.train)
    (gradient,) = torch.autograd.grad(loss, [method.words])
    words = method.words.detach().clone().requires_grad_()
    pairs = [(a, len(WHOLE.attributes) + o) for a, o in CLASSES.vocabulary.pairs]
    features = F.normalize(shots.train.features, dim=1)
    logits = clip.logit_scale * features @ plain_features(clip, words, pairs).T
    plain = F.cross_entropy(logits, shots.train.labels)
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(gradient, torch.autograd.grad(plain, [words])[0])


def test_each_step_does_without_other_numbers_and_none_when_it_answers(clip):
    method = build(clip, dropout=0.5)
    shots, drawn = shots_of(clip), []
    encode = method.backbone.encode_prompts

    class Watching:
        def __getattr__(self, name):
            return getattr(clip, name)

        def encode_prompts(self, layout, context, **how):
            drawn.append(context.detach().clone())
            return encode(layout, context, **how)

    method.backbone = Watching()
    tuning = Tuning(optimizer="adam", lr=1e-6, epochs=3, batch_size=12, warmup_epochs=0)
    method.fit(shots, tuning=tuning, generator=torch.Generator().manual_seed(1))
    assert len(drawn) == 3 and not torch.equal(drawn[0] == 0, drawn[1] == 0)
    for context in drawn:
        assert 0.3 < (context == 0).float().mean() < 0.7
        torch.testing.assert_close(context[0, 1], context[1, 1])  # one mask for a word of two pairs
        kept = context[0, 0] != 0
        torch.testing.assert_close(
            context[0, 0][kept], 2 * method.words[0][kept], rtol=1e-2, atol=1e-4
        )
    method.loss(shots.train)
    assert not (drawn[-1] == 0).any()


def test_a_new_pair_is_read_with_the_words_that_were_learned(clip):
    method = build(clip)
    with torch.no_grad():
        method.words.add_(0.1 * torch.randn(method.words.shape))
    twin = method.with_classes(NEW)
    words, offset = method.words, len(WHOLE.attributes)
    pairs = [(a, offset + o) for a, o in NEW.vocabulary.pairs]
    torch.testing.assert_close(twin.weights(), plain_features(clip, words, pairs))
    torch.testing.assert_close(twin.weights()[1], method.eval().weights()[0])


def test_a_word_that_was_not_learned_is_read_as_it_is_and_known_ones_are_looked_for_first(clip):
    method = build(clip)
    twin = method.with_classes(Classes(("very small zebra", "old oak tree"), ("{}",)))
    assert twin.vocabulary.attributes == ("old", "very small")
    assert twin.vocabulary.objects == ("oak tree", "zebra")
    words = torch.cat([method.words, word_embeddings(clip, ["zebra"])])
    torch.testing.assert_close(twin.weights(), plain_features(clip, words, [(1, 4), (0, 3)]))


def test_a_name_of_one_word_is_refused_with_an_example():
    with pytest.raises(ValueError, match=r"'zebra' is no pair: .* such as 'red zebra'"):
        read_pairs(["small cat", "zebra"])


def test_a_lane_learns_what_its_trial_learns_alone(clip, precise):
    """Numbers that a step does without are drawn from the generator of each trial."""
    clip = precise(clip)
    shots = shots_of(clip, torch.float64)
    tuning = Tuning(optimizer="adam", lr=1e-3, epochs=3, batch_size=6, warmup_epochs=0)

    def job(seed):
        method = build(clip, dropout=0.3).double()
        method.fit(shots, tuning=tuning, generator=torch.Generator().manual_seed(seed))
        return method.words.detach()

    jobs = [partial(job, seed) for seed in (1, 2)]
    alone = [each() for each in jobs]
    assert not torch.allclose(*alone)
    for one, other in zip(alone, run_stacked(jobs), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
