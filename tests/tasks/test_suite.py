"""A suite as a user writes it, and what the command line changes of it."""

import pytest

from flows.shipped import shipped
from flows.suites import FOLDER, load_suite
from operators.episodes.protocols import PROTOCOLS
from operators.methods import methods_of
from tasks.planning.choices import check
from tasks.planning.placed import unfit
from tasks.planning.resolve import RequestError
from tasks.planning.suite import make_suite, override, read_suite

BASE = {"name": "mini", "datasets": ["digits"], "methods": ["zero-shot", "coop"]}


def suite(**changes):
    return make_suite({**BASE, **changes}, where="mini.yaml")


def refused(**changes):
    with pytest.raises(RequestError) as caught:
        suite(**changes)
    return str(caught.value)


@pytest.fixture
def file(tmp_path):
    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_a_suite_takes_the_name_of_its_file_unless_it_says_otherwise(file):
    text = "datasets: [digits]\nmethods: [coop]\n"
    assert read_suite(file(text)).name == "mine"
    assert read_suite(file(f"{text}name: other\n")).name == "other"


@pytest.mark.parametrize(
    ("entry", "hyperparameters"),
    [
        ("coop", {}),
        ({"coop": {"epochs": 3}}, {"epochs": 3}),
        ({"coop": None}, {}),
        ({"id": "coop"}, {}),
        ({"id": "coop", "hyperparameters": {"epochs": 3}}, {"epochs": 3}),
    ],
)
def test_a_method_is_a_name_or_a_name_with_hyperparameters(entry, hyperparameters):
    (choice,) = suite(methods=[entry]).methods
    assert (choice.id, choice.hyperparameters) == ("coop", hyperparameters)


def test_the_published_shots_and_seeds_are_the_defaults():
    assert suite().shots == (1, 2, 4, 8, 16)
    assert suite().seeds == (1, 2, 3)
    assert suite().protocols == ("few_shot",)


def test_an_unknown_key_is_refused_by_name_with_the_nearest():
    text = refused(shot=[1])
    assert text == "mini.yaml: no key of a suite is called 'shot'. Did you mean shots?"


def test_an_unknown_key_of_a_method_entry_is_refused_by_name():
    text = refused(methods=[{"id": "coop", "hyperparameter": {"epochs": 3}}])
    assert "no key of a method entry is called 'hyperparameter'" in text
    assert "Did you mean hyperparameters?" in text


def test_a_missing_key_is_named():
    with pytest.raises(RequestError, match="the key 'datasets' is missing"):
        make_suite({"name": "mini", "methods": ["coop"]}, where="mini.yaml")


def test_all_faults_are_said_at_once():
    text = refused(shot=[1], seeds=[-1])
    assert "'shot'" in text
    assert "seed=-1" in text


def test_a_whole_number_may_be_written_as_a_float():
    assert suite(shots=[1e0, 4], seeds=[2.0]).model_dump()["shots"] == (1, 4)
    assert suite(test_rows_per_class=1e2).test_rows_per_class == 100
    assert suite(test_rows_per_class=None).test_rows_per_class is None


def test_no_shots_at_all_is_refused_with_the_way_out():
    text = refused(shots=[0, 1])
    assert "shots=0: give 1 to 100000." in text
    assert "zero_shot" in text


def test_all_shots_are_a_word_beside_numbers_and_may_be_the_number_that_is_kept():
    assert suite(shots=[1, 16, "all"]).shots == (1, 16, "all")
    assert suite(shots=[-1]).shots == ("all",)
    assert override(suite(shots=["all"]), {"seeds": [1]}).shots == ("all",)
    assert "shots names all twice" in refused(shots=["all", -1])
    assert "shots='most'" in refused(shots=["most"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shots": [1, 1]}, "shots names 1 twice"),
        ({"seeds": [2, 1, 2]}, "seeds names 2 twice"),
        ({"datasets": ["digits", "digits"]}, "digits twice"),
        ({"methods": ["coop", "coop"]}, "coop"),
    ],
)
def test_a_repetition_is_refused(changes, said):
    assert said in refused(**changes)


def test_a_method_may_come_twice_with_other_hyperparameters():
    assert len(suite(methods=["coop", {"coop": {"epochs": 3}}]).methods) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"datasets": []}, "datasets=[]: give at least one"),
        ({"datasets": "digits"}, "datasets='digits': give a list"),
        ({"datasets": [1]}, "datasets.0=1: give a text"),
        ({"methods": []}, "methods=[]: give at least one"),
        ({"methods": [["coop"]]}, "write NAME or {NAME: {hyperparameter: value}}"),
        ({"methods": [{"coop": 3}]}, "methods.0.hyperparameters=3: write {hyperparameter: value}"),
        ({"shots": ["x"]}, "shots='x' is a str, but must be a whole number"),
        ({"seeds": [1.5]}, "seed=1.5 is a float, but must be a whole number"),
        ({"test_rows_per_class": 0}, "test_rows_per_class=0: give 1 to 10000000"),
        ({"test_rows_per_class": True}, "test_rows_per_class=True is a bool"),
        ({"shots": [1e9]}, "shots=1000000000: give 1 to 100000."),
        ({"shots": [True]}, "shots=True is a bool, but must be a whole number"),
        ({"shots": [float("nan")]}, "shots=nan is no finite number"),
        ({"seeds": [2**64]}, "seed=18446744073709551616: give 0 to 4294967295."),
        ({"seeds": ["1"]}, "seed='1' is a str, but must be a whole number"),
        ({"views": "bank:1025"}, "give at most bank:1024, or fresh"),
        ({"views": "bank:" + "9" * 5000}, "give at most bank:1024, or fresh"),
        ({"views": "bank:0"}, "views='bank:0': give none for the centre crop, bank:K for"),
        ({"views": 8}, "views=8: give a text"),
        ({"setting": "papers"}, "setting='papers'"),
        ({"precision": "fp8"}, "precision='fp8'"),
    ],
)
def test_a_value_that_cannot_work_is_named(changes, said):
    text = refused(**changes)
    assert said in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "changes", [{"shots": ["one"]}, {"datasets": [1]}, {"methods": [["coop"]]}]
)
def test_a_list_of_wrong_values_is_not_called_empty(changes):
    assert "at least one" not in refused(**changes)


def test_a_small_number_is_written_as_people_write_it(file):
    text = "datasets: [digits]\nmethods: [coop: {lr: 1e-3}]\n"
    assert read_suite(file(text)).methods[0].hyperparameters == {"lr": 1e-3}


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RequestError, match=r"no suite file at .*absent\.yaml"):
        read_suite(tmp_path / "absent.yaml")


@pytest.mark.parametrize("text", ["datasets: [digits", "a: b: c", "\tdatasets: x"])
def test_a_file_that_is_no_yaml_is_one_sentence(file, text):
    with pytest.raises(RequestError, match=r"mine\.yaml is not valid YAML") as caught:
        read_suite(file(text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "- digits", "digits"])
def test_a_file_without_keys_is_refused(file, text):
    with pytest.raises(RequestError, match="is no mapping of keys to values"):
        read_suite(file(text))


def test_a_file_that_is_no_text_is_one_sentence(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00datasets")
    with pytest.raises(RequestError, match=r"mine\.yaml is no text in UTF-8"):
        read_suite(path)


def test_a_key_that_is_no_text_is_refused():
    with pytest.raises(RequestError, match="1"):
        make_suite({**BASE, 1: "x"}, where="mini.yaml")


def test_nothing_changed_is_the_same_suite():
    assert override(suite(), {}) == suite()


def test_an_override_replaces_what_it_names_and_nothing_else():
    changed = override(suite(), {"shots": (2,), "seeds": (5,), "datasets": ("textiles",)})
    assert (changed.shots, changed.seeds, changed.datasets) == ((2,), (5,), ("textiles",))
    assert changed.methods == suite().methods


def test_a_method_of_the_suite_keeps_its_hyperparameters_and_another_has_the_published():
    base = suite(methods=["zero-shot", {"coop": {"epochs": 3}}])
    changed = override(base, {"methods": ("coop", "tip-adapter")})
    assert [(m.id, m.hyperparameters) for m in changed.methods] == [
        ("coop", {"epochs": 3}),
        ("tip-adapter", {}),
    ]


def test_set_changes_single_hyperparameters():
    base = suite(methods=[{"coop": {"epochs": 3, "lr": 0.1}}])
    changed = override(base, {"hyperparameters": {"coop": {"epochs": 9}}})
    assert changed.methods[0].hyperparameters == {"epochs": 9, "lr": 0.1}


def test_set_on_a_method_that_is_not_there_is_refused():
    with pytest.raises(RequestError, match=r"of kgcoop was set.*coop, zero-shot. Add kgcoop"):
        override(suite(), {"hyperparameters": {"kgcoop": {"epochs": 9}}})


def test_set_on_a_method_that_is_none_offers_the_nearest():
    with pytest.raises(RequestError, match=r"no method is called 'cop'. Did you mean coop"):
        override(suite(), {"hyperparameters": {"cop": {"epochs": 9}}})


def test_an_override_is_checked_like_a_suite():
    with pytest.raises(RequestError, match="shots=0"):
        override(suite(), {"shots": (0,)})
    with pytest.raises(RequestError, match="views='bank'"):
        override(suite(), {"views": "bank"})


def test_training_images_are_seen_as_published_unless_views_are_asked_for(file):
    assert suite().views == "published"
    text = "datasets: [digits]\nmethods: [coop]\nviews: bank:8\n"
    assert read_suite(file(text)).views == "bank:8"
    assert override(suite(), {"views": "fresh"}).views == "fresh"
    assert override(suite(views="bank:2"), {}).views == "bank:2"


@pytest.mark.parametrize("name", shipped(FOLDER))
def test_every_shipped_suite_is_named_like_its_file_and_says_what_it_is(name):
    assert load_suite(name).name == name
    assert load_suite(name).description


@pytest.mark.parametrize("name", shipped(FOLDER))
def test_every_shipped_suite_can_be_run(store, name):
    try:
        check(store, load_suite(name), imagined=True)  # the papers' grids need what users fetch
    except RequestError as error:  # names and settings were looked at before
        if "needs the packages" not in str(error):
            raise
        pytest.skip(str(error))


def test_suites_of_texts_have_every_method_of_the_track():
    found = [choice.id for name in ("text", "text-lm") for choice in load_suite(name).methods]
    assert set(found) == set(methods_of("text-classification"))
    assert load_suite("text").backbones == ("minilm",)  # needs no download
    for name in ("text", "text-lm"):
        assert load_suite(name).seeds == (13, 21, 42, 87, 100)


def without_place(protocol):
    """Methods of images that have none in a protocol."""
    return {
        name
        for name, method in methods_of("image-classification").items()
        if unfit(name, method, protocol, PROTOCOLS[protocol])
    }


def test_the_zoo_has_every_method_once_at_few_and_many_shots_and_on_new_classes():
    zoo = load_suite("zoo")
    wanted = {
        name
        for name, method in methods_of("image-classification").items()
        if not method.card.domains  # digits have none; the suite transfer has these methods
    }
    elsewhere = without_place("few_shot")
    assert sorted(choice.id for choice in zoo.methods) == sorted(wanted - elsewhere)
    assert zoo.backbones == ("mini-clip",)  # needs no download
    assert zoo.protocols == ("few_shot", "base_to_new")
    assert (zoo.shots, zoo.seeds) == ((1, 16), (1, 2, 3))


def test_what_has_no_place_beside_labels_is_in_the_suite_without_them():
    suite = load_suite("without-labels")
    elsewhere = without_place("few_shot")
    assert elsewhere <= {choice.id for choice in suite.methods}
    assert not set.intersection(*(without_place(name) for name in suite.protocols)) & elsewhere


def test_methods_that_learn_from_domains_are_in_the_suite_that_leaves_one_out():
    transfer = load_suite("transfer")
    asked = {choice.id for choice in transfer.methods}
    assert {n for n, m in methods_of("image-classification").items() if m.card.domains} <= asked


def test_teachers_of_the_zoo_are_trials_of_the_zoo(store):
    zoo = load_suite("zoo")
    settings = check(store, zoo).settings["few_shot", "digits"]
    every = [each for by_shots in settings for each in by_shots.values()]
    taught = [each.leans_on["teacher"] for each in every if "teacher" in each.leans_on]
    assert taught
    assert all(each.choice in zoo.methods and not each.backbone for each in taught)


def test_an_unknown_suite_is_refused_with_the_nearest():
    with pytest.raises(RequestError, match=r"'quikstart'. Did you mean quickstart\?"):
        load_suite("quikstart")


def test_a_path_is_never_taken_for_a_shipped_name(tmp_path):
    with pytest.raises(RequestError, match="no suite file at"):
        load_suite(str(tmp_path / "quickstart"))
