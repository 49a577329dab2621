"""`shotboard datasets describe`: sentences about the classes of a dataset."""

from typing import Annotated

import typer

from flows.cli.common import AsJson, Home, one_sentence
from flows.cli.terminal import out, print_json, print_table
from tasks.storage.store import Store


def describe_dataset(
    name: str,
    file: Annotated[
        str | None,
        typer.Option(
            help='JSON of sentences by class, {"class name": ["sentence", ..], ..}; a local path '
            "or any URL that fsspec reads."
        ),
    ] = None,
    generate: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:CALLABLE",
            help="Ask a language model instead: a function of yours from a prompt to texts.",
        ),
    ] = None,
    question: Annotated[
        list[str] | None,
        typer.Option(
            help="What to ask it, {} for the class name and {a} for its article.  "
            "[default: the five questions of CuPL]"
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Change those given before.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Give sentences about each class, for the methods that read them; without any, show them."""
    with one_sentence():
        from tasks.planning.resolve import dataset_card, descriptions

        store = Store.at(home)
        dataset_card(store, name)
        if file and generate:
            raise ValueError("--file and --generate: give one of them.")
        if question and not generate:
            raise ValueError("--question is asked of a model: name one with --generate.")
        if file or generate:
            path = _kept(store, name, file, generate, question, replace=replace)
            out.print(f"descriptions: {path}")
            return
        found = descriptions(store, name)
        if found is None:
            raise ValueError(
                f"nobody has described {name} yet: `shotboard datasets describe {name} --file "
                'FILE`, a JSON of {"class name": ["sentence", ..], ..}.'
            )
        said, where = found
        if as_json:
            print_json({"dataset": name, "file": str(where), **vars(said)})
            return
        rows = [
            [known if not place else "", sentence]
            for known, sentences in said.sentences.items()
            for place, sentence in enumerate(sentences)
        ]
        print_table(["class", "sentence"], rows)
        out.print(f"\n{said.text}. {where}")


def _kept(
    store: Store,
    name: str,
    file: str | None,
    model: str | None,
    questions: list[str] | None,
    *,
    replace: bool,
) -> str:
    """Puts what was given, or what a model says, into the store; returns its file."""
    from data_catalog.descriptions import QUESTIONS
    from tasks.ingestion.describe import ask, classes_of, keep, read

    classes_of(store, name)
    if model:
        from flows.cli.display import TerminalReporter
        from tasks.progress import reporting_to

        with TerminalReporter() as reporter, reporting_to(reporter):
            said = ask(store, name, model, questions=questions or QUESTIONS, replace=replace)
    else:
        said = read(file or "")
    kept = keep(store, name, said, replace=replace)
    store.refresh()
    return str(kept)
