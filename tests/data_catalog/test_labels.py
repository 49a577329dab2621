"""How labels and names of a source meet those of a card."""

import pytest

from data_catalog import DatasetCard, Example, ImageFolder, Manifest, ParquetImages, outline
from data_catalog.labels import resolve_labels
from data_catalog.marks import marks_of


def resolve(labels, names, **fields):
    card = DatasetCard(name="pets", source=ImageFolder("/nowhere"), **fields)
    size = len(labels or names)
    rows = [
        Example(b"", f"{row}.png", label, name)
        for row, (label, name) in enumerate(
            zip(labels or [None] * size, names or [None] * size, strict=True)
        )
    ]
    found = resolve_labels(card, marks_of(rows))
    return found._replace(labels=found.labels.tolist())


def test_names_alone_are_sorted():
    assert resolve(None, ["dog", "cat", "dog"])[:2] == ([1, 0, 1], ("cat", "dog"))


def test_names_that_are_numbers_are_sorted_by_value():
    assert resolve(None, ["10", "2", "1"]).classes == ("1", "2", "10")


def test_names_are_matched_to_the_card_whatever_their_underscores():
    found = resolve(None, ["Baseball_Glove", "cat"], classes=("cat", "baseball glove"))
    assert found[:2] == ([1, 0], ("cat", "baseball glove"))


def test_wordnet_folders_take_the_names_of_the_card_in_sorted_order():
    found = resolve(None, ["n01443537", "n01440764"], classes=("tench", "goldfish"))
    assert found.labels == [1, 0]


def test_words_that_are_not_those_of_the_card_are_never_matched_by_position():
    with pytest.raises(ValueError, match=r"has no class 'cat' \(2 of 2 names are unknown\)"):
        resolve(None, ["cat", "dog"], classes=("tabby", "poodle"))


def test_labels_with_names_are_taken_as_they_are():
    assert resolve([1, 0], ["b", "a"])[:2] == ([1, 0], ("a", "b"))


def test_labels_from_one_are_renumbered_and_the_card_says_so():
    found = resolve([1, 3, 1], ["a", "c", "a"])
    assert found[:2] == ([0, 1, 0], ("a", "c"))
    assert "1, 3 of the source renumbered" in found.rule


def test_the_card_may_write_a_class_as_a_person_would():
    assert resolve([0, 1], ["cls_a", "cls_b"], classes=("cat", "dog")).classes == ("cat", "dog")


def test_a_card_in_another_order_than_the_source_is_refused():
    with pytest.raises(ValueError, match="calls label 0 'dog', which the card has at 1"):
        resolve([0, 1], ["dog", "cat"], classes=("cat", "dog"))


def test_a_label_with_two_names_is_refused():
    with pytest.raises(ValueError, match="label 0 has two class names, 'cat' and 'kitten'"):
        resolve([0, 0, 1], ["cat", "kitten", "dog"])


def test_two_labels_of_one_name_need_a_declaration():
    with pytest.raises(ValueError, match="declare duplicate_class_names"):
        resolve([0, 1], ["crane", "crane"])
    assert resolve([0, 1], ["crane", "crane"], duplicate_class_names=True).labels == [0, 1]


def test_labels_without_any_name_are_refused():
    with pytest.raises(ValueError, match="labels 0, 1 have no class name"):
        resolve([0, 1], None)


def test_a_label_beyond_the_card_is_refused():
    with pytest.raises(ValueError, match="label 2 is found, while the card names 2 classes"):
        resolve([0, 2], None, classes=("cat", "dog"))


@pytest.mark.parametrize(
    ("labels", "names"), [([0, -1], ["a", "b"]), ([0, None], ["a", None]), (None, ["a", " "])]
)
def test_a_row_without_label_is_refused_by_path(labels, names):
    with pytest.raises(ValueError, match=r"1 of 2 rows have no label: 1\.png"):
        resolve(labels, names)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Dog", "dog"),
        ("sea_lion", "sea lion"),
        ("dog", "dog "),
        ("sea lion", "sea  lion"),
        ("sea lion", "sea\u00a0lion"),
        ("caf\u00e9", "cafe\u0301"),
        ("A\u030angstrom", "\u00c5NGSTROM"),
        ("soft\u00adshell", "softshell"),
        ("cats &amp; dogs", "Cats & Dogs"),
    ],
)
def test_names_that_make_one_prompt_are_refused_with_both_spellings(one, other):
    with pytest.raises(ValueError, match="make the same prompt") as said:
        resolve(None, [one, other, "owl"])
    quoted = str(said.value)
    assert repr(one) in quoted or ascii(one) in quoted, quoted
    assert repr(other) in quoted or ascii(other) in quoted, quoted
    assert "--classes" in quoted
    assert "--same-names" in quoted
    with pytest.raises(ValueError, match="make the same prompt"):
        resolve([0, 1], None, classes=(one, other))
    with pytest.raises(ValueError, match="make the same prompt"):
        resolve([0, 1], [one, other])


def test_spellings_that_look_alike_are_shown_with_escapes():
    with pytest.raises(
        ValueError, match=r"'caf\\xe9' and 'cafe\\u0301'|'cafe\\u0301' and 'caf\\xe9'"
    ):
        resolve(None, ["caf\u00e9", "cafe\u0301"])


def test_names_of_one_prompt_are_classes_where_that_is_declared():
    found = resolve(None, ["Dog", "dog"], duplicate_class_names=True)
    assert found.classes == ("Dog", "dog")


def test_spellings_of_one_class_of_the_card_are_joined_and_said():
    found = resolve(None, ["Dog", "dog", "owl"], classes=("owl", "dog"))
    assert found.labels == [1, 1, 0]
    assert found.rule == "names of the card; 'Dog' and 'dog' are one class each"


def test_near_names_are_not_one_prompt():
    assert len(resolve(None, ["dog", "dogs", "do g", "dog-"]).classes) == 4


@pytest.mark.parametrize("name", ["dog\nimg/1.png,dog", "dog\r", "dog\0"])
def test_a_name_of_several_lines_is_refused(name):
    with pytest.raises(ValueError, match="holds a line break"):
        resolve(None, [name, "cat"])


@pytest.fixture
def kinds(tree, table, png):
    """The same three classes in every kind of source."""
    names = ("cat", "dog", "owl")
    root = tree(*(f"{name}/{n}.png" for name in names for n in range(2)), root="raw")
    lines = [f"raw/{name}/{n}.png,{label}" for label, name in enumerate(names) for n in range(2)]
    (root.parent / "list.csv").write_text("\n".join(["path,label", *lines]))
    rows = {"image": [png(n) for n in range(6)], "label": [0, 0, 1, 1, 2, 2]}
    return {
        "folder": ImageFolder(str(root)),
        "csv": Manifest(str(root.parent / "list.csv")),
        "parquet": ParquetImages(str(table(rows))),
    }


@pytest.mark.parametrize("kind", ["folder", "csv", "parquet"])
@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("cat", "dog", "owl"), None),
        (("cat", "dog", "owl", "tench", "Tinca tinca"), "5 classes are named, .* shows 3 of them"),
        (("cat", "dog"), "the card (names 2 classes|of pets has no class 'owl')"),
    ],
)
def test_names_are_counted_before_any_image_is_read(kinds, kind, classes, said, monkeypatch):
    from data_catalog.sources import base

    monkeypatch.setattr(base, "read_images", None)
    card = DatasetCard(name="pets", source=kinds[kind], classes=classes)
    if said is None:
        outline(card)
    else:
        with pytest.raises(ValueError, match=said):
            outline(card)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_labels_without_names_are_refused_before_any_image_is_read(kinds, kind):
    with pytest.raises(ValueError, match="labels 0, 1, 2 have no class name"):
        outline(DatasetCard(name="pets", source=kinds[kind]))
