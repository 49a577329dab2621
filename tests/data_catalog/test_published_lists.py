"""RESISC45, CUB-200-2011, Stanford Dogs and the compositional sets, by their lists."""

import json
from io import BytesIO

import numpy as np
import pytest
from scipy.io import savemat

from data_catalog import DatasetCard, SourceError, ingest, known_card, outline
from data_catalog.published import PUBLISHED

RESISC = PUBLISHED["resisc45"]
DOGS = PUBLISHED["stanford_dogs"]


@pytest.fixture
def scenes(originals):
    """Ten images of each of the 45 scenes."""
    folders = [name.replace(" ", "_") for name in RESISC.classes]
    return originals(
        {f"NWPU-RESISC45/{name}/{name}_{n:03}.jpg": None for name in folders for n in range(10)}
    )


def test_resisc45_without_lists_is_split_by_the_rule_of_coop(scenes, known_as, tmp_path):
    counts = {"published rule": {"train": 225, "val": 90, "test": 135}}
    dataset = ingest(known_card(known_as("resisc45", counts=counts), scenes), tmp_path / "store")
    assert dataset.classes == RESISC.classes
    assert len(dataset.templates) == 18


def test_resisc45_is_split_by_its_lists(scenes, known_as, tmp_path):
    parts = {"train": range(6), "val": (6, 7), "test": (8, 9)}
    for split, numbers in parts.items():
        names = [name.replace(" ", "_") for name in RESISC.classes]
        lines = [f"{name}_{n:03}.jpg\n" for name in names for n in numbers]
        (scenes / f"resisc45-{split}.txt").write_text("".join(lines))
    counts = {"official": {"train": 270, "val": 90, "test": 90}}
    dataset = ingest(known_card(known_as("resisc45", counts=counts), scenes), tmp_path / "store")
    tested = dataset.column("path")[dataset.splits == "test"].tolist()
    assert {path[-7:] for path in tested} == {"008.jpg", "009.jpg"}


def test_a_list_with_an_image_that_is_not_there_is_refused(scenes):
    (scenes / "resisc45-train.txt").write_text("airplane_777.jpg\n")
    with pytest.raises(
        SourceError, match=r"resisc45-train.txt names airplane_777.jpg, which is not"
    ):
        known_card(RESISC, scenes)


@pytest.fixture
def birds(originals, known_as):
    """Five train and two test photos of two birds, with the four lists."""
    folders = ["001.Black_footed_Albatross", "002.Laysan_Albatross"]
    shown = [(folder, n) for folder in folders for n in range(7)]
    paths = [f"{folder}/{n}.jpg" for folder, n in shown]
    lists = {
        "classes": folders,
        "images": paths,
        "image_class_labels": [int(folder[:3]) for folder, _ in shown],
        "train_test_split": [int(n < 5) for _, n in shown],
    }
    files = {
        f"CUB_200_2011/{name}.txt": "".join(f"{n} {v}\n" for n, v in enumerate(values, start=1))
        for name, values in lists.items()
    }
    known_as("cub200", counts={"published rule": {"train": 8, "val": 2, "test": 4}})
    return originals(files | {f"CUB_200_2011/images/{path}": None for path in paths})


def test_cub_is_read_from_its_lists(birds, tmp_path):
    dataset = ingest(known_card(PUBLISHED["cub200"], birds), tmp_path / "store")
    assert dataset.classes == ("Black footed Albatross", "Laysan Albatross")
    assert dataset.card["splits"] == {"train": 8, "val": 2, "test": 4}
    assert dataset.card["template"] == "a photo of a {}, a type of bird."
    tested = dataset.column("path")[dataset.splits == "test"].tolist()
    assert {path[-5:] for path in tested} == {"5.jpg", "6.jpg"}


def test_an_image_of_cub_without_a_class_is_named(birds):
    labels = birds / "CUB_200_2011" / "image_class_labels.txt"
    labels.write_text(labels.read_text().replace("3 1\n", "3 9\n"))
    with pytest.raises(SourceError, match=r"image 3 .*has class '9' and split '1'"):
        known_card(PUBLISHED["cub200"], birds)


def test_stanford_dogs_is_read_from_its_matlab_lists(originals, known_as, tmp_path):
    folders = [f"n{n:08}-{name.replace(' ', '_')}" for n, name in enumerate(DOGS.classes)]
    files = {f"Images/{folder}/{n}.jpg": None for folder in folders for n in range(7)}
    for name, numbers in {"train_list": range(5), "test_list": (5, 6)}.items():
        shown = [(f"{folder}/{n}.jpg", k) for k, folder in enumerate(folders, 1) for n in numbers]
        cells = np.array([path for path, _ in shown], dtype=object).reshape(-1, 1)
        content = BytesIO()
        savemat(content, {"file_list": cells, "labels": [[k] for _, k in shown]})
        files[f"{name}.mat"] = content.getvalue()
    counts = {"published rule": {"train": 480, "val": 120, "test": 240}}
    dataset = ingest(
        known_card(known_as("stanford_dogs", counts=counts), originals(files)), tmp_path / "s"
    )
    assert dataset.classes == DOGS.classes
    assert dataset.classes[4] == "Shih-Tzu"
    tested = dataset.column("path")[dataset.splits == "test"].tolist()
    assert {path[-5:] for path in tested} == {"5.jpg", "6.jpg"}


@pytest.mark.parametrize("named", [3, np.array([3], dtype=object)])
def test_lists_of_stanford_dogs_with_other_contents_are_refused(originals, named):
    content = BytesIO()
    savemat(content, {"file_list": named, "labels": [["a"]]})
    files = {"Images/n02085620-Chihuahua/a.jpg": None, "train_list.mat": content.getvalue()}
    with pytest.raises(SourceError, match=r"train_list\.mat is not the official one"):
        known_card(DOGS, originals(files))


PAIRS = {
    "train": [("sliced", "apple"), ("ripe", "tomato")],
    "val": [("sliced", "apple"), ("ripe", "apple")],
    "test": [("ripe", "tomato"), ("sliced", "tomato")],
}


@pytest.fixture
def states(originals, known_as):
    """Three seen or unseen pairs a split, three images of each, in CSP's layout."""
    entries = [
        {"image": f"{a}_{o}/{split}{n}.jpg", "attr": a, "obj": o, "set": split}
        for split, pairs in PAIRS.items()
        for a, o in pairs
        for n in range(3)
    ]
    images = {f"images/{entry['image'].replace('_', ' ')}": None for entry in entries}
    entries.append({"image": "adj_apple/0.jpg", "attr": "NA", "obj": "apple", "set": "NA"})
    lists = {
        f"compositional-split-natural/{split}_pairs.txt": "\n".join(map(" ".join, pairs))
        for split, pairs in PAIRS.items()
    }
    known_as("mit_states", counts={"official": {"train": 6, "val": 6, "test": 6}})
    metadata = {"metadata_compositional-split-natural.json": json.dumps(entries)}
    return originals({**images, **lists, **metadata})


def test_mit_states_has_pairs_as_classes_and_both_labels_beside_them(states, tmp_path):
    card = known_card(PUBLISHED["mit_states"], states)
    dataset = ingest(card, tmp_path / "store")
    assert dataset.classes == ("ripe apple", "ripe tomato", "sliced apple", "sliced tomato")
    assert dataset.card["splits"] == {"train": 6, "val": 6, "test": 6}
    attributes, objects = dataset.column("attribute"), dataset.column("object")
    names = [dataset.classes[label] for label in dataset.labels]
    assert [f"{a} {o}" for a, o in zip(attributes, objects, strict=True)] == names
    seen = {dataset.classes[k] for k in np.unique(dataset.labels[dataset.column("seen")])}
    assert seen == {"ripe tomato", "sliced apple"}
    assert dataset.pairs == tuple(tuple(name.split()) for name in dataset.classes)
    assert "2 seen pairs, 2 unseen." in outline(card).notes
    assert DatasetCard.from_yaml(card.to_yaml()) == card


def test_metadata_in_a_pickle_is_refused_with_the_line_that_makes_json_of_it(states):
    metadata = states / "metadata_compositional-split-natural.json"
    metadata.rename(metadata.with_suffix(".t7"))
    with pytest.raises(SourceError, match=r"natural.t7 is a pickle, .*weights_only=True"):
        known_card(PUBLISHED["mit_states"], states)


def test_the_splits_of_another_dataset_beside_them_are_not_taken(states, tmp_path):
    beside = states / "cgqa" / "compositional-split-natural"
    own = states / "mit-states"
    beside.mkdir(parents=True)
    own.mkdir()
    (states / "compositional-split-natural").rename(own / "compositional-split-natural")
    for split in PAIRS:
        (beside / f"{split}_pairs.txt").write_text("red car")
    assert known_card(PUBLISHED["mit_states"], states).source.total() == 18


@pytest.mark.parametrize(
    "content",
    ['[{"image": "a.jpg"}]', '[{"image": "a.jpg", "attr": ["red"], "obj": {}, "set": "train"}]'],
)
def test_metadata_of_another_form_are_refused(states, content):
    (states / "metadata_compositional-split-natural.json").write_text(content)
    with pytest.raises(SourceError, match=r"is no list of objects with attr, image, obj, set"):
        known_card(PUBLISHED["mit_states"], states)


def test_ut_zappos_is_read_where_the_archive_has_its_images(originals, known_as, tmp_path):
    pairs = {"train": "Faux.Leather Boots.Ankle", "val": "Suede Slippers", "test": "Suede Slippers"}
    entries = [
        {
            "image": f"{pair.replace(' ', '_')}/{split}.jpg",
            "_image": f"Shoes/{pair.split()[1]}/Brand & Co./{split}.jpg",
            "attr": pair.split()[0],
            "obj": pair.split()[1],
            "set": split,
        }
        for split, pair in pairs.items()
    ]
    files = {f"ut-zap50k-images/{entry['_image']}": None for entry in entries}
    for split, pair in pairs.items():
        files[f"compositional-split-natural/{split}_pairs.txt"] = pair
    files["metadata_compositional-split-natural.json"] = json.dumps(entries)
    known = known_as("ut_zappos", counts={"official": {"train": 1, "val": 1, "test": 1}})
    dataset = ingest(known_card(known, originals(files)), tmp_path / "store")
    assert dataset.classes == ("faux leather boots ankle", "suede slippers")
    assert dataset.column("object").tolist() == ["boots ankle", "slippers", "slippers"]


def test_classes_as_their_authors_call_them_are_understood_of_mirrors():
    assert PUBLISHED["svhn"].cleaned("7") == "seven"
    assert DOGS.cleaned("n02105855-Shetland_sheepdog") == "Shetland sheepdog"
    assert DOGS.cleaned("black-and-tan_coonhound") == "black-and-tan coonhound"
