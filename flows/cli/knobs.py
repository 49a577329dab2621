"""The knobs of a suite as options, which `shotboard run` and `shotboard plan` share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args

import typer

from data_catalog.yaml_text import YAMLError, load_yaml
from flows.cli.common import names, numbers
from flows.knobs import parameter, with_parameters
from tasks.planning.knobs import Knob, knobs
from tasks.planning.suite import Suite

F = TypeVar("F", bound=Callable[..., None])
SET, SEARCH = "--set", "--search"


def with_options(suite: type[Suite] = Suite) -> Callable[[F], F]:
    """Gives a command an option for each knob, one for hyperparameters, and one to search them.

    It takes what was written as `**asked`, see `overrides`.

    Args:
        suite: Whose knobs.
    """
    settings = Annotated[
        list[str] | None,
        typer.Option(SET, metavar="METHOD.NAME=VALUE", help="A hyperparameter."),
    ]
    searched = Annotated[
        list[str] | None,
        typer.Option(
            SEARCH, metavar="METHOD.NAME=A,B,..", help="Values to choose from on validation rows."
        ),
    ]
    options = [parameter(knob.name, _option(knob)) for knob in knobs(suite).values()]
    options += [parameter("hyperparameters", settings), parameter("search", searched)]
    return lambda command: with_parameters(command, options)


def overrides(asked: Mapping[str, Any], suite: type[Suite] = Suite) -> dict[str, Any]:
    """What a command line changes of a suite, as `override` takes it.

    Args:
        asked: As it was written, by name of the knob; None where it was not.
        suite: Whose knobs.

    Raises:
        ValueError: A value has not the form of its kind.
    """
    known = knobs(suite)
    found = {name: _value(known[name], text) for name, text in asked.items() if name in known}
    found["hyperparameters"] = _hyperparameters(asked["hyperparameters"])
    return found | {"search": _search(asked.get("search"))}


def _option(knob: Knob) -> Any:
    each = {int: "N", float: "NUMBER", str: "TEXT"}.get(knob.plain, "VALUE")
    one = "|".join(filter(None, [*(get_args(knob.plain) or [each]), knob.asked.null]))
    if knob.many:
        one = "N,N,.." if knob.plain is int else "A,B,.."
        one = "|".join(filter(None, [one, knob.asked.word]))
    help = f"{knob.description}."
    return Annotated[str | None, typer.Option(knob.option, metavar=one, help=help)]


def _value(knob: Knob, text: str | None) -> Any:
    """A value of the kind that the knob has; whether it can work is for the suite to say."""
    if text is None or (not knob.many and (knob.plain is str or get_args(knob.plain))):
        return text
    if knob.many:
        if knob.plain is int:
            return numbers(knob.option, text, word=knob.asked.word)
        return names(text)
    value = _yaml(f"{knob.option} {text}", text)
    return knob.asked.null or text if value is None else value


def _hyperparameters(settings: Sequence[str] | None) -> dict[str, dict[str, Any]] | None:
    """`coop.epochs=20` as {coop: {epochs: 20}}; None where nothing is set.

    Raises:
        ValueError: A setting has another form.
    """
    found: dict[str, dict[str, Any]] = {}
    for setting in settings or ():
        method, name, value = _parts(SET, setting, "METHOD.NAME=VALUE, such as coop.epochs=20.")
        found.setdefault(method, {})[name] = _yaml(f"{SET} {setting}", value)
    return found or None


def _search(settings: Sequence[str] | None) -> dict[str, list[Any]] | None:
    """`coop.lr=0.002,0.02` as {coop.lr: [0.002, 0.02]}; None where nothing is searched.

    Raises:
        ValueError: A setting has another form.
    """
    found: dict[str, list[Any]] = {}
    for setting in settings or ():
        method, name, values = _parts(SEARCH, setting, "METHOD.NAME=A,B,.., as coop.lr=0.002,0.02.")
        found[f"{method}.{name}"] = _yaml(f"{SEARCH} {setting}", f"[{values}]")
    return found or None


def _parts(option: str, setting: str, form: str) -> tuple[str, str, str]:
    """Method, hyperparameter, and what is said of it.

    Args:
        option: That it was given to.
        setting: As it was written.
        form: How it should be.

    Raises:
        ValueError: A part is missing.
    """
    place, equals, value = setting.partition("=")
    method, dot, name = place.rpartition(".")
    if not (equals and dot and method and name):
        raise ValueError(f"{option} {setting}: write {form}")
    return method, name, value


def _yaml(written: str, value: str) -> Any:
    try:
        return load_yaml(value)
    except YAMLError as error:
        raise ValueError(f"{written}: {value!r} is no YAML value.") from error
