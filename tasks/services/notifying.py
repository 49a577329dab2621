"""Notifications of regressions: an automation of Prefect that sends their events to an address.

The address is a secret: it is read from the environment alone, for all users of a machine can list
the arguments of a command. No process that we start inherits it, and it is never printed; Prefect
keeps it encrypted in its database.
"""

import os
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tasks.environment import NOTIFY
from tasks.pages.regressions import EVENTS
from tasks.services.pool import client

NAME = "shotboard-notify"  # of the automation and of the block that holds the address
BLOCK = (
    "slack-webhook"  # whatever its name says: Prefect's block that hands a URL to Apprise as it is
)
WEBHOOKS = {"http": "json", "https": "jsons"}  # what Apprise calls a plain webhook


class Address(NamedTuple):
    """Where notifications go.

    Attributes:
        url: As Apprise reads it; a secret.
        shown: What may be printed: the service, and the host of a plain webhook.
    """

    url: str
    shown: str


def address() -> Address | None:
    """Where `SHOTBOARD_NOTIFY` wants notifications; None where it is not set.

    It is a URL of Apprise (`mailto://`, `slack://`, `ntfy://`, ..), the webhook of a service that
    Apprise knows by its host, or any other `http(s)://`, to which JSON is posted.

    Raises:
        ValueError: Apprise cannot read it; the text does not repeat it.
    """
    named = os.environ.get(NOTIFY, "").strip()
    if not named:
        return None
    from apprise import Apprise

    parts = urlsplit(named)
    for url in (named, _as_webhook(named)):
        if service := Apprise.instantiate(url):
            plain = parts.scheme in {*WEBHOOKS, *WEBHOOKS.values()}
            host = f" at {parts.hostname}" if plain else ""
            return Address(url, f"{service.service_name}{host}")
    raise ValueError(
        f"{NOTIFY} is no address of a notification (its value is not shown, for it may hold a "
        "password). Give a webhook such as https://hooks.slack.com/services/.., or a URL of "
        "Apprise such as mailto://user:password@example.org; see docs/nightly.md."
    )


def _as_webhook(url: str) -> str:
    """A plain webhook as Apprise spells it; parameters of the query are the webhook's own."""
    parts = urlsplit(url)
    query = urlencode([(f"-{key}", value) for key, value in parse_qsl(parts.query)])
    scheme = WEBHOOKS.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path, query, ""))


def send(wanted: Address, title: str, text: str) -> bool:
    """Sends one message, where no server does; says whether it was taken.

    Args:
        wanted: Where to.
        title: Its first line.
        text: The rest.
    """
    import logging

    from apprise import Apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it logs what an address answers
    service = Apprise()
    service.add(wanted.url)
    return bool(service.notify(body=text, title=title))


def notify_at(wanted: Address | None) -> None:
    """Makes the server notify an address of every regression, or nobody.

    Args:
        wanted: None takes an automation of ours away, with the address that it had.

    Raises:
        NoAnswer: The server cannot be reached, or refuses.
    """
    from prefect.blocks.notifications import SlackWebhook
    from prefect.events.schemas.automations import AutomationCore
    from prefect.exceptions import ObjectNotFound

    with client() as server:
        there = server.read_automations_by_name(NAME)
        if wanted is None:
            for automation in there:
                server.delete_automation(automation.id)
            try:
                block = server.read_block_document_by_name(NAME, BLOCK)
            except ObjectNotFound:
                return
            server.delete_block_document(block.id)
            return
        # `_sync`, since in a thread with a loop of its own Prefect would give a coroutine.
        block = SlackWebhook(url=wanted.url)  # pyright: ignore
        block_id = block.save(NAME, overwrite=True, _sync=True)  # pyright: ignore
        automation = AutomationCore.model_validate(
            {
                "name": NAME,
                "description": "Tells of numbers that got worse or moved by themselves.",
                "trigger": {
                    **{"type": "event", "posture": "Reactive", "threshold": 1},
                    "expect": sorted(EVENTS.values()),
                    "match": {"prefect.resource.id": "shotboard.suite.*"},
                },
                "actions": [
                    {
                        **{"type": "send-notification", "block_document_id": block_id},
                        "subject": "{{ event.payload['title'] }}",
                        "body": "{{ event.payload['text'] }}",
                    }
                ],
            }
        )
        if there:
            server.update_automation(there[0].id, automation)
        else:
            server.create_automation(automation)
