"""A CLIP from scratch: a recipe in, a model out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from data_catalog.secrets import redact, revealed
from flows.ending import in_a_sentence
from flows.ingesting import ingest_each
from flows.knobs import YAML, file_or
from flows.naming import pretraining_named
from flows.recipes import FOLDER, load_recipe
from flows.shipped import shipped
from tasks.computing.batches import PairWorker, shared_bytes
from tasks.computing.device import device_for, workers_for
from tasks.computing.ray_cluster import ray_cluster
from tasks.computing.worker_pool import WorkerPool
from tasks.pages.artifacts import link_pages
from tasks.planning import resolve
from tasks.planning.resolve import RequestError
from tasks.pretraining.heldout import Accuracy
from tasks.pretraining.model_card import CARD, export
from tasks.pretraining.pretrain import learn_tokenizer, train
from tasks.pretraining.pretrain_run import PretrainingRun, State
from tasks.pretraining.recipe import Pretraining, override
from tasks.pretraining.track import Published, publish_model
from tasks.progress import LogReporter, chosen, reporter, reporting_to, stage
from tasks.storage.drafts import sweep
from tasks.storage.runs import git_commit
from tasks.storage.store import Store

once = task(cache_policy=NO_CACHE, persist_result=False)
publish_once = once(publish_model).with_options(name="publish")


@dataclass(frozen=True)
class PretrainSummary:
    """What a pretraining gave.

    Attributes:
        run_id: Of the pretraining.
        name: Of the recipe.
        folder: The export.
        there_already: Whether all was done before.
        state: Steps and times.
        results: Accuracy on test rows.
        published: Where it is in MLflow; None where MLflow failed.
    """

    run_id: str
    name: str
    folder: Path
    there_already: bool
    state: State
    results: tuple[Accuracy, ...]
    published: Published | None


@flow(  # pyright: ignore[reportCallIssue]  # the task runner's type is invariant upstream
    name="pretrain",
    flow_run_name=pretraining_named,
    task_runner=ThreadPoolTaskRunner(max_workers=2),  # pyright: ignore[reportArgumentType]
    validate_parameters=True,
    persist_result=False,
)
@in_a_sentence()
def pretrain(
    recipe: Annotated[str, file_or(shipped(FOLDER), YAML)] = "mini-clip",
    seed: Annotated[int | None, Field(ge=0)] = None,
    steps: Annotated[int | None, Field(ge=1)] = None,
    data: str | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    threads: Annotated[int | None, Field(ge=1)] = None,
    workers: Annotated[int | None, Field(ge=0)] = None,
    ray_address: str | None = None,
    home: str | None = None,
) -> PretrainSummary:
    """Trains a small CLIP, resuming where it stopped, and puts the model in store and MLflow.

    Killed at any point and started again, the flow goes on from its last checkpoint and ends with
    the same weights.

    Args:
        recipe: A shipped recipe or the path of a YAML file.
        seed: Of weights and data; default: the recipe's.
        steps: Optimiser steps; default: the recipe's.
        data: Parquet of image-text pairs, path or URL; default: the recipe's data.
        device: auto takes a GPU where there is one.
        threads: Cores for training; default: what workers leave.
        workers: Processes that make pairs; 0 makes them in training.
        ray_address: Address of a Ray cluster; default: start one here.
        home: The store; default: SHOTBOARD_HOME or .shotboard.

    Raises:
        RequestError: The request is wrong; nothing has been started.
        PretrainingError: The loss is no number any more.
    """
    store = Store.to_write(home)
    # Prefect keeps parameters, so the command line hides a password in the URL from it.
    data = None if data is None else revealed(data)
    run, where = check(
        store, recipe, seed=seed, steps=steps, data=data, device=device, workers=workers
    )
    sweep(store)
    with reporting_to(reporter() if chosen() else LogReporter(_flow_logger())), run.locked():
        return run_pretraining(
            run,
            command=command_of(recipe, run.asked, steps=steps, data=data),
            device=where,
            threads=threads,
            workers=workers_for(where, workers),
            ray_address=ray_address,
        )


def check(
    store: Store,
    recipe: str,
    *,
    seed: int | None,
    steps: int | None,
    data: str | None,
    device: str,
    workers: int | None,
) -> tuple[PretrainingRun, str]:
    """Turns every name into an object; returns the run and the device as torch names it.

    Raises:
        RequestError: A name is unknown, a value cannot work, or the data is not there.
    """
    asked = override(load_recipe(recipe), seed=seed, steps=steps, data=data)
    for name in asked.evaluate:
        resolve.dataset_card(store, name)
    if workers is not None and workers < 0:
        raise RequestError(f"workers={workers}: give 0 to make the pairs in training, or more.")
    return PretrainingRun.of(store, asked), device_for(device)


def command_of(
    recipe: str, asked: Pretraining, *, steps: int | None, data: str | None
) -> list[str]:
    """What a person runs to get the same model; of local paths only the last part is named.

    Secrets in a URL are left out, for the card shows the command.
    """
    command = ["shotboard", "pretrain", recipe if "/" not in recipe else Path(recipe).name]
    command += ["--seed", str(asked.recipe.seed)]
    command += ["--steps", str(steps)] if steps is not None else []
    if data is not None:
        command += ["--data", redact(data) if "://" in data else Path(data).name]
    return command


def run_pretraining(
    run: PretrainingRun,
    *,
    command: list[str],
    device: str,
    threads: int | None,
    workers: int,
    ray_address: str | None,
) -> PretrainSummary:
    """The steps of the flow: ingest, tokenizer, train, export with test rows, publish."""
    there_already = run.model.is_dir()
    datasets = list(ingest_each(run.store.place, run.asked.evaluate).values())
    if not there_already:
        learn_tokenizer(run)
        with data_workers(run, workers, ray_address) as pool:
            commit = git_commit()
            train(run, datasets, pool, device=device, threads=threads, git_commit=commit)
    results = export(run, datasets, device=device, command=command, git_commit=git_commit())
    published = publish(run)
    state = run.state()
    leave_artifacts(run, state, results["results"], published)
    return PretrainSummary(
        run_id=run.run_id,
        name=run.asked.name,
        folder=run.model,
        there_already=there_already,
        state=state,
        results=tuple(results["results"]),
        published=published,
    )


@contextmanager
def data_workers(
    run: PretrainingRun, workers: int, address: str | None
) -> Iterator[WorkerPool | None]:
    """Workers that make pairs for as long as the block lasts; None where none are wanted."""
    if not workers or run.state().step == run.recipe.steps:
        yield None
        return
    size, side = run.recipe.batch_size, run.recipe.image_size
    memory = shared_bytes(workers, size, side)
    with ray_cluster(address, workers=workers, shared_bytes=memory) as cluster:
        with stage("workers") as starting:
            pool = cluster.pool(PairWorker, run.source, size, side)
            starting.summary = f"{len(pool)} on {cluster.address or 'this machine'} make pairs"
        yield pool


def publish(run: PretrainingRun) -> Published | None:
    """Brings MLflow up to date; a model does not fail for want of it."""
    with stage("publish") as publishing:
        try:
            there = publish_once(
                run.store, run.tracked(git_commit()), list(run.points()), run.model, run.receipt
            )
        except Exception as error:  # whatever MLflow raises
            publishing.summary = (
                f"MLflow failed ({' '.join(str(error).split())[:300]}); the model is in the store, "
                "and the same command publishes it"
            )
            return None
        publishing.summary = f"{there.model} version {there.version} in MLflow"
    return there


def leave_artifacts(
    run: PretrainingRun, state: State, results: list[Accuracy], published: Published | None
) -> None:
    """Leaves results, card and links with the flow run in Prefect."""
    create_table_artifact(
        key="held-out",
        table=[
            {
                "dataset": one.dataset,
                "accuracy": f"{100 * one.accuracy:.1f}",
                "95 % interval": f"{100 * one.ci95_low:.1f} to {100 * one.ci95_high:.1f}",
                "images": one.n,
            }
            for one in results
        ],
        description=f"{run.asked.name}: zero-shot accuracy on test rows, in %",
    )
    card = (run.model / CARD).read_text("utf-8").partition("\n---\n")[2]
    create_markdown_artifact(key="model-card", markdown=card)
    create_link_artifact(key="model", link=run.model.as_uri(), link_text=f"{run.asked.name}")
    if published:
        link_pages()


def _flow_logger() -> Any:
    return get_run_logger()


__all__ = ["PretrainSummary", "RequestError", "check", "pretrain"]
