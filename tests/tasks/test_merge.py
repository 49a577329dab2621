"""One store out of several: copied, held against each other, refused; twice, and killed."""

import json
import os
import shutil
import signal
import subprocess
import sys

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.board import inspect
from operators.board.agreement import agreement
from tasks.comparing.merge import merge
from tasks.comparing.sources import sources_of
from tasks.pages.asking import rows
from tasks.pages.board import private_file, rebuild
from tasks.planning.resolve import RequestError
from tasks.storage import runs
from tasks.storage.drafts import left_behind
from tasks.storage.store import Store


@pytest.fixture(scope="module")
def empty_board(tmp_path_factory):
    """What a rebuild begins with: to make one takes most of a second."""
    store = Store(tmp_path_factory.mktemp("empty"))
    rebuild(store)
    return private_file(store)


@pytest.fixture
def lab(complete, spec, store, tmp_path, empty_board):
    """Moves made-up trials, one a seed, into a store of a name, and gives it."""

    def make(name, *seeds, **changes):
        for seed in seeds:
            complete(spec(seed=seed), **changes)
        other = Store(tmp_path / name)
        shutil.copytree(store.trials, other.trials, dirs_exist_ok=True)
        shutil.rmtree(store.trials)
        shutil.copyfile(empty_board, private_file(other))
        return other

    return make


def answer(folder, row, *, confidence=None, predicted=None):
    """Changes what a trial said of a row, its number with it, as another computation would."""
    table = pq.read_table(folder / "predictions.parquet").to_pydict()
    if confidence is not None:
        table["confidence"][row] = confidence
    if predicted is not None:
        table["predicted"][row] = predicted
    schema = pq.read_schema(folder / "predictions.parquet")
    pq.write_table(pa.table(table, schema=schema), folder / "predictions.parquet")
    values = json.loads((folder / "trial.json").read_text())
    right = [p == y for p, y in zip(table["predicted"], table["label"], strict=True)]
    values["metrics"][0]["value"] = sum(right) / len(right)
    values["sha256"] = {}
    values["provenance"] |= {"started_at": "2026-02-02T00:00:00+00:00", "torch_version": "3"}
    (folder / "trial.json").write_text(json.dumps(values))


def content(store):
    return {
        path.relative_to(store.home): path.read_bytes()
        for path in sorted(store.home.rglob("*"))
        if path.is_file() and path.parent != store.home
    }


def test_what_is_not_here_is_copied_and_says_where_it_came_from(lab, spec):
    ours, theirs = lab("ours", 1, 2), lab("theirs", 3)
    (merged,) = merge(ours, [str(theirs.home)])
    new = spec(seed=3).trial_id
    assert (merged.label, merged.copied, merged.refused) == ("theirs", [new], {})
    for name in ("trial.json", "predictions.parquet", "prompt.safetensors"):
        assert (ours.trial(new) / name).read_bytes() == (theirs.trial(new) / name).read_bytes()
    rebuild(ours)
    found = rows(ours, "SELECT seed, origin FROM trials ORDER BY seed")
    assert [(row["seed"], row["origin"]) for row in found] == [(1, None), (2, None), (3, "theirs")]


def test_one_number_that_differs_is_shown_with_its_difference(lab, spec):
    ours, theirs = lab("ours", 1, 2, 3), lab("theirs", 1, 2, 3)
    equal, near, other = (theirs.trial(spec(seed=seed).trial_id) for seed in (1, 2, 3))
    answer(equal, 0)
    answer(near, 0, confidence=0.5001)
    answer(other, 0, predicted=2)
    before = content(ours)
    (merged,) = merge(ours, [f"lab-b={theirs.home}"])
    verdicts = {each.trial_id: each.agreed.verdict for each in merged.reproduced}
    assert verdicts == {equal.name: "equal", near.name: "rounding", other.name: "different"}
    assert (merged.copied, merged.same) == ([], [])
    assert content(ours).items() >= before.items()  # nothing of ours was touched
    rebuild(ours)
    (row,) = rows(ours, "SELECT * FROM disagreements")
    assert (row["trial_id"], row["origin"], row["metric"]) == (other.name, "lab-b", "accuracy")
    assert (row["ours"], row["theirs"], row["difference"]) == (0.75, 0.5, -0.25)
    assert (row["rows_differ"], row["n"], row["differs"]) == (1, 4, ["torch version 2 to 3"])
    found = rows(ours, "SELECT DISTINCT verdict FROM reproductions ORDER BY 1")
    assert [row["verdict"] for row in found] == ["different", "equal", "rounding"]
    # Ours stay the numbers of the board.
    found = rows(ours, "SELECT DISTINCT value FROM metrics WHERE metric = 'accuracy'")
    assert found == [{"value": 0.75}]


def test_merged_twice_brings_nothing_new(lab, spec):
    ours, theirs = lab("ours", 1, 2), lab("theirs", 2, 3)
    answer(theirs.trial(spec(seed=2).trial_id), 0, predicted=2)
    merge(ours, [str(theirs.home)])
    rebuild(ours)
    before, board = content(ours), rows(ours, "SELECT * FROM reproductions")
    (merged,) = merge(ours, [str(theirs.home)])
    assert (merged.copied, len(merged.same)) == ([], 1)
    assert [each.new for each in merged.reproduced] == [False]
    assert content(ours) == before
    rebuild(ours)
    assert rows(ours, "SELECT * FROM reproductions") == board


def test_three_labs_meet_in_any_order(lab, spec, tmp_path):
    a, b, c = lab("a", 1, 2), lab("b", 1), lab("c", 1, 3)
    answer(b.trial(spec(seed=1).trial_id), 0, predicted=2)
    answer(c.trial(spec(seed=1).trial_id), 1, predicted=3)
    merge(b, [str(c.home)])
    (merged,) = merge(a, [str(b.home)])
    assert len(merged.copied) == 1  # seed 3 of c, by way of b
    assert [each.origin for each in merged.reproduced] == ["b", "c"]
    rebuild(a)
    found = rows(a, "SELECT origin FROM disagreements ORDER BY 1")
    assert [row["origin"] for row in found] == ["b", "c"]
    assert rows(a, "SELECT origin FROM trials WHERE seed = 3") == [{"origin": "c"}]
    new = Store(tmp_path / "new")
    first, second, third = merge(new, [str(store.home) for store in (c, b, a)])
    assert [len(each.copied) for each in (first, second, third)] == [2, 0, 1]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "predictions.parquet").write_bytes(b"PAR1"), "predictions.parq"),
        (lambda folder: (folder / "trial.json").unlink(), "trial.json is missing."),
        (lambda folder: (folder / "prompt.safetensors").write_bytes(b"x"), "prompt.safetensors is"),
        (
            lambda folder: (folder / "trial.json").write_text(
                (folder / "trial.json").read_text().replace("0.75", "0.85")
            ),
            "gives other numbers",
        ),
    ],
)
def test_what_is_torn_or_edited_there_is_refused_and_the_rest_goes_on(lab, spec, damage, said):
    ours, theirs = lab("ours", 9), lab("theirs", 1, 2)
    bad, good = spec(seed=1).trial_id, spec(seed=2).trial_id
    damage(theirs.trial(bad))
    (merged,) = merge(ours, [str(theirs.home)])
    assert merged.copied == [good]
    assert list(merged.refused) == [bad]
    assert said in merged.refused[bad]
    assert not ours.trial(bad).exists()


def test_failures_runs_and_cards_come_along_and_overwrite_nothing(lab, spec):
    ours, theirs = lab("ours", 1), lab("theirs", 2)
    failed, known = spec(seed=5), spec(seed=1)
    for one in (failed, known):
        theirs.record_failure(one.trial_id, {"spec": one.to_json(), "error": "no memory"})
    run = runs.begin(theirs, suite="mini", trial_ids=[failed.trial_id], flow_run_id=None)
    runs.finish(theirs, run)
    for store, text in ((ours, "ours"), (theirs, "theirs")):
        store.cards.mkdir()
        (store.cards / "shared.yaml").write_text(text)
    (theirs.cards / "new.yaml").write_text("theirs")
    (merged,) = merge(ours, [str(theirs.home)])
    assert (merged.failures, merged.runs, merged.cards) == (1, 1, ["new"])
    assert (ours.cards / "shared.yaml").read_text() == "ours"
    shutil.rmtree(ours.cards)
    rebuild(ours)
    assert rows(ours, "SELECT origin FROM runs") == [{"origin": "theirs"}]
    found = rows(ours, "SELECT seed, origin FROM trials WHERE status = 'failed'")
    assert found == [{"seed": 5, "origin": "theirs"}]


def test_a_store_may_be_a_url(lab, spec):
    ours, theirs = lab("ours", 1), lab("theirs", 2)
    memory = fsspec.filesystem("memory")
    memory.put(str(theirs.home), "/labs/far", recursive=True)
    try:
        (merged,) = merge(ours, ["memory://labs/far"])
    finally:
        memory.rm("/labs", recursive=True)
    assert (merged.label, merged.copied) == ("far", [spec(seed=2).trial_id])
    assert inspect(ours.trial(spec(seed=2).trial_id)) == ""


def test_own_code_travels_along(lab, spec):
    ours, theirs = lab("ours", 1), lab("theirs", 2)
    trial = spec(seed=2).trial_id
    (theirs.trial(trial) / "method.py").write_text("x = 1\n")
    (merged,) = merge(ours, [str(theirs.home)])
    assert merged.with_code == [trial]
    assert (ours.trial(trial) / "method.py").read_text() == "x = 1\n"


def test_places_that_cannot_be_merged_are_refused_before_anything_is_copied(lab, tmp_path):
    ours, theirs = lab("ours", 1), lab("theirs", 2)
    (tmp_path / "other" / "theirs" / "trials").mkdir(parents=True)
    for places, said in (
        ([ours.home], "is the store itself"),
        ([tmp_path], "is no store: it has no folder `trials`"),
        (["nosuch://place"], "cannot be read: Protocol not known: nosuch"),
        ([theirs.home, tmp_path / "other" / "theirs"], "would both be called theirs"),
    ):
        with pytest.raises(RequestError, match=said):
            merge(ours, [str(theirs.home), *map(str, places)][len(places) - 1 :])
    assert len(ours.done()) == 1


def test_a_store_without_a_name_is_called_after_the_folder_around_it(lab, tmp_path):
    theirs = lab("lab-c/.shotboard", 1)
    (source,) = sources_of([str(theirs.home)], Store(tmp_path / "ours"))
    assert source.label == "lab-c"


def test_a_merge_that_is_killed_leaves_whole_trials_and_goes_on(lab, spec):
    ours, theirs = lab("ours", 99), lab("theirs", *range(12))
    program = """
import os, signal, sys
from pathlib import Path
import operators.files as files
from tasks.comparing import merge
from tasks.storage.store import Store
put, seen = files._put, []
def dies(draft, path):
    seen.append(path)
    if len(seen) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    put(draft, path)
files._put = dies
merge.merge(Store(Path(sys.argv[1])), [sys.argv[2]])
"""
    killed = subprocess.run(
        [sys.executable, "-c", program, str(ours.home), str(theirs.home)], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(ours.done()) == 1 + 5
    assert {inspect(ours.trial(trial)) for trial in ours.done()} == {""}
    (draft,) = (path for path in ours.trials.iterdir() if path.name.startswith("."))
    (merged,) = merge(ours, [str(theirs.home)])
    assert (len(merged.copied), len(merged.same)) == (7, 5)
    for path in (draft, *draft.iterdir()):
        os.utime(path, (1, 1))
    assert left_behind(ours) == [draft]  # the next run removes it


def test_an_agreement_names_what_only_one_has(lab, spec):
    ours, theirs = lab("ours", 1), lab("theirs", 1)
    folders = [store.trial(spec(seed=1).trial_id) for store in (ours, theirs)]
    table = pq.read_table(folders[1] / "predictions.parquet")
    pq.write_table(table.slice(0, 3), folders[1] / "predictions.parquet")
    agreed = agreement(*folders)
    assert (agreed.verdict, agreed.rows_differ) == ("different", 4)
