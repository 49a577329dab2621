"""Descriptions of a dataset's classes into the store: from a file, or from a language model."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from data_catalog.descriptions import (
    QUESTIONS,
    AnswerCache,
    Client,
    Descriptions,
    describe,
    generate,
    kept_file,
)
from data_catalog.sources import read_file
from tasks.planning import resolve
from tasks.planning.resolve import RequestError
from tasks.progress import stage
from tasks.storage.store import Store


def classes_of(store: Store, name: str) -> tuple[str, ...]:
    """Class names of a dataset.

    Raises:
        RequestError: There is no such dataset, or nobody knows its classes yet.
    """
    card = resolve.dataset_card(store, name)
    here = resolve.ingested(store, name)
    classes = here.classes if here else card.classes
    if not classes:
        raise RequestError(
            f"the classes of {name} are not known before it is ingested: `shotboard datasets "
            f"ingest {name}`, then describe them."
        )
    return classes


def read(place: str) -> Descriptions:
    """Descriptions of a JSON file, at a path or any URL that fsspec reads.

    Raises:
        ValueError: It is not there, or has another form; names it.
    """
    content = read_file(place)
    try:
        return Descriptions.from_json(content.decode())
    except ValueError as error:
        raise RequestError(f"{place}: {error}") from error


def keep(store: Store, name: str, said: Descriptions, *, replace: bool = False) -> Path:
    """Puts descriptions into the store; returns their file.

    Raises:
        RequestError: See `classes_of`; or they are not about its classes, or there are others.
    """
    classes = classes_of(store, name)
    try:
        return describe(name, classes, said, store.cards, replace=replace)
    except ValueError as error:
        raise RequestError(f"descriptions of {name}: {error}") from error


def ask(
    store: Store,
    name: str,
    model: str,
    *,
    questions: Sequence[str] = QUESTIONS,
    replace: bool = False,
) -> Descriptions:
    """Asks a language model about every class of a dataset; what it answers is kept.

    Args:
        store: Keeps every answer, so that a call that stops goes on from there.
        name: Of the dataset.
        model: `module:callable`, found on the path or in the working directory; it takes a
            prompt and returns answers.
        questions: See `data_catalog.descriptions.generate`.
        replace: Whether descriptions that were given before are to give way.

    Raises:
        RequestError: See `classes_of`; there is no such callable; or there are descriptions, and
            answers would be bought in vain.
        ValueError: A question or an answer cannot be used.
    """
    classes = classes_of(store, name)
    if kept_file(name, store.cards).exists() and not replace:
        raise RequestError(
            f"{name} has been described: {kept_file(name, store.cards)}. To ask a model instead, "
            "add --replace."
        )
    folder = store.cards / f"{name}.answers" / model.replace(":", ".")
    answers = AnswerCache(folder, client(model))
    with stage(f"describe {name}", len(classes)) as progress:
        return generate(
            classes,
            answers,
            questions=questions,
            source=f"answers of {model}, asked by Shotboard",
            progress=progress.to,
        )


def client(model: str) -> Client:
    """The function that `module:callable` names.

    Raises:
        RequestError: There is none.
    """
    module, colon, attribute = model.partition(":")
    if not (module and colon and attribute):
        raise RequestError(
            f"--generate {model}: write module:callable, such as my_model:answers for the "
            "function answers of my_model.py, which takes a prompt and returns a list of texts."
        )
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        raise RequestError(
            f"--generate {model}: no module {error.name!r}. Start where its file is, or install it."
        ) from error
    finally:
        sys.path.remove(here)
    if not callable(found):
        raise RequestError(f"--generate {model}: {module} has no callable {attribute!r}.")
    return cast("Client", found)
