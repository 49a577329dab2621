"""Methods of a user's own: from a file, through a trial and back, and what is refused of them."""

import dataclasses
import importlib.metadata
import shutil

import pytest

import operators.methods
from operators.episodes.features import FeatureStore, view_folder
from operators.methods import METHODS, find_method
from operators.spec import TrialSpec
from tasks.computing.encode import contexts_of
from tasks.computing.predict import predictor
from tasks.computing.worker import TrialWorker
from tasks.pages.rebuilding import rebuild_board
from tasks.planning import installed, own_methods, resolve
from tasks.planning.choices import check
from tasks.planning.encodings import needed_rows
from tasks.planning.own_files import anchored, place_of
from tasks.planning.own_methods import installed_methods, load_method, make_known, read_method
from tasks.planning.plan import make_plan
from tasks.planning.resolve import RequestError
from tasks.planning.suite import make_suite, override, read_suite

MINE = '''
"""Nearest class text. Source: ours, 2026."""
from operators.blocks.class_text import class_vectors
from operators.bounds import Share
from operators.methods import MethodCard, StaticClassifier


class Mine(StaticClassifier):
    """Class prompts, and a share of nothing."""

    card = MethodCard(
        title="Mine", family="hand_written", tunes="nothing", source="ours, 2026", cost="none",
        learns=False,
    )

    def __init__(self, backbone, classes, *, generator, shift: Share = 0.25):
        super().__init__(backbone, classes)
        self.register_buffer("texts", class_vectors(backbone, classes, classes.templates))
        self.texts[0] += shift

    def class_features(self):
        return self.texts
'''


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What a process has loaded is loaded for one test."""
    monkeypatch.setattr("operators.methods._OWN", {})
    monkeypatch.setattr(own_methods, "_SOURCES", {})


@pytest.fixture
def mine(tmp_path):
    """A file of a user's own."""
    file = tmp_path / "lab" / "mine.py"
    file.parent.mkdir()
    file.write_text(MINE)
    return file


@pytest.fixture
def planned(store, dataset_of, tiny):
    """Makes the request of a small suite of some methods, and its trials."""
    dataset = dataset_of()

    def make(*methods):
        values = {"name": "mini", "datasets": ["pets"], "backbones": [tiny]}
        values |= {"protocols": ["zero_shot"], "methods": list(methods)}
        request = check(store, make_suite(values, where="mini"))
        return request, make_plan(store, request, {"pets": dataset}).specs

    make.dataset = dataset
    return make


@pytest.fixture
def computed(store, planned):
    """Makes the trials of some methods, as another process would that was given the work."""

    def make(*methods):
        request, specs = planned(*methods)
        datasets = {"pets": planned.dataset}
        ((_, context),) = contexts_of(store, request.backbones, specs, datasets, {}).items()
        worker = TrialWorker(store.home, "cpu")
        for view, needed in needed_rows(specs, planned.dataset).items():
            folder = view_folder(context.features, view, context.backbone.precision)
            width = request.backbones.cards[specs[0].backbone].feature_width
            features = FeatureStore.create(folder, planned.dataset.rows, width)
            rows = features.missing(needed)
            features.write(rows, worker.encode(rows, context, "image-classification", view))
        forget()
        return specs, worker.compute(specs, context)

    return make


def forget():
    """As in another process."""
    own_methods._SOURCES.clear()
    operators.methods._OWN.clear()


def refusal(text):
    with pytest.raises(RequestError) as refused:
        load_method(place_of(text))
    return str(refused.value)


@pytest.mark.parametrize("text", ["coop", "a/b", "./mine.txt", "mine.pyx"])
def test_a_name_is_no_place(text):
    assert place_of(text) is None
    assert anchored(text, "/x") == text


def test_a_method_is_called_after_file_and_class_and_told_by_its_content(mine, planned):
    for text in (f"{mine}:Mine", str(mine)):
        _, (spec,) = planned(text)
        assert spec.method == "mine:Mine"
        assert spec.method not in METHODS
    moved = mine.parent.parent / "elsewhere"
    moved.mkdir()
    shutil.copy(mine, moved / "mine.py")
    _, (same,) = planned(f"{moved / 'mine.py'}:Mine")
    assert same.trial_id == spec.trial_id
    mine.write_text(MINE.replace("+= shift", "-= shift"))
    _, (other,) = planned(f"{mine}:Mine")
    assert other.trial_id != spec.trial_id
    assert {**other.to_json(), "method_source": ""} == {**spec.to_json(), "method_source": ""}
    assert TrialSpec.from_json(spec.to_json()) == spec


def test_both_versions_of_a_file_are_known_side_by_side(mine):
    _, first = load_method(place_of(str(mine)))
    mine.write_text(MINE.replace("0.25", "0.5"))
    name, second = load_method(place_of(str(mine)))
    assert find_method(name) is second
    assert find_method(name, first.source_digest) is first
    mine.write_text(MINE)
    load_method(place_of(str(mine)))
    assert find_method(name) is first


def test_places_in_a_suite_are_relative_to_its_file_and_on_a_command_line_to_here(
    mine, tmp_path, monkeypatch
):
    (tmp_path / "suite.yaml").write_text(
        "datasets: [pets]\nmethods: [{./lab/mine.py:Mine: {shift: 0.5}}, zero-shot]\n"
    )
    suite = read_suite(tmp_path / "suite.yaml")
    assert [choice.id for choice in suite.methods] == [f"{mine}:Mine", "zero-shot"]
    monkeypatch.chdir(mine.parent)
    asked = {"methods": ["./mine.py:Mine"], "hyperparameters": {"./mine.py:Mine": {"shift": 0.75}}}
    (kept,) = override(suite, {"methods": ["mine.py:Mine"]}).methods
    assert kept.hyperparameters == {"shift": 0.5}
    (changed,) = override(suite, asked).methods
    assert (changed.id, changed.hyperparameters) == (f"{mine}:Mine", {"shift": 0.75})


def test_a_trial_is_computed_where_the_file_is_not_and_predicts_without_it(
    mine, store, planned, computed, tiny, tmp_path
):
    (spec,), (done,) = computed(f"{mine}:Mine")
    assert not done.error
    folder = store.trial(spec.trial_id)
    assert (folder / "method.py").read_text() == MINE
    mine.unlink()
    forget()
    rebuild_board(store)
    ((method, variant),) = board_rows(store)
    assert (method, variant) == ("mine:Mine", f"source={spec.aids['method_source'][:8]}")
    image = tmp_path / "image.png"
    image.write_bytes(planned.dataset.examples(planned.dataset.rows_of("test")[:1])[0])
    (found,) = predictor(store, spec.trial_id, backbones=[tiny])([str(image)], 1)
    assert not found.error


def board_rows(store):
    import duckdb

    with duckdb.connect(store.board, read_only=True) as board:
        return board.execute("SELECT method, variant FROM trials").fetchall()


def test_a_trial_without_the_source_of_its_method_says_so(mine, store, computed):
    (spec,), _ = computed(f"{mine}:Mine")
    forget()
    (store.trial(spec.trial_id) / "method.py").write_text("changed = 1")
    with pytest.raises(RequestError, match=r"mine:Mine, whose source [0-9a-f]{16} is not here"):
        read_method(store, spec)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def broken(:", r"mine.py, line 1: .*\. The file cannot be run"),
        ("import no_such_module", "mine.py, line 1: ModuleNotFoundError: .*as a package"),
        ("x = 1\ny = x / 0", "mine.py, line 2: ZeroDivisionError: division by zero"),
        ("x = 1", "mine.py has no Mine"),
        ("class Mine: pass", "it is no method: write a class that extends the contract"),
        (MINE.replace("shift: Share", "shift: float"), "shift has no bounds: write Annotated"),
        (MINE.replace("*, generator", "generator"), "its argument shift is no keyword"),
        (MINE.replace("card = ", "cord = "), "it has no card: write"),
    ],
)
def test_what_cannot_work_is_one_sentence(mine, text, said):
    mine.write_text(text)
    with pytest.raises(RequestError, match=said) as refused:
        load_method(place_of(f"{mine}:Mine"))
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_and_one_with_two_methods(mine, tmp_path):
    assert "cannot be read (No such file" in refusal(f"{tmp_path}/gone.py:Mine")
    assert "has no Mein. Did you mean Mine?" in refusal(f"{mine}:Mein")
    mine.write_text(MINE + "\n\nclass Second(Mine):\n    pass\n")
    assert "has Mine, Second: say which" in refusal(str(mine))


def test_two_files_of_one_name_are_refused_in_a_run(mine, planned, tmp_path):
    (tmp_path / "mine.py").write_text(MINE.replace("0.25", "0.5"))
    with pytest.raises(RequestError, match="is called mine:Mine on the board as well"):
        planned(f"{mine}:Mine", f"{tmp_path / 'mine.py'}:Mine")


def test_an_unknown_name_says_how_ones_own_is_written():
    with pytest.raises(RequestError, match=r"One of your own is a file and a class, as \./mine"):
        resolve.method("no-such")


@pytest.fixture
def package(mine, monkeypatch):
    """An installed package that names methods of its own."""
    monkeypatch.syspath_prepend(str(mine.parent))
    group = installed.METHODS
    points = [
        importlib.metadata.EntryPoint(name, value, group)
        for name, value in (("nearest-text", "mine:Mine"), ("coop", "mine:Mine"), ("gone", "no:No"))
    ]
    monkeypatch.setattr(
        installed, "entry_points", lambda group: importlib.metadata.EntryPoints(points)
    )
    caches = installed_methods, installed.installed
    for each in caches:
        each.cache_clear()
    yield
    for each in caches:
        each.cache_clear()


def test_methods_of_packages_are_found_by_their_entry_points(package, planned, caplog):
    assert list(installed_methods()) == ["nearest-text"]
    assert "left out: coop of the package mine:Mine (shotboard.methods): that is the" in caplog.text
    assert "left out: gone of the package no:No (shotboard.methods): ModuleNot" in caplog.text
    _, (spec,) = planned("nearest-text")
    assert spec.method == "nearest-text"
    assert len(spec.aids["method_source"]) == 16
    make_known(spec, {})
    other = dataclasses.replace(spec, aids={"method_source": "0" * 16})
    with pytest.raises(RequestError, match="of another version of its package"):
        make_known(other, {})


def test_a_shipped_method_leans_on_no_source(planned):
    _, (spec,) = planned("zero-shot")
    assert spec.aids == {}
    assert own_methods.source_of(spec) is None
