"""Names that users give to classes, alone or by the codes of the data."""

import pytest

from data_catalog import source_for
from data_catalog.labels import code_notes, names_by_code


@pytest.fixture
def of_codes(tree):
    """A folder whose classes are WordNet ids."""
    ids = ("n01440764", "n01443537")
    return source_for(tree(*(f"{each}/{n}.png" for each in ids for n in range(3))))


@pytest.mark.parametrize(
    "names",
    [
        ("n01443537=goldfish", "n01440764=tench, Tinca tinca"),
        ("n01440764 tench, Tinca tinca", "n01443537\tgoldfish"),
        ("n01440764: tench, Tinca tinca", "n01443537: goldfish"),
        ("tench, Tinca tinca", "goldfish"),
    ],
)
def test_names_may_say_which_code_they_are_for(of_codes, names):
    assert names_by_code("t", names, of_codes) == ("tench, Tinca tinca", "goldfish")


def test_codes_that_are_not_those_of_the_data_are_refused(of_codes):
    said = "names are given for 2 classes, and the data has 2; only in one of the two are n0144353"
    with pytest.raises(ValueError, match=said):
        names_by_code("t", ("n01440764=tench", "n01443530=shark"), of_codes)


def test_words_are_the_names_that_they_are(pets):
    source = source_for(pets)
    with pytest.raises(ValueError, match=r"calls its classes by words \(cat, dog\), which are"):
        names_by_code("t", ("cat=Katze", "dog=Hund"), source)
    for names in (("cat", "dog"), ("a=b", "c=d"), ("big cat", "big dog")):
        assert names_by_code("t", names, source) == names


@pytest.mark.parametrize("form", ["{}|{}", "{};{}", "['{}', '{}']"])
def test_several_labels_in_one_are_doubted(form):
    (said,) = code_notes([form.format(first, second) for first in "abc" for second in "xyz"])
    assert "seem to be several labels each" in said


def test_synonyms_are_no_several_labels():
    assert code_notes(("great white shark, white shark", "tench, Tinca tinca")) == []
