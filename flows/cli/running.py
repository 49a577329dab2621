"""`shotboard run` and `shotboard plan`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import app
from flows.cli.common import (
    TRIALS_FAILED,
    AsJson,
    Home,
    names,
    near,
    numbers,
    one_sentence,
    quiet_libraries,
)
from flows.cli.terminal import err, out, print_json, print_table
from tasks.storage.store import Store

if TYPE_CHECKING:
    from tasks.planning.choices import Request
    from tasks.planning.plan import Plan
    from tasks.planning.suite import Overrides

SuiteName = Annotated[str, typer.Argument(help="A shipped suite or a YAML file.")]
Methods = Annotated[str | None, typer.Option(help="Only these, comma-separated.")]
Datasets = Annotated[str | None, typer.Option(help="Only these, comma-separated.")]
Backbones = Annotated[str | None, typer.Option(help="Names, folders or hub ids.")]
Shots = Annotated[str | None, typer.Option(help="Labelled images a class, such as 1,4,16.")]
Seeds = Annotated[str | None, typer.Option(help="Such as 1,2,3.")]
Protocols = Annotated[str | None, typer.Option(help="Only these, comma-separated.")]
Views = Annotated[str | None, typer.Option(help="Training views: none, bank:K or fresh.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A hyperparameter: METHOD.NAME=VALUE.")
]


@app.command()
def run(
    suite: SuiteName = "quickstart",
    methods: Methods = None,
    datasets: Datasets = None,
    backbones: Backbones = None,
    shots: Shots = None,
    seeds: Seeds = None,
    protocols: Protocols = None,
    views: Views = None,
    settings: Settings = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds for a trial.  [default: by method and images]")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster to join.  [default: start one here]")
    ] = None,
    gpus_per_worker: Annotated[float, typer.Option(help="GPUs that each worker holds.")] = 0.0,
    workers: Annotated[int | None, typer.Option(help="Workers side by side.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute again what is there.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show Prefect's log too.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Run a suite: do what is missing, then print the board."""
    quiet_libraries(verbose)
    with one_sentence():
        from tasks.computing.ray_cluster import check_request
        from tasks.publishing.mlflow_client import check_answers

        changes = _overrides(
            methods, datasets, backbones, shots, seeds, protocols, views, settings, time_limit
        )
        store = Store.to_write(home)
        request = _request(store, suite, changes)
        check_answers(store.mlflow_uri)
        check_request(ray_address, gpus_per_worker=gpus_per_worker, workers=workers)
        if gpus_per_worker and not ray_address:
            _refuse_missing_gpus(gpus_per_worker)
        err.print(f"suite {request.suite.name}: {_grid(request)}")
        _announce(store, request)

        from flows.benchmark import TrialsFailed, benchmark
        from flows.cli.display import TerminalReporter, print_board
        from tasks.pages.reports import board_rows
        from tasks.progress import reporting_to
        from tasks.services.server import prefect_api

        arguments: dict[str, Any] = {
            **{
                name: list(value) if isinstance(value, tuple) else value
                for name, value in changes.model_dump(exclude={"hyperparameters"}).items()
            },
            "hyperparameters": changes.hyperparameters or None,
            "ray_address": ray_address,
            "gpus_per_worker": gpus_per_worker,
            "workers": workers,
            "fresh": fresh,
            "home": str(store.home),
        }
        failed = False
        with TerminalReporter() as reporter, reporting_to(reporter), prefect_api(store):
            try:
                summary = benchmark(suite, **arguments)
            except TrialsFailed as error:
                summary, failed = error.summary, True
        rows = board_rows(store, summary.plan.specs)
        if as_json:
            print_json({"run_id": summary.run_id, "summary": summary.text, "board": rows})
        else:
            print_board(rows)
            out.print(f"\n{summary.text} Board: {near(summary.board)}")
        for trial_id, error in summary.failed:
            err.print(f"failed {trial_id}: {error}")
    if failed:
        raise typer.Exit(TRIALS_FAILED)


@app.command()
def plan(
    suite: SuiteName = "quickstart",
    methods: Methods = None,
    datasets: Datasets = None,
    backbones: Backbones = None,
    shots: Shots = None,
    seeds: Seeds = None,
    protocols: Protocols = None,
    views: Views = None,
    settings: Settings = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show the trials of a suite, what each needs and what is done; runs nothing."""
    with one_sentence():
        changes = _overrides(methods, datasets, backbones, shots, seeds, protocols, views, settings)
        store = Store.at(home)
        request = _request(store, suite, changes)
        planned, waiting = _preview(store, request)
        if as_json:
            print_json(
                {
                    "suite": request.suite.name,
                    "trials": [
                        {**s.to_json(), "trial_id": s.trial_id, "done": s.trial_id in planned.done}
                        for s in planned.specs
                    ],
                    "skipped": planned.skipped,
                    "notices": planned.notices,
                    "torn": planned.torn,
                    "not_ingested": waiting,
                }
            )
            return
        cells: dict[tuple[Any, ...], list[bool]] = {}
        for s in planned.specs:
            key = (s.protocol, s.dataset, s.backbone, s.method, s.shots)
            cells.setdefault(key, []).append(s.trial_id in planned.done)
        print_table(
            ["protocol", "dataset", "backbone", "method", "shots", "trials", "done"],
            [[*key, len(done), sum(done)] for key, done in cells.items()],
        )
        out.print(f"\n{len(planned.specs)} trials, {len(planned.done)} done.")
        if planned.torn:
            out.print(planned.torn_text, markup=False, soft_wrap=True)
        for text in (*planned.skipped, *planned.notices):
            out.print(f"skipped or noted: {text}")
        if waiting:
            out.print(f"not ingested yet: {', '.join(waiting)}; `shotboard run` does that first.")


def _overrides(
    methods: str | None,
    datasets: str | None,
    backbones: str | None,
    shots: str | None,
    seeds: str | None,
    protocols: str | None,
    views: str | None,
    settings: list[str] | None,
    time_limit: float | None = None,
) -> "Overrides":
    from tasks.planning.suite import Overrides

    return Overrides(
        methods=names(methods),
        datasets=names(datasets),
        backbones=names(backbones),
        shots=numbers("--shots", shots),
        seeds=numbers("--seeds", seeds),
        protocols=names(protocols),
        views=views,
        time_limit=time_limit,
        hyperparameters=_hyperparameters(settings or []),
    )


def _hyperparameters(settings: list[str]) -> dict[str, dict[str, Any]]:
    """`coop.epochs=20` as {coop: {epochs: 20}}.

    Raises:
        ValueError: A setting has another form.
    """
    from data_catalog.yaml_text import YAMLError, load_yaml

    found: dict[str, dict[str, Any]] = {}
    for setting in settings:
        place, equals, value = setting.partition("=")
        method, dot, name = place.partition(".")
        if not (equals and dot and method and name):
            raise ValueError(f"--set {setting}: write METHOD.NAME=VALUE, such as coop.epochs=20.")
        try:
            found.setdefault(method, {})[name] = load_yaml(value)
        except YAMLError as error:
            raise ValueError(f"--set {setting}: {value!r} is no YAML value.") from error
    return found


def _request(store: Store, suite: str, changes: "Overrides") -> "Request":
    from flows.suites import load_suite
    from tasks.planning.choices import check
    from tasks.planning.suite import override

    return check(store, override(load_suite(suite), changes))


def _preview(store: Store, request: "Request") -> tuple["Plan", list[str]]:
    """The plan over the datasets that are ingested, and the names of the others."""
    from tasks.planning.data import preview
    from tasks.planning.plan import Plan, make_plan
    from tasks.planning.resolve import RequestError, dataset_card, ingested

    found, waiting = {}, []
    for name in request.suite.datasets:
        here = ingested(store, name) or preview(dataset_card(store, name))
        if here is not None:
            found[name] = here
        if ingested(store, name) is None:
            waiting.append(name)
    if not found:
        return Plan(request.suite, (), frozenset(), request.skipped), waiting
    known = request.suite.model_copy(update={"datasets": tuple(found)})
    try:
        return make_plan(
            store, type(request)(known, request.backbones, request.skipped), found
        ), waiting
    except RequestError:
        if set(found) == set(request.suite.datasets):
            raise
        return Plan(request.suite, (), frozenset(), request.skipped), waiting


def _announce(store: Store, request: "Request") -> None:
    planned, waiting = _preview(store, request)
    if planned.specs:
        missing = len(planned.missing)
        text = f"{len(planned.specs)} trials, {len(planned.done)} there already, {missing} to do"
        err.print(f"  {text}")
    if waiting:
        err.print(f"  to ingest first: {', '.join(waiting)}")


def _grid(request: "Request") -> str:
    suite = request.suite
    return (
        f"{', '.join(suite.datasets)} x {', '.join(m.id for m in suite.methods)} x "
        f"{', '.join(suite.backbones)} x {', '.join(suite.protocols)} x "
        f"shots {', '.join(map(str, suite.shots))} x seeds {', '.join(map(str, suite.seeds))}"
        + (f", views {suite.views}" if suite.views != "none" else "")
    )


def _refuse_missing_gpus(gpus_per_worker: float) -> None:
    """Raises before a server or a Ray is started.

    Raises:
        ValueError: This machine has no GPU.
    """
    import torch

    if not torch.cuda.is_available():
        raise ValueError(
            f"--gpus-per-worker {gpus_per_worker:g}: this machine has no GPU that torch can use. "
            "Leave it out to run on the CPU, or name a cluster with --ray-address."
        )
