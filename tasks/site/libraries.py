"""The libraries of the page, packed once: DataTables out of `itables`, Vega out of `vl_convert`.

Making them takes about two seconds, so they are kept beside the code, as Python keeps bytecode,
under the versions of both packages.
"""

import importlib.util
import json
import re
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from operators.files import write_atomic
from tasks.site.payload import compressed

KEPT = Path(__file__).resolve().parent / "__pycache__"
_EXPOSED = "Object.assign(window, { vega, vegaLite, vegaEmbed });"
_EXPORTS = re.compile(r"\bexport\s*\{([^{}]*)\}")


@cache
def libraries(folder: Path = KEPT) -> dict[str, str]:
    """Scripts and styles by name, as base64 of gzip.

    Args:
        folder: Where they are kept; one that cannot be written to only costs time.

    Returns:
        `datatables` sets `window.DataTables` to the exports of the bundle, `vega` defines `vega`,
        `vegaLite` and `vegaEmbed`; `datatables_style` is a style sheet.
    """
    file = folder / f"libraries-{version('itables')}-{version('vl-convert-python')}.json"
    with suppress(OSError, ValueError):
        return json.loads(file.read_bytes())
    found = {name: compressed(text.encode()) for name, text in _made().items()}
    with suppress(OSError):
        folder.mkdir(exist_ok=True)
        for old in folder.glob("libraries-*.json"):
            old.unlink(missing_ok=True)
        write_atomic(file, json.dumps(found).encode())
    return found


def _made() -> dict[str, str]:
    import vl_convert

    # Its folder is asked for without importing it: that would bring pandas and IPython.
    spec = importlib.util.find_spec("itables")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "html"
    return {
        "datatables": as_script((folder / "dt_bundle.js").read_text(encoding="utf-8")),
        "datatables_style": (folder / "dt_bundle.css").read_text(encoding="utf-8"),
        "vega": vl_convert.javascript_bundle(_EXPOSED),
    }


def as_script(module: str) -> str:
    """A module whose exports are `window.DataTables`: what is inlined cannot be imported.

    Args:
        module: A script with one `export {inner as outer, ..}`.

    Raises:
        ValueError: There is not one such statement.
    """
    found = _EXPORTS.findall(module)
    if len(found) != 1:
        raise ValueError(
            f"the bundle of itables {version('itables')} has {len(found)} export statements, not "
            "one: tasks/site/libraries.py does not know this form."
        )
    pairs = [each.split(" as ") for each in found[0].split(",")]
    exports = ",".join(f"{json.dumps(pair[-1].strip())}:{pair[0].strip()}" for pair in pairs)
    script = _EXPORTS.sub(lambda _: f"window.DataTables={{{exports}}}", module)
    return f'(()=>{{"use strict";{script}\n}})();'
