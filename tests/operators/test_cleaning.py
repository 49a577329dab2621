"""Odd texts against CLIP's official tokenizer.

`odd_texts.json` holds what openai/CLIP's `SimpleTokenizer` makes of each: its cleaned form, and its
ids under the merges of mini-clip, start and end apart. The file was written by that algorithm, with
ftfy 6.3.1 and the regular expression of its package, and not by ours.
"""

import json
from pathlib import Path

import pytest

from operators.backbones import reference
from operators.backbones.formats.cleaning import TEXT_VERSION, clean, plain, text_version
from operators.pretraining import train_tokenizer

ODD = json.loads(Path(__file__).with_name("odd_texts.json").read_text())


@pytest.fixture(scope="module")
def mini():
    found = reference("mini-clip")
    return found.load(found.describe())


def test_odd_texts_have_the_ids_of_the_official_tokenizer(mini):
    assert len(ODD) > 100
    tokens = mini.tokenize([odd["text"] for odd in ODD])
    for odd, row, end in zip(ODD, tokens.ids.tolist(), tokens.end.tolist(), strict=True):
        assert row[1:end] == odd["ids"], ascii(odd["text"])


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: ascii(odd["text"]))
def test_a_text_is_cleaned_as_there(odd):
    assert clean(odd["text"]) == odd["cleaned"]


def test_a_text_has_another_version_where_its_ids_moved_and_only_there(mini):
    texts = [odd["text"] for odd in ODD]
    before = mini.tokenizer(texts, add_special_tokens=False).input_ids
    moved = [ids != odd["ids"] for ids, odd in zip(before, ODD, strict=True)]
    assert [text_version([text]) == TEXT_VERSION for text in texts] == moved
    assert 40 < sum(moved) < 60


def test_one_odd_text_is_enough():
    assert text_version(["a photo of a cat.", "cat\u00a0dog", "café"]) == 1
    assert text_version(["a photo of a cat.", "cat&amp;dog"]) == TEXT_VERSION
    assert text_version([]) == 1


def test_ordinary_texts_are_only_put_in_lower_case():
    letters = "".join(map(chr, range(0x20, 0x7F)))
    assert clean(letters) == plain(letters) == letters.lower().strip()


def test_families_with_a_tokenizer_of_their_own_are_not_cleaned(siglip, effnet, clip, clip_resnet):
    assert [each.card.cleans for each in (siglip, effnet, clip, clip_resnet)] == [0, 0, 1, 1]
    for each in (siglip, effnet):
        mended, odd = each.tokenize(["fish & chips"]), each.tokenize(["fish &amp; chips"])
        assert mended.ids.shape != odd.ids.shape or not mended.ids.equal(odd.ids)
    for each in (clip, clip_resnet):
        assert each.tokenize(["fish & chips"]).ids.equal(each.tokenize(["fish &amp; chips"]).ids)


def test_a_clip_with_another_tokenizer_is_read_as_that_says(clip_folder, tmp_path):
    for file in clip_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    for kind, cleans in (("CLIPTokenizer", True), ("CLIPTokenizerFast", True), ("Bert", False)):
        text = json.dumps({**settings, "tokenizer_class": kind})
        (tmp_path / "tokenizer_config.json").write_text(text)
        assert reference(str(tmp_path)).describe().cleans is cleans
    for broken in ("", "{", "[]", '{"tokenizer_class": null}'):
        (tmp_path / "tokenizer_config.json").write_text(broken)
        assert reference(str(tmp_path)).describe().cleans


def test_a_text_that_is_too_long_is_named_as_it_was_given(clip):
    with pytest.raises(ValueError, match="'Fish &amp; CHIPS Fish"):
        clip.tokenize(["cat", "Fish &amp; CHIPS " * 10])


def test_learned_words_are_those_of_cleaned_captions(tmp_path):
    for folder, texts in (("one", ["fish & chips"] * 9), ("other", ["Fish &amp; CHIPS"] * 9)):
        train_tokenizer(texts, 520, 20, tmp_path / folder)
    files = [(tmp_path / folder / "tokenizer.json").read_bytes() for folder in ("one", "other")]
    assert files[0] == files[1]
