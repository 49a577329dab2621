"""`shotboard pretrain`, and `shotboard backbones verify`, which asks whether a card is right."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.common import (
    TRIALS_FAILED,
    AsJson,
    Home,
    commands,
    near,
    one_sentence,
    quiet_libraries,
)
from flows.cli.terminal import err, out, print_json, print_table
from tasks.storage.store import Store

if TYPE_CHECKING:
    from flows.pretraining import PretrainSummary
    from tasks.pretraining.pretrain_run import PretrainingRun

app = commands()


@app.command()
def pretrain(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe or a YAML file.")] = "mini-clip",
    seed: Annotated[int | None, typer.Option(help="Of weights and data.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Parquet of image-text pairs: path or URL.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Cores for training.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that make pairs; 0 makes them in training.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster to join.  [default: start one here]")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Copy the model to this folder.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show Prefect's log too.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Train a small CLIP from scratch; the same command goes on where it stopped."""
    quiet_libraries(verbose)
    with one_sentence():
        store = Store.to_write(home)
        _check_numbers(seed=seed, steps=steps, threads=threads, workers=workers)
        from data_catalog.secrets import hidden
        from flows.pretraining import check
        from flows.pretraining import pretrain as flow
        from tasks.computing.ray_cluster import check_request

        run, on = check(
            store, recipe, seed=seed, steps=steps, data=data, device=device, workers=workers
        )
        check_request(ray_address, gpus_per_worker=0, workers=workers or None)
        _check_output(output, run)
        _announce(run, on)

        from flows.cli.display import TerminalReporter
        from operators.pretraining import PretrainingError
        from tasks.progress import reporting_to
        from tasks.services.server import prefect_api

        try:
            with TerminalReporter() as reporter, reporting_to(reporter), prefect_api(store):
                summary = flow(
                    recipe,
                    seed=seed,
                    steps=steps,
                    data=None if data is None else hidden(data),
                    device=device,  # pyright: ignore[reportArgumentType]  # checked above
                    threads=threads,
                    workers=workers,
                    ray_address=ray_address,
                    home=store.place,
                )
        except PretrainingError as error:
            err.print(f"error: {error}")
            raise typer.Exit(TRIALS_FAILED) from None
        if output is not None and not output.exists():
            shutil.copytree(summary.folder, output)
        _show(summary, output, as_json)


def verify_backbone(
    name: Annotated[str, typer.Argument(help="A name, a folder or a hub id.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Compute the figures on a model's card again, from its files and the test rows."""
    quiet_libraries(verbose=False)
    with one_sentence():
        from flows.cli.display import TerminalReporter
        from tasks.computing.device import device_for
        from tasks.pretraining.heldout import verify_figures
        from tasks.progress import reporting_to

        with TerminalReporter() as reporter, reporting_to(reporter):
            found = verify_figures(Store.at(home), name, device_for(device))
        wrong = [one for one in found if not one.agrees]
        if as_json:
            print_json([asdict(one) for one in found])
        else:
            print_table(
                ["dataset", "on the card", "found", "images", "agrees", ""],
                [
                    [
                        one.dataset,
                        one.stated,
                        one.found,
                        one.n,
                        "yes" if one.agrees else "no",
                        one.remark,
                    ]
                    for one in found
                ],
            )
            agree = len(found) - len(wrong)
            out.print(f"\n{agree} of {len(found)} figures agree.")
    if wrong:
        raise typer.Exit(1)


def _check_numbers(**given: int | None) -> None:
    """Raises where a number makes no sense.

    Raises:
        ValueError: Names the option and the least value.
    """
    for name, value in given.items():
        least = 0 if name in ("seed", "workers") else 1
        if value is not None and value < least:
            raise ValueError(f"--{name} {value}: give {least} or more.")


def _check_output(output: Path | None, run: "PretrainingRun") -> None:
    """Raises before hours of training where the model could not be copied at the end.

    Raises:
        ValueError: The folder holds something else.
    """
    if output is None or not output.exists():
        return
    from tasks.pretraining.heldout import RESULTS, read_results

    there = output.is_dir() and (output / RESULTS).is_file()
    if not (there and read_results(output).get("run_id") == run.run_id):
        raise ValueError(f"-o {output} is there already and is not this model: name another.")


def _announce(run: "PretrainingRun", device: str) -> None:
    recipe = run.recipe
    err.print(f"recipe {run.asked.name}: {run.source.describe()}")
    done = run.state().step
    there = f", {done} there already" if done else ""
    err.print(
        f"  run {run.run_id}: {recipe.steps} steps of {recipe.batch_size} pairs on "
        f"{'the CPU' if device == 'cpu' else device}{there}"
    )


def _show(summary: "PretrainSummary", output: Path | None, as_json: bool) -> None:
    from tasks.pretraining.pretrain import span

    folder = output or summary.folder
    if as_json:
        values: dict[str, Any] = {
            **{key: value for key, value in asdict(summary).items() if key != "published"},
            "folder": str(folder),
            "published": summary.published._asdict() if summary.published else None,
        }
        print_json(values)
        return
    out.print("\nzero-shot accuracy on test rows, in %")
    print_table(
        ["dataset", "accuracy", "95 % interval", "images"],
        [
            [
                one.dataset,
                f"{100 * one.accuracy:.1f}",
                f"{100 * one.ci95_low:.1f} to {100 * one.ci95_high:.1f}",
                one.n,
            ]
            for one in summary.results
        ],
    )
    state = summary.state
    done = "was trained already" if summary.there_already else "is trained"
    out.print(
        f"\n{summary.name} {done}: {state.step} steps in {span(state.train_seconds)} on "
        f"{state.device}.\nModel and card: {near(folder)}\n"
        f"next: shotboard run --backbones {near(folder)}"
    )
