"""The end of a pretraining: the export in `CLIPModel` format, its figures, and its card."""

import json
import shlex
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_catalog import Dataset
from data_catalog.wording import plural
from operators.files import commit_folder, write_atomic
from operators.pretraining import Trainer
from tasks.plain_text import Marked, in_code, in_markdown, markdown_table
from tasks.pretraining import heldout
from tasks.pretraining.heldout import RESULTS, Accuracy
from tasks.pretraining.pretrain import span
from tasks.pretraining.pretrain_run import PretrainingRun, State
from tasks.progress import stage

CARD = "README.md"
LICENSE = "apache-2.0"


@task(name="export", cache_policy=NO_CACHE, persist_result=False)
def export(
    run: PretrainingRun,
    datasets: list[Dataset],
    *,
    device: str,
    command: Sequence[str],
    git_commit: str | None,
) -> dict[str, Any]:
    """Writes `model/` with weights, figures on test rows and card; returns the figures.

    A model that is there keeps its weights; its figures and card are written again where other
    datasets are asked for.

    Args:
        run: Trained to the end.
        datasets: Whose test rows are asked.
        device: As torch names it.
        command: What a person runs to get the same model.
        git_commit: Of the code.
    """
    state = run.state()
    if run.model.is_dir():
        results = heldout.read_results(run.model)
        asked = [(dataset.name, dataset.fingerprint) for dataset in datasets]
        if [(one.dataset, one.dataset_fingerprint) for one in results["results"]] == asked:
            return results
        found = _evaluate(run, run.model, datasets, device)
        for name, text in _files(run, state, found, command, git_commit).items():
            write_atomic(run.model / name, text.encode())
    else:
        with commit_folder(run.model) as draft:
            trainer = Trainer(run.recipe, run.tokenizer, device)
            trainer.restore(run.folder / state.checkpoint)
            trainer.export(draft)
            found = _evaluate(run, draft, datasets, device)
            for name, text in _files(run, state, found, command, git_commit, draft).items():
                (draft / name).write_text(text, encoding="utf-8")
    return heldout.read_results(run.model)


def _evaluate(
    run: PretrainingRun, folder: Any, datasets: list[Dataset], device: str
) -> list[Accuracy]:
    with stage("test rows") as testing:
        found = heldout.evaluate(folder, datasets, "test", device)
        testing.summary = ", ".join(f"{a.dataset} {100 * a.accuracy:.1f} %" for a in found) or "-"
    return found


def _files(
    run: PretrainingRun,
    state: State,
    found: Sequence[Accuracy],
    command: Sequence[str],
    git_commit: str | None,
    folder: Any = None,
) -> dict[str, str]:
    from operators.backbones import reference

    fingerprint = reference(str(folder or run.model)).describe().fingerprint
    recipe = run.recipe
    made = {
        "name": run.asked.name,
        "description": run.asked.description,
        "run_id": run.run_id,
        "command": shlex.join(command),
        "recipe": recipe.as_mapping(),
        "data": {"description": run.source.describe(), "signature": run.source.signature()},
        "steps": recipe.steps,
        "pairs_seen": recipe.steps * recipe.batch_size,
        "rows_skipped": state.skipped,
        "seed": recipe.seed,
        "train_seconds": round(state.train_seconds, 1),
        "wait_seconds": round(state.wait_seconds, 1),
        "evaluate_seconds": round(state.evaluate_seconds, 1),
        "device": state.device,
        "starts": state.starts,
        "started_at": state.started_at,
        "torch_version": version("torch"),
        "shotboard_version": version("shotboard"),
        "git_commit": git_commit,
        "license": LICENSE,
    }
    results = heldout.results_of(found, fingerprint, made)
    return {RESULTS: json.dumps(results, indent=1) + "\n", CARD: card(results)}


def card(results: dict[str, Any]) -> str:
    """The card as a hub shows it: front matter, then what a user of the weights should know."""
    recipe = results["recipe"]
    name = results["name"]
    rows = [
        (
            a["dataset"],
            f"{100 * a['accuracy']:.1f} %",
            f"{100 * a['ci95_low']:.1f} to {100 * a['ci95_high']:.1f} %",
            f"{a['n']:,}",
            Marked(in_code(a["template"])),
        )
        for a in results["results"]
    ]
    heads = ("Dataset", "Accuracy", "95 % interval", "Images", "Prompt")
    numeric = [name in ("Accuracy", "Images") for name in heads]
    table = (
        "Zero-shot accuracy on the test rows, which neither training nor the choice of a "
        "checkpoint has seen, with Wilson's 95 % interval. The last step is taken, not the best."
        f"\n\n{markdown_table(heads, rows, numeric)}\n"
        "`shotboard backbones verify FOLDER` computes them again from the files here."
        if rows
        else "It was not evaluated on any dataset."
    )
    skipped = results["rows_skipped"]
    broken = f"\nCould not be read, and passed over: {plural(skipped, 'row')}.\n" if skipped else ""
    waited = results["wait_seconds"] / max(results["train_seconds"], 1e-9)
    about = f"\n{results['description']}\n" if results["description"] else ""
    versions = f"Shotboard {results['shotboard_version']}, torch {results['torch_version']}"
    training = {
        "Data": results["data"]["description"],
        "Signature of the data": Marked(in_code(results["data"]["signature"])),
        "Command": Marked(in_code(results["command"])),
        "Seed": results["seed"],
        "Steps": f"{results['steps']:,} of {recipe['batch_size']:,} pairs",
        "Pairs seen": f"{results['pairs_seen']:,}",
        "Time": f"{span(results['train_seconds'])}, {waited:.0%} of it waiting for data",
        "Device": results["device"],
        "Versions": versions,
        "Run": Marked(in_code(results["run_id"])),
    }
    return f"""---
license: {results["license"]}
library_name: transformers
pipeline_tag: zero-shot-image-classification
tags: [clip, shotboard]
---

# {in_markdown(name)}
{about}
A CLIP with a ViT of {recipe["vision_layers"]} layers (width {recipe["vision_width"]}, images of
{recipe["image_size"]} pixels, patches of {recipe["patch_size"]}) and a text tower of
{recipe["text_layers"]} layers (width {recipe["text_width"]}), trained from scratch.

## Held-out results

{table}

## Training

{markdown_table(("", ""), training.items())}{broken}
The loss is CLIP's: a symmetric cross-entropy over the cosine similarities of a batch, with a
learned temperature. All fields of the recipe are in `{RESULTS}`.

## Use

```python
from transformers import CLIPModel, CLIPProcessor

model = CLIPModel.from_pretrained("FOLDER")
processor = CLIPProcessor.from_pretrained("FOLDER")
```

In Shotboard: `shotboard run --backbones FOLDER`.

## Licence

The weights are under the Apache License 2.0. They were learned from the data above alone.
"""
