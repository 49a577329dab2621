"""pyarrow without pandas, which it imports for any array that it is given, to ask if it is one."""

import sys
from functools import cache
from typing import Any


class _Absent:
    """Says for a moment that there is no pandas."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        """Raises for pandas; see `importlib.abc.MetaPathFinder`.

        Args:
            name: Of the module that is looked for.
            path: Where it is looked for.
            target: Not used.
        """
        if name == "pandas":
            raise ModuleNotFoundError(name)


@cache
def spare_pandas() -> None:
    """Keeps pyarrow from importing pandas in this process, which takes longer than most commands.

    pyarrow looks once, when it is given its first array: that is now, and it is told that there is
    none. What is asked of it by name later, such as `to_pandas`, works as ever. To be called before
    there are threads.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    sys.meta_path.insert(0, _Absent)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(_Absent)
