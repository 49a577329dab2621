"""The `best` trial of each method, backbone, dataset and protocol as a version of a model.

Which one that is, `choosing.py` says; `models.json` beside the receipts remembers it, so that a
model is moved when a trial comes that is to be preferred, and only then.
"""

import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from data_catalog.wording import some
from operators.episodes.shots import shots_word
from operators.spec import TrialSpec
from tasks.pages.known import backbone_rows, method_rows, protocol_rows
from tasks.plain_text import markdown_table
from tasks.publishing import receipts
from tasks.publishing.choosing import MODEL, Candidate, reason
from tasks.publishing.mlflow_client import ensure_model
from tasks.storage.store import Store

ALIAS = "best"


class Registered(NamedTuple):
    """What became of some candidates.

    Attributes:
        moved: Models whose alias was moved.
        refused: Why a model was not, by its name.
    """

    moved: int
    refused: dict[str, str]


def register(
    client: Any,
    store: Store,
    suite: str,
    candidates: Mapping[str, Candidate],
    runs: Mapping[str, str],
) -> Registered:
    """Moves the alias of each model to which a better trial has come.

    Args:
        client: An MLflow client.
        store: Where the trials are.
        suite: Whose cells the candidates are of.
        candidates: The best of those at hand, by the name of their model.
        runs: The MLflow run of each cell.
    """
    known: dict[str, dict[str, Any]] = {}
    with suppress(ValueError):  # a damaged note: the best of what is at hand is registered again
        known = receipts.read_models(store)
    refused: dict[str, str] = {}
    moved = {}
    for name, best in candidates.items():
        holder = known.get(name)
        entry = {
            "trial_id": best.trial_id,
            "cell_id": best.cell_id,
            "rank": list(best.rank),
            "suite": suite,
            "mlflow_run_id": runs[best.cell_id],
        }
        if holder and not _to_be_preferred(entry, holder):
            continue
        try:
            _register_one(client, store, best, runs[best.cell_id], is_new=holder is None)
        except (OSError, ValueError) as error:  # what it needs is gone, as a teacher may be
            refused[name] = str(error)
        else:
            moved[name] = entry
    if moved:
        receipts.write_models(store, known | moved)
    return Registered(len(moved), refused)


def _to_be_preferred(entry: Mapping[str, Any], holder: Mapping[str, Any]) -> bool:
    """Whether a trial takes the place of another; or its own, if its run was written anew."""
    if entry["trial_id"] == holder["trial_id"]:
        same_suite = entry["suite"] == holder["suite"]
        return same_suite and entry["mlflow_run_id"] != holder["mlflow_run_id"]
    return entry["rank"] > holder["rank"]


def _register_one(client: Any, store: Store, best: Candidate, run_id: str, *, is_new: bool) -> None:
    """Makes a version of a trial and moves the alias to it.

    Args:
        client: An MLflow client.
        store: Where the trial is.
        best: The trial.
        run_id: The MLflow run of its cell.
        is_new: Whether the model may not be there.
    """
    from tasks.publishing.model_folder import write_model

    trial = store.result(best.trial_id)
    spec = TrialSpec.from_json(trial["spec"])
    card = card_of(store, best.name, trial)
    place = f"models/{best.trial_id}"
    with tempfile.TemporaryDirectory(prefix="shotboard-model-") as folder:
        write_model(store, spec, card, Path(folder) / "model", run_id)
        client.log_artifacts(run_id, str(Path(folder) / "model"), place)
    what = {key: str(value) for key in MODEL if (value := trial["spec"].get(key))}
    if is_new:
        ensure_model(client, best.name, what, _about(best.name, spec))
    tags = {
        **what,
        "trial_id": best.trial_id,
        "shots": shots_word(spec.shots),
        "seed": str(spec.seed),
        "setting": spec.setting,
        "chosen_by": best.chosen_by,
    }
    source = f"{client.get_run(run_id).info.artifact_uri}/{place}"
    version = client.create_model_version(
        best.name, source, run_id=run_id, tags=tags, description=card
    )
    client.set_registered_model_alias(best.name, ALIAS, version.version)


def _about(name: str, spec: TrialSpec) -> str:
    """What a registered model is, in Markdown."""
    return (
        f"Prompts that {spec.method} tuned for {spec.backbone} on {spec.dataset} "
        f"({spec.protocol}). `{ALIAS}` is chosen on validation rows, else by the published rule, "
        f"and never on test rows.\n\n{_usage(name)}"
    )


def _usage(name: str) -> str:
    return (
        "```python\nimport mlflow\n\n"
        f'model = mlflow.pyfunc.load_model("models:/{name}@{ALIAS}")\n'
        'model.predict([..], params={"top": 3})\n```'
    )


def card_of(store: Store, name: str, trial: Mapping[str, Any]) -> str:
    """What a person should know of a model version, in Markdown.

    Args:
        store: Has the card of the dataset.
        name: Of the registered model.
        trial: As `trial.json` holds it.
    """
    spec = trial["spec"]
    folder = store.data / spec["dataset"] / spec["dataset_fingerprint"]
    data = json.loads((folder / "card.json").read_bytes())
    method = _row(method_rows(), "method", spec["method"])
    backbone = _row(backbone_rows(), "backbone", spec["backbone"])
    metric = _row(protocol_rows(), "protocol", spec["protocol"]).get("primary_metric")
    scores = [
        f"{m['split']} {metric} {m['value']:.4f} ({m['n']} rows)"
        for m in trial["metrics"]
        if m["metric"] == metric and m["value"] is not None
    ]
    rows = {
        "method": _joined(method.get("title") or spec["method"], method.get("source")),
        "backbone": _joined(
            f"{spec['backbone']}, fingerprint {spec['backbone_fingerprint']}",
            backbone.get("source"),
            backbone.get("license") and f"licence {backbone['license']}",
        ),
        "dataset": _joined(
            data.get("title") or spec["dataset"],
            data.get("homepage") or data.get("source_description"),
            f"licence {data.get('license') or 'not stated'}",
            f"fingerprint {spec['dataset_fingerprint']}",
        ),
        "classes": f"{len(data['classes'])}: {some(data['classes'], 5)}",
        "protocol": f"{spec['protocol']}, shots {shots_word(spec['shots'])}, seed {spec['seed']}, "
        f"setting {spec['setting']}",
        "on test rows": "; ".join(scores) or "not known",
        "how chosen": reason(trial),
        "trial": trial["trial_id"],
    }
    table = markdown_table(("", ""), rows.items())
    return (
        f"**{name}**\n\n{table}\n"
        "What was learned, and nothing frozen: the backbone is found by its name, or where "
        f'`model_config={{"backbones": ["PATH"]}}` says, and compared by its fingerprint.\n\n'
        f"{_usage(name)}\n\n`shotboard show {trial['trial_id']}` has all of it.\n"
    )


def _row(rows: list[dict[str, Any]], key: str, value: str) -> dict[str, Any]:
    """The row with a value; an empty one where there is none, as of a user's own."""
    return next((row for row in rows if row[key] == value), {})


def _joined(*parts: str | None) -> str:
    return "; ".join(part for part in parts if part)
