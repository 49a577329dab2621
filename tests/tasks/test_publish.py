import json
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from operators.metrics import Score
from operators.spec import Target, TrialSpec
from operators.trials.results import Cost, Provenance, TrialResult
from tasks.publishing.publish import Publication, published_along, verify
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
    store, *, seed=1, method="coop", accuracy=0.5, ece=0.1, nll=None, elsewhere=(), **changes
):
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
    )
    folder = store.trial(spec.trial_id)
    folder.mkdir(parents=True)
    (folder / "trial.json").write_text(json.dumps(result.to_json()))
    (folder / "predictions.parquet").write_bytes(b"rows")
    (folder / "prompt.safetensors").write_bytes(b"prompt")
    return spec.trial_id


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    """An MLflow database without runs: to set one up takes longer than all these tests."""
    from tasks.publishing.mlflow_client import connect

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connect(f"sqlite:///{path}").search_experiments()
    with closing(sqlite3.connect(path)) as database:  # what is in its log goes into the file
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


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


def test_seeds_are_steps_of_one_run_below_the_run_of_the_suite(store, client):
    trials = [write_trial(store, seed=seed, accuracy=seed / 10) for seed in (1, 2)]
    report = publish(store, trials, suite="quick", run_id="r1", git_commit="def")
    (run,) = cell_runs(client)
    assert (report.published, report.skipped) == (1, 0)
    assert run.data.tags["mlflow.parentRunId"] == report.parent_run_id
    assert run.data.tags["shotboard.trial_ids"] == ",".join(sorted(trials))
    assert run.data.tags["mlflow.source.git.commit"] == "abc"
    assert run.data.tags["git_commit"] == "abc"
    history = client.get_metric_history(run.info.run_id, "all/accuracy")
    assert {point.step: point.value for point in history} == {1: 0.1, 2: 0.2}
    assert run.data.metrics["all/accuracy_mean"] == pytest.approx(0.15)
    assert run.data.params["hp.n_context"] == "4"
    assert len(run.data.params["hp.text"]) == 500
    assert run.inputs.dataset_inputs[0].dataset.digest == "d" * 16
    assert run.info.end_time == 1767225604000
    names = {
        item.path
        for trial in trials
        for item in client.list_artifacts(run.info.run_id, f"trials/{trial}")
    }
    assert f"trials/{trials[0]}/prompt.safetensors" in names
    assert len(names) == 6
    assert verify(store) == []


def test_all_costs_are_logged_where_they_were_counted(store, client):
    older, newer = (write_trial(store, seed=seed) for seed in (1, 2))
    path = store.trial(older) / "trial.json"
    values = json.loads(path.read_text())
    del values["cost"]["tune_flops"], values["cost"]["plain_tune_flops"]
    path.write_text(json.dumps(values))
    publish(store, [older, newer], suite="quick", run_id="r1")
    (run,) = cell_runs(client)
    costs = {name: value for name, value in run.data.metrics.items() if name.startswith("cost/")}
    assert costs == {
        "cost/tune_seconds": 1.5,
        "cost/evaluate_seconds": 0.5,
        "cost/peak_memory_bytes": 1e8,
        "cost/trainable_parameters": 2048,
        "cost/tune_flops": 3e15,
        "cost/plain_tune_flops": 6e16,
    }
    history = client.get_metric_history(run.info.run_id, "cost/tune_flops")
    assert [point.step for point in history] == [2]


def test_a_repetition_adds_nothing(store, client):
    trials = [write_trial(store, seed=seed) for seed in (1, 2)]
    publish(store, trials, suite="quick", run_id="r1")
    shutil.rmtree(store.published)
    again = publish(store, trials, suite="quick", run_id="r1")
    (run,) = cell_runs(client)
    assert again.published == 1
    assert len(client.get_metric_history(run.info.run_id, "all/accuracy")) == 2
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
    publish(store, [write_trial(store, seed=1, accuracy=0.2)], suite="quick", run_id="r1")
    publish(store, [write_trial(store, seed=2, accuracy=0.4)], suite="quick", run_id="r2")
    (run,) = cell_runs(client)
    assert run.data.metrics["all/accuracy_mean"] == pytest.approx(0.3)
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


def test_a_trial_that_was_computed_again_is_published_again(store):
    trial = write_trial(store, accuracy=0.2)
    publish(store, [trial], suite="quick", run_id="r1")
    path = store.trial(trial) / "trial.json"
    text = path.read_text().replace('"value": 0.2', '"value": 0.9')
    path.write_text(text.replace("00:00:01", "00:00:09"))
    assert publish(store, [trial], suite="quick", run_id="r2").published == 1
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
    assert "all/accuracy at step 1 is 0.2 in MLflow and 0.9 here." in "".join(verify(store))


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
    assert used == {"digits": ("d" * 16, "few_shot"), "pets": ("f" * 16, "target")}
    assert run.data.params["aid.teacher"] == teacher.cell_id
    assert run.data.params["aid.captioner"] == "c" * 16
    assert json.loads(run.data.params["targets"])["pets"]["template_set"] == "card-1"


def test_each_domain_that_is_held_out_has_a_best_model_of_its_own(store, client):
    trials = [write_trial(store, held_out=d, accuracy=a) for d, a in (("ink", 0.9), ("art", 0.2))]
    publish(store, trials, suite="quick", run_id="r1", git_commit="abc")
    for domain, trial in zip(("ink", "art"), trials, strict=True):
        best = client.get_model_version_by_alias(f"coop-tiny-digits-few_shot-{domain}", "best")
        assert best.tags["trial_id"] == trial
    assert {run.info.run_name for run in cell_runs(client)} == {
        "coop tiny digits few_shot 4 ink",
        "coop tiny digits few_shot 4 art",
    }


def test_a_prompt_that_is_tested_on_easier_targets_is_no_better_model(store, client):
    better, worse = (
        write_trial(store, accuracy=a, targets={name: Target("f" * 16)}, elsewhere=[(name, value)])
        for a, name, value in ((0.6, "hard", 0.1), (0.5, "easy", 0.9))
    )
    for trial in (better, worse):
        publish(store, [trial], suite="quick", run_id=f"r-{trial}", git_commit="abc")
    best = client.get_model_version_by_alias("coop-tiny-digits-few_shot", "best")
    assert (best.tags["trial_id"], best.tags["accuracy"]) == (better, "0.6")


def test_the_best_prompt_is_a_registered_model(store, client, tmp_path):
    import mlflow

    worse, better = (write_trial(store, seed=s, accuracy=a) for s, a in ((1, 0.2), (2, 0.4)))
    publish(store, [worse], suite="quick", run_id="r1")
    assert publish(store, [better], suite="quick", run_id="r2").models == 1
    assert (
        publish(
            store, [write_trial(store, seed=3, accuracy=0.1)], suite="quick", run_id="r3"
        ).models
        == 0
    )
    name = "coop-tiny-digits-few_shot"
    assert client.get_model_version_by_alias(name, "best").tags["trial_id"] == better
    mlflow.set_tracking_uri(store.mlflow_uri)
    folder = mlflow.artifacts.download_artifacts(
        f"models:/{name}@best", dst_path=str(tmp_path / "out")
    )
    assert Path(folder, "prompt.safetensors").read_bytes() == b"prompt"


def ranked_by(metric, monkeypatch):
    """As if the track of the trials had another primary metric."""
    rows = [{"protocol": "few_shot", "primary_metric": metric}]
    monkeypatch.setattr("tasks.publishing.publish.protocol_rows", lambda: rows)


def test_where_less_is_better_the_least_is_the_best_model(store, client, monkeypatch):
    ranked_by("ece", monkeypatch)
    eces = (0.3, 0.1, 0.2)
    trials = [write_trial(store, seed=s, accuracy=s / 10, ece=e) for s, e in enumerate(eces, 1)]
    moved = [publish(store, [t], suite="quick", run_id=f"r-{t}").models for t in trials]
    assert moved == [1, 1, 0]
    best = client.get_model_version_by_alias("coop-tiny-digits-few_shot", "best")
    assert best.tags == {"trial_id": trials[1], "ece": "0.1"}


def test_a_model_by_another_metric_is_none_to_compare_with(store, client, monkeypatch):
    first = write_trial(store, seed=1, accuracy=0.9, ece=0.8)
    publish(store, [first], suite="quick", run_id="r1")
    ranked_by("ece", monkeypatch)
    second = write_trial(store, seed=2, accuracy=0.1, ece=0.7)
    assert publish(store, [second], suite="quick", run_id="r2").models == 1


def test_models_that_were_noted_by_accuracy_alone_are_known(store, client):
    """A store from before tracks: its best model is not registered once more."""
    publish(store, [write_trial(store, seed=1, accuracy=0.6)], suite="quick", run_id="r1")
    file = store.published / "models.json"
    known = json.loads(file.read_text())
    for entry in known["models"].values():
        assert entry.pop("metric") == "accuracy"
        entry["accuracy"] = entry.pop("value")
    file.write_text(json.dumps(known))
    worse = write_trial(store, seed=2, accuracy=0.5)
    assert publish(store, [worse], suite="quick", run_id="r2").models == 0
    better = write_trial(store, seed=3, accuracy=0.7)
    assert publish(store, [better], suite="quick", run_id="r3").models == 1


def test_every_metric_is_logged_that_a_trial_knows(store, client):
    trials = [write_trial(store, seed=seed, nll=nll) for seed, nll in ((1, None), (2, 1.5))]
    publish(store, trials, suite="quick", run_id="r1")
    (run,) = cell_runs(client)
    assert {"all/accuracy", "all/ece", "all/nll"} <= set(run.data.metrics)
    assert run.data.tags["shotboard.primary_metric"] == "accuracy"
    history = client.get_metric_history(run.info.run_id, "all/nll")
    assert [(point.step, point.value) for point in history] == [(2, 1.5)]
    (mean,) = client.get_metric_history(run.info.run_id, "all/nll_mean")
    assert (mean.step, mean.value) == (1, 1.5)  # of the one seed that knows it
    assert verify(store) == []


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
    best = client.get_model_version_by_alias("coop-tiny-digits-few_shot", "best")
    assert best.tags["trial_id"] == trial
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
    experiment = client.get_experiment_by_name("quick").experiment_id
    parents = client.search_runs([experiment], "tags.`shotboard.kind` = 'suite'")
    assert [run.info.status for run in parents] == ["KILLED"]


def test_a_damaged_receipt_is_written_again(store):
    trial = write_trial(store)
    publish(store, [trial], suite="quick", run_id="r1")
    (receipt,) = (p for p in store.published.glob("*.json") if p.name != "models.json")
    receipt.write_text(receipt.read_text()[:40])
    assert publish(store, [trial], suite="quick", run_id="r2").published == 1
    assert verify(store) == []
