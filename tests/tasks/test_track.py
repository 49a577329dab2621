"""What MLflow is told while a model trains, with a client in its place."""

import threading
from types import SimpleNamespace

import pytest

from tasks.pretraining import track
from tasks.pretraining.track import Point, Tracked, Tracker, publish_model
from tasks.progress import reporting_to

TRACKED = Tracked(run_id="abc", name="tiny", params={"steps": 3})


class Client:
    """Keeps what it is told."""

    def __init__(self, there=()):
        self.points = [(point.name, point.step, point.value) for point in there]
        self.status = ""
        self.uploads = 0
        self.versions = []

    def get_run(self, run_id):
        names = {name: 0.0 for name, _, _ in self.points}
        return SimpleNamespace(
            data=SimpleNamespace(metrics=names),
            info=SimpleNamespace(artifact_uri="here", start_time=0),
        )

    def get_metric_history(self, run_id, name):
        return [SimpleNamespace(step=step) for known, step, _ in self.points if known == name]

    def log_batch(self, run_id, metrics=()):
        self.points += [(metric.key, metric.step, metric.value) for metric in metrics]

    def update_run(self, run_id, status):
        self.status = status

    def set_terminated(self, run_id, status=None, end_time=None):
        self.status = status or "FINISHED"

    def log_artifacts(self, run_id, folder, name):
        self.uploads += 1

    def search_model_versions(self, query):
        return self.versions

    def create_model_version(self, name, source, run_id):
        self.versions.append(SimpleNamespace(version=str(len(self.versions) + 1)))
        return self.versions[-1]


class Said:
    """A reporter that keeps what is said."""

    def __init__(self):
        self.texts = []

    def say(self, text):
        self.texts.append(text)


@pytest.fixture
def client(monkeypatch):
    client = Client([Point("loss", 1, 3.0)])
    monkeypatch.setattr(track, "connect", lambda uri: client)
    monkeypatch.setattr(track, "_find_or_create", lambda *_: "run")
    monkeypatch.setattr(track, "ensure_model", lambda *_: None)
    return client


def test_earlier_steps_that_are_missing_are_sent_and_none_twice(client, store):
    with Tracker(store, TRACKED, [Point("loss", 1, 3.0), Point("loss", 2, 2.0)]) as tracker:
        tracker.log(2, {"loss": 2.0})
        tracker.log(3, {"loss": 1.0, "val_accuracy/pets": 0.5})
    assert sorted(client.points) == [
        ("loss", 1, 3.0),
        ("loss", 2, 2.0),
        ("loss", 3, 1.0),
        ("val_accuracy/pets", 3, 0.5),
    ]
    assert client.status == "FINISHED"


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_training_that_ends_early_is_not_called_finished(client, store, error, status):
    with pytest.raises(error), Tracker(store, TRACKED):
        raise error
    assert client.status == status


def test_trouble_with_mlflow_is_said_once_and_training_goes_on(store, monkeypatch):
    def refuse(uri):
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(track, "connect", refuse)
    said = Said()
    with reporting_to(said), Tracker(store, TRACKED) as tracker:  # pyright: ignore[reportArgumentType]
        for step in range(50):
            tracker.log(step, {"loss": 1.0})
    assert said.texts == [
        "MLflow: nobody answers. Training goes on; the numbers are sent at the end."
    ]
    assert isinstance(tracker.trouble, ConnectionError)


def test_training_does_not_wait_for_mlflow(client, store, monkeypatch):
    begun, release = threading.Event(), threading.Event()

    def slow(*_):
        begun.set()
        assert release.wait(120)
        return "run"

    monkeypatch.setattr(track, "_find_or_create", slow)
    with Tracker(store, TRACKED) as tracker:
        assert begun.wait(120)
        tracker.log(2, {"loss": 2.0})
        release.set()
    assert ("loss", 2, 2.0) in client.points


def test_a_model_is_published_once(client, store, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "results.json").write_text("{}")
    points = [Point("loss", 1, 3.0), Point("loss", 2, 2.0)]
    store.home.mkdir()
    (store.home / "mlflow.db").touch()
    receipt = tmp_path / "mlflow.json"
    first = publish_model(store, TRACKED, points, model, receipt)
    assert (first.model, first.version) == ("tiny", "1")
    assert publish_model(store, TRACKED, points, model, receipt) == first
    assert client.uploads == 1
    (model / "results.json").write_text('{"results": []}')
    assert publish_model(store, TRACKED, points, model, receipt).version == "1"
    assert (client.uploads, len(client.versions)) == (2, 1)
    assert sorted(client.points) == [("loss", 1, 3.0), ("loss", 2, 2.0)]
