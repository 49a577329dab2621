"""`shotboard compare` on small stores."""

import csv
import io
import json
import shutil

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.spec import TrialSpec
from tasks.comparing.choosing import Chosen, chosen
from tasks.comparing.sides import Named, recognised
from tasks.planning.resolve import RequestError
from tasks.storage import runs
from tasks.storage.store import Store

KNOWN = {"method": ["coop", "zoo"], "suite": ["zoo", "mini"], "run": ["1f2e0000", "1f2e1111"]}


@pytest.fixture(scope="module")
def ours(filled, tmp_path_factory):
    """A copy of the small store, with a run of its suite."""
    store = Store(shutil.copytree(filled.home, tmp_path_factory.mktemp("ours") / "lab"))
    run = runs.begin(store, suite="mini", trial_ids=sorted(store.done()), flow_run_id=None)
    runs.finish(store, run)
    return store


@pytest.fixture(scope="module")
def theirs(ours, tmp_path_factory):
    """The same trials elsewhere, one of which has answered one row otherwise."""
    store = Store(shutil.copytree(ours.home, tmp_path_factory.mktemp("theirs") / "lab"))
    change(store, next(t for t in sorted(store.done()) if spec_of(store, t)["seed"] == 2))
    return store


def spec_of(store, trial_id):
    return json.loads((store.trial(trial_id) / "trial.json").read_text())["spec"]


def change(store, trial_id):
    """Turns one row of a trial that is right into a wrong one, and its numbers with it."""
    folder = store.trial(trial_id)
    values = json.loads((folder / "trial.json").read_text())
    table = pq.read_table(folder / "predictions.parquet")
    predicted, label = table["predicted"].to_pylist(), table["label"].to_pylist()
    row = next(
        i for i, (said, right) in enumerate(zip(predicted, label, strict=True)) if said == right
    )
    predicted[row] = (label[row] + 1) % 4
    at = table.column_names.index("predicted")
    table = table.set_column(at, table.schema.field(at), pa.array(predicted, pa.int32()))
    pq.write_table(table, folder / "predictions.parquet")
    for metric in values["metrics"]:
        if metric["metric"] == "accuracy":
            metric["value"] -= 1 / metric["n"]
    values["sha256"] = {}
    values["provenance"]["torch_version"] = "9.9"
    (folder / "trial.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("coop", Named("method", "coop")),
        ("mini", Named("suite", "mini")),
        ("1f2e1", Named("run", "1f2e1111")),
        ("method:zoo", Named("method", "zoo")),
        ("run:1f2e0", Named("run", "1f2e0000")),
    ],
)
def test_a_name_is_recognised_by_what_there_is(text, meant):
    assert recognised(text, KNOWN) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("zoo", "'zoo' could be method:zoo or suite:zoo: write which one is meant."),
        ("1f2e", "could be run:1f2e0000 or run:1f2e1111"),
        ("coup", "'coup' is no method, suite or run of the board.*Did you mean coop"),
        ("suite:coop", "no suite is called 'coop'. There is: mini, zoo"),
        ("store:nowhere", "no store is called 'nowhere'. Give the folder that has `trials`"),
        ("run:", "no run is called ''"),
    ],
)
def test_what_is_unknown_or_ambiguous_is_refused(text, said):
    with pytest.raises(RequestError, match=said):
        recognised(text, KNOWN)


def test_a_folder_of_trials_is_a_store(ours, tmp_path, monkeypatch):
    monkeypatch.chdir(ours.home.parent)
    assert recognised("lab", KNOWN) == Named("store", str(ours.home.resolve()))
    (ours.home.parent / "zoo" / "trials").mkdir(parents=True)
    with pytest.raises(RequestError, match="method:zoo or suite:zoo or store:/"):
        recognised("zoo", KNOWN)


def test_two_methods_beside_each_other(ours, shotboard):
    said = shotboard("compare", "tip-adapter", "zero-shot", "--home", ours.home)
    assert said.code == 0, said.err
    assert "A = method:tip-adapter   B = method:zero-shot" in said.out
    found = shotboard("compare", "tip-adapter", "zero-shot", "--home", ours.home, "--json").json
    (row,) = found["rows"]
    with duckdb.connect(ours.board, read_only=True) as board:
        ((mean_a, mean_b),) = board.execute(
            "SELECT avg(value) FILTER (method = 'tip-adapter'), avg(value) FILTER "
            "(method = 'zero-shot') FROM trials JOIN metrics USING (trial_id) "
            "WHERE metric = 'accuracy'"
        ).fetchall()
        seen = board.execute(
            "SELECT p, p_images, ci95_low FROM significance "
            "WHERE method_a = 'tip-adapter' AND method_b = 'zero-shot'"
        ).fetchall()
    assert (row["mean_a"], row["mean_b"]) == pytest.approx((mean_a, mean_b))
    assert seen == [(row["p"], row["p_images"], row["ci95_low"])]
    assert row["n"] == 2


def test_two_stores_differ_in_the_one_number_that_was_changed(ours, theirs, shotboard):
    found = shotboard("compare", f"store:{ours.home}", str(theirs.home), "--json").json
    moved = [row for row in found["rows"] if row["difference"]]
    assert len(found["rows"]) == 2
    (row,) = moved
    n = row["images"]
    assert row["difference"] == pytest.approx(1 / n / row["n"])
    assert (row["outcome"], row["only_a"], row["only_b"]) == ("win", 1, 0)
    assert found["summary"][0]["wins"], found["summary"][0]["ties"] == (1, 1)
    assert any(line["what"].startswith("torch version") for line in found["differs"])
    assert found["only_a"] == found["only_b"] == found["unpaired"] == []


def test_other_formats_say_the_same(ours, theirs, shotboard):
    sides = f"store:{ours.home}", f"store:{theirs.home}"
    rows = shotboard("compare", *sides, "--json").json["rows"]
    said = list(csv.DictReader(io.StringIO(shotboard("compare", *sides, "--format", "csv").out)))
    assert [float(row["difference"]) for row in said] == [row["difference"] for row in rows]
    said = shotboard("compare", *sides, "--format", "markdown").out
    lines = [line for line in said.splitlines() if line.startswith("| few")]
    assert len(lines) == len(rows) + 1  # and one of the summary
    assert len({line.count("|") for line in lines[:-1]}) == 1


def test_a_run_a_suite_and_a_store_can_stand_beside_each_other(ours, theirs, shotboard):
    (run,) = (path.stem for path in ours.runs.glob("*.json"))
    from tasks.pages.rebuilding import rebuild_board

    rebuild_board(ours)
    for side in (run, "suite:mini"):
        answer = shotboard("compare", side, theirs.home, "--home", ours.home, "--json")
        assert len([row for row in answer.json["rows"] if row["difference"]]) == 1
    refused = shotboard("compare", "mini", "zero-shot", "--home", ours.home)
    assert refused.code == 2
    assert "a method is compared with a method" in refused.sentence


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--shots", "4"), "--shots 4: no trial of the board has it. There is: 0, 1."),
        (("--datasets", "pet"), "--datasets pet: no trial of the board has it. Did you mean pets"),
        (("--protocols", "few_shots"), "Did you mean few_shot?"),
    ],
)
def test_what_no_trial_has_is_refused(ours, shotboard, options, said):
    answer = shotboard("compare", "tip-adapter", "zero-shot", *options, "--home", ours.home)
    assert answer.code == 2
    assert said in answer.sentence


def test_sides_without_a_common_episode_say_why(ours, shotboard, tmp_path):
    other = Store(tmp_path / "other")
    for trial in ours.done():
        values = json.loads((ours.trial(trial) / "trial.json").read_text())
        spec = TrialSpec.from_json({**values["spec"], "dataset_fingerprint": "0" * 16})
        folder = shutil.copytree(ours.trial(trial), other.trial(spec.trial_id))
        values |= {"spec": spec.to_json(), "trial_id": spec.trial_id, "cell_id": spec.cell_id}
        (folder / "trial.json").write_text(json.dumps(values))
    sides = f"store:{ours.home}", f"store:{other.home}"
    said = shotboard("compare", *sides).out
    assert "nothing of A was tested on the same episodes" in said
    assert "not compared, for they share no episode (2)" in said
    was = spec_of(ours, min(ours.done()))["dataset_fingerprint"]
    assert f"zero-shot: dataset fingerprint {was} to {'0' * 16}" in said
    assert "| few" not in shotboard("compare", *sides, "--format", "markdown").out


def test_one_side_twice_is_refused(ours, shotboard):
    answer = shotboard("compare", "zero-shot", "method:zero-shot", "--home", ours.home)
    assert (answer.code, "are the same: name two." in answer.sentence) == (2, True)


def test_a_store_without_a_board_is_lent_one_and_left_as_it_is(ours, theirs, shotboard):
    theirs.board.unlink()
    before = sorted(path.relative_to(theirs.home) for path in theirs.home.rglob("*"))
    answer = shotboard("compare", f"store:{ours.home}", f"store:{theirs.home}", "--json")
    assert len(answer.json["rows"]) == 2
    after = sorted(path.relative_to(theirs.home) for path in theirs.home.rglob("*"))
    assert before == after


def test_a_merge_says_where_two_labs_disagree(ours, theirs, shotboard, tmp_path):
    both = Store(shutil.copytree(ours.home, tmp_path / "both"))
    answer = shotboard("merge", f"lab-b={theirs.home}", "--into", both.home)
    assert answer.code == 0, answer.err
    said = " ".join(answer.out.split())
    assert "store copied there already equal rounding different refused failures runs" in said
    assert "lab-b 0 2 0 0 1 0 0 0" in said
    assert "torch version" in said
    again = shotboard("merge", f"lab-b={theirs.home}", "--into", both.home, "--json").json
    (found,) = again[0]["reproductions"]
    assert (found["new"], found["agreed"]["verdict"]) == (False, "different")
    (row,) = shotboard("sql", "FROM disagreements", "--json", "--home", both.home).json
    assert (row["trial_id"], row["rows_differ"]) == (found["trial_id"], 1)
    from tasks.health.store_health import reproductions

    (check,) = reproductions(both)
    assert (check.status, found["trial_id"] in check.detail) == ("warn", True)


def test_a_damaged_trial_of_another_store_is_named_and_the_exit_code_is_1(
    theirs, shotboard, tmp_path
):
    other = Store(shutil.copytree(theirs.home, tmp_path / "other"))
    torn = min(other.done())
    (other.trial(torn) / "predictions.parquet").write_bytes(b"PAR1")
    answer = shotboard("merge", other.home, "--into", tmp_path / "new")
    assert answer.code == 1
    assert f"refused {torn} of other: predictions.parquet" in answer.err
    assert "2 trials on the board" in answer.out
    refused = shotboard("merge", tmp_path / "nowhere", "--into", tmp_path / "new")
    assert (refused.code, "is no store" in refused.sentence) == (2, True)


def test_trials_that_are_computed_again_are_equal_and_a_changed_one_is_not(
    ours, theirs, shotboard, clip_folder
):
    before = {path: path.stat().st_mtime_ns for path in ours.trials.rglob("*")}
    place = ("--backbone", clip_folder)
    answer = shotboard("verify", "--datasets", "pets", *place, "--home", ours.home)
    assert answer.code == 0, answer.err
    assert "3 computed again: 3 equal." in answer.out
    assert {path: path.stat().st_mtime_ns for path in ours.trials.rglob("*")} == before
    answer = shotboard("verify", *sorted(theirs.done()), *place, "--home", theirs.home, "--json")
    assert answer.code == 1
    (moved,) = (each for each in answer.json if each["verdict"] != "equal")
    (score,) = (each for each in moved["scores"] if each["metric"] == "accuracy")
    assert (moved["verdict"], score["rows_differ"]) == ("different", 1)
    assert score["difference"] == pytest.approx(1 / score["n"])
    assert any(line.startswith("torch version 9.9 to ") for line in moved["differs"])
    said = shotboard("verify", moved["trial_id"][:8], *place, "--home", theirs.home)
    assert f"{moved['trial_id']} accuracy of all:" in said.out


def test_a_trial_whose_backbone_or_data_is_gone_cannot_be_verified(ours, shotboard, tmp_path):
    other = Store(shutil.copytree(ours.home, tmp_path / "other"))
    answer = shotboard("verify", "--methods", "zero-shot", "--home", other.home)
    assert answer.code == 1
    assert "add --backbone PATH" in answer.err
    shutil.rmtree(other.data)
    answer = shotboard("verify", "--methods", "zero-shot", "--home", other.home)
    assert "`shotboard datasets ingest pets` brings it back" in answer.err
    assert "1 computed again: 1 impossible." in answer.out


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((), "which trials? Name some, select some"),
        (("--methods", "coup"), "--methods coup: no trial of the board has it."),
        (("--seeds", "0", "--methods", "tip-adapter"), "no trial of the board is all that"),
        (("--shots", "x"), "--shots x: give whole numbers"),
        (("ffffffff",), "no trial 'ffffffff'"),
    ],
)
def test_a_selection_that_means_no_trial_is_refused(ours, shotboard, asked, said):
    answer = shotboard("verify", *asked, "--home", ours.home)
    assert (answer.code, said in answer.sentence) == (2, True)


def test_a_sample_is_drawn_of_what_is_selected(ours):
    every = set(chosen(ours, [], Chosen(methods=["tip-adapter"])))
    seen = {tuple(chosen(ours, [], Chosen(methods=["tip-adapter"]), 1)) for _ in range(64)}
    assert {trial for (trial,) in seen} == every
    assert len(chosen(ours, [], Chosen(), 10)) == 3


def test_runs_are_listed_with_what_was_new_and_what_failed(ours, shotboard, tmp_path, spec):
    store = Store(shutil.copytree(ours.home, tmp_path / "runs"))
    shutil.rmtree(store.runs)
    there, lost = sorted(store.done()), spec(seed=77)
    first = runs.begin(store, suite="mini", trial_ids=there, flow_run_id="f1", done=there)
    runs.finish(store, first)
    store.record_failure(lost.trial_id, {"spec": lost.to_json(), "error": "no memory"})
    asked = [*there, lost.trial_id]
    known = {"flow_run_id": "f2", "done": there, "partial": True}
    second = runs.begin(store, suite="other", trial_ids=asked, **known)
    runs.finish(store, second, failed=1)
    going = runs.begin(store, suite="mini", trial_ids=there, flow_run_id="f3")
    rows = shotboard("runs", "--home", store.home, "--json").json
    found = {row["run_id"]: row for row in rows}
    names = ("status", "planned", "reused", "computed", "failed", "missing", "failed_trials")
    assert [found[first.run_id][name] for name in names] == ["completed", 3, 3, 0, 0, 0, []]
    lost_id = [lost.trial_id]
    assert [found[second.run_id][name] for name in names] == ["failed", 4, 3, 0, 1, 1, lost_id]
    assert found[going.run_id]["status"] == "running"
    assert found[going.run_id]["seconds"] >= 0
    assert [row["started_at"] for row in rows] == sorted(
        (row["started_at"] for row in rows), reverse=True
    )
    said = shotboard("runs", "--suite", "other", "--home", store.home).out
    assert "other, in part" in said
    assert "1 of 4 trials failed" in said
    assert first.run_id not in said
    refused = shotboard("runs", "--suite", "othr", "--home", store.home)
    assert (refused.code, "Did you mean other?" in refused.sentence) == (2, True)
    runs.finish(store, going)


def test_a_store_without_runs_says_how_to_begin(shotboard, tmp_path):
    assert "no run yet" in shotboard("runs", "--home", tmp_path).out
    assert shotboard("runs", "--home", tmp_path, "--json").json == []
