"""What every embedded card promises, and what no card may say."""

from dataclasses import replace

import numpy as np
import pytest

from data_catalog import (
    CATALOG,
    DatasetCard,
    ImageFolder,
    ParquetImages,
    ingest,
    register,
    registered_cards,
)

SOURCE = ImageFolder("/nowhere")


@pytest.fixture(params=CATALOG)
def embedded(request):
    return CATALOG[request.param]


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    """Ingests an embedded dataset, once for all tests of this file."""
    store = tmp_path_factory.mktemp("store")
    return lambda card: ingest(card, store / card.name)


def test_a_card_is_found_under_its_name(embedded):
    assert CATALOG[embedded.name] is embedded


def test_a_card_says_what_it_is_and_who_made_it(embedded):
    for field in ("title", "description", "license", "citation", "homepage", "trouble"):
        assert getattr(embedded, field), field


def test_a_card_names_its_classes_and_sizes(embedded):
    assert len(embedded.classes) >= 2
    assert embedded.source.total() == sum(embedded.split_sizes.values())


def test_a_signature_does_not_move_by_itself(embedded):
    assert embedded.source.signature() == embedded.source.signature()


def test_an_embedded_dataset_keeps_the_promises_of_its_card(embedded, ingested):
    dataset = ingested(embedded)
    assert dataset.card["splits"] == embedded.split_sizes
    assert dataset.classes == embedded.classes
    assert dataset.card["quarantined"]["count"] == 0
    assert dataset.card["duplicates"][f"leaked_{embedded.kind}s"] == 0
    assert dataset.verify() == []


def test_the_content_of_digits_is_pinned(ingested):
    # If this moves, so does every published score on digits.
    assert ingested(CATALOG["digits"]).fingerprint == "1b771c76e832ba2c"


def test_the_content_of_textiles_is_pinned(ingested):
    assert ingested(CATALOG["textiles"]).fingerprint == "7f245ff9b75fb8e1"


def test_the_content_and_the_domains_of_world_domains_are_pinned(ingested):
    dataset = ingested(CATALOG["world-domains"])
    assert dataset.fingerprint == "d5d0205e2a606f5a"
    assert dataset.domain_names == ("blurred", "clean", "inverted", "photo", "sketch")
    assert np.bincount(dataset.domain_codes).tolist() == [320] * 5


@pytest.mark.parametrize(
    ("name", "fingerprint"),
    [("mini-reviews", "1427c1a1a5c63947"), ("mini-topics", "6f962167e32cc942")],
)
def test_the_content_of_written_sets_is_pinned(ingested, name, fingerprint):
    assert ingested(CATALOG[name]).fingerprint == fingerprint


@pytest.mark.parametrize("name", ["Pets", "my pets", "", "../pets", "-pets", "pets.v2"])
def test_a_name_of_other_characters_is_refused(name):
    with pytest.raises(ValueError, match="lower-case letters, digits, - and _"):
        DatasetCard(name=name, source=SOURCE)


@pytest.mark.parametrize("template", ["a photo", "{} and {}", "a {name}", "{0}", "a {} }"])
def test_a_template_without_exactly_one_place_is_refused(template):
    with pytest.raises(ValueError, match=r"does not hold \{\} exactly once"):
        DatasetCard(name="pets", source=SOURCE, template=template)


def test_a_repeated_class_name_is_refused_with_both_labels():
    with pytest.raises(ValueError, match="'missile' is used by labels 0 and 2"):
        DatasetCard(name="pets", source=SOURCE, classes=("missile", "cat", "missile"))


def test_a_declared_repetition_of_a_class_name_is_kept():
    names = ("missile", "cat", "missile")
    card = DatasetCard(name="in1k", source=SOURCE, classes=names, duplicate_class_names=True)
    assert card.classes == names


def test_a_single_class_is_refused():
    with pytest.raises(ValueError, match="nothing to tell apart"):
        DatasetCard(name="pets", source=SOURCE, classes=("cat",))


def test_a_corrupt_share_above_one_is_refused():
    with pytest.raises(ValueError, match="max_corrupt_share=25"):
        DatasetCard(name="pets", source=SOURCE, max_corrupt_share=25)


def test_an_unknown_split_in_the_sizes_is_refused():
    with pytest.raises(ValueError, match="split_sizes names dev"):
        DatasetCard(name="pets", source=SOURCE, split_sizes={"dev": 3})


def test_underscores_become_spaces_in_prompts():
    assert DatasetCard.prompt_names(["baseball_glove", "cat"]) == ("baseball glove", "cat")


def test_a_registered_card_is_read_as_it_was_written(tmp_path):
    card = DatasetCard(
        name="pets",
        source=ParquetImages("/data/pets", columns={"label": "breed"}),
        classes=("no", "Schnauzer", "été"),
        templates=("a {}.", "the {}."),
        split_sizes={"train": 3},
        max_corrupt_share=0.1,
    )
    register(card, tmp_path)
    assert registered_cards(tmp_path) == {"pets": card}


def test_no_folder_of_cards_holds_no_cards(tmp_path):
    assert registered_cards(tmp_path / "datasets") == {}


def test_registering_the_same_card_again_changes_nothing(tmp_path):
    card = DatasetCard(name="pets", source=SOURCE)
    assert register(card, tmp_path).read_text() == register(card, tmp_path).read_text()


def test_another_card_of_a_registered_name_is_refused(tmp_path):
    card = DatasetCard(name="pets", source=SOURCE)
    register(card, tmp_path)
    with pytest.raises(ValueError, match="registered already"):
        register(replace(card, title="Pets"), tmp_path)


def test_a_registered_card_is_replaced_on_request(tmp_path):
    card = DatasetCard(name="pets", source=SOURCE)
    register(card, tmp_path)
    register(replace(card, title="Pets"), tmp_path, replace=True)
    assert registered_cards(tmp_path)["pets"].title == "Pets"


def test_an_embedded_name_cannot_be_registered(tmp_path):
    with pytest.raises(ValueError, match="'digits' is an embedded dataset"):
        register(DatasetCard(name="digits", source=SOURCE), tmp_path)


def test_a_source_that_is_code_cannot_be_registered(tmp_path):
    with pytest.raises(ValueError, match="Digits is code"):
        register(replace(CATALOG["digits"], name="my-digits"), tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: pets\nclases: [a, b]\nsource: {kind: manifest, path: x}", "Did you mean classes?"),
        ("name: pets\nsource: {kind: image_foldr, path: x}", "Did you mean image_folder?"),
        ("name: pets\nsource: {kind: manifest, pth: x}", "Did you mean path?"),
        ("name: pets\nsource: {kind: manifest}", "has no path"),
        ("name: pets", "has no source"),
        ("name: pets\nclasses: [no, yes]\nsource: {kind: manifest, path: x}", "in quotes"),
        (
            "name: pets\nsource: {kind: huggingface, repo: a/b, revision: 12e4}",
            "revision: 120000.0",
        ),
        ("name: pets\nclasses: cat\nsource: {kind: manifest, path: x}", "no list"),
        ("name: pets\nsource: {kind: parquet, path: x, columns: {lable: y}}", "mean label"),
        ("- pets", "no mapping"),
        ("name: [", "not valid YAML"),
    ],
)
def test_a_faulty_card_is_refused_with_the_way_out(tmp_path, text, message):
    (tmp_path / "pets.yaml").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        registered_cards(tmp_path)
    assert "pets.yaml" in str(caught.value)


def test_a_card_in_a_file_of_another_name_is_refused(tmp_path):
    register(DatasetCard(name="pets", source=SOURCE), tmp_path).rename(tmp_path / "cats.yaml")
    with pytest.raises(ValueError, match="the card inside is called 'pets'"):
        registered_cards(tmp_path)


def test_the_digest_of_a_card_moves_with_any_field():
    card = DatasetCard(name="pets", source=SOURCE)
    assert card.digest() != replace(card, trouble="blurred").digest()
    assert card.digest() != replace(card, source=ImageFolder("/elsewhere")).digest()
