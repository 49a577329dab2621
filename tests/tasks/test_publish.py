import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.metrics import Score
from operators.spec import Target, TrialSpec
from operators.trials.results import Cost, Provenance, TrialResult
from tasks.progress import reporting_to
from tasks.publishing import receipts
from tasks.publishing.cell_metrics import CURVE
from tasks.publishing.publish import Publication, published_along, verify
from tasks.storage import processes
from tasks.storage.leases import leases_of
from tasks.storage.moving import _rewrite, moved_from, settle
from tasks.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::UserWarning:mlflow"),
]


def publish(store, trials, **how):
    return Publication(store, trials, **how).finish()


TRIAL = TrialSpec(
    method="coop",
    method_revision=1,
    hyperparameters={"n_context": 4, "text": "x" * 900},
    backbone="tiny",
    backbone_fingerprint="b" * 16,
    dataset="digits",
    dataset_fingerprint="d" * 16,
    protocol="few_shot",
    shots=4,
    seed=1,
)


def write_trial(
    store,
    *,
    seed=1,
    method="coop",
    accuracy=0.5,
    ece=0.1,
    nll=None,
    elsewhere=(),
    told=None,
    **changes,
):
    """Puts a made-up trial into the store; `told` are fields of its result."""
    spec = replace(TRIAL, seed=seed, method=method, **changes)
    result = TrialResult(
        spec=spec,
        metrics=(
            Score("all", "accuracy", accuracy, 100),
            Score("all", "ece", ece, 100),
            Score("all", "nll", nll, 100),
            *(Score(target, "accuracy", value, 100) for target, value in elsewhere),
        ),
        cost=Cost(
            tune_seconds=1.5,
            evaluate_seconds=0.5,
            peak_memory_bytes=10**8,
            trainable_parameters=2048,
            steps=10,
            tune_flops=3 * 10**15,
            plain_tune_flops=6 * 10**16,
        ),
        provenance=Provenance(
            started_at=f"2026-01-01T00:00:0{seed}+00:00",
            device="cpu",
            torch_version="2",
            git_commit="abc",
        ),
        episode_fingerprint="e" * 16,
        **(told or {}),
    )
    folder = store.trial(spec.trial_id)
    folder.mkdir(parents=True)
    (folder / "trial.json").write_text(json.dumps(result.to_json()))
    (folder / "predictions.parquet").write_bytes(b"rows")
    (folder / "prompt.safetensors").write_bytes(b"prompt")
    teacher = spec.teacher
    if teacher is not None and not store.trial(teacher.trial_id).exists():
        write_trial(store, seed=teacher.seed, method=teacher.method)
    for name, fingerprint in ((spec.dataset, spec.dataset_fingerprint), *others_of(spec)):
        write_dataset(store.data / name / fingerprint)
    return spec.trial_id


def others_of(spec):
    return [(name, target.fingerprint) for name, target in spec.targets.items()]


def write_dataset(folder):
    """A dataset of two texts, as far as MLflow is told of it."""
    if folder.exists():
        return
    folder.mkdir(parents=True)
    card = {"name": folder.parent.name, "fingerprint": folder.name, "kind": "text"}
    card |= {"classes": ["good", "bad"], "template": "{text} {answer}", "templates": []}
    card |= {"rows": 2, "splits": {"train": 1, "test": 1}, "license": "CC0", "homepage": "here"}
    (folder / "card.json").write_text(json.dumps(card))
    rows = {"label": [0, 1], "split": ["train", "test"], "domain": ["", ""]}
    rows |= {"sha256": ["a" * 64, "b" * 64], "text": ["fine", "poor"]}
    pq.write_table(pa.table(rows), folder / "data.parquet")


@pytest.fixture
def store(tmp_path, empty_database, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    return Store(tmp_path)


@pytest.fixture
def client(store):
    from tasks.publishing.mlflow_client import connect

    return connect(store.mlflow_uri)


def cell_runs(client, suite="quick"):
    experiment = client.get_experiment_by_name(suite)
    runs = client.search_runs([experiment.experiment_id])
    return [run for run in runs if "cell_id" in run.data.tags]


def test_a_cell_is_one_run_below_that_of_the_flow_run(store, client):
    trials = [write_trial(store, seed=seed, accuracy=seed / 10) for seed in (1, 2)]
    report = publish(store, trials, suite="quick", run_id="r1", git_commit="def")
    (run,) = cell_runs(client)
    assert (report.published, report.skipped) == (1, 0)
    assert run.data.tags["mlflow.parentRunId"] == report.parent_run_id
    assert run.data.tags["shotboard.trial_ids"] == ",".join(sorted(trials))
    assert run.data.tags["shotboard.seeds"] == "1,2"
    assert run.data.tags["mlflow.source.git.commit"] == "abc"
    assert run.data.tags["git_commit"] == "abc"
    assert run.data.params["hp.n_context"] == "4"
    assert run.data.params["hp.text"] == "x" * 900
    assert run.info.end_time == 1767225604000
    names = {
        item.path
        for trial in trials
        for item in client.list_artifacts(run.info.run_id, f"trials/{trial}")
    }
    assert f"trials/{trials[0]}/prompt.safetensors" in names
    assert len(names) == 6
    assert verify(store) == []


def test_no_seed_is_a_step(store, client):
    trials = [write_trial(store, seed=seed, accuracy=seed / 10) for seed in (1, 3)]
    publish(store, trials, suite="quick", run_id="r1")
    (run,) = cell_runs(client)
    metrics = run.data.metrics
    assert {n: metrics[n] for n in metrics if n.startswith("seed_")} == {
        "seed_1/all/accuracy": 0.1,
        "seed_3/all/accuracy": 0.3,
    }
    assert metrics["all/accuracy_mean"] == pytest.approx(0.2)
    assert metrics["all/accuracy_std"] == pytest.approx(0.1 * 2**0.5)
    for name in metrics:
        assert [point.step for point in client.get_metric_history(run.info.run_id, name)] == [0]


def test_curves_have_the_epoch_as_step(store, client):
    told = {"losses": (3.0, 2.0, 1.0), "validation": (0.2, 0.4, 0.3)}
    trials = [
        write_trial(store, seed=1, told=told),
        write_trial(store, seed=2, told={"losses": tuple(map(float, range(120)))}),
    ]
    publish(store, trials, suite="quick", run_id="r1")
    (run,) = cell_runs(client)

    def curve(name):
        points = client.get_metric_history(run.info.run_id, name)
        return [(point.step, point.value) for point in sorted(points, key=lambda p: p.step)]

    assert curve("loss/seed_1") == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert curve("validation/seed_1") == [(1, 0.2), (2, 0.4), (3, 0.3)]
    long = curve("loss/seed_2")
    assert long[-1] == (120, 119.0)
    assert all(value == step - 1 for step, value in long)
    assert 30 < len(long) <= CURVE
    assert "validation/seed_2" not in run.data.metrics


def test_a_mean_that_a_seed_has_no_part_in_is_left_out(store, client):
    """As on the board, where it is NULL."""
    older, newer = (write_trial(store, seed=s, nll=n) for s, n in ((1, None), (2, 1.5)))
    path = store.trial(older) / "trial.json"
    values = json.loads(path.read_text())
    del values["cost"]["tune_flops"], values["cost"]["plain_tune_flops"]
    path.write_text(json.dumps(values))
    publish(store, [older, newer], suite="quick", run_id="r1")
    (run,) = cell_runs(client)
    assert {"all/accuracy_mean", "all/ece_mean"} <= set(run.data.metrics)
    assert not [name for name in run.data.metrics if "nll" in name]
    assert {n: v for n, v in run.data.metrics.items() if n.startswith("cost/")} == {
        "cost/tune_seconds_mean": 1.5,
        "cost/evaluate_seconds_mean": 0.5,
        "cost/peak_memory_bytes_mean": 1e8,
        "cost/trainable_parameters_mean": 2048,
    }
    assert run.data.tags["shotboard.primary_metric"] == "accuracy"
    assert verify(store) == []


def test_operations_are_logged_where_they_were_counted(store, client):
    publish(store, [write_trial(store, nll=0.5)], suite="quick", run_id="r1")
    (run,) = cell_runs(client)
    assert run.data.metrics["cost/tune_flops_mean"] == 3e15
    assert run.data.metrics["cost/plain_tune_flops_mean"] == 6e16
    assert run.data.metrics["all/nll_mean"] == 0.5
    assert "all/nll_std" not in run.data.metrics  # of one seed


def test_a_repetition_adds_nothing(store, client):
    trials = [write_trial(store, seed=seed) for seed in (1, 2)]
    publish(store, trials, suite="quick", run_id="r1")
    shutil.rmtree(store.published)
    again = publish(store, trials, suite="quick", run_id="r1")
    (run,) = cell_runs(client)
    assert again.published == 1
    assert len(client.get_metric_history(run.info.run_id, "seed_1/all/accuracy")) == 1
    assert len(client.get_metric_history(run.info.run_id, "all/accuracy_mean")) == 1


def test_without_news_mlflow_is_not_even_imported(store):
    trials = [write_trial(store, seed=seed) for seed in (1, 2)]
    publish(store, trials, suite="quick", run_id="r1")
    script = (
        "import sys; from tasks.publishing.publish import Publication\n"
        "from tasks.storage.store import Store\n"
        f"store = Store.at({str(store.home)!r})\n"
        f"report = Publication(store, {trials}, suite='quick', run_id='r2').finish()\n"
        "assert 'mlflow' not in sys.modules; print(report.skipped)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "1", done.stderr


def test_a_new_seed_completes_the_run_that_is_there(store, client):
    first = publish(store, [write_trial(store, seed=2, accuracy=0.2)], suite="quick", run_id="r1")
    second = publish(store, [write_trial(store, seed=1, accuracy=0.4)], suite="quick", run_id="r2")
    (run,) = cell_runs(client)
    assert run.data.metrics["all/accuracy_mean"] == pytest.approx(0.3)
    assert run.data.tags["shotboard.seeds"] == "1,2"
    assert "seeds 1, 2" in run.data.tags["mlflow.note.content"]
    assert run.data.tags["mlflow.parentRunId"] == first.parent_run_id
    assert second.parent_run_id is None  # nothing would be below it
    assert len(parents(client)) == 1
    assert verify(store) == []


def parents(client, suite="quick"):
    experiment = client.get_experiment_by_name(suite).experiment_id
    return client.search_runs([experiment], "tags.`shotboard.kind` = 'suite'")


def test_a_run_of_an_older_layout_is_written_anew_below_the_same_parent(store, client):
    trial = write_trial(store)
    first = publish(store, [trial], suite="quick", run_id="r1")
    (old,) = cell_runs(client)
    client.set_tag(old.info.run_id, "shotboard.layout", "1")
    (receipt,) = (p for p in store.published.glob("*.json") if p.name != "models.json")
    receipt.write_text(receipt.read_text().replace('"layout": "2"', '"layout": "1"'))
    assert "1 run of quick: laid out by an older Shotboard" in "".join(verify(store))
    again = publish(store, [trial], suite="quick", run_id="r2")
    (run,) = cell_runs(client)
    assert (again.published, again.parent_run_id) == (1, None)
    assert run.info.run_id != old.info.run_id
    assert run.data.tags["mlflow.parentRunId"] == first.parent_run_id
    best = client.get_model_version_by_alias("coop-tiny-digits-few_shot", "best")
    assert best.run_id == run.info.run_id  # it does not hang on what is in the bin
    assert verify(store) == []


def test_a_deleted_run_is_noticed_and_written_again_with_the_next_news(store, client):
    trial = write_trial(store)
    publish(store, [trial], suite="quick", run_id="r1")
    client.delete_run(cell_runs(client)[0].info.run_id)
    assert "the run was deleted" in verify(store)[0]
    other = write_trial(store, method="kgcoop")
    assert publish(store, [trial, other], suite="quick", run_id="r2").published == 2
    assert verify(store) == []


def test_another_tracking_uri_gets_everything_again(store, monkeypatch, empty_database, tmp_path):
    trial = write_trial(store)
    publish(store, [trial], suite="quick", run_id="r1")
    shutil.copyfile(empty_database, tmp_path / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    assert publish(store, [trial], suite="quick", run_id="r1").published == 1


def test_a_trial_that_was_computed_again_is_published_again(store, client):
    trial = write_trial(store, accuracy=0.2)
    publish(store, [trial], suite="quick", run_id="r1")
    path = store.trial(trial) / "trial.json"
    text = path.read_text().replace('"value": 0.2', '"value": 0.9')
    path.write_text(text.replace("00:00:01", "00:00:09"))
    assert publish(store, [trial], suite="quick", run_id="r2").published == 1
    (run,) = cell_runs(client)
    values = client.get_metric_history(run.info.run_id, "seed_1/all/accuracy")
    assert [point.value for point in values] == [0.9]  # a run never holds two versions of a number
    assert verify(store) == []


def test_two_suites_hold_the_same_cell_without_taking_turns(store):
    trial = write_trial(store)
    publish(store, [trial], suite="quick", run_id="r1")
    assert publish(store, [trial], suite="nightly", run_id="r2").published == 1
    assert publish(store, [trial], suite="quick", run_id="r3").published == 0
    assert publish(store, [trial], suite="nightly", run_id="r4").published == 0


def test_a_number_that_differs_is_named(store):
    trial = write_trial(store, accuracy=0.2)
    publish(store, [trial], suite="quick", run_id="r1")
    path = store.trial(trial) / "trial.json"
    path.write_text(path.read_text().replace('"value": 0.2', '"value": 0.9'))
    said = "".join(verify(store))
    assert "seed_1/all/accuracy is 0.2 in MLflow and 0.9 here." in said
    assert "all/accuracy_mean is 0.2 in MLflow and 0.9 here." in said


def test_all_data_and_aids_of_a_cell_are_named(store, client):
    teacher = replace(TRIAL, method="promptsrc")
    trial = write_trial(
        store,
        targets={"pets": Target("f" * 16, "card-1")},
        aids={"teacher": teacher, "captioner": "c" * 16},
    )
    publish(store, [trial], suite="quick", run_id="r1", git_commit="abc")
    (run,) = cell_runs(client)
    used = {
        each.dataset.name: (each.dataset.digest, each.tags[0].value)
        for each in run.inputs.dataset_inputs
    }
    assert used == {"digits": ("d" * 16, "train, test"), "pets": ("f" * 16, "test")}
    dataset = run.inputs.dataset_inputs[0].dataset
    columns = json.loads(dataset.schema)["mlflow_colspec"]
    assert [column["name"] for column in columns] == ["text", "label", "class_name", "split"]
    assert json.loads(dataset.profile) == {
        **{"num_rows": 2, "num_classes": 2},
        **{"num_train": 1, "num_test": 1},
    }
    assert run.data.params["aid.teacher"] == teacher.cell_id
    assert run.data.params["aid.captioner"] == "c" * 16
    assert json.loads(run.data.params["targets"])["pets"]["template_set"] == "card-1"


def test_a_dataset_can_be_found_again(store, client):
    import mlflow

    publish(store, [write_trial(store)], suite="quick", run_id="r1")
    (run,) = cell_runs(client)
    source = mlflow.data.get_source(run.inputs.dataset_inputs[0])
    assert Path(source.load(), "card.json").is_file()


def test_descriptions_lead_to_prefect_and_the_board(store, client, monkeypatch):
    monkeypatch.setenv("SHOTBOARD_BOARD_URL", "http://127.0.0.1:1/board")
    monkeypatch.setenv("SHOTBOARD_PREFECT_URL", "http://127.0.0.1:2")
    trial = write_trial(store)
    publish(store, [trial], suite="quick", run_id="r1", flow_run_id="f1")
    (cell,), (parent,) = cell_runs(client), parents(client)
    for run in (cell, parent):
        note = run.data.tags["mlflow.note.content"]
        assert "[flow run f1](http://127.0.0.1:2/runs/flow-run/f1)" in note
        assert "[The board](http://127.0.0.1:1/board/)" in note
    assert f"[1](http://127.0.0.1:1/board/#/trial/{trial})" in cell.data.tags["mlflow.note.content"]
    experiment = client.get_experiment_by_name("quick")
    assert "**quick**" in experiment.tags["mlflow.note.content"]


def test_where_nothing_is_served_nothing_is_linked(store, client):
    publish(store, [write_trial(store)], suite="quick", run_id="r1", flow_run_id="f1")
    (run,) = cell_runs(client)
    note = run.data.tags["mlflow.note.content"]
    assert "flow run f1" in note
    assert "](" not in note


def best_of(client, name="coop-tiny-digits-few_shot"):
    return client.get_model_version_by_alias(name, "best")


def test_each_domain_that_is_held_out_has_a_best_model_of_its_own(store, client):
    trials = [write_trial(store, held_out=d, accuracy=a) for d, a in (("ink", 0.9), ("art", 0.2))]
    publish(store, trials, suite="quick", run_id="r1", git_commit="abc")
    for domain, trial in zip(("ink", "art"), trials, strict=True):
        best = best_of(client, f"coop-tiny-digits-few_shot-{domain}")
        assert best.tags["trial_id"] == trial
    assert {run.info.run_name for run in cell_runs(client)} == {
        "coop tiny digits few_shot 4 ink",
        "coop tiny digits few_shot 4 art",
    }


def test_no_test_score_moves_the_alias(store, client):
    """Papers average over seeds and choose none, so it is the first one, however it scored."""
    poor, rich = (write_trial(store, seed=s, accuracy=a) for s, a in ((1, 0.1), (2, 0.9)))
    assert publish(store, [rich], suite="quick", run_id="r1").models == 1
    assert best_of(client).tags["trial_id"] == rich
    assert publish(store, [poor], suite="quick", run_id="r2").models == 1
    assert best_of(client).tags["trial_id"] == poor
    third = write_trial(store, seed=3, accuracy=1.0)
    assert publish(store, [third], suite="quick", run_id="r3").models == 0
    best = best_of(client)
    assert best.tags["chosen_by"] == "published rule"
    assert "the first seed (1). No test row was looked at." in best.description
    assert "all accuracy 0.1000 (100 rows)" in best.description


def test_where_there_is_a_validation_score_it_decides(store, client):
    def trial(seed, accuracy, score=None):
        told = {} if score is None else {"selected": {"epoch": 2.0, "val_accuracy": score}}
        return write_trial(store, seed=seed, accuracy=accuracy, told=told)

    trials = [trial(1, 0.9), trial(2, 0.8, 0.5), trial(3, 0.1, 0.7), trial(4, 0.8, 0.6)]
    publish(store, trials, suite="quick", run_id="r1")
    best = best_of(client)
    assert best.tags["trial_id"] == trials[2]
    assert best.tags["chosen_by"] == "validation"
    assert "the best on validation rows (val\\_accuracy 0.7000)" in best.description


def test_more_labelled_examples_and_published_settings_come_first(store, client):
    published = {**variable_free("coop"), "selection": "last"}
    trials = [
        write_trial(store, seed=1, shots=1, hyperparameters=published),
        write_trial(store, seed=1, shots=16, hyperparameters={**published, "lr": 0.5}),
        write_trial(store, seed=2, shots=16, hyperparameters=published),
        write_trial(store, seed=3, shots=16, hyperparameters=published, views="fresh"),
    ]
    publish(store, trials[:3], suite="quick", run_id="r1")
    best = best_of(client)
    assert best.tags["trial_id"] == trials[2]
    assert (best.tags["shots"], best.tags["seed"]) == ("16", "2")
    assert "those with the published hyperparameters, views none" in best.description
    publish(store, trials, suite="quick", run_id="r2")
    best = best_of(client)
    assert (best.tags["trial_id"], best.tags["seed"]) == (trials[3], "3")
    assert "those with the published settings" in best.description


def variable_free(name):
    from operators.methods import METHODS
    from operators.methods.hyperparameters import published

    return published(METHODS[name], protocol="few_shot", shots=16, dataset="digits")


def test_a_version_says_what_it_is_and_can_be_filtered(store, client):
    trial = write_trial(store)
    publish(store, [trial], suite="quick", run_id="r1")
    best = best_of(client)
    wanted = {"method": "coop", "backbone": "tiny", "dataset": "digits", "protocol": "few_shot"}
    assert wanted.items() <= best.tags.items()
    for text in (
        "CoOp",
        "fingerprint " + "b" * 16,
        "licence CC0",
        "here",
        f"`shotboard show {trial}`",
    ):
        assert text in best.description
    (model,) = client.search_registered_models("tags.method = 'coop'")
    assert "never on test rows" in model.description
    assert 'load_model("models:/coop-tiny-digits-few_shot@best")' in model.description


def test_a_model_that_cannot_be_made_is_told_and_costs_itself_alone(store):
    first, second = (write_trial(store, method=name) for name in ("coop", "kgcoop"))
    other = write_trial(store, method="tip-adapter", dataset="gone")
    shutil.rmtree(store.data / "gone")
    said = []

    class Listener:
        def say(self, text):
            said.append(text)

    with reporting_to(Listener()):
        report = publish(store, [first, second, other], suite="quick", run_id="r1")
    assert (report.published, report.models) == (3, 2)
    assert said[0].startswith("MLflow: tip-adapter-tiny-gone-few_shot is not registered: ")


def test_models_that_were_chosen_by_an_older_rule_are_chosen_again(store, client):
    """A store from when `best` was the best on test rows."""
    first, second = (write_trial(store, seed=s, accuracy=a) for s, a in ((1, 0.1), (2, 0.9)))
    publish(store, [first, second], suite="quick", run_id="r1")
    name = "coop-tiny-digits-few_shot"
    client.set_registered_model_alias(name, "best", "1")
    entry = {"trial_id": second, "cell_id": "c" * 16, "accuracy": 0.9}
    known = {"tracking_uri": store.mlflow_uri, "models": {name: entry}}
    (store.published / "models.json").write_text(json.dumps(known))
    third = write_trial(store, seed=3)
    assert publish(store, [first, second, third], suite="quick", run_id="r2").models == 1
    assert best_of(client).tags["trial_id"] == first


def spec_of(store, trial):
    return TrialSpec.from_json(json.loads((store.trial(trial) / "trial.json").read_text())["spec"])


def test_a_cell_is_written_while_others_are_computed(store, client, tmp_path):
    elsewhere = Store(tmp_path / "elsewhere")
    first, second, other = (
        write_trial(elsewhere, seed=seed, method=method)
        for seed, method in ((1, "coop"), (2, "coop"), (1, "kgcoop"))
    )
    specs = [spec_of(elsewhere, trial) for trial in (first, second, other)]
    store.trials.mkdir()
    shutil.copytree(elsewhere.data, store.data)
    shutil.move(elsewhere.trial(first), store.trial(first))
    publication = Publication(store, [first, second, other], suite="quick", run_id="r1")
    with published_along(publication, specs, specs[1:], every=0.05):
        assert not publication.written
        shutil.move(elsewhere.trial(second), store.trial(second))
        deadline = time.monotonic() + 60
        while not publication.written and time.monotonic() < deadline:
            time.sleep(0.05)
    (run,) = cell_runs(client)
    assert run.data.tags["shotboard.trial_ids"] == ",".join(sorted([first, second]))
    shutil.move(elsewhere.trial(other), store.trial(other))
    report = publication.finish()
    assert (report.published, report.skipped, report.models) == (2, 0, 2)
    assert len(cell_runs(client)) == 2
    assert verify(store) == []


def test_a_run_killed_before_its_models_were_moved_moves_them_the_next_time(store, client):
    trial = write_trial(store)
    Publication(store, [trial], suite="quick", run_id="r1").write([trial])
    report = publish(store, [trial], suite="quick", run_id="r2")
    assert (report.published, report.skipped, report.models) == (0, 1, 1)
    assert best_of(client).tags["trial_id"] == trial
    assert publish(store, [trial], suite="quick", run_id="r3").parent_run_id is None


def test_trouble_while_trials_run_is_told_at_the_end(store, monkeypatch):
    trial = write_trial(store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://nowhere")
    publication = Publication(store, [trial], suite="quick", run_id="r1")
    with published_along(publication, [spec_of(store, trial)], [spec_of(store, trial)], every=0.01):
        time.sleep(0.1)
    with pytest.raises(Exception, match="nonsense"):
        publication.finish()


def test_a_cell_that_was_half_written_has_one_run(store, client, monkeypatch):
    from mlflow import MlflowClient

    trial = write_trial(store)
    log, met = MlflowClient.log_artifacts, threading.Event()

    def sometimes(*arguments, **keywords):
        if not met.is_set():
            met.set()
            raise OSError("the network is away")
        return log(*arguments, **keywords)

    monkeypatch.setattr(MlflowClient, "log_artifacts", sometimes)
    publication = Publication(store, [trial], suite="quick", run_id="r1")
    with published_along(publication, [spec_of(store, trial)], [spec_of(store, trial)], every=0.01):
        assert met.wait(60)
    assert publication.finish().published == 1
    (run,) = cell_runs(client)
    assert run.info.status == "FINISHED"
    assert verify(store) == []


def test_a_run_that_is_interrupted_is_killed_in_mlflow_too(store, client):
    trial = write_trial(store)
    publication = Publication(store, [trial], suite="quick", run_id="r1")
    specs = [spec_of(store, trial)]
    with pytest.raises(KeyboardInterrupt), published_along(publication, specs, specs, every=0.01):
        while not publication.written:
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert [run.info.status for run in parents(client)] == ["KILLED"]


def test_two_runs_at_once_write_a_cell_once(store, client):
    trials = [write_trial(store, method=m, seed=s) for m in ("coop", "kgcoop") for s in (1, 2)]
    meet = threading.Barrier(2)

    def run(number):
        with leases_of(store) as leases:
            own = trials[number:]  # they have most in common
            publication = Publication(store, own, suite="quick", run_id=f"r{number}", leases=leases)
            meet.wait()
            return publication.finish()

    with ThreadPoolExecutor(2) as threads:
        reports = list(threads.map(run, (0, 1)))
    assert [report.published + report.skipped for report in reports] == [2, 2]
    runs = cell_runs(client)
    assert sorted(run.data.tags["shotboard.seeds"] for run in runs) == ["1,2", "1,2"]
    assert len({run.data.tags["cell_id"] for run in runs}) == 2
    assert best_of(client).tags["trial_id"] in trials
    assert verify(store) == []


def test_what_a_killed_run_left_running_is_ended_by_the_next_of_any_suite(store, client):
    ended = subprocess.Popen(["true"])
    trial, other = write_trial(store), write_trial(store, method="kgcoop")
    for run_id, pid in (("living", os.getpid()), ("killed", ended.pid)):
        manifest = {"run_id": run_id, "suite": run_id, "started_at": "2026-01-01T00:00:00+00:00"}
        manifest |= {"finished_at": None, "trial_ids": [trial], "flow_run_id": None}
        manifest |= {"git_commit": None, "git_dirty": None, "partial": False, "pid": pid}
        here = processes.this_one()
        manifest |= {"host": here.host, "process_started_at": here.started_at}
        store.runs.mkdir(exist_ok=True)
        (store.runs / f"{run_id}.json").write_text(json.dumps(manifest))
        Publication(store, [trial], suite=run_id, run_id=run_id).write([trial])
    ended.wait()

    def status(suite):
        return [run.info.status for run in parents(client, suite)]

    assert status("killed") == status("living") == ["RUNNING"]
    assert publish(store, [other], suite="quick", run_id="r1").published == 1
    assert (status("killed"), status("living")) == (["KILLED"], ["RUNNING"])
    assert not receipts.finished(store, "killed")  # its models are its own suite's next run's
    assert publish(store, [trial], suite="killed", run_id="r2").models == 1
    assert receipts.finished(store, "killed")


def test_a_damaged_receipt_is_written_again(store):
    trial = write_trial(store)
    publish(store, [trial], suite="quick", run_id="r1")
    (receipt,) = (p for p in store.published.glob("*.json") if p.name != "models.json")
    receipt.write_text(receipt.read_text()[:40])
    assert publish(store, [trial], suite="quick", run_id="r2").published == 1
    assert verify(store) == []


def artifacts(client, suite="quick"):
    """Where the artifacts of the cells of a suite lie, and their names."""
    from mlflow.artifacts import list_artifacts

    uri, found = client.tracking_uri, {}
    for run in cell_runs(client, suite):
        listed = list_artifacts(run_id=run.info.run_id, tracking_uri=uri)
        found[run.info.artifact_uri] = sorted(item.path for item in listed)
    return found


@pytest.fixture(params=["copied", "moved"])
def elsewhere(request, store, tmp_path_factory):
    """A store with a run, copied or moved to another folder; what was there before."""
    from tasks.publishing.mlflow_client import connect

    first = Store(tmp_path_factory.mktemp("a store"))
    shutil.copyfile(store.home / "mlflow.db", first.home / "mlflow.db")
    trials = [write_trial(first, seed=seed) for seed in (1, 2)]
    publish(first, trials, suite="quick", run_id="r1")
    before = artifacts(connect(first.mlflow_uri)) if request.param == "copied" else None
    second = Store(tmp_path_factory.mktemp("other") / "with 100% & more")
    if request.param == "copied":
        shutil.copytree(first.home, second.home, copy_function=shutil.copyfile)
    else:
        shutil.move(first.home, second.home)
    return first, second, trials, before


def test_a_copied_or_moved_store_is_one_of_its_own(elsewhere):
    from tasks.publishing.mlflow_client import connect

    first, second, trials, before = elsewhere
    assert moved_from(second) == (first.home.as_uri(),)
    assert publish(second, trials, suite="quick", run_id="r2").published == 0
    assert moved_from(second) == ()
    client = connect(second.mlflow_uri)
    (there,) = artifacts(client).items()
    assert there[0].startswith(second.home.as_uri())
    assert there[1] == ["models", "trials"]
    assert verify(second) == []

    best = best_of(client)
    folder = folder_of(best, client)
    assert folder.is_relative_to(second.home)
    assert (folder / "MLmodel").is_file()
    (run,) = cell_runs(client)
    source = json.loads(run.inputs.dataset_inputs[0].dataset.source)
    assert Path(source["uri"]).is_relative_to(second.home)

    new = [write_trial(second, seed=3), write_trial(second, method="kgcoop")]
    report = publish(second, new, suite="quick", run_id="r3")
    assert (report.published, report.models) == (2, 1)
    places = artifacts(client)
    assert len(places) == 2
    assert all(place.startswith(second.home.as_uri()) for place in places)
    assert verify(second) == []

    if before is not None:  # the copy has left the first one alone
        assert moved_from(first) == ()
        assert artifacts(connect(first.mlflow_uri)) == before
        assert best_of(connect(first.mlflow_uri)).source.startswith(first.home.as_uri())
        assert verify(first) == []


def folder_of(version, client):
    """Where MLflow reads a model version."""
    uri = client.get_model_version_download_uri(version.name, version.version)
    return Path(url2pathname(urlsplit(uri).path))


def test_artifacts_that_lie_outside_of_any_store_stay_there(store, client):
    client.create_experiment("of the user", artifact_location="s3://bucket/mlartifacts/here")
    client.create_experiment("another", artifact_location="file:///data/runs/another")
    assert (moved_from(store), settle(store)) == ((), ())


def test_an_address_that_begins_alike_is_not_taken_for_one_of_the_store(store, client):
    near = "file:///old/store-2/mlartifacts/near"
    client.create_experiment("far", artifact_location="file:///old/store/mlartifacts/far")
    client.create_experiment("near", artifact_location=near)
    with closing(sqlite3.connect(store.home / "mlflow.db")) as database:
        _rewrite(database, "file:///old/store", "file:///new")
        database.commit()
    assert client.get_experiment_by_name("near").artifact_location == near
    assert client.get_experiment_by_name("far").artifact_location == "file:///new/mlartifacts/far"


def test_a_receipt_has_no_password_and_counts_whatever_the_password_is(tmp_path, monkeypatch):
    store, uri = Store(tmp_path), "http://anna:{}@mlflow.lan:5000"
    receipts.write(store, uri.format("s3cr3t"), "quick", "c" * 16, "run", ["t" * 16])
    (file,) = store.published.glob("*.json")
    assert "s3cr3t" not in file.read_text()
    assert receipts.read(store, uri.format("changed"), "quick").keys() == {"c" * 16}
    assert receipts.read(store, "http://other.lan:5000", "quick") == {}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format("n3w"))
    ((_, noted),) = receipts.contents(store)
    assert receipts.uri_of(store, noted) == uri.format("n3w")
    older = noted | {"tracking_uri": uri.format("s3cr3t")}  # as it was written before
    file.write_text(json.dumps(older))
    assert receipts.read(store, uri.format("n3w"), "quick").keys() == {"c" * 16}
    receipts.write_models(store, {})
    assert "n3w" not in (store.published / receipts.MODELS).read_text()
