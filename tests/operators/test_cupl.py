"""CuPL: which sentences are averaged, and that long ones are cut."""

import pytest
import torch

from operators.backbones import unit
from operators.blocks.class_text import class_vectors, sentence_vectors
from operators.episodes.episode import Classes
from operators.methods import METHODS

CuPL, ZeroShot = METHODS["cupl"], METHODS["zero-shot"]
LONG = "a photo of a cat in a tree " * 30


def build(backbone, classes, **given):
    return CuPL(backbone, classes, generator=torch.Generator(), **given).eval()


@pytest.fixture(params=["clip", "siglip", "effnet"])
def tower(request):
    return request.getfixturevalue(request.param)


def test_a_class_vector_is_the_mean_of_the_unit_features_of_its_sentences(tower, classes):
    read = [unit(tower.whole_text_features(own, cut=True)) for own in classes.descriptions]
    wanted = [unit(features.mean(dim=0)) for features in read]
    torch.testing.assert_close(
        build(tower, classes).weights(), torch.stack(wanted), rtol=1e-4, atol=1e-5
    )


def test_a_sentence_counts_as_often_as_it_stands_there(tower):
    once = sentence_vectors(tower, [["a cat.", "a dog."]])
    twice = sentence_vectors(tower, [["a cat.", "a dog.", "a dog."]])
    mean = tower.text_features(["a cat.", "a dog.", "a dog."]).mean(dim=0)
    torch.testing.assert_close(twice[0], unit(mean), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(once, twice, atol=1e-4)


def test_templates_join_the_sentences_on_request(tower):
    classes = Classes(
        ("cat", "dog"),
        ("a {}.",),
        ("a photo of a {}.", "one {}."),
        (("it purrs.",), ("it barks.",)),
    )
    method = build(tower, classes, add_templates=True)
    assert method.sentences() == [
        ["it purrs.", "a photo of a cat.", "one cat."],
        ["it barks.", "a photo of a dog.", "one dog."],
    ]
    single = Classes(classes.names, classes.templates, (), classes.descriptions)
    assert build(tower, single, add_templates=True).sentences()[1] == ["it barks.", "a dog."]
    assert build(tower, single).sentences()[1] == ["it barks."]


def test_with_prompts_for_descriptions_it_is_zero_shot(tower, classes, few_shot):
    prompts = tuple((prompt,) for prompt in classes.prompts(classes.templates[0]))
    same = Classes(classes.names, classes.templates, (), prompts)
    batch = few_shot(tower.feature_width, [0, 1, 2, 3]).train
    plain = ZeroShot(tower, classes, generator=torch.Generator()).eval()
    torch.testing.assert_close(
        build(tower, same).logits(batch), plain.logits(batch), rtol=1e-4, atol=1e-4
    )


def test_with_templates_alone_the_bank_is_the_ensemble(tower, classes):
    templates = ("a photo of a {}.", "one {}.")
    sentences = [[t.replace("{}", name) for t in templates] for name in classes.names]
    torch.testing.assert_close(
        sentence_vectors(tower, sentences),
        class_vectors(tower, classes, templates),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_sentence_that_is_too_long_is_read_as_far_as_the_tower_reads(tower):
    long = LONG * (1 + tower.context_length // len(LONG.split()))
    cut = tower.tokenize(["a cat.", long], cut=True)
    assert int(cut.end[1]) == tower.context_length - 1
    assert int(cut.end[0]) == int(tower.tokenize(["a cat."]).end[0])
    with pytest.raises(ValueError, match=f"the text tower of {tower.card.name} reads"):
        tower.tokenize([long])
    # Its last token is the end token, as that of every text.
    assert cut.ids[1, int(cut.end[1])] == cut.ids[0, int(cut.end[0])]
    other = sentence_vectors(tower, [[long], [f"{long} and more of it"]])
    torch.testing.assert_close(other[0], other[1])
    assert other.isfinite().all()


def test_what_fits_is_not_cut(tower):
    texts = ["a cat.", "a photo of a dog under a tree."]
    whole, cut = tower.tokenize(texts), tower.tokenize(texts, cut=True)
    assert torch.equal(whole.ids, cut.ids)
    assert torch.equal(whole.end, cut.end)


def test_other_classes_come_with_sentences_of_their_own(tower, classes):
    two = classes.subset([2, 0])
    twin = build(tower, classes).with_classes(two)
    torch.testing.assert_close(
        twin.weights(), build(tower, classes).weights()[[2, 0]], rtol=1e-4, atol=1e-5
    )
