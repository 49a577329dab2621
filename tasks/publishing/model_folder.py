"""The folder of a registered model: what MLflow reads, beside what the prompt needs.

    MLmodel               with signature and loader; input_example.json and others beside it
    requirements.txt      what it was tuned with; nothing is installed by loading
    README.md             the card
    store/                see `model_store.py`

Writing one takes some hundredths of a second, and only what is registered has one.
"""

import base64
import io
import json
import platform
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from data_catalog import KINDS, Dataset
from operators.spec import TrialSpec
from tasks.publishing.model_store import CONFIG, TOP, pack
from tasks.storage.store import Store

LOADER = "shotboard.model"
STORE = "store"
PACKAGES = ("shotboard", "mlflow", "torch", "safetensors", "transformers", "pillow", "pandas")
EXAMPLE_BYTES = 20_000  # a larger image is shown smaller
EXAMPLE_PIXELS = 128


def write_model(store: Store, spec: TrialSpec, card: str, folder: Path, run_id: str) -> None:
    """Writes the folder of a model.

    Args:
        store: Where its trial is.
        spec: Of the trial.
        card: What a person should know of it, in Markdown.
        folder: A new one.
        run_id: Of MLflow, which the model is of.

    Raises:
        OSError: Something that the prompt needs is not there any more.
        ValueError: Something cannot be read.
    """
    from mlflow.models import Model

    with warnings.catch_warnings():  # at its own type hints, when it is first imported
        warnings.simplefilter("ignore", UserWarning)
        import mlflow.pyfunc

    pack(store, spec, folder / STORE)
    dataset = Dataset.open(store.data / spec.dataset / spec.dataset_fingerprint)
    named = {"trial_id": spec.trial_id, "backbone_fingerprint": spec.backbone_fingerprint}
    model = Model(run_id=run_id, signature=_signature(dataset.kind), metadata=named)
    model.saved_input_example_info = _write_example(dataset, folder)
    mlflow.pyfunc.add_to_model(
        model,
        loader_module=LOADER,
        data=STORE,
        model_config={CONFIG: []},
        python_env="python_env.yaml",
    )
    model.save(str(folder / "MLmodel"))
    packages = "".join(f"{line}\n" for line in requirements())
    (folder / "requirements.txt").write_text(packages)
    (folder / "python_env.yaml").write_text(
        f"python: {platform.python_version()}\nbuild_dependencies: []\n"
        "dependencies:\n- -r requirements.txt\n"
    )
    (folder / "README.md").write_text(card)


def requirements() -> list[str]:
    """What is installed here of all that loading needs, as pip writes it."""
    lines = []
    for name in PACKAGES:
        try:
            lines.append(f"{name}=={version(name).partition('+')[0]}")  # no index has local builds
        except PackageNotFoundError:
            continue
    return lines


def _signature(kind: str) -> Any:
    """What goes in and comes out.

    MLflow would turn lists of pixels into tables, so the model looks at its input itself, as one
    with type hints does.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import (
        AnyType,
        Array,
        ColSpec,
        DataType,
        ParamSchema,
        ParamSpec,
        Schema,
    )

    text, number = DataType.string, DataType.double
    given = text if KINDS[kind].arrow == "string" else AnyType()
    answers: Mapping[str, Any] = {
        "class": text,
        "probability": number,
        "classes": Array(text),
        "probabilities": Array(number),
        "error": text,
    }
    signature = ModelSignature(
        inputs=Schema([ColSpec(given)]),
        outputs=Schema([ColSpec(what, name) for name, what in answers.items()]),
        params=ParamSchema([ParamSpec("top", DataType.long, TOP)]),
    )
    signature._is_signature_from_type_hint = True
    return signature


def _write_example(dataset: Dataset, folder: Path) -> dict[str, str]:
    """Writes a train row as an example of the input; gives what MLmodel says of it."""
    (value,) = dataset.examples(dataset.rows_of("train")[:1] if "train" in dataset.splits else [0])
    given = value if isinstance(value, str) else _data_url(value)
    (folder / "input_example.json").write_text(json.dumps([given]))
    (folder / "serving_input_example.json").write_text(json.dumps({"inputs": [given]}))
    return {
        "artifact_path": "input_example.json",
        "type": "json_object",
        "serving_input_path": "serving_input_example.json",
    }


def _data_url(image: bytes) -> str:
    """An image within a URL, made smaller where it is large."""
    if len(image) > EXAMPLE_BYTES:
        from PIL import Image

        file = io.BytesIO()
        with Image.open(io.BytesIO(image)) as opened:
            small = opened.convert("RGB")
            small.thumbnail((EXAMPLE_PIXELS, EXAMPLE_PIXELS))
            small.save(file, "JPEG")
        image = file.getvalue()
    return f"data:image/*;base64,{base64.b64encode(image).decode()}"
