"""The CLIP that ships: small, whole, readable by transformers, and as good as its card says."""

import json
import pickle

import pytest
import torch

from operators.backbones import BACKBONES, reference
from operators.backbones.formats.clip_files import EMBEDDED

FOLDER = EMBEDDED / "mini_clip"
RESULTS = json.loads((FOLDER / "results.json").read_text())
HELD_OUT = {one["dataset"]: one for one in RESULTS["results"]}


@pytest.fixture(scope="module")
def mini():
    known = reference("mini-clip")
    return known.load(known.describe())


@pytest.fixture(scope="module")
def theirs():
    from transformers import CLIPModel

    return CLIPModel.from_pretrained(FOLDER, dtype=torch.float32).eval()


def test_its_weights_fit_into_a_repository():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 12 * 1024**2


def test_its_card_says_where_it_comes_from():
    card = reference("mini-clip").describe()
    assert (card.source, card.license) == ("embedded", "apache-2.0")
    assert "visual-prompts" in card.capabilities


@pytest.fixture(scope="module")
def their_tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(FOLDER)


@torch.no_grad()
def test_image_features_are_those_of_transformers(mini, theirs):
    pixels = torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    wanted = theirs.visual_projection(theirs.vision_model(pixels).pooler_output)
    torch.testing.assert_close(mini.encode_images(pixels), wanted, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_text_features_are_those_of_transformers(mini, theirs, their_tokenizer):
    texts = ["a photo of a cat.", "seven", "a small red star above a light bulb"]
    tokens = their_tokenizer(texts, padding=True, return_tensors="pt")
    wanted = theirs.text_projection(theirs.text_model(**tokens).pooler_output)
    ours = mini.tokenize(texts)
    found = mini.encode_text(mini.embed(ours.ids), ours.end)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["Ragdoll", "Boeing 737-800", "Bœuf à l'ail", "猫", "🐈"])
def test_it_can_spell_any_class_name(mini, their_tokenizer, name):
    ids = mini.tokenizer(name).input_ids
    assert mini.tokenizer.unk_token_id not in ids[1:-1]
    spelled = their_tokenizer.decode(ids, skip_special_tokens=True)
    assert spelled.replace(" ", "") == name.lower().replace(" ", "")


def test_colours_and_kinds_that_it_learned_are_one_token(mini):
    for word in ("red", "star", "seven", "photo", "letter", "umbrella"):
        assert len(mini.tokenizer(word).input_ids) == 3, word


def test_its_figures_are_of_the_weights_that_ship():
    assert RESULTS["backbone_fingerprint"] == reference("mini-clip").describe().fingerprint


def test_zero_shot_reaches_what_it_was_made_for():
    # These are the figures on its card; `shotboard backbones verify mini-clip` computes them again.
    assert HELD_OUT["world-icons"]["accuracy"] >= 0.60
    assert HELD_OUT["digits"]["accuracy"] >= 0.50


def test_zero_shot_is_near_chance_on_what_it_has_never_seen():
    assert HELD_OUT["world-novel"]["accuracy"] < 0.2


def test_it_is_the_first_backbone_that_a_newcomer_sees():
    assert next(iter(BACKBONES)) == "mini-clip"


def test_it_is_found_where_the_packages_lie_that_a_reference_comes_to(monkeypatch, tmp_path):
    import operators.backbones as backbones

    mini, theirs = reference("mini-clip"), reference(str(tmp_path))
    sent = pickle.dumps([mini, mini._replace(precision="fp64"), theirs])
    assert pickle.loads(sent) == [mini, mini._replace(precision="fp64"), theirs]
    assert str(EMBEDDED).encode() not in sent
    monkeypatch.setattr(backbones, "EMBEDDED", tmp_path / "elsewhere")  # as on another host
    there, _, folder = pickle.loads(sent)
    assert there == mini._replace(location=str(tmp_path / "elsewhere" / "mini_clip"))
    assert folder == theirs
