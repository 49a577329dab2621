"""What the commands share: options, errors, and the shape of their answers."""

import csv
import errno
import logging
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.terminal import err
from operators.episodes.shots import ALL_WORD, shots_of
from operators.files import at_home
from tasks.environment import MachineError
from tasks.storage.store import Store

WRONG_REQUEST = 2
TRIALS_FAILED = 1
REGRESSED = 3

Home = Annotated[
    str | None,
    typer.Option("--home", help="The store.  [default: SHOTBOARD_HOME or .shotboard]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def commands(help: str | None = None) -> typer.Typer:
    """A group of commands, whose help is text as it stands."""
    return typer.Typer(help=help, rich_markup_mode=None)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turns the errors of a wrong request into a paragraph and exit code 2.

    What the machine refuses in the middle, such as a full disk, ends with exit code 1.
    """
    try:
        yield
    except (KeyError, IndexError):
        raise  # a fault of ours: its text is one word, so the traceback is what helps
    except (ValueError, LookupError, ConnectionError, FileNotFoundError, PermissionError) as error:
        text = error.args[0] if isinstance(error, LookupError) and error.args else str(error)
        refuse(text, excerpt=getattr(error, "excerpt", ""))
    except (OSError, MachineError) as error:
        text, _, log = str(error).partition("\n")
        full = {os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT)}
        if getattr(error, "strerror", None) in full:  # in the system's words alone
            text = f"{text.rstrip('.')}: make room, or give --home or SHOTBOARD_HOME another disk."
        err.print("error: " + " ".join(text.split()))
        if log:
            err.print(log)
        err.print("What was computed stays; the same command goes on from here.")
        raise typer.Exit(TRIALS_FAILED) from None
    except KeyboardInterrupt as stop:
        told = "stopped; what was computed stays, the same command goes on from here."
        err.print(str(stop) or told)
        raise typer.Exit(130) from None


@contextmanager
def signals_as_interrupts() -> Iterator[None]:
    """Takes the end of a session or of a service as Ctrl-C, so that everything is stopped.

    The end of a session stays ignored where it is: so `nohup` asks.
    """

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def refuse(text: Any, excerpt: str = "") -> None:
    """Prints why a request cannot be carried out, and where in it; ends with exit code 2."""
    err.print("error: " + " ".join(str(text).split()))
    if excerpt:
        err.print(excerpt)
    raise typer.Exit(WRONG_REQUEST)


def complete_trial(store: Store, start: str) -> str:
    """The completed trial that `start` begins the id of.

    Raises:
        LookupError: No trial does, several do, or the one has failed.
    """
    done = store.done()
    failed = {path.stem for path in store.failures.glob("*.json")} - done
    found = sorted(trial for trial in done | failed if trial.startswith(start))
    if not found:
        raise LookupError(
            f'no trial {start!r} in {store.home}. `shotboard sql "SELECT trial_id, method, '
            'dataset, shots, seed FROM trials"` lists them.'
        )
    if len(found) > 1:
        raise LookupError(f"{len(found)} trials begin with {start!r}; give more digits of the id.")
    if found[0] in failed:
        error = store.failure(found[0])
        raise LookupError(f"trial {found[0]} failed: {error} Run its suite again to retry it.")
    return found[0]


def names(text: str | None) -> tuple[str, ...] | None:
    """`a,b` as names; None where nothing was given."""
    if text is None:
        return None
    return tuple(part.strip() for part in text.split(",") if part.strip())


def class_names(text: str | None, option: str = "--classes") -> tuple[str, ...] | None:
    """`cat,"shark, white"` as names, quoted as in CSV, or those of the file of `@FILE`.

    Raises:
        ValueError: A name is empty, a quote does not close, or the file cannot be read.
    """
    if text is None:
        return None
    if text.startswith("@"):
        return _names_in(text[1:], option)
    try:
        (row,) = csv.reader([text], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError) as error:
        raise ValueError(
            f"{option} {text}: a quote does not close before a comma. Quote whole names, such as "
            f"""{option} '"shark, white",cat'."""
        ) from error
    found = tuple(name.strip() for name in row)
    if not all(found):
        raise ValueError(
            f"{option} {text}: name {found.index('') + 1} is empty, and the order of names is that "
            "of the labels. Leave the extra comma out."
        )
    return found


def _names_in(path: str, option: str) -> tuple[str, ...]:
    """The names in a file, one a line."""
    try:
        lines = at_home(path).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"{option} @{path}: the file cannot be read ({reason}). Give a text file in UTF-8, one "
            "name a line."
        ) from error
    found = tuple(line.strip() for line in lines)
    while found and not found[-1]:
        found = found[:-1]
    if not found or not all(found):
        place = f"line {found.index('') + 1} is empty" if found else "no name is in it"
        raise ValueError(f"{option} @{path}: {place}. Give one name a line, in label order.")
    return found


def pairs(option: str, text: str | None) -> dict[str, list[str]]:
    """`a=x,b=y,b=z` as the values of each key; commas in values are not foreseen.

    Raises:
        ValueError: A part is no pair.
    """
    found: dict[str, list[str]] = {}
    for part in names(text) or ():
        key, equals, value = (each.strip() for each in part.partition("="))
        if not (key and equals and value):
            raise ValueError(
                f"{option} {text}: {part!r} is no pair, such as {option} train=a,test=b."
            )
        found.setdefault(key, []).append(value)
    return found


def one_each(option: str, found: Mapping[str, Sequence[str]]) -> dict[str, str] | None:
    """The one value of each key; None where there is no key.

    Raises:
        ValueError: A key has several.
    """
    for key, values in found.items():
        if len(values) > 1:
            raise ValueError(f"{option}: {key} is given {len(values)} times. Give it once.")
    return {key: values[0] for key, values in found.items()} or None


def shots_option(text: str | None) -> tuple[int, ...] | None:
    """`1,16,all` as the numbers that are kept of shots; None where the option is not given.

    Raises:
        ValueError: A part is neither a whole number nor that word.
    """
    found = numbers("--shots", text, word=ALL_WORD)
    return None if found is None else tuple(shots_of(value) for value in found)


def numbers(option: str, text: str | None, *, word: str = "") -> tuple[Any, ...] | None:
    """`1,4,16` as numbers.

    Args:
        option: That it was written behind.
        text: As it was written; None where it was not.
        word: What may stand among them, as it is.

    Raises:
        ValueError: A part is no whole number.
    """
    parts = names(text)
    if parts is None:
        return None
    try:
        return tuple(part if word and part == word else int(part) for part in parts)
    except ValueError as error:
        also = f" or {word}" if word else ""
        raise ValueError(
            f"{option} {text}: give whole numbers{also} with commas between, such as "
            f"{option} 1,4,16."
        ) from error


def quiet_libraries(verbose: bool) -> None:
    """Keeps library chatter out of the progress display; warnings and worse still show."""
    if verbose:
        return
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
    # A server that went away is told in a sentence, and not once for each event that it missed.
    os.environ.setdefault("PREFECT_INTERNAL_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_LOGGERS_PREFECT_FLOW_RUNS_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL", "CRITICAL")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for name in ("alembic", "mlflow", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)


def in_bytes(count: float) -> str:
    """`12.3 MB`."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} GB"


def near(path: Path) -> str:
    """A path as it is seen from the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
