"""Datasets of domains as DomainBed and Dassl lay them."""

import json

import pytest

from data_catalog import SourceError, ingest, known_card, source_for, with_counts
from data_catalog.published import PUBLISHED

PACS = PUBLISHED["pacs"]


def counted(dataset):
    """Rows by domain of an ingested dataset."""
    return {
        name: int((dataset.domain_codes == code).sum())
        for code, name in enumerate(dataset.domain_names)
    }


def pacs_images(above, number):
    """Some images of each class and domain of PACS."""
    return {
        f"{above}{domain}/{name}/pic_{n}.png": None
        for domain in PACS.domains
        for name in PACS.classes
        for n in range(number)
    }


def test_pacs_is_read_from_the_folders_of_domainbed(originals, known_as, tmp_path):
    known = known_as("pacs", domains=dict.fromkeys(PACS.domains, 28))
    dataset = ingest(known_card(known, originals(pacs_images("kfold/", 4))), tmp_path / "store")
    assert dataset.classes == PACS.classes
    assert counted(dataset) == dict.fromkeys(PACS.domains, 28)
    assert dataset.card["splits"] == {"train": 56, "val": 21, "test": 35}


@pytest.fixture
def listed_pacs(originals, known_as):
    """PACS in Dassl's layout: three images of a class in train lists, one in crossval lists."""
    files = pacs_images("images/", 4)
    for domain in PACS.domains:
        for part, numbers in {"train": (0, 1, 2), "crossval": (3,)}.items():
            files[f"splits/{domain}_{part}_kfold.txt"] = "".join(
                f"{domain}/{name}/pic_{n}.png {label}\n"
                for label, name in enumerate(PACS.classes, start=1)
                for n in numbers
            )
    known_as("pacs", domains=dict.fromkeys(PACS.domains, 28))
    return originals(files)


def test_pacs_is_read_from_the_official_lists(listed_pacs, tmp_path):
    dataset = ingest(known_card(PUBLISHED["pacs"], listed_pacs), tmp_path / "store")
    assert (dataset.classes, dataset.card["splits"]["test"]) == (PACS.classes, 28)
    tested = dataset.column("path")[dataset.splits == "test"].tolist()
    assert all(path.endswith("pic_3.png") for path in tested)
    assert counted(dataset) == dict.fromkeys(PACS.domains, 28)


def test_an_image_of_a_list_that_is_not_there_is_counted(listed_pacs):
    (listed_pacs / "images/sketch/dog/pic_0.png").unlink()
    with pytest.raises(SourceError, match=r"not those of PACS: sketch has 27 and not 28"):
        known_card(PUBLISHED["pacs"], listed_pacs)


def test_a_label_of_a_list_that_is_none_is_named_with_its_line(listed_pacs):
    broken = listed_pacs / "splits/photo_train_kfold.txt"
    broken.write_text("photo/dog/pic_0.png 8\n")
    with pytest.raises(SourceError, match=r"line 1 of splits/photo_train_kfold.txt .*1 to 7"):
        known_card(PUBLISHED["pacs"], listed_pacs)


def test_a_sample_of_a_mirror_is_refused_and_taken_under_another_name(listed_pacs, tmp_path):
    mirror = known_card(PUBLISHED["pacs"], listed_pacs, mirror=source_for(listed_pacs / "images"))
    sample = dict.fromkeys(PACS.domains, 7)
    with pytest.raises(
        ValueError, match=r"art_painting has 7 and not 28; .*another name, without --published"
    ):
        with_counts(mirror, PUBLISHED["pacs"], {"train": 28}, sample)
    whole = dict.fromkeys(PACS.domains, 28)
    assert with_counts(mirror, PUBLISHED["pacs"], {"train": 112}, whole) == mirror
    spelled = {"Art Painting": 28, "Cartoon": 28, "Photo": 28, "Sketch": 28}
    card = with_counts(mirror, PUBLISHED["pacs"], {"train": 112}, spelled)
    assert card.domains == ("Art Painting", "Cartoon", "Photo", "Sketch")


def test_vlcs_is_read_from_both_layouts_under_the_same_domains(originals, known_as, tmp_path):
    vlcs = PUBLISHED["vlcs"]
    known = known_as("vlcs", domains=dict.fromkeys(vlcs.domains, 20))
    dassl = {
        f"dassl/{domain.upper()}/{part}/{label}/{n}.jpg": None
        for domain in vlcs.domains
        for part, numbers in {"train": (0, 1), "crossval": (2,), "test": (3,)}.items()
        for label in range(5)
        for n in numbers
    }
    copies = {f"dassl/{domain.upper()}/full/0/0.jpg": None for domain in vlcs.domains}
    domainbed = {
        f"domainbed/{domain}/{name}/{n}.jpg": None
        for domain in ("Caltech101", "LabelMe", "SUN09", "VOC2007")
        for name in vlcs.classes
        for n in range(4)
    }
    place = originals({**dassl, **copies, **domainbed})
    first = ingest(known_card(known, place / "dassl"), tmp_path / "a")
    second = ingest(known_card(known, place / "domainbed"), tmp_path / "b")
    assert first.card["splits"] == {"train": 40, "val": 20, "test": 20}
    assert first.classes == second.classes == vlcs.classes
    assert counted(first) == counted(second) == dict.fromkeys(vlcs.domains, 20)


@pytest.mark.parametrize("layout", ["official", "dassl"])
def test_office_home_is_read_from_both_layouts(originals, known_as, tmp_path, layout):
    home = PUBLISHED["office_home"]
    folders = [name.title().replace(" ", "_") for name in home.classes]
    folders = ["TV" if name == "Tv" else name.replace("Toothb", "ToothB") for name in folders]
    domains = {"official": ("Art", "Clipart", "Product", "Real World"), "dassl": home.domains}
    parts = {"official": [""], "dassl": ["train/", "val/"]}[layout]
    files = {
        f"{domain}/{part}{folder}/{n}.jpg": None
        for domain in domains[layout]
        for part in parts
        for folder in folders
        for n in range(2 // len(parts))
    }
    known = known_as("office_home", domains=dict.fromkeys(home.domains, 130))
    dataset = ingest(known_card(known, originals(files)), tmp_path / "store")
    assert dataset.classes == home.classes
    assert home.classes.index("tv") < home.classes.index("table")  # capitals come first
    assert counted(dataset) == dict.fromkeys(home.domains, 130)


TERRA = PUBLISHED["terra_incognita"]


def test_terra_incognita_is_read_from_the_folders_of_domainbed(originals, known_as, tmp_path):
    files = {
        f"{place}/{n}/{i}.jpg": None
        for place in TERRA.domains
        for n in TERRA.classes
        for i in (1, 2)
    }
    known = known_as("terra_incognita", domains=dict.fromkeys(TERRA.domains, 20))
    dataset = ingest(known_card(known, originals(files)), tmp_path / "store")
    assert (dataset.classes, dataset.card["splits"]["val"]) == (TERRA.classes, 20)


def test_terra_incognita_is_chosen_from_the_annotations_by_domainbeds_rule(originals, known_as):
    names = [*TERRA.classes, "car"]
    places = [domain.removeprefix("location_") for domain in TERRA.domains]
    shown = [(place, name) for place in (*places, "7") for name in names]
    labels = {
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
        "images": [
            {"id": str(n), "file_name": f"{n}.jpg", "location": place}
            for n, (place, _) in enumerate(shown)
        ],
        "annotations": [
            {"image_id": str(n), "category_id": names.index(name)}
            for n, (_, name) in enumerate(shown)
        ],
    }
    labels["annotations"] += [labels["annotations"][0], {"image_id": "0", "category_id": 1}]
    images = {f"eccv_18_all_images_sm/{n}.jpg": None for n in range(len(shown))}
    known = known_as(
        "terra_incognita", domains={**dict.fromkeys(TERRA.domains, 10), "location_38": 11}
    )
    place = originals({"caltech_images_20210113.json": json.dumps(labels), **images})
    rows = list(known_card(known, place).source.listed())
    twice = {row.class_name for row in rows if row.path == "eccv_18_all_images_sm/0.jpg"}
    assert (len(rows), twice) == (41, {"bird", "bobcat"})
    assert {row.domain for row in rows} == set(TERRA.domains)


def test_domainnet_is_read_from_its_lists(originals, known_as, tmp_path):
    net = PUBLISHED["domainnet"]
    files = {}
    for number, domain in enumerate(net.domains):
        for split in ("train", "test"):
            lines = [
                f"{domain}/{name.replace(' ', '_')}/{domain}_{label}_{split}.jpg {label}"
                for label, name in enumerate(net.classes)
                if number == 0 or label < 2  # the first domain shows all classes
            ]
            files[f"splits/{domain}_{split}.txt"] = "\n".join(lines)
            files |= {line.split(" ")[0]: None for line in lines}
    sizes = {**dict.fromkeys(net.domains, 4), "clipart": 690}
    dataset = ingest(
        known_card(known_as("domainnet", domains=sizes), originals(files)), tmp_path / "s"
    )
    assert dataset.classes == net.classes
    assert dataset.classes.index("t-shirt") == 327  # as Dassl's note on this class has it
    assert dataset.card["splits"]["test"] == 355
    assert counted(dataset) == sizes
