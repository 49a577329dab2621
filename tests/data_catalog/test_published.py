"""Published datasets that users bring: original files, split files, and what is refused."""

import json
import random
from dataclasses import replace

import pytest

from data_catalog import (
    DatasetCard,
    IngestionError,
    SourceError,
    ingest,
    known_card,
    lies_packed,
    outline,
)
from data_catalog.published import PUBLISHED, Download, LayoutError, Tree
from data_catalog.secrets import holds_secret

BREEDS = ("abyssinian", "beagle", "pug")


@pytest.fixture
def pets(monkeypatch, originals):
    """The original files of three breeds, and a dataset that has these alone."""
    small = replace(
        PUBLISHED["oxford_pets"],
        classes=BREEDS,
        counts={"published rule": {"train": 12, "val": 3, "test": 6}},
    )
    monkeypatch.setitem(PUBLISHED, "oxford_pets", small)
    lists = {"trainval": range(5), "test": range(5, 7)}
    files = {
        f"annotations/{name}.txt": "".join(
            f"{breed.title()}_{number} {label} 1 1\n"
            for label, breed in enumerate(BREEDS, start=1)
            for number in numbers
        )
        for name, numbers in lists.items()
    }
    images = {f"images/{breed.title()}_{n}.jpg": None for breed in BREEDS for n in range(7)}
    return originals({**files, **images})


def test_pets_are_read_from_the_official_lists(pets, tmp_path):
    card = known_card(PUBLISHED["oxford_pets"], pets)
    dataset = ingest(card, tmp_path / "store")
    assert dataset.classes == BREEDS
    assert dataset.card["splits"] == {"train": 12, "val": 3, "test": 6}
    assert dataset.card["template"] == "a photo of a {}, a type of pet."
    assert "drawn as CoOp's code does, seed 1" in dataset.card["source_description"]
    rng, first = random.Random(1), list(range(5))
    rng.shuffle(first)
    seen = [row.path for row in card.source.listed() if row.label == 0]
    assert seen == [f"images/Abyssinian_{n}.jpg" for n in [*first[1:], first[0], 5, 6]]


def test_a_wrong_count_is_refused_by_name(pets):
    (pets / "annotations" / "test.txt").write_text("Pug_5 3 1 1\n")
    card = known_card(PUBLISHED["oxford_pets"], pets)
    with pytest.raises(IngestionError, match="train 12, val 3, test 1 and 0 corrupt, the card say"):
        ingest(card, pets.parent / "store")


def test_a_wrong_name_is_refused_by_name(pets):
    lists = pets / "annotations" / "trainval.txt"
    lists.write_text(lists.read_text().replace("Beagle", "Poodle"))
    with pytest.raises(SourceError, match="label 1 is called 'poodle', and is 'beagle'"):
        known_card(PUBLISHED["oxford_pets"], pets)


def test_what_is_missing_is_named_with_the_way_to_get_it(pets):
    (pets / "annotations" / "trainval.txt").unlink()
    with pytest.raises(SourceError, match=r"no annotations/trainval.txt in .*Fetch https://www"):
        known_card(PUBLISHED["oxford_pets"], pets)


def test_another_split_file_is_taken_and_named(pets):
    lists = {"train": [["Pug_0.jpg", 0, "pug"], ["Beagle_0.jpg", 1, "hound"]]}
    lists |= {"val": [["Pug_1.jpg", 0, "pug"]], "test": [["Beagle_3.jpg", 1, "hound"]]}
    (pets / "split_zhou_OxfordPets.json").write_text(json.dumps(lists))
    card = known_card(PUBLISHED["oxford_pets"], pets)
    understood = outline(card)
    assert (understood.classes, card.split_sizes) == (("pug", "hound"), None)
    assert understood.splits == {"train": 2, "val": 1, "test": 1}
    assert any("is not the published file: it has md5" in note for note in understood.notes)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", r"split_zhou_OxfordPets.json is no split file"),
        ('{"train": [["Pug_0.jpg", "pug"]]}', r"\['Pug_0.jpg', 'pug'\] in train is not \[path,"),
        ('{"train": [["Cat_0.jpg", 0, "cat"]]}', r"no image of .* such as images/Cat_0.jpg"),
    ],
)
def test_a_split_file_that_cannot_be_meant_is_refused(pets, content, said):
    (pets / "split_zhou_OxfordPets.json").write_text(content)
    with pytest.raises(SourceError, match=said):
        known_card(PUBLISHED["oxford_pets"], pets)


def test_the_card_of_a_known_dataset_is_read_back_from_yaml(pets):
    card = known_card(PUBLISHED["oxford_pets"], pets, template_set="coop-ensemble")
    assert DatasetCard.from_yaml(card.to_yaml()) == card
    assert card.templates[-1] == card.template


def test_an_unknown_template_set_is_refused_with_those_that_are_known(pets):
    with pytest.raises(ValueError, match=r"no template set 'clip'. There is: coop, coop-ensemble"):
        known_card(PUBLISHED["oxford_pets"], pets, template_set="clip")


def test_the_nearest_file_and_folder_are_found():
    found = Tree("here", ["a/b/list.txt", "b/list.txt", "b/mylist.txt"], lambda name: b"x y\n\nz ")
    assert (found.find("list.txt"), found.find("a/b/list.txt")) == ("b/list.txt", "a/b/list.txt")
    assert (found.folder("b"), found.folder("c")) == ("b/", None)
    assert found.lines("b/list.txt") == ["x y", "z"]
    assert found.opened == ["b/list.txt"]
    with pytest.raises(LayoutError, match=r"no c\.mat in here, where there is a, b"):
        found.need("c.mat")


def test_mirrors_are_told_from_original_files(pets, tmp_path):
    assert not lies_packed(pets)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "train.parquet").write_bytes(b"")
    assert lies_packed(tmp_path / "copy")
    assert lies_packed("hf://datasets/someone/pets")


@pytest.fixture(params=PUBLISHED)
def known(request):
    return PUBLISHED[request.param]


def test_a_published_dataset_says_what_it_is_and_how_to_get_it(known):
    for field in ("title", "description", "license", "citation", "homepage", "trouble"):
        assert getattr(known, field), field
    assert known.split_rule.endswith(".") and not known.by_hand.endswith(".")
    assert PUBLISHED[known.name] is known
    for name, prompts in known.template_sets.items():
        assert "{}" in prompts.template, name
        assert prompts.source, name


def test_a_digest_of_a_download_says_who_has_it(known):
    for each in known.downloads:
        pinned = each.sha256 or each.md5 or each.revision or each.size_bytes
        assert bool(pinned) == bool(each.checked_by), each.url
        assert len(each.md5) in (0, 32) and len(each.sha256) in (0, 64), each.url


def test_nothing_that_a_person_is_told_of_it_is_hidden_as_a_secret(known):
    told = [known.by_hand, known.trouble, known.homepage, *(e.page() for e in known.downloads)]
    assert [each for each in told if holds_secret(each)] == []


def test_a_link_to_google_drive_is_told_as_the_page_of_its_file():
    page = "https://drive.google.com/file/d/1ab-C_2345678/view"
    for url in ("uc?id=1ab-C_2345678", "uc?export=download&id=1ab-C_2345678&confirm=t"):
        assert Download(url=f"https://drive.google.com/{url}", holds="all").page() == page
    assert Download(url="https://example.org/uc?id=1", holds="all").page().endswith("/uc?id=1")
