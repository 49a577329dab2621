"""Backbones of a user's own: from a file, through a trial and back, and what is refused of them."""

import importlib.metadata
import pickle
import shutil
import sys

import numpy as np
import pytest

from operators.backbones import DualEncoder, LanguageModel, is_a, own
from operators.backbones.own import own_family
from operators.episodes.features import FeatureStore, view_folder
from tasks.computing.encode import contexts_of, features_folder
from tasks.computing.predict import predictor
from tasks.computing.worker import TrialWorker
from tasks.planning import installed, own_backbones
from tasks.planning.choices import check
from tasks.planning.encodings import needed_rows
from tasks.planning.own_backbones import find_backbone, installed_backbones, make_known
from tasks.planning.plan import make_plan
from tasks.planning.resolve import RequestError
from tasks.planning.suite import make_suite, read_suite

MINE = '''
from dataclasses import replace

from operators.backbones.dual.clip import Clip

WEIGHTS = "FOLDER"


class Inverted(Clip):
    """Bright is dark."""

    @staticmethod
    def describe(name, location):
        return Clip.describe(name, WEIGHTS)

    @classmethod
    def load(cls, card, location, device, dtype):
        clip = super().load(card, WEIGHTS, device, dtype)
        minus = tuple(-std for std in clip.preprocess.std)
        clip.preprocess = replace(clip.preprocess, std=minus)
        return clip
'''
BARE = """
from operators.backbones import DualEncoder


class Inverted(DualEncoder):
    pass
"""


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What a process has loaded is loaded for one test."""
    monkeypatch.setattr(own, "_OWN", {})
    monkeypatch.setattr(own_backbones, "_SOURCES", {})


@pytest.fixture
def code(tiny):
    """The content of a file of a user's own."""
    return MINE.replace("FOLDER", tiny)


@pytest.fixture
def mine(tmp_path, code):
    """The file."""
    file = tmp_path / "lab" / "mine.py"
    file.parent.mkdir()
    file.write_text(code)
    return file


@pytest.fixture
def planned(store, dataset_of):
    """Makes the request of a small suite on some backbones, and its trials."""
    dataset = dataset_of()

    def make(*backbones, methods=("zero-shot",)):
        values = {"name": "mini", "datasets": ["pets"], "backbones": [str(b) for b in backbones]}
        values |= {"protocols": ["zero_shot"], "methods": list(methods)}
        request = check(store, make_suite(values, where="mini"))
        return request, make_plan(store, request, {"pets": dataset}).specs

    make.dataset = dataset
    return make


@pytest.fixture
def computed(store, planned):
    """Computes the only trial on a backbone, as another process would that was given the work."""

    def make(backbone):
        request, specs = planned(backbone)
        datasets, cards = {"pets": planned.dataset}, request.backbones.cards
        ((_, context),) = contexts_of(store, request.backbones, specs, datasets, {}).items()
        assert context.features == features_folder(store, cards[specs[0].backbone], planned.dataset)
        context = pickle.loads(pickle.dumps(context))
        forget()
        worker = TrialWorker(store.home, "cpu")
        for view, needed in needed_rows(specs, planned.dataset).items():
            folder = view_folder(context.features, view, context.backbone.precision)
            width = cards[specs[0].backbone].feature_width
            features = FeatureStore.create(folder, planned.dataset.rows, width)
            rows = features.missing(needed)
            features.write(rows, worker.encode(rows, context, "image-classification", view))
        (done,) = worker.compute(specs, context)
        assert not done.error
        return specs[0], context

    return make


def forget():
    """As in another process."""
    own_backbones._SOURCES.clear()
    own._OWN.clear()
    for name in [name for name in sys.modules if name.startswith("shotboard_own_")]:
        del sys.modules[name]


def test_a_backbone_is_called_after_file_and_class_and_told_by_its_content(
    mine, code, planned, tiny
):
    _, (shipped,) = planned(tiny)
    for text in (f"{mine}:Inverted", mine):
        _, (spec,) = planned(text)
        assert spec.backbone == "mine:Inverted"
        assert spec.backbone_fingerprint != shipped.backbone_fingerprint
    moved = mine.parent.parent / "elsewhere"
    moved.mkdir()
    shutil.copy(mine, moved / "mine.py")
    _, (same,) = planned(moved / "mine.py")
    assert same == spec
    mine.write_text(code + "\n# a word more\n")
    _, (other,) = planned(mine)
    assert other.backbone_fingerprint != spec.backbone_fingerprint
    assert other.trial_id != spec.trial_id


def test_it_stands_beside_its_own_weights_and_is_of_the_kind_that_it_derives_from(
    mine, planned, tiny
):
    request, specs = planned(tiny, mine)
    assert {spec.backbone for spec in specs} == {"tiny-clip", "mine:Inverted"}
    card = request.backbones.cards["mine:Inverted"]
    assert is_a(card, DualEncoder)
    assert not is_a(card, LanguageModel)
    with pytest.raises(RequestError, match="two would have the same name; rename a folder, or a"):
        planned(mine, f"{mine}:Inverted")


def test_a_language_model_is_one_of_its_own_kind(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from operators.backbones.language.minilm import MiniLM\n\n\n"
        "class Halved(MiniLM):\n"
        "    def pooled(self, tokens):\n        return super().pooled(tokens) / 2\n"
    )
    which, shipped = find_backbone(str(file)), find_backbone("minilm")
    assert which.name == "mine:Halved"
    card = which.describe()
    assert is_a(card, LanguageModel)
    assert not is_a(card, DualEncoder)
    halved, whole = (one.load(one.describe()) for one in (which, shipped))
    texts = ["a word"]
    np.testing.assert_allclose(
        halved.sentence_features(texts) * 2, whole.sentence_features(texts), rtol=1e-5
    )


def test_a_suite_names_it_relative_to_its_file(mine, tmp_path):
    (tmp_path / "suite.yaml").write_text(
        "datasets: [pets]\nmethods: [zero-shot]\nbackbones: [./lab/mine.py:Inverted, mini-clip]\n"
    )
    suite = read_suite(tmp_path / "suite.yaml")
    assert suite.backbones == (f"{mine}:Inverted", "mini-clip")


def test_a_trial_is_computed_where_the_file_is_not_and_predicts_without_it(
    mine, code, store, planned, computed, tmp_path
):
    spec, context = computed(mine)
    assert (store.trial(spec.trial_id) / "backbone.py").read_text() == code
    rows = planned.dataset.rows_of("test")[:2]
    kept = FeatureStore(view_folder(context.features, None, "fp32")).read(rows)
    upright = find_backbone(code.partition('WEIGHTS = "')[2].partition('"')[0])
    upright = upright.load(upright.describe())
    pixels = upright.preprocess(planned.dataset.examples(rows))
    np.testing.assert_allclose(kept, upright.encode_images(-pixels), atol=1e-5)
    mine.unlink()
    forget()
    image = tmp_path / "image.png"
    image.write_bytes(planned.dataset.examples(rows[:1])[0])
    (found,) = predictor(store, spec.trial_id)([str(image)], 1)
    assert not found.error


def test_a_trial_whose_copy_of_the_code_is_gone_is_told_what_is_missing(
    mine, code, store, computed
):
    spec, _ = computed(mine)
    copy = store.trial(spec.trial_id) / "backbone.py"
    copy.write_text(code + "\n")
    with pytest.raises(RequestError, match="was tuned on mine:Inverted with the fingerprint"):
        predictor(store, spec.trial_id)
    copy.unlink()
    with pytest.raises(RequestError, match=r"keeps no copy of .*: add --backbone FILE\.py:CLASS"):
        predictor(store, spec.trial_id)
    predictor(store, spec.trial_id, backbones=[str(mine)])


def test_a_worker_without_the_code_says_so(mine):
    which = find_backbone(str(mine))
    make_known(which, {})
    forget()
    with pytest.raises(RequestError, match=r"mine:Inverted is of code \(source [0-9a-f]{16}\)"):
        make_known(which, {})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (MINE, "def broken(:", r"mine.py, line 1: .*\. The file cannot be run"),
        (MINE, "import no_such_module", "mine.py, line 1: ModuleNotFoundError: .*as a package"),
        (MINE, "x = 1", "mine.py has no Inverted"),
        (MINE, "class Inverted: pass", "it is no backbone: write a class that derives from Dual"),
        (MINE, "from operators.backbones import DualEncoder as Inverted", "it is no backbone"),
        (MINE, BARE, "it lacks embed, encode_images, .*, describe, load, without which"),
        ("be(name, location):", "be(name):", r"its describe is called as describe\(name, loc"),
        ("    @classmethod\n", "", r"its load is called as load\(card, location, device, dtype\)"),
        ("return Clip.describe(", "return (", "its describe gives a tuple, not a BackboneCard"),
        ("return Clip.describe(name", "return Clip.describe(nome", "NameError in line 14 of .*"),
        ("Clip.describe(name, WEIGHTS)", "replace(Clip.describe(name, WEIGHTS), fingerprint=None)",
         "has no fingerprint: give"),
        ("Clip.describe(name, WEIGHTS)",
         "replace(Clip.describe(name, WEIGHTS), capabilities=frozenset({'flight'}))",
         "flight is no capability; those are"),
        ("FOLDER", "/no/such/folder", "/no/such/folder"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_one_sentence(mine, code, planned, tiny, old, new, said):
    mine.write_text(new if old is MINE else code.replace(tiny if old == "FOLDER" else old, new))
    with pytest.raises(RequestError, match=said) as refused:
        planned(f"{mine}:Inverted")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ("return None", "its load must give a Inverted with the card that it was handed"),
        ("raise OSError('no disk')", "its load raised OSError in line 21 of .*mine.py: no disk"),
    ],
)
def test_what_load_cannot_give_is_one_sentence(mine, code, new, said):
    mine.write_text(code.replace("return clip", new))
    which = find_backbone(str(mine))
    with pytest.raises(ValueError, match=said):
        which.load(which.describe())


@pytest.fixture
def package(mine, monkeypatch):
    """An installed package that names backbones of its own."""
    shutil.copy(mine, mine.parent / "mine_backbones.py")
    monkeypatch.syspath_prepend(str(mine.parent))
    names = ("inverted", "mini-clip", "text")
    values = ("mine_backbones:Inverted", "mine_backbones:Inverted", "mine_backbones:WEIGHTS")
    points = importlib.metadata.EntryPoints(
        importlib.metadata.EntryPoint(*each, installed.BACKBONES)
        for each in zip(names, values, strict=True)
    )
    monkeypatch.setattr(installed, "entry_points", lambda group: points)
    caches = installed_backbones, installed.installed
    for each in caches:
        each.cache_clear()
    yield
    for each in caches:
        each.cache_clear()
    sys.modules.pop("mine_backbones", None)


def test_backbones_of_packages_are_found_by_their_entry_points(package, planned, caplog):
    from tasks.pages.zoo import backbone_rows

    _, (spec,) = planned("inverted")
    assert spec.backbone == "inverted"
    assert "left out: mini-clip of the package mine_backbones:Inverted" in caplog.text
    assert "left out: text of the package" in caplog.text
    assert "inverted" in {row["backbone"] for row in backbone_rows()}
    which = find_backbone("inverted")
    make_known(which, {})
    assert own_family(which.family) is not None
    with pytest.raises(RequestError, match="package in the version that the run was planned with"):
        make_known(which._replace(family=f"inverted@{'0' * 16}"), {})
    with pytest.raises(RequestError, match="Did you mean inverted"):
        find_backbone("invertd")
