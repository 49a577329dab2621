"""ImageNet's variants as their archives and CoOp lay them: names by id or number, test alone."""

import pytest

from data_catalog import IngestionError, SourceError, ingest, known_card
from data_catalog.published import PUBLISHED
from data_catalog.published.names import class_names, wordnet_names

PLACES = {
    "imagenet_a": "imagenet-a/",
    "imagenet_r": "imagenet-r/",
    "imagenet_sketch": "images/",
}


@pytest.fixture
def variant(originals, known_as):
    """One image of each class of a variant below its usual folder, and files that are none."""

    def make(name):
        of = "imagenet" if name == "imagenet_sketch" else name
        ids = list(wordnet_names(of))
        notes = {"classnames.txt": "n01440764 tench\n", f"{PLACES[name]}README.txt": "read me"}
        place = originals({**{f"{PLACES[name]}{id_}/0.jpg": None for id_ in ids}, **notes})
        return known_as(name, counts={"official": {"test": len(ids)}}), place

    return make


@pytest.mark.parametrize("name", PLACES)
def test_a_variant_has_its_own_classes_with_the_names_of_imagenet(variant, name, tmp_path):
    known, place = variant(name)
    dataset = ingest(known_card(known, place), tmp_path / "store")
    assert dataset.classes == known.classes
    assert dataset.card["splits"] == {"train": 0, "val": 0, "test": len(known.classes)}
    assert set(dataset.classes) <= set(class_names("imagenet"))


def test_a_variant_may_be_given_by_the_folder_of_its_classes(variant):
    known, place = variant("imagenet_a")
    assert known_card(known, place / "imagenet-a").source.total() == 200


def test_imagenet_r_and_a_name_the_classes_that_their_authors_chose():
    assert PUBLISHED["imagenet_a"].classes[:2] == ("stingray", "goldfinch")
    assert PUBLISHED["imagenet_r"].classes[:2] == ("goldfish", "great white shark")


def test_numbered_folders_are_labels_and_ten_is_no_neighbour_of_one(originals, known_as, tmp_path):
    folder = "imagenetv2-matched-frequency-format-val"
    place = originals({f"{folder}/{label}/a.jpeg": None for label in range(1000)})
    known = known_as("imagenetv2", counts={"official": {"test": 1000}})
    dataset = ingest(known_card(known, place), tmp_path / "store")
    by_path = dict(zip(dataset.column("path").tolist(), dataset.labels.tolist(), strict=True))
    assert [by_path[f"{folder}/{label}/a.jpeg"] for label in (1, 2, 10, 999)] == [1, 2, 10, 999]
    assert (dataset.classes[2], dataset.classes[10]) == ("great white shark", "brambling")
    assert known_card(known, place / folder).source.total() == 1000


def test_a_class_that_is_missing_is_named(variant):
    known, place = variant("imagenet_a")
    (place / "imagenet-a" / "n01498041" / "0.jpg").unlink()
    with pytest.raises(SourceError, match=r"1 of 200 class folders are missing .*n01498041"):
        known_card(known, place)


def test_a_folder_that_is_no_class_is_named(variant):
    known, place = variant("imagenet_r")
    strange = place / "imagenet-r" / "n99999999"
    strange.mkdir()
    (strange / "0.jpg").write_bytes(b"")
    with pytest.raises(SourceError, match=r"n99999999 in .* is none of the 200 classes"):
        known_card(known, place)


def test_a_variant_with_too_few_images_is_refused(variant, known_as, tmp_path):
    _, place = variant("imagenet_a")
    whole = known_as("imagenet_a", counts={"official": {"test": 7500}})
    with pytest.raises(IngestionError, match=r"test 200 and 0 corrupt, the card says test 7500"):
        ingest(known_card(whole, place), tmp_path / "store")
