"""The embedded backbone against the models that it is made of, and on two real photos."""

import io

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from operators.backbones import reference
from operators.backbones.dual.effnet_minilm import IMAGENET_NAMES, weights

TEXTS = ["a cat", "a photo of a very small orange boat.", "temple"]


@torch.no_grad()
def sentence_embeddings(texts: list[str]) -> torch.Tensor:
    """Mean over tokens of transformers' BERT, as unit vectors."""
    from transformers import AutoModel, AutoTokenizer

    folder = weights()[1]
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(texts, padding=True, return_tensors="pt")
    states = model.eval()(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None].float()
    mean = (states * mask).sum(dim=1) / mask.sum(dim=1)
    return torch.nn.functional.normalize(mean, dim=1)


@torch.no_grad()
def test_text_features_are_centred_sentence_embeddings(effnet):
    tokens = effnet.tokenize(TEXTS)
    found = effnet.encode_text(effnet.embed(tokens.ids), tokens.end)
    wanted = sentence_embeddings(TEXTS) - effnet.centre
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_the_centre_is_the_mean_of_the_imagenet_names(effnet):
    names = IMAGENET_NAMES.read_text().splitlines()
    assert len(names) == len(effnet.vocabulary) == 1000
    first = sentence_embeddings(names[:3])
    torch.testing.assert_close(effnet.vocabulary[:3] + effnet.centre, first, rtol=1e-4, atol=1e-5)
    assert float(effnet.vocabulary.mean(dim=0).abs().max()) < 1e-6


def test_a_text_has_the_same_feature_alone_and_beside_longer_ones(effnet):
    alone = effnet.text_features(TEXTS[:1])
    torch.testing.assert_close(effnet.text_features(TEXTS)[:1], alone, rtol=1e-4, atol=1e-5)


def test_whole_texts_have_unit_features(effnet):
    torch.testing.assert_close(effnet.text_features(TEXTS).norm(dim=1), torch.ones(3))


@torch.no_grad()
def test_an_image_is_the_expected_name_under_the_cnns_probabilities(effnet):
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    wanted = effnet.cnn(pixels).softmax(dim=1) @ effnet.vocabulary
    torch.testing.assert_close(effnet.encode_images(pixels), wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("photo", "wanted"), [(0, "temple"), (1, "flower")])
def test_a_photo_is_known_without_training(effnet, photo, wanted):
    names = ["flower", "temple", "truck", "dog", "cup of coffee"]
    file = io.BytesIO()
    Image.fromarray(load_sample_images().images[photo]).save(file, "PNG")
    feature = effnet.encode_images(effnet.preprocess([file.getvalue()]))
    scores = effnet.text_features([f"a photo of a {name}." for name in names]) @ feature[0]
    assert names[int(scores.argmax())] == wanted


def test_the_fingerprint_is_the_same_each_time(effnet):
    assert reference("effnet-minilm").describe().fingerprint == effnet.card.fingerprint
    assert len(effnet.card.fingerprint) == 16


def test_the_card_says_the_width_and_claims_no_visual_prompts(effnet):
    assert effnet.card.feature_width == effnet.feature_width == 384
    assert "visual-prompts" not in effnet.card.capabilities


def test_a_text_that_is_too_long_is_named(effnet):
    with pytest.raises(ValueError, match=r"'long long .* reads 512"):
        effnet.tokenize(["long " * 600])
