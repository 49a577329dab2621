"""The datasets of CoOp's code, on folders that imitate the original layouts."""

import io
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.io import savemat

from data_catalog import (
    IngestionError,
    SourceError,
    ingest,
    known_card,
    outline,
    source_for,
    with_counts,
)
from data_catalog.published import PUBLISHED, LayoutError, Tree, caltech101, eurosat
from data_catalog.published import dtd as dtd_module
from data_catalog.published import imagenet as imagenet_module
from data_catalog.published.form import Row
from data_catalog.published.names import wordnet_names
from data_catalog.published.splitting import (
    PublishedSplit,
    fifth_for_val,
    half_for_train,
    halved_folders,
)
from data_catalog.published.templates import SEVEN

SPLITS = ("train", "val", "test")


def unsplit(path, label, name):
    return Row(path, label, name, None)


def png(number):
    """A picture that no other number has."""
    pixels = np.full((4, 4, 3), number % 256, np.uint8)
    pixels[0, 0] = [number // 256 % 256, number // 65536, 7]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", compress_level=0)
    return file.getvalue()


def mat(**variables):
    file = io.BytesIO()
    savemat(file, variables)
    return file.getvalue()


def folders(place, names, count=5):
    """The layout of class folders; a file of notes lies among them."""
    images = [f"{place}/{name}/{number}.jpg" for name in names for number in range(count)]
    return [*images, f"{place}/{names[0]}/.hidden"], {"README.txt": b"about"}


def dtd():
    return folders("images", PUBLISHED["dtd"].classes)


def food101():
    images, files = folders("food-101/images", PUBLISHED["food101"].classes)
    return images, {**files, "food-101/meta/classes.txt": b"apple_pie\n"}


def land_use():
    return folders("2750", list(eurosat.CLASSES))


def caltech():
    return folders(
        "caltech-101/101_ObjectCategories", [*caltech101.CLASSES, *caltech101.PASSED_OVER]
    )


def flowers102():
    labels = [number % 102 + 1 for number in range(510)]
    images = [f"jpg/image_{number:05d}.jpg" for number in range(1, 511)]
    names = dict(enumerate(PUBLISHED["flowers102"].classes, start=1))
    return images, {
        "imagelabels.mat": mat(labels=np.array([labels], np.uint8)),
        "cat_to_name.json": json.dumps(names).encode(),
    }


def oxford_pets():
    breeds = [name.title() for name in PUBLISHED["oxford_pets"].classes]
    lists = {
        f"annotations/{part}.txt": "".join(
            f"{breed}_{number} {label} 1 1\n"
            for label, breed in enumerate(breeds, start=1)
            for number in numbers
        ).encode()
        for part, numbers in (("trainval", range(4)), ("test", (4,)))
    }
    return [f"images/{breed}_{number}.jpg" for breed in breeds for number in range(5)], lists


def stanford_cars():
    named = [f"{name[5:]} {name[:4]}" for name in PUBLISHED["stanford_cars"].classes]

    def annotated(count):
        rows = np.zeros((1, 196 * count), dtype=[("class", object), ("fname", object)])
        for row in range(196 * count):
            rows[0, row] = (np.array([[row % 196 + 1]], np.uint8), f"{row + 1:05d}.jpg")
        return mat(annotations=rows)

    images = [f"cars_train/cars_train/{row:05d}.jpg" for row in range(1, 196 * 4 + 1)]
    images += [f"cars_test/{row:05d}.jpg" for row in range(1, 197)]
    return images, {
        "devkit/cars_meta.mat": mat(class_names=np.array(named, dtype=object)),
        "devkit/cars_train_annos.mat": annotated(4),
        "cars_test_annos_withlabels.mat": annotated(1),
    }


def fgvc_aircraft():
    variants = PUBLISHED["fgvc_aircraft"].classes
    lists = {
        f"data/images_variant_{split}.txt": "".join(
            f"{number}{label:03d} {name}\n" for label, name in enumerate(variants)
        ).encode()
        for number, split in enumerate(SPLITS)
    }
    images = [f"data/images/{number}{label:03d}.jpg" for number in range(3) for label in range(100)]
    return images, {**lists, "data/variants.txt": "\n".join(variants).encode()}


def sun397():
    names = [" ".join(reversed(name.split(" "))) for name in PUBLISHED["sun397"].classes]
    places = [f"/{name[0]}/{name.replace(' ', '/')}" for name in names]
    lists = {
        f"{part}_01.txt": "".join(
            f"{place}/sun_{number}.jpg\n" for place in places for number in numbers
        ).encode()
        for part, numbers in (("Training", range(3)), ("Testing", (3,)))
    }
    images = [f"SUN397{place}/sun_{number}.jpg" for place in places for number in range(4)]
    return images, {**lists, "ClassName.txt": "\n".join(places).encode()}


def ucf101():
    names = PUBLISHED["ucf101"].classes
    actions = [name.replace("_", "") for name in names]
    lists = {
        f"ucfTrainTestlist/{part}01.txt": "".join(
            f"{action}/v_{action}_g{number}.avi {label}\r\n"
            for label, action in enumerate(actions, start=1)
            for number in numbers
        ).encode()
        for part, numbers in (("trainlist", range(4)), ("testlist", (4,)))
    }
    known = "".join(f"{label} {action}\r\n" for label, action in enumerate(actions, start=1))
    images = [
        f"UCF-101-midframes/{name}/v_{action}_g{number}.jpg"
        for name, action in zip(names, actions, strict=True)
        for number in range(5)
    ]
    return images, {**lists, "ucfTrainTestlist/classInd.txt": known.encode()}


def imagenet():
    wordnets = list(wordnet_names())
    images = [f"images/train/{wordnet}/{wordnet}_0.JPEG" for wordnet in wordnets]
    held_out = [
        f"images/val/{wordnet}/ILSVRC2012_val_{number}.JPEG"
        for number, wordnet in enumerate(reversed(wordnets))
    ]
    named = zip(wordnets, PUBLISHED["imagenet"].classes, strict=True)
    names = "".join(f"{wordnet} {name}\n" for wordnet, name in named)
    return [*images, *held_out], {"classnames.txt": names.encode()}


# Rows a class of train, val and test that the layout gives.
LAYOUTS = {
    "caltech101": (caltech, (2, 1, 2)),
    "dtd": (dtd, (2, 1, 2)),
    "eurosat": (land_use, (2, 1, 2)),
    "fgvc_aircraft": (fgvc_aircraft, (1, 1, 1)),
    "flowers102": (flowers102, (2, 1, 2)),
    "food101": (food101, (2, 1, 2)),
    "imagenet": (imagenet, (1, 1, 1)),
    "oxford_pets": (oxford_pets, (3, 1, 1)),
    "stanford_cars": (stanford_cars, (3, 1, 1)),
    "sun397": (sun397, (2, 1, 1)),
    "ucf101": (ucf101, (3, 1, 1)),
}


@pytest.fixture
def laid_out(tmp_path):
    """Writes a layout and returns its folder."""

    def write(name):
        images, files = LAYOUTS[name][0]()
        root = tmp_path / "data"
        contents = {**{path: png(n) for n, path in enumerate(images)}, **files}
        for folder in {str((root / path).parent) for path in contents}:
            (root / folder).mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            (root / path).write_bytes(content)
        return root

    return write


@pytest.fixture
def small(monkeypatch):
    """A dataset as it is known, but for the counts of its splits."""

    def known(name):
        dataset = PUBLISHED[name]
        classes = len(dataset.classes)
        counts = dict(zip(SPLITS, (classes * each for each in LAYOUTS[name][1]), strict=True))
        ways = dict.fromkeys(("split file", "published rule", "official"), counts)
        monkeypatch.setitem(PUBLISHED, name, replace(dataset, counts=ways))
        return PUBLISHED[name], counts

    return known


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_original_layout_gives_the_classes_and_splits_of_its_card(
    laid_out, small, name, tmp_path
):
    root, (dataset, counts) = laid_out(name), small(name)
    built = ingest(known_card(dataset, root), tmp_path / "store")
    assert built.card["splits"] == counts
    assert built.val_is_test == (name == "imagenet")
    assert built.classes == dataset.classes
    for split in SPLITS:  # every class has its share in each
        assert len(set(built.card["class_counts"][split])) == 1


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_true_card_refuses_a_small_copy_by_its_counts(laid_out, name, tmp_path):
    dataset = PUBLISHED[name]
    card = known_card(dataset, laid_out(name))
    test = next(iter(dataset.counts.values()))["test"]  # the same in the published ways
    with pytest.raises(IngestionError, match=f"the card says .*test {test}"):
        ingest(card, tmp_path / "store")


def test_class_folders_have_the_names_of_the_field():
    assert PUBLISHED["eurosat"].cleaned("SeaLake") == "Sea or Lake"
    assert PUBLISHED["caltech101"].cleaned("Faces") == "face"
    assert PUBLISHED["stanford_cars"].cleaned("Audi TTS Coupe 2012") == "2012 Audi TTS Coupe"
    assert PUBLISHED["sun397"].cleaned("/a/apse/indoor") == "indoor apse"
    assert PUBLISHED["ucf101"].cleaned("ApplyEyeMakeup") == "Apply_Eye_Makeup"
    assert PUBLISHED["oxford_pets"].cleaned("Abyssinian") == "abyssinian"


@pytest.mark.parametrize(
    ("name", "classes", "first", "last"),
    [
        ("caltech101", 100, "face", "yin_yang"),
        ("dtd", 47, "banded", "zigzagged"),
        ("eurosat", 10, "Annual Crop Land", "Sea or Lake"),
        ("fgvc_aircraft", 100, "707-320", "Yak-42"),
        ("flowers102", 102, "pink primrose", "blackberry lily"),
        ("food101", 101, "apple_pie", "waffles"),
        ("imagenet", 1000, "tench", "toilet paper"),
        ("oxford_pets", 37, "abyssinian", "yorkshire_terrier"),
        ("stanford_cars", 196, "2000 AM General Hummer SUV", "2012 smart fortwo Convertible"),
        ("sun397", 397, "abbey", "youth_hostel"),
        ("ucf101", 101, "Apply_Eye_Makeup", "Yo_Yo"),
    ],
)
def test_classes_are_those_of_the_published_split(name, classes, first, last):
    known = PUBLISHED[name].classes
    assert (len(known), known[0], known[-1]) == (classes, first, last)


def test_imagenet_has_its_val_twice_and_reads_the_list_of_a_flat_val(laid_out, tmp_path):
    card = known_card(PUBLISHED["imagenet"], laid_out("imagenet"))
    rows = list(card.source.listed())
    val = [row.path for row in rows if row.split == "val"]
    assert val == [row.path for row in rows if row.split == "test"]
    assert val[:2] == [
        "images/val/n01440764/ILSVRC2012_val_999.JPEG",
        "images/val/n01443537/ILSVRC2012_val_998.JPEG",
    ]
    assert card.duplicate_class_names

    names = ["train/n01440764/a.JPEG", "train/n01443537/b.JPEG", "val/c.JPEG", "val/d.JPEG"]
    files = {"classnames.txt": b"n01440764 tench\nn01443537 goldfish\n"}
    with pytest.raises(LayoutError, match=r"val/ has no class folders, and no LOC_val_sol"):
        imagenet_module.read(Tree("here", [*names, *files], files.__getitem__))
    files["LOC_val_solution.csv"] = b"ImageId,PredictionString\nd,n01440764 1 2 3 4 \nc,n01443537 1"
    read = imagenet_module.read(Tree("here", [*names, *files], files.__getitem__))
    assert [(row.path, row.class_name) for row in read.rows if row.split == "test"] == [
        ("val/d.JPEG", "tench"),
        ("val/c.JPEG", "goldfish"),
    ]


@pytest.mark.parametrize(
    ("name", "template_set", "prompts"),
    [
        ("dtd", "coop", ("{} texture.",)),
        ("dtd", "kgcoop", ("a photo of a {}, a type of texture.",)),
        ("fgvc_aircraft", "tcp", ("a photo of an aircraft {}.",)),
        ("food101", "tcp", ("a photo of a {}, a type of food.",)),
        ("ucf101", "clip-lora", ("a photo of a {}.",)),
        ("imagenet", "tip-adapter", SEVEN),
        ("imagenet", "coop-ensemble", SEVEN),
        ("eurosat", "coop-ensemble", (*SEVEN, "a centered satellite photo of {}.")),
    ],
)
def test_template_sets_are_those_of_the_forks(name, template_set, prompts):
    found = PUBLISHED[name].template_set(template_set)
    assert (found.templates or (found.template,)) == prompts


def mirror_of(names, folder, labels=None):
    """Two train rows and a test row of each class, as the Parquet of a hub has them."""
    folder.mkdir(exist_ok=True)
    labels = labels or list(range(len(names)))
    for split, count in (("train", 2), ("test", 1)):
        table = pa.table(
            {
                "image": [png(count * 1000 + n) for n in range(count * len(names))],
                "label": labels * count,
                "class_name": names * count,
            }
        )
        pq.write_table(table, folder / f"{split}-00000-of-00001.parquet")
    return source_for(folder)


def test_a_mirror_has_the_facts_and_has_to_have_the_counts(monkeypatch, tmp_path):
    folders = list(eurosat.CLASSES)  # as the authors call the classes
    mirror = mirror_of(folders, tmp_path / "copy")
    counts = {"official": {"train": 20, "test": 10}}
    small = replace(PUBLISHED["eurosat"], counts=counts)
    card = known_card(small, tmp_path / "copy", mirror=mirror)
    promised = with_counts(card, small, outline(card).splits)
    assert promised.split_sizes == {"train": 20, "val": 0, "test": 10}
    built = ingest(promised, tmp_path / "store")
    assert built.classes == small.classes
    with pytest.raises(ValueError, match=r"rows here are train 20, test 10, and known are split f"):
        with_counts(card, PUBLISHED["eurosat"], outline(card).splits)


def test_a_mirror_whose_labels_are_in_another_order_is_refused(tmp_path):
    folders = list(eurosat.CLASSES)
    mirror = mirror_of(folders, tmp_path / "copy", labels=[1, 0, *range(2, 10)])
    with pytest.raises(ValueError, match="label 0 is 'Forest', and known as 'Annual Crop Land'"):
        known_card(PUBLISHED["eurosat"], tmp_path / "copy", mirror=mirror)


def test_a_class_folder_that_is_no_class_is_refused(laid_out, small):
    root, (dataset, _) = laid_out("eurosat"), small("eurosat")
    (root / "2750" / "River").rename(root / "2750" / "Rivers")
    with pytest.raises(SourceError, match=r"2750/Rivers .* is none of the 10 classes"):
        known_card(dataset, root)


def test_the_annotations_of_kaggles_copy_are_not_taken_for_its_images():
    wordnets = list(wordnet_names())
    data, notes = "ILSVRC/Data/CLS-LOC", "ILSVRC/Annotations/CLS-LOC"
    files = [f"{data}/train/{wordnet}/0.JPEG" for wordnet in wordnets]
    files += [f"{notes}/train/{wordnet}/0.xml" for wordnet in wordnets]
    files += [f"{data}/val/a.JPEG", f"{notes}/val/a.xml"]
    listed = {"LOC_val_solution.csv": f"ImageId,PredictionString\na,{wordnets[3]} 1 2 3 4 \n"}
    tree = Tree("here", sorted([*files, *listed]), lambda name: listed[name].encode())
    rows = imagenet_module.read(tree).rows
    assert len(rows) == 1002  # the image of val is of test as well
    assert {row.path.startswith(f"{data}/") for row in rows} == {True}


def test_a_folder_of_several_datasets_is_not_guessed_in(laid_out):
    root = laid_out("food101")
    (root / "dtd/images/banded").mkdir(parents=True)
    (root / "dtd/images/banded/0.jpg").write_bytes(png(0))
    said = "2 folders in .* are called images: dtd/images/, food-101/images/; give the folder of"
    with pytest.raises(SourceError, match=said):
        known_card(PUBLISHED["food101"], root)


@pytest.mark.parametrize(
    ("name", "file", "content", "said"),
    [
        ("oxford_pets", "annotations/test.txt", "Abyssinian_4 1 1 1\n".encode("utf-16"), "UTF-8"),
        ("fgvc_aircraft", "data/variants.txt", b"caf\xe9\n", "variants.txt is no text in UTF-8"),
        ("ucf101", "ucfTrainTestlist/classInd.txt", b"ApplyEyeMakeup 1\n", "no number with an"),
        ("imagenet", "classnames.txt", b"\n", "classnames.txt is empty"),
        ("stanford_cars", "devkit/cars_train_annos.mat", mat(annotations=3), "the devkit"),
    ],
)
def test_a_list_that_cannot_be_read_is_named(laid_out, name, file, content, said):
    root = laid_out(name)
    (root / file).write_bytes(content)
    with pytest.raises(SourceError, match=said):
        known_card(PUBLISHED[name], root)


def written(rows):
    """A split file, and the digest that its content has as an object of git."""
    lists = {split: [row[:3] for row in rows if row[3] == split] for split in SPLITS}
    return json.dumps(lists).encode()


def test_a_split_file_is_known_by_its_digest(laid_out, monkeypatch):
    root = laid_out("dtd")
    card = known_card(PUBLISHED["dtd"], root)
    content = written([(r.path[7:], r.label, r.class_name, r.split) for r in card.source.listed()])
    (root / "split_zhou_DescribableTextures.json").write_bytes(content)
    assert known_card(PUBLISHED["dtd"], root).split_sizes is None  # of another file

    digest, _ = PublishedSplit("", "", md5="0" * 32)._digests(content)
    told = replace(dtd_module.FILE, md5=digest.removeprefix("md5 "))
    reader = halved_folders(told, ["images"], {name: name for name in dtd_module.CLASSES})
    monkeypatch.setitem(PUBLISHED, "dtd", replace(PUBLISHED["dtd"], reader=reader))
    card = known_card(PUBLISHED["dtd"], root)
    assert card.split_sizes == {"train": 2820, "val": 1128, "test": 1692}
    blob, _ = PublishedSplit("", "", git_blob="0" * 40)._digests(b"what is up, doc?")
    assert blob == "git blob bd9dbf5aae1a3862dd1526723246b20206e5fc37"  # Pro Git, 10.2


def test_the_rule_draws_what_the_published_files_have():
    # Passion flowers are images 1 to 251 of Flowers102, and are drawn first.
    rows = [unsplit(f"image_{number:05d}.jpg", 76, "passion flower") for number in range(1, 252)]
    first = {}
    for row in half_for_train(rows):
        first.setdefault(row.split, row.path)
    assert first == {
        "train": "image_00190.jpg",
        "val": "image_00055.jpg",
        "test": "image_00172.jpg",
    }
    # Abyssinians of the official trainval list, in its order.
    numbers = [*range(100, 110), 10, *range(110, 120), 11]
    assert len(fifth_for_val([unsplit(str(n), 0, "abyssinian") for n in numbers], [])) == 22
