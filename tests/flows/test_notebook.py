"""The functions of `import shotboard`, and the notebook of docs that shows them."""

import re
import runpy
import shutil
import warnings
from pathlib import Path

import nbformat
import pytest
from pandas import isna

import shotboard as package
from tasks.pages.reports import COLUMNS, board_rows
from tasks.storage.store import Store

PROJECT = Path(__file__).parents[2]
NOTEBOOK = PROJECT / "docs" / "first-ten-minutes.ipynb"


@pytest.fixture(scope="module")
def home(filled):
    return str(filled.home)


def trial_of(home, method):
    return package.sql(f"SELECT trial_id FROM trials WHERE method = '{method}'", home).trial_id[0]


def test_the_board_is_that_of_the_command(home):
    frame = package.board(home)
    assert list(frame.columns) == list(COLUMNS)
    assert frame["mean"].tolist() == [row["mean"] for row in board_rows(Store.at(home))]
    assert len(package.board(home, protocol="base_to_new")) == 0
    with pytest.raises(ValueError, match="Did you mean few_shot"):
        package.board(home, protocol="few_shots")


def test_sql_keeps_types(home):
    frame = package.sql("SELECT seed, status, started_at FROM trials ORDER BY ALL", home)
    kinds = [frame[name].dtype.kind for name in frame.columns]
    assert (kinds[0], kinds[2], len(frame)) == ("i", "M", 4)
    with pytest.raises(ValueError, match="DELETE is refused"):
        package.sql("DELETE FROM trials", home)


def test_a_trial_is_shown_with_its_specification_and_its_confusions(home):
    trial = trial_of(home, "zero-shot")
    frame = package.show(trial[:8], home)
    assert frame.attrs["spec"]["method"] == "zero-shot"
    (row,) = frame[frame.metric == "accuracy"].to_dict("records")
    taken = package.confusions(trial, home)
    right = taken[taken.label == taken.predicted].n.sum()
    assert right / taken.n.sum() == pytest.approx(row["value"])
    assert set(taken["class"]) == {"cat", "dog", "boat", "tree"}


def test_two_methods_are_compared(home):
    frame = package.compare("tip-adapter", "zero-shot", home, shots=[1])
    (row,) = frame.to_dict("records")
    assert row["difference"] == pytest.approx(row["mean_a"] - row["mean_b"])
    assert frame.attrs["a"] == {"kind": "method", "name": "tip-adapter"}
    assert len(frame.attrs["summary"]) == 1


def test_trials_are_verified_merged_and_listed_by_run(home, tmp_path, clip_folder):
    store = Store(shutil.copytree(home, tmp_path / "lab"))
    found = package.verify(methods=["zero-shot"], home=home, backbones_at=[str(clip_folder)])
    assert found.verdict.tolist() == ["equal"]
    with pytest.raises(ValueError, match="which trials"):
        package.verify(home=home)
    merged = package.merge(f"b={store.home}", home=tmp_path / "new")
    assert merged[["store", "copied", "failures"]].values.tolist() == [["b", 3, 1]]
    assert len(package.board(tmp_path / "new")) == len(package.board(home))
    assert package.runs(home).empty


def test_a_trial_says_what_is_on_an_image(home, pictures, clip_folder):
    trial = trial_of(home, "zero-shot")
    images = [pictures / "cat" / "0.jpg", pictures / "dog" / "torn.jpg"]
    frame = package.predict(trial, images, home, top=2, backbones_at=[str(clip_folder)])
    assert frame["rank"].tolist() == [1, 2, 1]
    first, second, torn = frame.to_dict("records")
    assert first["probability"] >= second["probability"]
    assert (isna(torn["class"]), "no image that can be used" in torn["error"]) == (True, True)


def test_a_run_that_cannot_be_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(ValueError, match="Did you mean digits"):
        package.run("quickstart", tmp_path / "new", datasets=["digitz"])
    assert not (tmp_path / "new" / "prefect").exists()


def test_a_plot_shows_itself_and_can_be_saved(home, tmp_path):
    drawn = package.plot("curves", home)
    assert drawn._repr_svg_().startswith("<svg")
    assert "pets" in repr(drawn)
    drawn.save(tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").read_text() == drawn.svg


def test_what_there_is_not_is_no_attribute():
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018  # to ask is the point


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_shows_what_there_is_and_no_place_of_a_machine():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.findall(r"/(?:home|root|tmp|work|usr|Users)/", text)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = code(notebook)
    asked = set(re.findall(r"shotboard\.(\w+)\(", "\n".join(cell.source for cell in cells)))
    assert asked == set(package.__all__) - {"show", "confusions", "merge"}
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [[output.output_type for output in cell.outputs] for cell in cells]
    assert kinds == [[], *[["execute_result"]] * (len(cells) - 1)]


@pytest.fixture
def tool():
    return runpy.run_path(str(PROJECT / "benchmarks" / "notebook.py"))


def test_a_cell_that_says_something_else_is_told(tool):
    kept, now = (nbformat.read(NOTEBOOK, as_version=4) for _ in range(2))
    assert tool["differences"](kept, now) == []
    for old, new in (("computed.", "failed."), ("13 trials", "19 trials")):
        changed = nbformat.read(NOTEBOOK, as_version=4)
        (output,) = code(changed)[1].outputs
        output.data["text/plain"] = output.data["text/plain"].replace(old, new)
        told = tool["differences"](kept, changed)
        assert len(told) == 1, told


@pytest.mark.slow
@pytest.mark.served
@pytest.mark.timeout(600)
def test_the_notebook_runs_and_says_what_it_says(tool):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that drive a kernel
        now = tool["executed"]()
    assert tool["differences"](nbformat.read(NOTEBOOK, as_version=4), now) == []
