"""What every kind of data promises."""

from io import BytesIO

import pytest
from PIL import Image

from data_catalog import KINDS, DatasetCard, Example
from data_catalog.kinds import Texts

CONTENTS = {"image": None, "text": "été".encode()}  # None for a picture


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def content(kind, png):
    return CONTENTS[kind.noun] or png(1)


def test_a_kind_is_found_under_what_people_call_one_of_it(kind):
    assert KINDS[kind.noun] is kind


def test_what_is_stored_is_read_back_as_it_was(kind, content):
    assert kind.content(kind.stored(content)) == content


def test_a_checked_example_has_all_measures_and_no_error(kind, content):
    (checked,) = kind.check([Example(content, "a")])
    assert (checked.error, len(checked.measures)) == ("", len(kind.measures))


def test_what_is_empty_or_failed_is_yielded_with_its_reason_and_in_order(kind, content):
    rows = [Example(b"", "a"), Example(content, "b"), Example(b"", "c", error="missing: no file")]
    checked = list(kind.check(rows))
    assert [each.example.path for each in checked] == ["a", "b", "c"]
    assert [each.error.partition(":")[0] for each in checked] == ["empty", "", "missing"]


def test_the_usual_template_of_a_kind_is_one_that_it_takes(kind):
    card = DatasetCard(name="a", source=_Nothing(), kind=kind.noun)
    assert card.template == kind.template


def test_a_template_of_another_kind_is_refused(kind):
    others = [other.template for other in KINDS.values() if other is not kind]
    for template in others:
        with pytest.raises(ValueError, match="does not hold"):
            kind.check_template("a", template)


def test_a_template_may_put_the_answer_first():
    Texts().check_template("a", "{answer}: {text}")


class _Nothing:
    """A source without examples."""

    def examples(self):
        return iter(())

    def total(self):
        return 0

    def signature(self):
        return "nothing"

    def describe(self):
        return "nothing"


def test_an_image_is_previewed_small_and_in_its_own_shape():
    drawn = BytesIO()
    Image.new("RGB", (400, 200), (200, 30, 30)).save(drawn, "PNG")
    shown = KINDS["image"].preview(drawn.getvalue())
    with Image.open(BytesIO(shown.picture)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (96, 48))
        red, green, blue = picture.getpixel((48, 24))
    assert abs(red - 200) < 8 and abs(green - 30) < 8 and abs(blue - 30) < 8
    assert shown.text == ""


def test_an_image_that_cannot_be_decoded_has_no_preview():
    with pytest.raises(ValueError, match="decoded"):
        KINDS["image"].preview(b"\x89PNG\r\n\x1a\n and no more")


def test_a_text_is_previewed_on_one_line_that_ends():
    assert KINDS["text"].preview("good\n  film").text == "good film"
    long = KINDS["text"].preview("word " * 100).text
    assert len(long) == 200 and long.endswith("…")
    assert KINDS["text"].preview("a" * 200).text == "a" * 200
