"""What a reader finds: a card that is filled, a source, a place, settings that resolve."""

import re
import sys
from collections.abc import Iterator
from typing import Any

from operators.backbones import CAPABILITIES, LANGUAGE_CAPABILITIES
from operators.episodes.protocols import PROTOCOLS
from operators.episodes.views import CENTRE, ViewPolicy
from operators.methods.hyperparameters import defaults, later_defaults, published, resolve, variant
from operators.tracks import TRACKS
from operators.tuning import Tuning

YEAR = re.compile(r"\b(19|20)\d\d\b")
OURS = "operators.methods."


def the_card_is_filled(name: str, method: Any) -> Iterator[str]:
    """Every listing shows it.

    Args:
        name: Of the method.
        method: Its class.
    """
    card = method.card
    for key in ("title", "family", "tunes", "cost", "source"):
        if not getattr(card, key).strip():
            yield f"card.{key} is empty."
    if not YEAR.search(card.source):
        yield f"card.source={card.source!r} names no year: write authors, year and address."
    known = {**CAPABILITIES, **LANGUAGE_CAPABILITIES}
    if unknown := sorted(card.needs - known.keys()):
        yield f"card.needs: no backbone has {', '.join(unknown)}; there are {list(known)}."
    if card.descriptions and not card.external_knowledge:
        yield "who reads descriptions has external knowledge: say external_knowledge=True as well."
    if card.unsupervised and not card.unlabelled:
        yield "who learns without any label reads unlabelled examples: say unlabelled=True as well."
    if card.unseen_head and not card.new_classes:
        yield "who classifies none but its own classes has no head for others: clear unseen_head."
    if card.stream and not card.test_time:
        yield "who keeps what it saw of test examples adapts to them: say test_time=True as well."


def its_published_views_are_a_policy_and_have_a_source(name: str, method: Any) -> Iterator[str]:
    """A suite that says nothing of views has them.

    Args:
        name: Of the method.
        method: Its class.
    """
    card = method.card
    try:
        policy = ViewPolicy.parse(card.views)
    except ValueError as error:
        yield f"card.{error}"
        return
    if policy != CENTRE and not card.views_source.strip():
        yield f"card.views={card.views!r} has no source: say where it is from in card.views_source."


def the_docstrings_say_what_it_is_and_where_it_comes_from(name: str, method: Any) -> Iterator[str]:
    """The class by itself, not by what it extends.

    Args:
        name: Of the method.
        method: Its class.
    """
    if not vars(method).get("__doc__"):
        yield "its class has no docstring."
    text = (sys.modules[method.__module__].__doc__ or "") + (method.__doc__ or "")
    if "Source:" not in text:
        yield 'no docstring has a line "Source: .." with the paper and the equations.'


def a_file_of_ours_lies_where_its_card_says(name: str, method: Any) -> Iterator[str]:
    """In `operators/methods/<track>/<family>`; a user's own file may lie anywhere.

    Args:
        name: Of the method.
        method: Its class.
    """
    if not method.__module__.startswith(OURS):
        return
    folder = f"{OURS}{method.track.replace('-', '_')}.{method.card.family}"
    if method.__module__.rpartition(".")[0] != folder:
        yield f"{method.__module__} is not in {folder}: move the file, or mend card.family."


def published_settings_resolve_and_differ_from_nothing(name: str, method: Any) -> Iterator[str]:
    """In every protocol of its track.

    Args:
        name: Of the method.
        method: Its class.
    """
    expected = defaults(method).keys() - later_defaults(method).keys()
    track = TRACKS[method.track]
    for protocol in (key for key, value in PROTOCOLS.items() if value.track == track.name):
        place = {"protocol": protocol, "shots": 4}
        if odd := sorted(published(method, **place).keys() - defaults(method).keys()):
            yield f"{protocol}: its recipe sets {', '.join(odd)}, which it does not have."
            continue
        values = resolve(name, method, {}, **place)
        if values.keys() - expected - vars(Tuning()).keys():  # new methods use what loops learned
            yield f"{protocol}: its recipe sets what a later trial alone may have."
        elif difference := variant(method, values, **place):
            yield f"{protocol}: its published settings are told as {difference}."


PROMISES = (
    the_card_is_filled,
    its_published_views_are_a_policy_and_have_a_source,
    the_docstrings_say_what_it_is_and_where_it_comes_from,
    a_file_of_ours_lies_where_its_card_says,
    published_settings_resolve_and_differ_from_nothing,
)
