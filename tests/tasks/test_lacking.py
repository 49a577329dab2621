"""What a method lacks of the data is said as it is planned, in the words of the fit."""

import pytest

from tasks.planning.choices import check
from tasks.planning.plan import make_plan
from tasks.planning.resolve import RequestError
from tasks.planning.suite import make_suite


@pytest.fixture
def data(dataset_of):
    made = {name: dataset_of(name) for name in ("pets", "toys")}
    made["few"] = dataset_of("few", classes=("cat", "dog", "boat"))
    made["drawn"] = dataset_of("drawn", domains=("ink", "oil"))
    return made


@pytest.fixture
def plan(store, tiny, data):
    def make(method, given, dataset="pets", **changes):
        values = {
            "name": "mini",
            "datasets": [dataset],
            "backbones": [tiny],
            "methods": [{method: given}],
            "shots": [1],
            "seeds": [1],
            "views": "none",
            **changes,
        }
        request = check(store, make_suite(values, where="mini"))
        return make_plan(store, request, {name: data[name] for name in request.cards})

    return make


def test_a_start_on_too_few_captions_is_refused_before_anything_is_encoded(plan):
    with pytest.raises(RequestError, match="4 captions or more, and the images have 3: name a"):
        plan("gram", {"source_datasets": "few"})
    with pytest.raises(RequestError, match=r"gram on few: .* and the images have 3"):
        plan("gram", {"stage": "meta", "source_datasets": ""}, "few")
    made = plan("gram", {"source_datasets": "toys"})
    assert [(spec.dataset, spec.source is None) for spec in made.specs] == [
        ("toys", True),
        ("pets", False),
    ]


def test_an_image_alone_in_its_batch_is_refused_of_who_has_a_batch_norm(plan):
    images = 4 * 3  # of train, without their labels
    asked = {"batch_size": images - 1, "drop_last": False}
    with pytest.raises(RequestError, match="12 unlabelled images in batches of 11 leave one alone"):
        plan("promptkd", asked)
    assert plan("promptkd", {**asked, "batch_size": images}).specs
    assert plan("promptkd", {**asked, "drop_last": True}).specs
    with pytest.raises(RequestError, match="4 images in batches of 3 leave one alone"):
        plan("spg", {"batch_size": 3, "drop_last": False}, "drawn")
    assert plan("spg", {"batch_size": 3, "drop_last": False}, "drawn", shots=[2]).specs


def test_who_lacks_something_is_left_out_with_the_reason_and_all_others_run(plan):
    asked = [{"spg": {"batch_size": 3, "drop_last": False}}, "zero-shot"]
    made = plan("spg", {}, "drawn", methods=asked)
    assert [spec.method for spec in made.specs] == ["zero-shot"]
    assert any(
        reason.startswith("spg on drawn: 4 images in batches of 3") for reason in made.skipped
    )


def test_more_groups_of_templates_than_there_are_cannot_be_active(plan):
    with pytest.raises(RequestError, match=r"active=64, but the templates are of \d+ groups: ask"):
        plan("mocoop", {"active": 64})
    assert plan("mocoop", {"active": 2}).specs
