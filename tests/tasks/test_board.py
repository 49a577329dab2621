import json
import shutil
import threading

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.board import TABLES, VIEWS, audit, inspect, projecting
from operators.board.variants import Chosen
from operators.metrics import METRICS, Metric, Score
from operators.metrics.predictions import PREDICTIONS
from operators.spec import Target, TrialSpec
from operators.trials.results import Cost, Provenance, TrialResult
from tasks.pages import board
from tasks.pages.artifacts import mlflow_place, pictures_markdown
from tasks.pages.asking import BoardError, rows
from tasks.pages.board import rebuild
from tasks.pages.rebuilding import rebuild_board
from tasks.pages.reports import board_rows, changes_markdown
from tasks.storage import runs
from tasks.storage.store import Store

ROWS = 10
PRIVATE = ".leaderboard.private.duckdb"


def spec(**changes):
    values = {
        "method": "coop",
        "method_revision": 1,
        "hyperparameters": {"n_context": 4},
        "backbone": "clip-vit-b16",
        "backbone_fingerprint": "b0",
        "dataset": "dtd",
        "dataset_fingerprint": "d0",
        "protocol": "few_shot",
        "shots": 4,
        "seed": 1,
    }
    return TrialSpec(**{**values, **changes})


def commit(store, correct=5, **changes):
    one = spec(**changes)
    folder = store.trial(one.trial_id)
    folder.mkdir(parents=True)
    columns = {
        "split": ["all"] * ROWS,
        "row_id": range(ROWS),
        "label": [0] * ROWS,
        "predicted": [int(row >= correct) for row in range(ROWS)],
        "confidence": [0.5] * ROWS,
    }
    pq.write_table(pa.table(columns, schema=PREDICTIONS), folder / "predictions.parquet")
    result = TrialResult(
        spec=one,
        metrics=(Score("all", "accuracy", correct / ROWS, ROWS),),
        cost=Cost(
            tune_seconds=1.0,
            evaluate_seconds=0.5,
            peak_memory_bytes=100,
            trainable_parameters=8,
            steps=5,
        ),
        provenance=Provenance(
            started_at="2026-01-01T02:00:00+02:00", device="cpu", torch_version="2.13.0"
        ),
        episode_fingerprint=f"{one.dataset}-{one.shots}-{one.seed}",
    )
    (folder / "prompt.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (folder / "trial.json").write_text(json.dumps(result.to_json()))
    return folder


def content(store):
    return {table: sorted(map(repr, rows(store, f"SELECT * FROM {table}"))) for table in TABLES}


@pytest.fixture(scope="module")
def private_file(tmp_path_factory):
    empty = Store(tmp_path_factory.mktemp("empty"))
    rebuild(empty)
    return empty.home / PRIVATE


@pytest.fixture
def store(tmp_path, private_file):
    """An empty store, whose private file is there already: making one takes most of a second."""
    (tmp_path / "store").mkdir()
    shutil.copyfile(private_file, tmp_path / "store" / PRIVATE)
    return Store(tmp_path / "store")


def test_an_empty_store_gives_a_board_whose_tables_and_views_answer(tmp_path):
    store = Store(tmp_path / "not there yet")
    done = rebuild(store)
    assert (done.trials, done.failed, done.skipped) == (0, 0, {})
    for name in (*TABLES, *VIEWS):
        rows(store, f"SELECT * FROM {name}")


def chosen(one):
    return Chosen(marks=f"ctx{one.hyperparameters['n_context']}")


def test_a_rebuild_reads_only_what_is_new_and_a_full_one_gives_the_same(store):
    commit(store)
    assert rebuild(store).added == 1
    commit(store, seed=2, correct=7)
    store.record_failure(
        spec(seed=3).trial_id, {"spec": spec(seed=3).to_json(), "error": "no memory"}
    )
    done = rebuild(store, chosen=chosen)
    assert (done.added, done.trials, done.failed) == (1, 2, 1)
    step_by_step = content(store)
    done = rebuild(store, chosen=chosen, full=True)
    assert done.added == 2
    assert content(store) == step_by_step


def test_what_else_a_trial_leans_on_and_is_tested_on_is_on_the_board(store):
    teacher = spec(method="promptsrc")
    commit(
        store,
        aids={"teacher": teacher, "corpus": "c" * 16},
        targets={"cars": Target("f" * 16, "card-1")},
        held_out="sketch",
    )
    rebuild(store)
    (row,) = rows(store, "SELECT * FROM trials")
    assert json.loads(row["aids"]) == {"teacher": teacher.trial_id, "corpus": "c" * 16}
    assert row["teacher_trial_id"] == teacher.trial_id
    cars = {"fingerprint": "f" * 16, "template_set": "card-1"}
    assert json.loads(row["targets"]) == {"cars": cars}
    assert row["held_out"] == "sketch"


def test_students_name_their_teachers_and_their_seeds_are_one_row(store):
    for seed in (1, 2):
        teacher = spec(method="promptsrc", seed=seed)
        commit(store, method="promptsrc", seed=seed)
        commit(store, method="promptkd", seed=seed, aids={"teacher": teacher})
    commit(store, seed=3)
    rebuild(store)
    taught = rows(
        store,
        "SELECT student.seed, teacher.method FROM trials AS student "
        "JOIN trials AS teacher ON student.teacher_trial_id = teacher.trial_id "
        "WHERE student.seed = teacher.seed ORDER BY 1",
    )
    assert [tuple(row.values()) for row in taught] == [(1, "promptsrc"), (2, "promptsrc")]
    alone = rows(store, "SELECT method FROM trials WHERE teacher_trial_id IS NULL ORDER BY 1")
    assert [row["method"] for row in alone] == ["coop", "promptsrc", "promptsrc"]
    board = rows(store, "SELECT method, n FROM leaderboard ORDER BY method")
    assert {row["method"]: row["n"] for row in board} == {"coop": 1, "promptkd": 2, "promptsrc": 2}


def test_a_trial_that_is_gone_leaves_the_board_and_one_computed_again_replaces_it(store):
    folder = commit(store)
    commit(store, seed=2)
    rebuild(store)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    assert rebuild(store).trials == 1
    assert len(rows(store, "SELECT * FROM predictions")) == ROWS
    commit(store, correct=9)
    rebuild(store)
    assert rows(store, "SELECT max(value) AS v FROM metrics WHERE metric = 'accuracy'") == [
        {"v": 0.9}
    ]


def values_of(store, trial_id):
    found = rows(store, f"SELECT * FROM metrics WHERE trial_id = '{trial_id}'")
    return {row["metric"]: (row["value"], row["n"]) for row in found}


def test_what_a_trial_does_not_say_follows_from_its_predictions(store):
    """Of a trial that said its accuracy alone; its predictions hold no likelihoods."""
    folder = commit(store, correct=7)
    rebuild(store)
    assert values_of(store, folder.name) == {
        "accuracy": (0.7, ROWS),
        "macro_f1": (pytest.approx(14 / 17), ROWS),
        "per_class_mean": (0.7, ROWS),
        "ece": (pytest.approx(0.2), ROWS),
        **dict.fromkeys(("top5_accuracy", "nll", "brier"), (None, ROWS)),
    }


def test_a_number_that_a_trial_says_is_not_computed_anew(store):
    folder = commit(store, correct=7)
    values = json.loads((folder / "trial.json").read_text())
    values["metrics"].append({"split": "all", "metric": "macro_f1", "value": 0.25, "n": ROWS})
    (folder / "trial.json").write_text(json.dumps(values))
    rebuild(store)
    assert values_of(store, folder.name)["macro_f1"] == (0.25, ROWS)


def test_predictions_are_opened_only_for_what_they_may_say(store, monkeypatch):
    whole = commit(store)
    values = json.loads((whole / "trial.json").read_text())
    said = {one["metric"] for one in values["metrics"]}
    values["metrics"] += [
        {"split": "all", "metric": name, "value": 0.5, "n": ROWS} for name in METRICS.keys() - said
    ]
    (whole / "trial.json").write_text(json.dumps(values))
    values["metrics"] = [one for one in values["metrics"] if one["metric"] != "nll"]
    opened = []
    for name in ("read_schema", "read_table"):
        read = getattr(pq, name)
        monkeypatch.setattr(
            projecting.pq, name, lambda *a, n=name, r=read, **k: opened.append(n) or r(*a, **k)
        )
    rebuild(store)
    assert opened == []
    (whole / "trial.json").write_text(json.dumps(values))
    rebuild(store)
    assert opened == ["read_schema"]


def test_a_new_metric_comes_to_the_trials_that_are_there_and_moves_no_number(store, monkeypatch):
    folders = [commit(store, correct=correct, seed=correct) for correct in (4, 8)]
    rebuild(store)
    before = content(store)
    files = {file: file.read_bytes() for folder in folders for file in folder.iterdir()}
    wrong = Metric(
        title="share of rows whose class is wrong",
        of=lambda answers: float((answers["label"] != answers["predicted"]).mean()),
        columns=frozenset({"label", "predicted"}),
        better="lower",
    )
    monkeypatch.setitem(METRICS, "miss_rate", wrong)
    tracks = [row | {"metrics": [*row["metrics"], "miss_rate"]} for row in board.track_rows()]
    monkeypatch.setattr(board, "track_rows", lambda: tracks)
    done = rebuild(store)
    assert (done.trials, done.skipped) == (2, {})
    ranked = rows(store, "SELECT mean, rank FROM leaderboard WHERE metric = 'miss_rate'")
    assert ranked == [{"mean": pytest.approx(0.4), "rank": 1}]
    found = [values_of(store, folder.name)["miss_rate"] for folder in folders]
    assert found == [(0.6, ROWS), (pytest.approx(0.2), ROWS)]
    after = content(store)
    for table, old in before.items():
        new = [row for row in after[table] if "miss_rate" not in row]
        assert new == (old if table != "tracks" else []), table
    assert files == {file: file.read_bytes() for folder in folders for file in folder.iterdir()}
    assert rebuild(store).added == 0


def test_trials_of_a_track_without_labels_are_on_the_board_beside_damaged_ones(store, monkeypatch):
    """Their metrics follow from other columns, and their predictions are not in the table."""
    tracks = [*board.track_rows(), {**board.track_rows()[0], "track": "language-modelling"}]
    tracks[-1] |= {"metrics": ["nll"], "primary_metric": "nll", "columns": ["log_probability"]}
    protocols = [dict(row) for row in board.protocol_rows()]
    for row in protocols:
        if row["protocol"] == "zero_shot":
            row |= {"track": "language-modelling", "primary_metric": "nll"}
    monkeypatch.setattr(board, "track_rows", lambda: tracks)
    monkeypatch.setattr(board, "protocol_rows", lambda: protocols)
    labelled, damaged, worded = (
        commit(store),
        commit(store, seed=2),
        commit(store, protocol="zero_shot", shots=0),
    )
    values = json.loads((worded / "trial.json").read_text())
    values["metrics"] = [{"split": "all", "metric": "other", "value": 0.0, "n": 2}]
    (worded / "trial.json").write_text(json.dumps(values))
    words = pa.table({"split": ["all"] * 2, "row_id": [0, 1], "log_probability": [-1.0, -3.0]})
    pq.write_table(words, worded / "predictions.parquet")
    whole = pq.read_table(damaged / "predictions.parquet")
    pq.write_table(whole.drop_columns(["confidence"]), damaged / "predictions.parquet")
    done = rebuild(store)
    assert list(done.skipped) == [f"trials/{damaged.name}"]
    shown = rows(store, "SELECT DISTINCT trial_id FROM predictions")
    assert shown == [{"trial_id": labelled.name}]
    assert values_of(store, worded.name)["nll"] == (2.0, 2)
    asked = "protocol = 'zero_shot' AND is_primary"
    (row,) = rows(store, f"SELECT metric, mean FROM leaderboard WHERE {asked}")
    assert row == {"metric": "nll", "mean": 2.0}
    assert inspect(worded) == ""
    values["metrics"][0]["n"] = 3
    (worded / "trial.json").write_text(json.dumps(values))
    assert "other numbers" in inspect(worded)


def test_times_are_kept_as_utc(store):
    commit(store)
    rebuild(store)
    assert rows(store, "SELECT started_at FROM trials") == [{"started_at": "2026-01-01T00:00:00"}]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "trial.json").unlink(), "trial.json is missing"),
        (lambda folder: (folder / "trial.json").write_text('{"form'), "Unterminated string"),
        (lambda folder: (folder / "trial.json").write_text("[]"), "holds no JSON object"),
        (lambda folder: edit(folder, ["spec", "shots"], 8), "the file was edited"),
        (lambda folder: edit(folder, ["cost", "tune_seconds"], "soon"), "soon"),
        (lambda folder: edit(folder, ["metrics", 0, "n"], None), "None"),
        (lambda folder: edit(folder, ["provenance"], {}), "missing"),
        (lambda folder: (folder / "predictions.parquet").unlink(), "predictions.parquet is miss"),
        (lambda folder: (folder / "predictions.parquet").write_bytes(b"PAR1"), "predictions.par"),
        (lambda folder: folder.rename(folder.with_name("0" * 16)), "it was renamed"),
    ],
)
def test_a_damaged_trial_is_left_out_and_named(store, damage, reason):
    damage(commit(store))
    commit(store, seed=2)
    done = rebuild(store)
    assert done.trials == 1
    (said,) = done.skipped.values()
    assert reason in said


def edit(folder, path, value):
    whole = json.loads((folder / "trial.json").read_text())
    part = whole
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (folder / "trial.json").write_text(json.dumps(whole))


def test_a_damaged_failure_run_or_receipt_is_left_out_and_named(store):
    for folder in (store.failures, store.runs, store.published):
        folder.mkdir(parents=True)
        (folder / "x.json").write_text("{}")
    (store.published / "models.json").write_text("{}")  # no receipt, and no trouble either
    assert set(rebuild(store).skipped) == {"failures/x.json", "runs/x.json", "published/x.json"}


@pytest.mark.parametrize("content", [b"", b"not a database", b"DUCK" * 10_000])
def test_a_damaged_private_file_is_made_anew(store, content):
    commit(store)
    rebuild(store)
    (store.home / PRIVATE).write_bytes(content)
    assert rebuild(store).added == 1


@pytest.mark.parametrize("suffix", ["", ".wal"])
def test_a_folder_in_the_place_of_the_private_file_goes(store, suffix):
    private = store.home / f"{PRIVATE}{suffix}"
    private.unlink(missing_ok=True)
    (private / "something").mkdir(parents=True)
    rebuild(store)
    assert rebuild(store).trials == 0
    assert not private.is_dir()


def test_the_board_says_what_computed_a_trial_and_null_where_nobody_noted_it(store):
    noted = {
        "git_dirty": True,
        "threads": 4,
        "cpu_model": "a CPU",
        "cpu_capability": "AVX2",
        "numpy_version": "2.4",
        "python_version": "3.11",
        "templates": ["a photo of a {}.", "a {}."],
    }
    old, new = commit(store), commit(store, seed=2)
    origin = json.loads((old / "trial.json").read_text())["provenance"]
    edit(old, ["provenance"], {name: origin[name] for name in origin if name not in noted})
    edit(new, ["provenance"], {**origin, **noted})
    assert rebuild(store).skipped == {}
    first, second = rows(store, f"SELECT {', '.join(noted)} FROM trials ORDER BY seed")
    assert first == dict.fromkeys(noted)
    assert second == noted
    assert rebuild(store, full=True).trials == 2


def test_a_private_file_of_an_older_form_is_made_anew(store):
    commit(store)
    rebuild(store)
    with duckdb.connect(store.home / PRIVATE) as connection:
        connection.execute("UPDATE schema_version SET version = 'older'")
    assert rebuild(store).added == 1


def test_a_board_of_another_version_is_told_with_the_way_out(store):
    commit(store)
    rebuild(store)
    with duckdb.connect(store.board) as connection:
        connection.execute("DROP VIEW leaderboard")
        connection.execute("DROP VIEW nightly_changes")
    for ask in (board_rows, lambda store: changes_markdown(store, "mini")):
        with pytest.raises(BoardError, match=r"another version .* `shotboard board --rebuild`"):
            ask(store)
    rebuild(store, full=True)
    assert len(board_rows(store)) == 1


def test_readers_are_served_while_rebuilds_run(store):
    commit(store)
    rebuild(store)
    seen, errors = [], []
    over = threading.Event()

    def read():
        while not over.is_set():
            try:
                seen.append(rows(store, "SELECT count(*) AS n FROM trials")[0]["n"])
            except Exception as error:
                errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for seed in range(2, 6):
        commit(store, seed=seed)
        rebuild(store)
    over.set()
    reader.join()
    assert errors == []
    assert seen == sorted(seen)
    assert set(seen) <= {1, 2, 3, 4, 5}


def test_a_rebuild_leaves_no_draft_behind(store):
    (store.home / ".leaderboard.draft-killed").write_text("")
    rebuild(store)
    assert list(store.home.glob("*draft*")) == []


def test_a_board_that_cannot_be_published_is_a_sentence(store):
    (store.board / "in the way").mkdir(parents=True)
    with pytest.raises(BoardError, match=r"could not be published.*`rm -r .*trials are unharmed"):
        rebuild(store)


def test_accuracies_follow_from_the_predictions(store):
    folder = commit(store)
    commit(store, seed=2)
    rebuild(store)
    with duckdb.connect(store.board, read_only=True) as connection:
        assert audit(connection) == []
    edit(folder, ["metrics", 0, "value"], 0.9)
    (said,) = rebuild(store).skipped.values()
    assert "accuracy 0.9, but its predictions give 0.5" in said
    with duckdb.connect(store.board) as connection:
        connection.execute("UPDATE metrics SET value = 0.9")
        (complaint,) = audit(connection)
    assert "accuracy 0.9, but its predictions give 0.5" in complaint


def test_sql_without_a_board_says_how_to_get_one(store):
    with pytest.raises(BoardError, match=r"no board yet.*shotboard run"):
        rows(store, "SELECT 1")


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO trials SELECT * FROM trials",
        "DELETE FROM metrics",
        "CREATE TABLE mine AS SELECT 1",
        "DROP VIEW leaderboard",
        "COPY trials TO 'out.csv'",
        "ATTACH 'other.duckdb'",
        "SET threads = 1",
        "SELECT 1; DELETE FROM metrics",
    ],
)
def test_writes_are_refused(store, sql):
    rebuild(store)
    with pytest.raises(BoardError, match="is refused: the board is read only"):
        rows(store, sql)


def test_several_statements_are_refused_for_one_answer(store):
    rebuild(store)
    with pytest.raises(BoardError, match=r"holds 2 statements.*one at a time"):
        rows(store, "SELECT 1; SELECT 2")
    assert rows(store, "SELECT 1 AS n; -- the end\n") == [{"n": 1}]


def test_files_are_out_of_reach_of_sql(store, tmp_path):
    rebuild(store)
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with pytest.raises(BoardError, match="disabled"):
        rows(store, f"SELECT * FROM read_csv('{tmp_path / 'secret.csv'}')")


def test_wrong_sql_is_explained_in_one_paragraph(store):
    rebuild(store)
    with pytest.raises(BoardError, match=r"leaderbord does not exist!.*leaderboard") as caught:
        rows(store, "SELECT *\nFROM leaderbord")
    assert "\n" not in str(caught.value)
    with pytest.raises(BoardError, match="the SQL is empty"):
        rows(store, " ")


def test_a_damaged_board_is_a_sentence(store):
    rebuild(store)
    store.board.write_bytes(b"not a database")
    with pytest.raises(BoardError, match="not a valid DuckDB"):
        rows(store, "SELECT 1")


def test_changes_are_told_from_the_second_whole_run_on(store):
    def run(correct, partial=False):
        commit(store, correct, seed=correct)
        ids = [spec(seed=correct).trial_id]
        runs.finish(
            store, runs.begin(store, suite="mini", trial_ids=ids, flow_run_id=None, partial=partial)
        )
        rebuild(store)
        return changes_markdown(store, "mini")

    assert run(5).startswith("Nothing to compare yet: this page needs two whole runs of mini.")
    assert run(6, partial=True).startswith("Nothing to compare yet")
    assert "| moved | 0.5000 | 0.7000 |" in run(7)
    assert changes_markdown(store, "other").startswith("Nothing to compare yet")


def whole_run(store, trial_ids):
    """A run of the suite `mini` that has ended, on the board."""
    begun = runs.begin(store, suite="mini", trial_ids=trial_ids, flow_run_id=None)
    runs.finish(store, begun)
    rebuild(store)
    return store.runs / f"{begun.run_id}.numbers.parquet"


def test_numbers_that_are_lower_under_the_same_ids_are_told(store):
    cells = [{"dataset": f"d{i}"} for i in range(6)]
    folders = [commit(store, 7, seed=seed, **cell) for cell in cells for seed in (1, 2, 3)]
    ids = [folder.name for folder in folders]
    kept = whole_run(store, ids)
    for folder in folders:
        shutil.rmtree(folder)
    for cell in cells:
        for seed in (1, 2, 3):
            commit(store, 6, seed=seed, **cell)
    before = kept.read_bytes()
    rebuild(store)
    assert kept.read_bytes() == before  # what a run saw is kept once and for all
    whole_run(store, ids)
    lines = changes_markdown(store, "mini").splitlines()[2:]
    assert len(lines) == 6
    assert all("| moved | 0.7000 | 0.6000 | -0.1000 | by itself |" in line for line in lines)
    rebuild(store, full=True)
    assert changes_markdown(store, "mini").splitlines()[2:] == lines
    whole_run(store, ids)
    assert changes_markdown(store, "mini").startswith("Nothing has changed")


def test_rows_of_some_trials_are_over_their_seeds_alone(store):
    for seed, correct in ((1, 5), (2, 7), (3, 9)):
        commit(store, correct=correct, seed=seed)
    rebuild(store)
    specs = [spec(seed=seed) for seed in (1, 2, 3)]
    (one,) = board_rows(store, specs[:1])
    assert (one["n"], one["mean"], one["std"], one["ci95_low"]) == (1, 5 / ROWS, None, None)
    assert board_rows(store, specs) == board_rows(store)
    assert board_rows(store, []) == []


def test_the_pictures_of_a_run_are_png_with_words(store):
    for shots in (1, 4):
        commit(store, shots=shots)
    rebuild(store)
    pictures = pictures_markdown(store, board_rows(store)).split("![")[1:]
    assert len(pictures) == 2
    for each in pictures:
        alt, _, content = each.partition("](data:image/png;base64,")
        assert "coop" in alt
        assert content.startswith("iVBOR")  # as every PNG does


def ranked_by(metric, monkeypatch):
    """As if the track of the trials had another primary metric."""
    tracks = [row | {"primary_metric": metric} for row in board.track_rows()]
    protocols = [row | {"primary_metric": metric} for row in board.protocol_rows()]
    monkeypatch.setattr(board, "track_rows", lambda: tracks)
    monkeypatch.setattr(board, "protocol_rows", lambda: protocols)


def test_pages_read_the_primary_metric_of_the_track(store, monkeypatch):
    ranked_by("ece", monkeypatch)
    good, bad = commit(store, correct=6), commit(store, correct=9, method="other")
    whole_run(store, [good.name, bad.name])
    found = board_rows(store)
    assert [(row["method"], row["metric"], row["better"]) for row in found] == [
        ("coop", "ece", "lower"),
        ("other", "ece", "lower"),
    ]
    assert [row["mean"] for row in found] == [pytest.approx(0.1), pytest.approx(0.4)]
    shutil.rmtree(good)
    commit(store, correct=8)
    whole_run(store, [good.name, bad.name])
    (line,) = changes_markdown(store, "mini").splitlines()[2:]
    assert "| coop | 4 | all | moved | 0.1000 | 0.3000 | 0.2000 | by itself |" in line


def test_a_run_that_is_a_part_or_goes_on_keeps_no_numbers(store):
    ids = [commit(store).name]
    runs.begin(store, suite="mini", trial_ids=ids, flow_run_id=None)
    part = runs.begin(store, suite="mini", trial_ids=ids, flow_run_id=None, partial=True)
    runs.finish(store, part)
    rebuild(store)
    assert list(store.runs.glob("*.parquet")) == []


def test_numbers_of_a_run_that_are_damaged_are_named_and_made_anew(store):
    kept = whole_run(store, [commit(store).name])
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-9])
    (said,) = rebuild(store).skipped.items()
    assert said[0] == f"runs/{kept.name}"
    assert kept.read_bytes() == whole
    assert rebuild(store).skipped == {}


def test_a_page_names_mlflow_or_the_commands_that_show_it(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert mlflow_place(store) == "at http://mlflow:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    assert mlflow_place(store) == "at databricks"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://anna:s3cret@host/db")
    assert "`mlflow ui --backend-store-uri postgresql://anna:***@host/db`" in mlflow_place(store)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    place = mlflow_place(store)
    assert f"`shotboard up --home {store.home}`" in place
    assert f"`mlflow ui --backend-store-uri sqlite:///{store.home}/mlflow.db`" in place


def test_rows_are_values_that_json_can_write(store):
    rebuild(store)
    sql = (
        "SELECT sum(1) AS whole, 1.5::DECIMAL(3, 1) AS part, 'nan'::DOUBLE AS none, "
        "TIMESTAMP '2026-01-01' AS time, [1] AS list, {a: INTERVAL 1 DAY} AS other"
    )
    (row,) = rows(store, sql)
    assert (row["whole"], row["part"], row["none"]) == (1, 1.5, None)
    assert (row["time"], row["list"]) == ("2026-01-01T00:00:00", [1])
    json.dumps(row, allow_nan=False)


def test_classes_have_the_names_of_every_version_that_was_ingested(store):
    for fingerprint, names in (("f0", ["cat", "dog"]), ("f1", ["cat", "dog", "boat"])):
        folder = store.data / "pets" / fingerprint
        folder.mkdir(parents=True)
        card = {"name": "pets", "fingerprint": fingerprint, "classes": names}
        (folder / "card.json").write_text(json.dumps(card))
    torn = store.data / "torn" / "f2"
    torn.mkdir(parents=True)
    (torn / "card.json").write_text("{")
    commit(store, correct=5, dataset="pets", dataset_fingerprint="f1")
    rebuild_board(store)
    (taken,) = rows(store, "SELECT class, predicted_class, n FROM confusions WHERE predicted = 1")
    assert (taken["class"], taken["predicted_class"], taken["n"]) == ("cat", "dog", 5)
    assert len(rows(store, "FROM classes WHERE dataset = 'pets'")) == 5


def test_the_board_says_how_runs_ended_and_that_a_killed_one_has_crashed(store):
    ids = [commit(store, seed=seed).name for seed in (1, 2)]
    begun = runs.begin(store, suite="mini", trial_ids=ids, flow_run_id=None, done=ids)
    done = runs.finish(store, begun)
    going = runs.begin(store, suite="mini", trial_ids=ids, flow_run_id=None)
    gone = runs.begin(store, suite="mini", trial_ids=ids, flow_run_id=None)
    file = store.runs / f"{gone.run_id}.json"
    another = {"process_started_at": 1.0, "process_key": f"{gone.process_key}0"}
    file.write_text(json.dumps(json.loads(file.read_text()) | another))
    rebuild(store)
    found = {row["run_id"]: row for row in rows(store, "FROM runs")}
    assert {run: row["status"] for run, row in found.items()} == {
        done.run_id: "completed",
        going.run_id: "running",
        gone.run_id: "crashed",
    }
    row = found[done.run_id]
    assert (row["planned"], row["reused"], row["computed"], row["failed"]) == (2, 2, 0, 0)
    runs.finish(store, going)
