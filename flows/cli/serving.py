"""`shotboard up`."""

import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from data_catalog.secrets import redact
from flows.cli.common import Home, commands, one_sentence, signals_as_interrupts
from flows.cli.terminal import err, out
from tasks.environment import TOKEN
from tasks.services.guard import USER
from tasks.services.ports import Ports
from tasks.storage.store import Store

if TYPE_CHECKING:
    from tasks.services.serving import Serving

PROJECT = Path(__file__).resolve().parents[2]  # where prefect.yaml lies beside flows/

app = commands()


@app.command()
def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the Prefect UI.")] = Ports.prefect,
    board_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Of the board page.")
    ] = Ports.board,
    mlflow_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Of the MLflow UI.")
    ] = Ports.mlflow or 0,
    host: Annotated[
        str,
        typer.Option(
            help="The address or name to listen on, 0.0.0.0 for all; beyond this machine, every "
            "page asks for a token (docs/security.md)."
        ),
    ] = Ports.host,
    home: Home = None,
) -> None:
    """Run flows from the Prefect UI and by the clock; show the board and MLflow, until Ctrl-C."""
    with one_sentence(), signals_as_interrupts():
        try:
            _serve(Store.to_write(home), Ports(port, board_port, mlflow_port, host))
        except KeyboardInterrupt:
            err.print("stopped.")


def _serve(store: Store, ports: Ports) -> None:
    from flows.cli.display import TerminalReporter
    from tasks.progress import reporting_to
    from tasks.services.server import configured_api
    from tasks.services.serving import project_folder, serving

    project = project_folder(PROJECT)
    elsewhere = configured_api()
    with ExitStack() as stack:
        with TerminalReporter() as reporter, reporting_to(reporter):
            services = stack.enter_context(serving(store, project, ports))
        _show(services, store, project)
        if elsewhere:
            err.print(
                f"PREFECT_API_URL is {redact(elsewhere)}: what is started there is not run from "
                "here, where Prefect has a server of its own. `prefect worker start --pool "
                "shotboard` does that (prefect.yaml)."
            )
        try:
            services.watch()
        except KeyboardInterrupt:
            err.print("\nstopping, with any flow run that is under way (Ctrl-C again: at once)")
            raise


def _show(services: "Serving", store: Store, project: Path) -> None:
    """Prints where everything is and what to do next."""
    command = shutil.which("prefect") and "prefect"
    command = command or shutil.which("prefect", path=str(Path(sys.executable).parent))
    width = max((len(each.name) for each in services.deployments), default=0)
    logs = ", ".join(child.log.name for child in services.children)
    lines = [
        "",
        f"Board         {services.board}",
        f"Prefect UI    {services.api.ui}",
        f"Prefect API   {services.api}",
        f"MLflow UI     {services.mlflow}",
        *([f"Login         {_login(store)}"] if services.locked else []),
        *([f"Notified      {services.notified}"] if services.notified else []),
        "",
        f"Deployments of {project / 'prefect.yaml'}:",
        *(f"  {each.name:{width}}  {each.schedule}".rstrip() for each in services.deployments),
        "",
        "Run one in the UI (Deployments, Run), or in another terminal:",
        f"  export PREFECT_API_URL={services.api}",
        *(
            [f'  export PREFECT_API_AUTH_STRING="{USER}:{_token(store)}"']
            if services.locked
            else []
        ),
        f"  {command or 'prefect'} deployment run benchmark/quickstart",
        "With that variable set, `shotboard run` reports there too.",
        "",
        f"Results in {store.home}, logs in {store.up} ({logs}).",
        "The schedules run as long as this command does. Ctrl-C stops all.",
    ]
    for line in lines:
        out.print(line)


def _login(store: Store) -> str:
    """Where the token is that every page asks for; it is never printed, for a service logs that."""
    where = TOKEN if os.environ.get(TOKEN) else f"what {store.up / 'token'} holds"
    return f"name {USER}, password {where}"


def _token(store: Store) -> str:
    """The token, in a shell."""
    return f"${TOKEN}" if os.environ.get(TOKEN) else f"$(cat {quote(str(store.up / 'token'))})"
