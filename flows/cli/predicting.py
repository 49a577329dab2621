"""`shotboard predict`: a tuned prompt on images or texts of one's own."""

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.common import (
    TRIALS_FAILED,
    AsJson,
    Home,
    class_names,
    commands,
    complete_trial,
    one_sentence,
    quiet_libraries,
)
from flows.cli.terminal import err, print_json, print_table
from operators.episodes.shots import shots_said
from tasks.storage.store import Store

if TYPE_CHECKING:
    from tasks.computing.predict import Predictor

app = commands()


@app.command()
def predict(
    trial_id: Annotated[str, typer.Argument(help="Or the first digits of it.")],
    examples: Annotated[
        list[str],
        typer.Argument(
            metavar="EXAMPLE",
            help="What its dataset holds: images (files, or URLs that fsspec reads), or texts.",
        ),
    ],
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="Names to choose from, quoted as in CSV where they hold a comma, or @FILE with "
            "one name a line.  [default: the classes of its dataset]",
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="Classes to show of each example.")] = 5,
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="The backbone that it was tuned on, if that was a folder. Once more for the one "
            "of its teacher.",
        ),
    ] = None,
    descriptions: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="JSON of sentences about the classes, for methods that read some; a local path "
            "or any URL that fsspec reads.",
        ),
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Use what a trial has learned on images or texts; exit code 1 if one cannot be read."""
    with one_sentence():
        if top < 1:
            raise ValueError(f"--top {top}: give at least 1.")
        store = Store.at(home)
        trial = complete_trial(store, trial_id)
        quiet_libraries(verbose=False)

        from tasks.computing.predict import predictor
        from tasks.ingestion.describe import read

        said = None if descriptions is None else read(descriptions)
        ready = predictor(
            store, trial, classes=class_names(classes), descriptions=said, backbones=backbone or ()
        )
        found = list(ready(examples, top))
        if as_json:
            print_json(
                [
                    {
                        ready.held.kind.noun: each.example,
                        "classes": [ranked._asdict() for ranked in each.ranked],
                        "error": each.error or None,
                    }
                    for each in found
                ]
            )
        else:
            rows = [
                [each.example if place == 0 else "", name, f"{probability:6.1%}"]
                for each in found
                for place, (name, probability) in enumerate(each.ranked)
            ]
            if rows:
                print_table(
                    [ready.held.kind.noun, "class", "probability"], rows, title=_title(ready)
                )
    failed = [each.error for each in found if each.error]
    for error in failed:
        err.print(f"error: {error}")
    if failed:
        raise typer.Exit(TRIALS_FAILED)


def _title(ready: "Predictor") -> str:
    """Which trial answers, and among how many classes."""
    spec = ready.spec
    return (
        f"trial {spec.trial_id}: {spec.method} on {spec.backbone} and {spec.dataset} "
        f"({spec.protocol}, {shots_said(spec.shots)}, seed {spec.seed}); "
        f"{len(ready.method.classes)} classes to choose from\n"
    )
