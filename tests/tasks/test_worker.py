"""What a Ray worker does, without Ray: compute, commit once, note what failed."""

import json
import shutil
from dataclasses import asdict

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from operators.episodes.features import FeatureStore, view_folder
from operators.methods import METHODS
from operators.methods.image_classification.hand_written.zero_shot import ZeroShot
from operators.metrics.predictions import CLASSIFICATION
from operators.trials.machine import machine
from operators.trials.results import TrialResult
from tasks.comparing.verify import verify
from tasks.computing.context import Context, Done
from tasks.computing.encode import contexts_of, features_folder
from tasks.computing.worker import TrialWorker
from tasks.planning.choices import check
from tasks.planning.encodings import needed_rows
from tasks.planning.plan import make_plan
from tasks.planning.planned import variant_of
from tasks.planning.suite import make_suite

IMAGES = "image-classification"

PROVENANCE = {"suite": "mini", "flow_run_id": "f1", "git_commit": "c1", "git_dirty": True}


class Fails(ZeroShot):
    """Works until it is asked to classify."""

    def logits(self, batch):
        raise ValueError("the method\nhas failed.")


class Custom(BaseException):
    """What no `except Exception` meets."""


ODD = (
    OSError(28, "No space left on device"),
    PermissionError(13, "Permission denied"),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    MemoryError(),
    RecursionError("maximum recursion depth exceeded"),
    Custom("own"),
)


def full(*_, **__):
    raise OSError(28, "No space left on device")


class Job:
    """A worker, the trials of a small suite, and what they share."""

    def __init__(self, store, dataset, backbone, methods, **fields):
        values = {"name": "mini", "datasets": [dataset.name], "backbones": [backbone]}
        values |= {"methods": methods, "shots": [1], "seeds": [1], **fields}
        suite = make_suite(values, where="mini")
        request = check(store, suite)
        (name,) = request.backbones.asked
        card = request.backbones.cards[name]
        self.store = store
        self.request = request
        self.dataset = dataset
        self.specs = make_plan(store, request, {dataset.name: dataset}).specs
        self.context = Context(
            backbone=request.backbones.references[name],
            dataset=dataset.folder,
            features=features_folder(store, card, dataset),
            run=PROVENANCE,
        )
        self.worker = TrialWorker(store.home, "cpu")
        self.width = card.feature_width

    def contexts(self):
        """As the flow makes them, by backbone."""
        datasets = {self.dataset.name: self.dataset}
        made = contexts_of(self.store, self.request.backbones, self.specs, datasets, PROVENANCE)
        return {name: context for (name, _), context in made.items()}

    def encode(self):
        for view, needed in needed_rows(self.specs, self.dataset).items():
            precision = self.context.backbone.precision
            folder = view_folder(self.context.features, view, precision)
            features = FeatureStore.create(folder, self.dataset.rows, self.width)
            rows = features.missing(needed)
            features.write(rows, self.worker.encode(rows, self.context, IMAGES, view))

    def compute(self):
        return self.worker.compute(self.specs, self.context)

    def compute_one_by_one(self):
        """As the flow has students begin: after their teachers are committed."""
        return [done for s in self.specs for done in self.worker.compute([s], self.context)]


@pytest.fixture
def job(store, dataset_of, tiny):
    def make(*methods):
        made = Job(store, dataset_of(), tiny, list(methods))
        made.encode()
        return made

    return make


@pytest.fixture
def broken(monkeypatch):
    monkeypatch.setitem(METHODS, "fails", Fails)


def test_features_have_one_row_an_image(store, dataset_of, tiny):
    job = Job(store, dataset_of(), tiny, ["zero-shot"])
    features = job.worker.encode(np.array([4, 0, 7]), job.context, IMAGES)
    assert features.shape == (3, job.width)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    alone = job.worker.encode(np.array([0]), job.context, IMAGES)
    np.testing.assert_allclose(alone[0], features[1], rtol=1e-4, atol=1e-5)


def test_a_trial_has_encoders_and_features_in_the_precision_of_its_suite(store, dataset_of, tiny):
    dataset = dataset_of()
    jobs = [
        Job(store, dataset, tiny, ["zero-shot"], precision=precision)
        for precision in ("fp32", "bf16")
    ]
    kept = []
    for job, precision in zip(jobs, ("fp32", "bf16"), strict=True):
        job.encode()
        (spec,) = job.specs
        assert spec.precision == precision
        assert variant_of(spec) == ("" if precision == "fp32" else "precision=bf16")
        assert job.compute() == [Done(spec.trial_id, "")]
        (folder,) = job.context.features.glob(f"*-{precision}")
        kept.append(FeatureStore(folder).read(dataset.rows_of("test")).numpy())
        assert kept[-1].dtype == np.float32
    assert not np.array_equal(*kept)
    np.testing.assert_allclose(*kept, atol=0.1 * np.abs(kept[0]).max())
    assert jobs[0].specs[0].cell_id != jobs[1].specs[0].cell_id


def test_only_rows_that_a_trial_reads_are_needed(store, dataset_of, tiny):
    job = Job(store, dataset_of(), tiny, ["zero-shot"])
    ((view, rows),) = needed_rows(job.specs, job.dataset).items()
    assert view is None
    assert rows.tolist() == job.dataset.rows_of("test").tolist()
    assert needed_rows([], job.dataset) == {}


def test_a_trial_is_committed_whole(job):
    made = job({"coop": {"epochs": 1, "n_context": 2}})
    (spec,) = made.specs
    assert made.compute() == [Done(spec.trial_id, "")]
    folder = made.store.trial(spec.trial_id)
    assert {path.name for path in folder.iterdir()} == {
        "trial.json",
        "predictions.parquet",
        "prompt.safetensors",
    }
    result = TrialResult.from_json(json.loads((folder / "trial.json").read_text()))
    assert result.spec == spec
    origin = asdict(result.provenance)
    assert {name: origin[name] for name in PROVENANCE} == PROVENANCE
    assert {name: origin[name] for name in machine()} == machine()
    assert [name for name, value in origin.items() if value is None] == ["fit_trial_id"]
    assert origin["templates"] == made.dataset.templates
    assert len(result.losses) == 1
    assert result.cost.trainable_parameters == 2 * 32
    assert 0 < result.cost.tune_flops < result.cost.plain_tune_flops
    learned = load_file(folder / "prompt.safetensors")
    assert [tuple(value.shape) for value in learned.values()] == [(1, 2, 32)]


def test_the_metrics_of_a_trial_follow_from_its_predictions(job):
    made = job("tip-adapter")
    made.compute()
    folder = made.store.trial(made.specs[0].trial_id)
    table = pq.read_table(folder / "predictions.parquet")
    assert table.schema.equals(CLASSIFICATION)
    assert set(table["row_id"].to_pylist()) == set(made.dataset.rows_of("test").tolist())
    right = table["label"].to_numpy() == table["predicted"].to_numpy()
    (accuracy,) = [
        metric
        for metric in json.loads((folder / "trial.json").read_text())["metrics"]
        if metric["metric"] == "accuracy"
    ]
    assert accuracy["value"] == pytest.approx(right.mean())
    assert accuracy["n"] == len(right) == 16


def test_a_trial_that_is_there_is_not_touched(job):
    made = job("tip-adapter")
    made.compute()
    folder = made.store.trial(made.specs[0].trial_id)
    before = {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir())}
    assert made.compute() == [Done(made.specs[0].trial_id, "")]
    assert {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir())} == before


def test_the_same_trial_gives_the_same_numbers_in_another_worker(job, tmp_path):
    made = job({"coop": {"epochs": 2, "n_context": 2}})
    made.compute()
    folder = made.store.trial(made.specs[0].trial_id)
    first = pq.read_table(folder / "predictions.parquet")
    folder.rename(tmp_path / "aside")
    made.worker = TrialWorker(made.store.home, "cpu")
    made.compute()
    assert pq.read_table(folder / "predictions.parquet").equals(first)


def test_seeds_of_a_cell_are_tuned_together_and_committed_apart(
    store, dataset_of, tiny, tmp_path, monkeypatch
):
    import operators.engine.stacking

    stacks = []
    original = operators.engine.stacking.run_stacked

    def noted(jobs):
        stacks.append(len(jobs))
        return original(jobs)

    monkeypatch.setattr(operators.engine.stacking, "run_stacked", noted)
    coop = {"coop": {"epochs": 3, "n_context": 2}}
    job = Job(store, dataset_of(), tiny, ["zero-shot", coop], seeds=[1, 2, 3], shots=[1, 2])
    job.encode()
    assert job.worker.lanes(job.specs[:2], job.context) == [1, 16]
    assert job.compute() == [Done(spec.trial_id, "") for spec in job.specs]
    assert stacks == [1, 3, 3]
    together = tmp_path / "together"
    store.trials.rename(together)
    job.compute_one_by_one()
    assert stacks == [1, 3, 3] + [1] * len(job.specs)
    for spec in job.specs:
        one, other = (f / spec.trial_id / "prompt.safetensors" for f in (store.trials, together))
        for key, value in load_file(one).items():
            np.testing.assert_allclose(load_file(other)[key], value, atol=1e-5)
        cost = json.loads((together / spec.trial_id / "trial.json").read_text())["cost"]
        assert cost["tune_seconds"] > 0 < cost["evaluate_seconds"]
        alone = json.loads((store.trial(spec.trial_id) / "trial.json").read_text())["cost"]
        assert alone["plain_tune_flops"] == cost["plain_tune_flops"]


def test_a_trial_that_fails_costs_itself_alone(job, broken):
    made = job("fails", "zero-shot")
    failed, fine = made.specs
    assert made.compute() == [
        Done(failed.trial_id, "the method has failed."),
        Done(fine.trial_id, ""),
    ]
    assert made.store.done() == {fine.trial_id}
    assert [path.name for path in made.store.trials.iterdir()] == [fine.trial_id]
    error = json.loads((made.store.failures / f"{failed.trial_id}.json").read_text())
    assert error["spec"] == failed.to_json()
    assert error["error"] == "the method has failed."
    assert "Traceback" in error["traceback"]
    assert error["suite"] == "mini"


@pytest.mark.parametrize("error", ODD, ids=lambda error: type(error).__name__)
def test_whatever_a_method_raises_costs_its_trial_alone(job, broken, monkeypatch, error):
    made = job("fails", "zero-shot")

    def raises(*_):
        raise error

    monkeypatch.setattr(Fails, "logits", raises)
    failed, fine = made.compute()
    assert failed.error.startswith(type(error).__name__) or failed.error == str(error)
    assert fine.error == ""
    assert made.store.done() == {fine.trial_id}
    assert made.store.failure(failed.trial_id) == failed.error


def test_whatever_a_seed_raises_costs_none_that_is_tuned_beside_it(
    store, dataset_of, tiny, monkeypatch
):
    job = Job(store, dataset_of(), tiny, [{"coop": {"epochs": 1}}], seeds=list(range(len(ODD))))
    job.encode()
    original = METHODS["coop"].fit

    def fit(self, shots, **how):
        if shots.seed < len(ODD) - 1:
            raise ODD[shots.seed]
        return original(self, shots, **how)

    monkeypatch.setattr(METHODS["coop"], "fit", fit)
    assert job.worker.lanes(job.specs[:1], job.context) == [16]
    assert [bool(done.error) for done in job.compute()] == [True] * (len(ODD) - 1) + [False]
    assert store.done() == {job.specs[-1].trial_id}


def test_what_is_raised_where_seeds_meet_is_that_of_the_one_to_blame(
    store, dataset_of, tiny, monkeypatch
):
    """A hook of a method runs in the calls of all; then each is computed by itself."""
    import operators.engine.stacking

    job = Job(store, dataset_of(), tiny, [{"coop": {"epochs": 1}}], seeds=[1, 2])
    job.encode()

    def serve(_):
        raise SystemExit(3)

    monkeypatch.setattr(operators.engine.stacking, "_serve", serve)
    assert [done.error for done in job.compute()] == ["", ""]


def test_seeds_that_have_no_room_together_are_tuned_in_smaller_stacks(
    store, dataset_of, tiny, tmp_path, monkeypatch, caplog
):
    from operators.backbones.dual.merged_calls import TextCall

    coop = {"coop": {"epochs": 2, "n_context": 2}}
    job = Job(store, dataset_of(), tiny, [coop], seeds=[1, 2, 3, 4])
    job.encode()
    together, merged = TextCall.together, []

    def small(self, calls):
        merged.append(len(calls))
        if len(calls) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return together(self, calls)

    monkeypatch.setattr(TextCall, "together", small)
    assert job.compute() == [Done(spec.trial_id, "") for spec in job.specs]
    assert merged[0] == 4
    assert set(merged[1:]) == {2}
    assert caplog.messages == ["no room for 4 seeds at once: goes on with 2."]
    aside = tmp_path / "aside"
    store.trials.rename(aside)
    for pair in (job.specs[:2], job.specs[2:]):
        job.worker.compute(pair, job.context)
    for spec in job.specs:
        one, other = (
            load_file(f / spec.trial_id / "prompt.safetensors") for f in (aside, store.trials)
        )
        assert all(np.array_equal(one[key], other[key]) for key in other)


def test_a_trial_that_has_no_room_alone_fails_with_a_sentence_and_the_others_go_on(
    store, dataset_of, tiny, monkeypatch
):
    job = Job(store, dataset_of(), tiny, [{"coop": {"epochs": 1}}, "zero-shot"], seeds=[1, 2])
    job.encode()
    tried = []

    def loss(self, batch):
        tried.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(METHODS["coop"], "loss", loss)
    *failed, fine = sorted(job.compute(), key=lambda done: not done.error)
    assert [done.error for done in failed] == [
        "CUDA out of memory: there is no room for this trial. Give it more of a GPU with "
        "--gpus-per-worker (1 is a whole one), or ask for precision bf16 or a smaller batch_size."
    ] * 2
    assert fine.error == ""
    assert len(tried) == 4  # together, and each by itself


def test_ray_may_end_a_worker_in_the_middle_of_a_trial(job, broken, monkeypatch):
    made = job("fails")

    def ended(*_):
        error = SystemExit(1)
        error.ray_terminate_msg = "The process receives a SIGTERM."
        raise error

    monkeypatch.setattr(Fails, "logits", ended)
    with pytest.raises(SystemExit):
        made.compute()
    assert not made.store.failures.exists()


def test_a_store_that_cannot_be_written_is_not_a_failed_trial(job, broken, monkeypatch):
    made = job("zero-shot")
    monkeypatch.setattr("operators.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        made.compute()
    assert not made.store.failures.exists()
    assert made.store.done() == set()


def test_features_that_cannot_be_read_cost_no_trial_its_record(job, broken, monkeypatch):
    made = job("zero-shot")
    monkeypatch.setattr("operators.episodes.features.FeatureStore.__init__", full)
    with pytest.raises(OSError, match="No space left"):
        made.compute()
    assert not made.store.failures.exists()


def test_a_trial_that_completes_after_all_is_no_failure_any_more(job, broken, monkeypatch):
    made = job("fails")
    made.compute()
    monkeypatch.setattr(Fails, "logits", ZeroShot.logits)
    assert made.compute() == [Done(made.specs[0].trial_id, "")]
    assert list(made.store.failures.iterdir()) == []
    assert made.store.done() == {made.specs[0].trial_id}


def test_a_loss_that_is_no_number_is_a_failed_trial_with_advice(job):
    made = job({"tip-adapter-f": {"lr": 100, "epochs": 4}})
    (done,) = made.compute()
    assert "try a smaller lr" in done.error
    assert made.store.done() == set()


TEACHING = {"teacher": "ivlp", "teacher_hyperparameters": {"epochs": 1, "image_depth": 1}}


@pytest.fixture
def student(job):
    """A small student behind its teacher."""
    return job({"promptkd": {**TEACHING, "epochs": 2, "batch_size": 4, "kd_weight": 1.0}})


def test_a_student_learns_from_the_prompt_of_its_teacher(student):
    teacher, pupil = student.specs
    assert (teacher.method, pupil.method, pupil.teacher) == ("ivlp", "promptkd", teacher)
    assert student.compute_one_by_one() == [Done(teacher.trial_id, ""), Done(pupil.trial_id, "")]
    kept = json.loads((student.store.trial(pupil.trial_id) / "trial.json").read_text())
    result = TrialResult.from_json(kept)
    assert result.spec == pupil
    assert kept["spec"]["teacher"] == teacher.to_json()
    assert result.cost.steps == 2 * (12 // 4)
    learned = load_file(student.store.trial(pupil.trial_id) / "prompt.safetensors")
    assert {name.partition(".")[0] for name in learned} == {"image", "projector"}


def test_a_student_and_its_teacher_are_computed_again_with_equal_bits(student, tiny):
    student.compute_one_by_one()
    ids = [spec.trial_id for spec in student.specs]
    found = list(verify(student.store, ids, backbones=[tiny]))
    assert {each.trial_id: each.verdict for each in found} == dict.fromkeys(ids, "equal")


def test_a_student_follows_from_what_its_teacher_learned(student, tmp_path):
    """The same trial beside another prompt of the teacher learns something else."""
    teacher, pupil = student.specs
    student.compute_one_by_one()
    folder = student.store.trial(pupil.trial_id)
    first = load_file(folder / "prompt.safetensors")
    folder.rename(tmp_path / "aside")
    student.compute_one_by_one()
    again = load_file(folder / "prompt.safetensors")
    assert all(np.array_equal(first[name], again[name]) for name in first)
    folder.rename(tmp_path / "again")
    prompt = student.store.trial(teacher.trial_id) / "prompt.safetensors"
    save_file({name: 2 * value for name, value in load_file(prompt).items()}, prompt)
    student.compute_one_by_one()
    other = load_file(folder / "prompt.safetensors")
    assert not np.array_equal(first["image"], other["image"])


def test_a_teacher_that_failed_fails_its_student_in_a_sentence(student, monkeypatch):
    def fail(self, shots, **_):
        raise ValueError("the teacher cannot be tuned.")

    monkeypatch.setattr(METHODS["ivlp"], "fit", fail)
    teacher, pupil = student.specs
    failed, left = student.compute_one_by_one()
    assert failed == Done(teacher.trial_id, "the teacher cannot be tuned.")
    assert left.trial_id == pupil.trial_id
    assert left.error == (
        f"its teacher, ivlp on tiny-clip (trial {teacher.trial_id}), has no prompt: it failed: the "
        "teacher cannot be tuned. Mend that and run the suite again, or choose another with "
        "teacher=NAME."
    )
    assert student.store.done() == set()


def test_a_student_whose_teacher_was_never_computed_says_so(student):
    teacher, pupil = student.specs
    (left,) = student.worker.compute([pupil], student.context)
    assert f"(trial {teacher.trial_id}), has no prompt: it is not in the store." in left.error


@pytest.fixture
def larger(clip_folder, tmp_path):
    """Another CLIP, as a user would name it."""
    folder = tmp_path / "larger-clip"
    shutil.copytree(clip_folder, folder)
    return str(folder)


@pytest.mark.parametrize("teacher", ["ivlp", "coop"])
@pytest.mark.parametrize("views", ["none", "bank:2"])
def test_a_teacher_may_have_a_backbone_of_its_own(
    store, dataset_of, tiny, larger, teacher, views, monkeypatch
):
    """One that reads features finds those of its own backbone, the unlabelled rows among them."""
    quick = {"epochs": 2, "batch_size": 4, "kd_weight": 1.0, "teacher_backbone": larger}
    quick |= {"teacher": teacher, "teacher_hyperparameters": {"epochs": 1}}
    made = Job(store, dataset_of(), tiny, [{"promptkd": quick}], views=views)
    taught, pupil = made.specs
    assert (taught.backbone, pupil.backbone) == ("larger-clip", "tiny-clip")
    contexts = made.contexts()
    for spec in made.specs:
        made.context = contexts[spec.backbone]
        made.encode()
    for spec in made.specs:
        assert made.worker.compute([spec], contexts[spec.backbone]) == [Done(spec.trial_id, "")]
