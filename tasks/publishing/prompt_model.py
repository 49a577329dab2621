"""A registered prompt as MLflow asks it: what `load_model(..).predict(..)` calls.

Neither Prefect nor Ray nor a flow is imported, and MLflow is only needed to find the folder.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_catalog import Example
from tasks.computing.predict import Prediction, Predictor, predictor
from tasks.publishing.model_store import CONFIG, TOP, trial_in
from tasks.storage.store import Store

if TYPE_CHECKING:
    import pandas as pd

_NAMING = "`model_config={{'backbones': ['{}']}}` to `load_model`"
_DATA_URL = ";base64,"


@dataclass(frozen=True)
class PromptModel:
    """A tuned prompt that is ready to classify.

    Attributes:
        predictor: Of its trial.
    """

    predictor: Predictor

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any]) -> "PromptModel":
        """Reads what `model_store.pack` wrote.

        Args:
            folder: Of it.
            config: `backbones` says where they are, where their names do not.

        Raises:
            ValueError: The backbone is not here, or is not the one that the prompt was tuned on.
        """
        store = Store(folder)
        places = config.get(CONFIG) or ()
        places = [places] if isinstance(places, str) else list(places)
        return cls(predictor(store, trial_in(store), backbones=places, naming=_NAMING))

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> "pd.DataFrame":
        """What the prompt says of examples, one row each, in their order.

        Args:
            model_input: A list, an array, a Series or a DataFrame with one column. An image is a
                path, a URL (also `data:`), the bytes of a file, a Pillow image, or pixels as uint8
                of shape (h, w), (h, w, 3) or (h, w, 4); a text is a string.
            params: `top`: classes of each example, at most; 5 if not given.

        Returns:
            `class` and its `probability`; the `top` most probable `classes` with their
            `probabilities`, best first; and why an example could not be read as `error`, which is
            empty when it was.

        Raises:
            ValueError: The input is none of these, or `top` is below 1.
        """
        import pandas as pd

        top = int((params or {}).get("top", TOP))
        if top < 1:
            raise ValueError(f"top={top}: give at least 1.")
        listed = list(_listed(model_input))
        found = list(self.predictor.answers(map(self._example, listed, range(len(listed))), top))
        index = model_input.index if isinstance(model_input, pd.DataFrame | pd.Series) else None
        return pd.DataFrame([_row(each) for each in found], columns=list(_row(_NONE)), index=index)

    def _example(self, value: Any, place: int) -> Example:
        """An example as the predictor reads it; one that cannot be used carries the reason.

        Args:
            value: As the caller gave it.
            place: In the list, from 0.

        Raises:
            ValueError: It is no example of any form.
        """
        held = self.predictor.held
        name = f"{held.kind.noun} {place}"
        if isinstance(value, str):
            head, mark, rest = value.partition(_DATA_URL)
            if mark and head.startswith("data:"):
                return held.checked(base64.b64decode(rest), name)
            return held.read(value)
        if isinstance(value, Path):
            return held.read(str(value))
        if isinstance(value, bytes | bytearray | memoryview):
            return held.checked(bytes(value), name)
        return held.checked(_encoded(value, name), name)


_NONE = Prediction("")


def _row(found: Prediction) -> dict[str, Any]:
    best = found.ranked[0] if found.ranked else None
    return {
        "class": best.name if best else None,
        "probability": best.probability if best else float("nan"),
        "classes": [each.name for each in found.ranked],
        "probabilities": [each.probability for each in found.ranked],
        "error": found.error,
    }


def _listed(given: Any) -> Iterator[Any] | Sequence[Any]:
    """The examples in whatever form they come.

    Raises:
        ValueError: A table has more than one column.
    """
    if hasattr(given, "columns"):  # a DataFrame
        if len(given.columns) != 1:
            raise ValueError(
                f"the table has the columns {', '.join(map(str, given.columns))}: give one column "
                "with the examples."
            )
        return given.iloc[:, 0].tolist()
    if isinstance(given, Mapping):
        if len(given) != 1:
            raise ValueError(f"{len(given)} inputs: give one, with the examples.")
        return _listed(next(iter(given.values())))
    if isinstance(given, np.ndarray):
        if given.dtype.kind in "OUS":
            return given.reshape(-1).tolist()
        picture = given.ndim == 2 or (given.ndim == 3 and given.shape[2] in (3, 4))
        return [given] if picture else list(given)
    if hasattr(given, "tolist"):  # a Series
        return given.tolist()
    return list(given) if isinstance(given, list | tuple) else [given]


def _encoded(value: Any, name: str) -> bytes:
    """Pixels as the bytes of a PNG, which loses nothing.

    Args:
        value: A Pillow image, or an array.
        name: What to call it in errors.

    Raises:
        ValueError: It is neither, or not of 8 bits.
    """
    from PIL import Image

    if isinstance(value, np.ndarray):
        if value.dtype != np.uint8 or not (value.ndim == 2 or value.shape[2:] in ((3,), (4,))):
            raise ValueError(
                f"{name} is an array of {value.dtype} and shape {value.shape}: pixels are uint8 of "
                "shape (h, w), (h, w, 3) or (h, w, 4), in 0..255."
            )
        value = Image.fromarray(value)
    if not isinstance(value, Image.Image):
        raise ValueError(
            f"{name} is a {type(value).__name__}: give a path, a URL, bytes, a Pillow image or an "
            "array of pixels."
        )
    if value.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"):
        value = value.convert("RGB")
    file = io.BytesIO()
    value.save(file, "PNG")
    return file.getvalue()
