"""What a trial is called, and that its files say what they were written for."""

import json
import math
from dataclasses import asdict, dataclass, field, fields, replace

import pytest

from operators.metrics import Score
from operators.spec import AIDS, LATER, Target, TrialSpec, digest
from operators.trials.results import Cost, Provenance, TrialResult

OTHER = {
    "method": "zero-shot",
    "method_revision": 2,
    "hyperparameters": {"lr": 0.003},
    "backbone": "clip-vit-b16",
    "backbone_fingerprint": "a" * 16,
    "dataset": "cars",
    "dataset_fingerprint": "b" * 16,
    "protocol": "base_to_new",
    "shots": 16,
    "seed": 0,
    "protocol_revision": 2,
    "setting": "clean",
    "selection": "val",
    "template_set": "card-1234",
    "transform_version": 2,
    "views": "bank:4",
    "precision": "bf16",
    "test_rows_per_class": 3,
    "text_version": 2,
}
TEACHER = TrialSpec(
    method="promptsrc",
    method_revision=1,
    hyperparameters={"lr": 0.0025},
    backbone="clip-vit-l14",
    backbone_fingerprint="d" * 16,
    dataset="pets",
    dataset_fingerprint="1" * 16,
    protocol="few_shot",
    shots=4,
    seed=1,
)
OTHER["targets"] = {"digits": Target("f" * 16, "card-1234")}
OTHER["held_out"] = "sketch"
OTHER["tested_on"] = "val"
OTHER["composition"] = "2" * 16
OTHER["aids"] = {"teacher": TEACHER, "captioner": "e" * 16}


@pytest.fixture
def result(spec):
    return result_of(spec())


def result_of(spec):
    return TrialResult(
        spec=spec,
        metrics=(Score("base", "accuracy", 0.1 + 0.2, 7), Score("new", "ece", 0.0, 3)),
        cost=Cost(
            tune_seconds=1.5,
            evaluate_seconds=0.1,
            peak_memory_bytes=2**31,
            trainable_parameters=12,
            steps=3,
        ),
        provenance=Provenance(started_at="2024-01-01T00:00:00Z", device="cpu", torch_version="2"),
        episode_fingerprint="c" * 16,
        selected={"epoch": 3.0},
        losses=(1.0, 0.3),
    )


def test_trial_id_is_pinned(spec):  # if this moves, no stored trial is found any more
    assert spec().trial_id == "9a8bc22eed68401e"


def test_every_field_moves_the_trial_id(spec):
    assert set(OTHER) == {each.name for each in fields(TrialSpec)}
    ids = {spec(**{name: value}).trial_id for name, value in OTHER.items()}
    assert len(ids | {spec().trial_id}) == len(OTHER) + 1


def test_only_the_seed_leaves_the_cell_alone(spec):
    same = {name for name in OTHER if spec(**{name: OTHER[name]}).cell_id == spec().cell_id}
    assert same == {"seed"}


def test_a_specification_without_a_teacher_says_nothing_of_one(spec):
    assert "teacher" not in spec().identity()
    assert "teacher" not in spec().to_json()
    assert "teacher" not in json.dumps(result_of(spec()).to_json())


@dataclass(frozen=True, kw_only=True)
class Grown(TrialSpec):
    """A specification of a later day, with a field that no stored trial knows."""

    decoding: str = field(default="", metadata=LATER)


def test_a_field_that_is_added_moves_no_id(spec):
    values = spec().to_json()
    grown = Grown.from_json(values)
    assert grown.decoding == ""
    assert (grown.trial_id, grown.cell_id) == (spec().trial_id, spec().cell_id)
    assert grown.trial_id == "9a8bc22eed68401e"
    assert grown.to_json() == values


def test_a_field_that_is_added_moves_the_ids_of_those_that_use_it(spec):
    values = {**spec().to_json(), "decoding": "beam"}
    grown = Grown.from_json(json.loads(json.dumps(values)))
    assert grown.to_json() == values
    assert grown.trial_id != spec().trial_id
    assert grown.cell_id != spec().cell_id
    with pytest.raises(ValueError, match="decoding missing or unknown"):
        TrialSpec.from_json(values)  # an older program does not take it for another trial


def test_another_teacher_is_another_student(spec):
    ids = {taught(spec, t).trial_id for t in (TEACHER, replace(TEACHER, shots=8))}
    assert len(ids | {spec().trial_id}) == 3
    assert taught(spec, TEACHER).identity()["teacher"] == TEACHER.trial_id


def taught(spec, teacher, **fields):
    return spec(aids={"teacher": teacher}, **fields)


def test_the_trial_id_of_a_student_is_pinned(spec):
    """Aids came later than teachers, and moved none."""
    student = taught(spec, TEACHER)
    assert (student.trial_id, student.cell_id) == ("13a70110249be3b8", "595128fbef943c96")
    assert student.teacher == TEACHER
    assert student.to_json() == {**spec().to_json(), "teacher": TEACHER.to_json()}


def test_an_aid_that_is_no_trial_is_part_of_the_identity_by_its_fingerprint(spec):
    described = spec(aids={"captioner": "e" * 16})
    assert described.identity() == {**spec().identity(), "captioner": "e" * 16}
    assert len({a.trial_id for a in (spec(), described, spec(aids={"corpus": "e" * 16}))}) == 3
    assert described.teacher is None
    assert TrialSpec.from_json(json.loads(json.dumps(described.to_json()))) == described


def test_roles_of_aids_are_declared_and_no_fields(spec):
    assert not set(AIDS) & {each.name for each in fields(TrialSpec)}
    with pytest.raises(ValueError, match="colour is no role of an aid; roles are teacher, "):
        spec(aids={"colour": "e" * 16})


def test_a_cell_holds_the_cell_of_the_teacher(spec):
    """A teacher has the seed of its student, and what is averaged differs by it alone."""
    seeds = [taught(spec, replace(TEACHER, seed=seed), seed=seed) for seed in (1, 2)]
    assert len({each.trial_id for each in seeds}) == 2
    assert len({each.cell_id for each in seeds}) == 1
    assert taught(spec, replace(TEACHER, shots=8)).cell_id != seeds[0].cell_id


def test_the_order_of_hyperparameters_does_not_matter(spec):
    one, other = ({"a": 1, "b": 2.0}, {"b": 2.0, "a": 1})
    assert spec(hyperparameters=one).trial_id == spec(hyperparameters=other).trial_id


def test_a_specification_survives_json(spec):
    written = json.dumps(spec(**OTHER).to_json())
    assert TrialSpec.from_json(json.loads(written)) == spec(**OTHER)
    assert TrialSpec.from_json(json.loads(written)).trial_id == spec(**OTHER).trial_id


def test_an_unknown_or_missing_key_is_refused(spec):
    values = spec().to_json()
    with pytest.raises(ValueError, match="colour missing or unknown"):
        TrialSpec.from_json({**values, "colour": 1})
    del values["shots"]
    with pytest.raises(ValueError, match="shots missing or unknown"):
        TrialSpec.from_json(values)


def test_a_number_without_json_form_has_no_digest():
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"lr": math.nan})


def test_a_result_survives_json(result):
    assert TrialResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_all_that_is_known_of_its_origin_survives_json(result):
    origin = Provenance(
        started_at="2024-01-01T00:00:00Z",
        device="cpu",
        torch_version="2",
        git_commit="c" * 40,
        flow_run_id="f1",
        suite="mini",
        git_dirty=True,
        threads=4,
        cpu_model="a CPU",
        cpu_capability="AVX2",
        numpy_version="2.4",
        python_version="3.11",
        templates=("a photo of a {}.", "a {}."),
        fit_trial_id="f" * 16,
    )
    assert None not in asdict(origin).values()
    written = replace(result, provenance=origin)
    assert TrialResult.from_json(json.loads(json.dumps(written.to_json()))) == written


def test_a_result_from_before_the_machine_was_noted_is_read(result):
    """What `trial.json` held then."""
    noted = {"started_at", "device", "torch_version", "git_commit", "flow_run_id", "suite"}
    written = json.loads(json.dumps(result.to_json()))
    written["provenance"] = {k: v for k, v in written["provenance"].items() if k in noted}
    origin = TrialResult.from_json(written).provenance
    assert origin == result.provenance
    assert (origin.threads, origin.git_dirty, origin.templates) == (None, None, None)


def test_a_result_of_a_student_survives_json(spec):
    written = result_of(taught(spec, TEACHER))
    assert TrialResult.from_json(json.loads(json.dumps(written.to_json()))) == written


def test_a_result_names_its_trial_and_cell(result):
    written = result.to_json()
    assert written["trial_id"] == result.spec.trial_id
    assert written["cell_id"] == result.spec.cell_id


def test_an_edited_result_is_refused(result):
    written = result.to_json()
    written["spec"] = replace(result.spec, shots=16).to_json()
    with pytest.raises(ValueError, match=r"the file was edited\. Remove its folder"):
        TrialResult.from_json(written)


def test_a_result_of_another_format_is_refused(result):
    with pytest.raises(ValueError, match="has format 2, not 1"):
        TrialResult.from_json({**result.to_json(), "format": 2})
