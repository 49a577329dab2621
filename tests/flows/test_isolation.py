"""A backbone that cannot encode a dataset costs its own trials alone; no Prefect server here."""

import pytest

from flows.computing import not_encoded
from operators.episodes.views import View
from operators.spec import TrialSpec
from tasks.computing.deaths import OutOfTime, WorkerDied
from tasks.computing.encode import ViewsNotEncoded
from tasks.environment import MachineError
from tasks.planning.planned import Plan
from tasks.planning.suite import make_suite
from tasks.storage.store import Store


class Future:
    """Stands for one of Prefect."""

    def __init__(self, error=None):
        self.error = error

    def result(self):
        if self.error:
            raise self.error
        return 5


@pytest.fixture
def plan(spec):
    suite = make_suite({"name": "mini", "datasets": ["pets"], "methods": ["coop"]}, where="mini")
    specs: tuple[TrialSpec, ...] = tuple(
        spec(backbone=backbone, seed=seed) for backbone in ("small", "large") for seed in (1, 2)
    )
    return Plan(suite, specs, frozenset())


def failed(store, plan, error):
    futures = {("small", "pets"): Future(), ("large", "pets"): Future(error)}
    return not_encoded(store, plan, futures, {"suite": "mini"})


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (WorkerDied("encode", 3, "it crashed (SIGSEGV)."), "3 tries of encode: it crashed"),
        (OutOfTime("encode", 3600), "ended after 3600 s"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "mat1 and mat2"),
    ],
)
def test_its_trials_fail_with_the_reason_and_no_others(tmp_path, plan, error, said):
    store = Store(tmp_path)
    errors = failed(store, plan, error)
    assert set(errors) == {spec.trial_id for spec in plan.specs if spec.backbone == "large"}
    for trial_id, text in errors.items():
        assert text.startswith("pets could not be encoded with large: ")
        assert said in text
        assert store.failure(trial_id) == text


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MachineError("no Ray")])
def test_what_is_no_backbones_fault_ends_the_run(tmp_path, plan, error):
    with pytest.raises(type(error), match=str(error.args[-1])):
        failed(Store(tmp_path), plan, error)
    assert not Store(tmp_path).failures.exists()


def test_a_view_that_cannot_be_had_fails_the_trials_that_read_it(tmp_path, spec):
    suite = make_suite({"name": "mini", "datasets": ["pets"], "methods": ["coop"]}, where="mini")
    views = ("none", "bank:1", "bank:2")
    settings = {"epochs": 5}
    specs = tuple(spec(backbone="large", views=v, hyperparameters=settings) for v in views)
    error = ViewsNotEncoded({View(1): ValueError("numbers from 0 to 1")})
    errors = failed(Store(tmp_path), Plan(suite, specs, frozenset()), error)
    said = "pets could not be encoded with large: numbers from 0 to 1"
    assert errors == {specs[2].trial_id: said}
