"""What MLflow loads a registered prompt with: `mlflow.pyfunc.load_model("models:/NAME@best")`.

Loading needs Shotboard installed, and neither its flows nor Prefect nor Ray; see docs/mlflow.md.
"""

import sys
from collections.abc import Mapping
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]


def _load_pyfunc(data_path: str, model_config: Mapping[str, Any] | None = None) -> Any:
    """The model in a folder that `tasks/publishing/model_folder.py` wrote; MLflow calls this.

    Args:
        data_path: Folder of what was packed.
        model_config: `backbones`: where those of the trial and its teacher are, if their names do
            not say it.

    Raises:
        ImportError: A module of the user's has the name of one of our packages.
        ValueError: The backbone is not here, or is not the one that the prompt was tuned on.
    """
    _find_our_packages()
    from tasks.publishing.prompt_model import PromptModel

    return PromptModel.load(Path(data_path), dict(model_config or {}))


def _find_our_packages() -> None:
    """Has our packages found beside this one, whatever the user's own modules are called.

    Raises:
        ImportError: One of the user's is loaded already.
    """
    for name in _finder().names:
        module = sys.modules.get(name)
        place = getattr(module, "__file__", None)
        if module is not None and (place is None or Path(place).parents[1] != _ROOT):
            raise ImportError(
                f"a module called {name} is loaded already ({place}), and Shotboard has a package "
                "of that name: load the model in a process that has not imported the other."
            )


@cache
def _finder() -> Any:
    """What finds our packages, put on the search path once.

    It is in the first lines of `flows`, which stays out of `sys.modules`: a user may have a package
    of that name, and nothing here needs ours.
    """
    spec = PathFinder.find_spec("flows", [str(_ROOT)])
    assert spec is not None and spec.loader is not None
    flows = module_from_spec(spec)
    spec.loader.exec_module(flows)
    return flows.OwnPackages
