"""What a class must have before it can be run as a method at all; nothing here computes."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from operators.bounds import bounds_of, kinds_of, read
from operators.methods import Method, MethodCard
from operators.methods.constructing import EPISODE
from operators.methods.hyperparameters import annotations, defaults
from operators.methods.leaning import Starting, Teaching
from operators.tracks import TRACKS
from operators.tuning import Tuning


def it_extends_the_contract_of_a_track(name: str, method: Any) -> Iterator[str]:
    """Abstract methods are all written.

    Args:
        name: Of the method.
        method: Whatever was found under it.
    """
    contracts = ", ".join(track.contract.__name__ for track in TRACKS.values())
    if not (isinstance(method, type) and issubclass(method, Method)):
        yield f"it is no method: write a class that extends the contract of a track, {contracts}."
        return
    track = TRACKS.get(getattr(method, "track", ""))
    if track is None or not issubclass(method, track.contract):
        yield f"it extends the contract of no track: {contracts}."
    elif method.__abstractmethods__:
        yield f"it does not write {', '.join(sorted(method.__abstractmethods__))}."


def its_card_revision_and_settings_are_what_they_should_be(name: str, method: Any) -> Iterator[str]:
    """Wrong types would break a plan or a page far from here.

    Args:
        name: Of the method.
        method: Its class.
    """
    card = getattr(method, "card", None)
    if not isinstance(card, MethodCard):
        yield "it has no card: write `card = MethodCard(title=.., family=.., tunes=.., source=..)`."
        return
    if not isinstance(method.revision, int) or method.revision < 1:
        yield f"revision={method.revision!r} is no whole number from 1 on."
    parts = {"tuning": Tuning, "teaching": Teaching, "starting": Starting}
    for key, kind in parts.items():
        if not isinstance(value := getattr(method, key), kind | None):
            yield f"{key} is a {type(value).__name__}: write {key} = {kind.__name__}(..)."
    if card.teacher != (method.teaching is not None):
        yield "card.teacher and teaching go together: write both or neither."


def its_constructor_takes_the_episode_then_hyperparameters_with_defaults(
    name: str, method: Any
) -> Iterator[str]:
    """`(backbone, classes, *, generator, a=1, b=2)`, as every caller calls it.

    Args:
        name: Of the method.
        method: Its class.
    """
    parameters = list(inspect.signature(method.__init__).parameters.values())[1:]
    wanted = [part for part in EPISODE if part != "teacher" or method.card.teacher]
    lacking = [part for part in wanted if part not in [p.name for p in parameters]]
    if lacking:
        yield f"its constructor takes no {', '.join(lacking)}: write ({', '.join(wanted)}, ..)."
    if [p.name for p in parameters[:2]] != list(EPISODE[:2]):
        yield f"the first arguments of its constructor are not {' and '.join(EPISODE[:2])}."
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            yield f"its constructor takes *{parameter.name}: write every hyperparameter out."
        elif parameter.name not in EPISODE and parameter.kind is not parameter.KEYWORD_ONLY:
            yield f"its argument {parameter.name} is no keyword: write a * before it."
        elif parameter.name not in EPISODE and parameter.default is parameter.empty:
            yield f"its argument {parameter.name} has no default: give the published value."


def its_hyperparameters_have_types_bounds_and_defaults_within(
    name: str, method: Any
) -> Iterator[str]:
    """So that what cannot work is refused before anything starts.

    Args:
        name: Of the method.
        method: Its class.
    """
    try:
        kinds: Mapping[str, Any] = annotations(method)
    except NameError as error:
        yield f"a type of its constructor is not known: {error}."
        return
    for key, value in defaults(method).items():
        if Any in kinds_of(kinds[key]):
            yield f"{key} has no type: write {key}: Share = {value!r}, or another of bounds.py."
        elif {int, float} & set(kinds_of(kinds[key])) and bounds_of(kinds[key]) is None:
            yield (
                f"{key} has no bounds: write Annotated[.., Bounds(low, high)], or a type of "
                "operators/bounds.py, such as Share or Tokens."
            )
        else:
            try:
                read(f"the default {key}", value, kinds[key], value)
            except ValueError as error:
                yield str(error)


PROMISES = (
    it_extends_the_contract_of_a_track,
    its_card_revision_and_settings_are_what_they_should_be,
    its_constructor_takes_the_episode_then_hyperparameters_with_defaults,
    its_hyperparameters_have_types_bounds_and_defaults_within,
)
