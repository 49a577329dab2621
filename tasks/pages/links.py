"""Where the pages of a store are served, and how each leads to the others.

`shotboard up` serves them and tells its flow runs in the environment. Where nobody serves a page
there is no link to it: a dead one is worse than none.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

BOARD_URL = "SHOTBOARD_BOARD_URL"
MLFLOW_URL = "SHOTBOARD_MLFLOW_URL"
PREFECT_URL = "SHOTBOARD_PREFECT_URL"


@dataclass(frozen=True)
class Pages:
    """The roots of the pages that are served, without a slash at the end.

    Attributes:
        board: Of the board page; None where it is not served, and so for the others.
        mlflow: Of MLflow's pages.
        prefect: Of Prefect's pages.
    """

    board: str | None = None
    mlflow: str | None = None
    prefect: str | None = None

    def environment(self) -> dict[str, str]:
        """The variables that tell another process, read by `served_pages`."""
        roots = {BOARD_URL: self.board, MLFLOW_URL: self.mlflow, PREFECT_URL: self.prefect}
        return {name: root for name, root in roots.items() if root}

    def on_board(self, *place: str) -> str | None:
        """A place of the board page: `on_board("trial", trial_id)`; without one, the page."""
        fragment = "#/" + "/".join(quote(part, safe="") for part in place) if place else ""
        return f"{self.board}/{fragment}" if self.board else None

    def flow_run(self, flow_run_id: str) -> str | None:
        """A flow run of Prefect."""
        return f"{self.prefect}/runs/flow-run/{flow_run_id}" if self.prefect else None


def served_pages(environ: Mapping[str, str] = os.environ) -> Pages:
    """What the environment says of pages that are served.

    A tracking server that `MLFLOW_TRACKING_URI` names has pages of its own.
    """
    server = environ.get("MLFLOW_TRACKING_URI", "")
    own = _without_login(server) if server.startswith(("http:", "https:")) else None
    roots = (environ.get(BOARD_URL), environ.get(MLFLOW_URL) or own, environ.get(PREFECT_URL))
    return Pages(*(root.rstrip("/") if root else None for root in roots))


def _without_login(url: str) -> str:
    """A URL without the name and password of whoever asks: a link is read by others."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
