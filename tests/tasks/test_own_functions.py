"""Functions of a user's own: from a file, through a trial and back, and what is refused of them."""

import json
import shutil

import numpy as np
import pytest

from operators import functions
from operators.episodes.features import FeatureStore, view_folder
from tasks.comparing.merge import merge
from tasks.computing.encode import contexts_of
from tasks.computing.predict import predictor
from tasks.computing.worker import TrialWorker
from tasks.planning import own_functions
from tasks.planning.choices import check
from tasks.planning.encodings import needed_rows
from tasks.planning.kept import keep_plan, kept_plan
from tasks.planning.own_methods import read_method
from tasks.planning.plan import make_plan
from tasks.planning.resolve import RequestError
from tasks.planning.suite import MethodChoice, make_suite, override, read_suite
from tasks.storage.store import Store

MINE = '''
"""Ours."""


def propose(best, worst, count, generator):
    return ["a nice {}."] * count


def make(image, draw):
    return 255 - image


def other(best):
    return best


LIMIT = 3
'''


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What a process has loaded is loaded for one test."""
    monkeypatch.setattr(functions, "_OWN", {})
    monkeypatch.setattr(own_functions, "_SOURCES", {})


def forget():
    """As in another process."""
    functions._OWN.clear()
    own_functions._SOURCES.clear()


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "lab" / "mine.py"
    file.parent.mkdir()
    file.write_text(MINE)
    return file


@pytest.fixture
def planned(store, dataset_of, tiny):
    """Makes the request of a small suite, and its plan."""
    dataset = dataset_of()

    def make(method, protocol="few_shot", search=None, **settings):
        values = {"name": "mini", "datasets": ["pets"], "backbones": [tiny], "views": "none"}
        values |= {"protocols": [protocol], "shots": [1], "seeds": [1], "search": search or {}}
        values["methods"] = [{method: settings}]
        request = check(store, make_suite(values, where="mini"))
        return request, make_plan(store, request, {"pets": dataset})

    make.dataset = dataset
    return make


@pytest.fixture
def computed(store, planned):
    """Makes the trials of a method, as another process would that was given the work."""

    def make(method, protocol, **settings):
        request, plan = planned(method, protocol, **settings)
        datasets = {"pets": planned.dataset}
        ((_, context),) = contexts_of(store, request.backbones, plan.specs, datasets, {}).items()
        forget()
        worker = TrialWorker(store.home, "cpu")
        width = request.backbones.cards[plan.specs[0].backbone].feature_width
        for view, needed in needed_rows(plan.specs, planned.dataset).items():
            folder = view_folder(context.features, view, context.backbone.precision)
            features = FeatureStore.create(folder, planned.dataset.rows, width)
            rows = features.missing(needed)
            features.write(rows, worker.encode(rows, context, "image-classification", view))
        forget()
        (done,) = worker.compute(plan.specs, context)
        assert not done.error
        return plan.specs[0], context

    return make


def named(text):
    chosen = MethodChoice(id="llm-bbo", hyperparameters={"proposer": text})
    (found,) = own_functions.with_own_functions([chosen], {})["methods"]
    return found.hyperparameters["proposer"]


def test_a_function_is_called_after_file_and_name_and_told_by_the_content(mine, planned, tmp_path):
    _, plan = planned("llm-bbo", proposer=f"{mine}:propose", starts=2, calls=1)
    (spec,) = plan.specs
    name = spec.hyperparameters["proposer"]
    assert functions.OWN.fullmatch(name)["place"] == "mine:propose"
    shutil.copytree(mine.parent, tmp_path / "elsewhere")
    elsewhere = tmp_path / "elsewhere" / "mine.py"
    _, same = planned("llm-bbo", proposer=f"{elsewhere}:propose", starts=2, calls=1)
    assert same.specs == plan.specs
    mine.write_text(MINE.replace("nice", "fine"))
    _, edited = planned("llm-bbo", proposer=f"{mine}:propose", starts=2, calls=1)
    assert edited.specs[0].trial_id != spec.trial_id


def test_a_trial_keeps_the_file_and_another_process_reads_it(mine, store, computed):
    spec, _ = computed("llm-bbo", "few_shot", proposer=f"{mine}:propose", starts=2, calls=1)
    folder = store.trial(spec.trial_id)
    digest = spec.hyperparameters["proposer"].rpartition("@")[2]
    assert (folder / f"function-{digest}.py").read_text() == MINE
    told = json.loads((folder / "trial.json").read_text())
    assert [each["template"] for each in told["found"]["tried"]][2:] == ["a nice {}."]
    assert f"function-{digest}.py" in told["sha256"]
    mine.unlink()
    forget()
    read_method(store, spec)
    assert functions.is_known(spec.hyperparameters["proposer"])
    (folder / f"function-{digest}.py").unlink()
    forget()
    with pytest.raises(RequestError, match=r"the source of the function mine:propose@.* not here"):
        read_method(store, spec)


def test_what_a_generator_makes_of_tested_images_is_encoded_once_and_kept(
    mine, store, computed, planned, tiny, tmp_path
):
    given = {"maker": f"{mine}:make", "generated": 2, "crops": 3, "confident": 0.5}
    spec, context = computed("difftpt", "zero_shot", **given)
    name = spec.hyperparameters["maker"]
    folders = sorted(path.name for path in context.features.iterdir() if path.is_dir())
    made = [folder for folder in folders if name in folder]
    assert len(made) == 2
    stores = [FeatureStore(context.features / folder) for folder in made]
    tested = planned.dataset.rows_of("test")
    assert not len(stores[0].missing(tested))
    assert len(stores[0].missing(planned.dataset.rows_of("train")))
    one, other = (each.read(tested) for each in stores)
    assert np.allclose(one, other)  # this generator draws nothing
    image = tmp_path / "image.png"
    image.write_bytes(planned.dataset.examples(tested[:1])[0])
    forget()
    (found,) = predictor(store, spec.trial_id, backbones=[tiny])([str(image)], 1)
    assert not found.error


def test_a_merged_trial_brings_the_file_along(mine, store, computed, tmp_path):
    spec, _ = computed("llm-bbo", "few_shot", proposer=f"{mine}:propose", starts=2, calls=1)
    into = Store.at(str(tmp_path / "other"))
    (merged,) = merge(into, [str(store.home)])
    assert merged.with_code == [spec.trial_id]
    forget()
    read_method(into, spec)


def test_places_are_relative_to_the_suites_file_and_on_a_command_line_to_here(
    mine, tmp_path, monkeypatch
):
    (tmp_path / "suite.yaml").write_text(
        "datasets: [pets]\nmethods: [{llm-bbo: {proposer: ./lab/mine.py:propose}}]\n"
        "search: {llm-bbo.proposer: [mutation, ./lab/mine.py:propose]}\n"
    )
    suite = read_suite(tmp_path / "suite.yaml")
    assert suite.methods[0].hyperparameters["proposer"] == f"{mine}:propose"
    assert suite.search["llm-bbo.proposer"] == ("mutation", f"{mine}:propose")
    monkeypatch.chdir(mine.parent)
    asked = {"hyperparameters": {"llm-bbo": {"proposer": "mine.py:propose"}}}
    (changed,) = override(suite, asked).methods
    assert changed.hyperparameters["proposer"] == f"{mine}:propose"


def test_functions_may_be_searched(mine, planned):
    tried = ["mutation", f"{mine}:propose"]
    request, _ = planned("llm-bbo", search={"llm-bbo.proposer": tried}, starts=2, calls=1)
    ((sought,),) = request.sought.values()
    values = [settings[1].values["proposer"] for _, settings in sought.candidates]
    assert values == ["mutation", named(f"{mine}:propose")]


def test_a_plan_with_such_a_file_is_made_anew_each_time(mine, store, planned):
    request, plan = planned("llm-bbo", proposer=f"{mine}:propose")
    datasets = {"pets": planned.dataset}
    keep_plan(store, request, plan, datasets, [], None)
    assert kept_plan(store, plan.suite, datasets) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("./mine.py:propos", r"mine.py has no propos. Did you mean propose\?"),
        ("./mine.py:LIMIT", "mine.py:LIMIT is a int, not a function"),
        ("./mine.py", "has propose, make, other: say which"),
        ("./none.py:propose", "none.py cannot be read"),
        ("./mine.py:other", r"called with \(best, worst, count, generator\): too many positional"),
        ("mutate", "is not a proposer of templates: give mutation or a function .* Did you mean"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(mine, planned, monkeypatch, text, said):
    monkeypatch.chdir(mine.parent)
    with pytest.raises(RequestError, match=said) as refused:
        planned("llm-bbo", proposer=text)
    assert "\n" not in str(refused.value)


def test_a_text_that_looks_like_a_place_stays_where_no_function_is_asked_for(
    planned, mine, tmp_path
):
    (spec,) = planned("promptcap", "zero_shot", question="./mine.py:propose")[1].specs
    assert spec.hyperparameters["question"] == "./mine.py:propose"
    lines = [
        "datasets: [pets]",
        "methods:",
        "  - promptcap: {question: what is in a.py, captioner: lab/mine.py:describe}",
        "  - promptkd:",
        "      {teacher: llm-bbo, teacher_hyperparameters: {proposer: lab/mine.py:propose}}",
        "search: {promptcap.question: [c.py], promptcap.captioner: [lab/mine.py:propose]}",
    ]
    (tmp_path / "mini.yaml").write_text("\n".join(lines))
    suite = read_suite(tmp_path / "mini.yaml")
    captioned, taught = (choice.hyperparameters for choice in suite.methods)
    assert captioned == {"question": "what is in a.py", "captioner": f"{mine}:describe"}
    assert taught["teacher_hyperparameters"] == {"proposer": f"{mine}:propose"}
    assert suite.search == {
        "promptcap.question": ("c.py",),
        "promptcap.captioner": (f"{mine}:propose",),
    }
    settings = {"promptcap": {"question": "d.py", "captioner": str(mine)}}
    changed = override(suite, {"hyperparameters": settings})
    assert changed.methods[0].hyperparameters == {"question": "d.py", "captioner": str(mine)}
