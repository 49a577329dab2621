"""The datasets of a cell as inputs of its MLflow run: which, of which content, and what for."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from data_catalog.kinds import IMAGE, KINDS
from tasks.storage.store import Store

LEARNED, TESTED = "train, test", "test"  # what a dataset is for


class Described(NamedTuple):
    """A dataset in the JSON that MLflow keeps of one.

    Attributes:
        source: Where it lies.
        schema: Its columns that say what is asked and answered; None where it is not here.
        profile: How much of it there is; likewise.
    """

    source: str
    schema: str | None = None
    profile: str | None = None


def inputs_of(store: Store, spec: Mapping[str, Any]) -> list[Any]:
    """The dataset of a cell, and those that are tested beside it.

    Args:
        store: Where they lie.
        spec: Of a trial of the cell.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    found = []
    for name, fingerprint, use in _datasets(spec):
        told = _described(store.data / name / fingerprint)
        dataset = Dataset(name, fingerprint, "local", told.source, told.schema, told.profile)
        found.append(DatasetInput(dataset, [InputTag("mlflow.data.context", use)]))
    return found


def _datasets(spec: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, fingerprint and use of each dataset."""
    yield spec["dataset"], spec["dataset_fingerprint"], LEARNED if spec["shots"] else TESTED
    for name, target in spec.get("targets", {}).items():
        yield name, target["fingerprint"], TESTED


@lru_cache(maxsize=256)  # an ingested dataset never changes
def _described(folder: Path) -> Described:
    source = json.dumps({"uri": str(folder)})
    try:
        card = json.loads((folder / "card.json").read_bytes())
        kind = KINDS[card.get("kind", IMAGE)]
        profile = {
            "num_rows": card["rows"],
            "num_classes": len(card["classes"]),
            **{f"num_{split}": count for split, count in card["splits"].items()},
            **_twins(card.get("twins", {})),
        }
    except (OSError, ValueError, KeyError):
        return Described(source)
    types = {kind.column: kind.arrow, "label": "integer", "class_name": "string", "split": "string"}
    columns = [{"name": name, "type": what, "required": True} for name, what in types.items()]
    return Described(source, json.dumps({"mlflow_colspec": columns}), json.dumps(profile))


def _twins(twins: Mapping[str, Any]) -> dict[str, int]:
    """Rows of test that train or val has, equal or nearly, where ingestion has found any."""
    names = {"exact": "num_test_equal", "near": "num_test_nearly_equal"}
    counts = {name: twins.get(sort, {}).get("count") for sort, name in names.items()}
    return {name: count for name, count in counts.items() if count}
