"""From a URL to the place that it stands for; credentials come from the environment alone."""

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tasks.plain_text import without_secrets

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PATIENCE_SECONDS = 120.0  # for which a request is tried again
_REQUEST_SECONDS = 60.0  # one try; parts of large objects have one each
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


def opened(url: str, patience: float = PATIENCE_SECONDS) -> "ObjectStore":
    """The objects below a URL; nothing is asked of it yet.

    Args:
        url: Such as `s3://bucket/store`.
        patience: Seconds for which a request is tried again.

    Raises:
        ValueError: It has a password or a query in it, or there is no such kind of place.
    """
    from obstore.exceptions import BaseError
    from obstore.store import HTTPStore, MemoryStore, from_url

    _refuse_secrets(url)
    options: dict[str, Any] = {"mkdir": True} if _is_folder(url) else _patient(patience)
    try:
        found = from_url(url, **options)
        if isinstance(found, HTTPStore | MemoryStore):
            raise ValueError("nothing can be kept there for other processes")
        return found
    except (BaseError, ValueError, OSError, TypeError) as error:
        raise ValueError(
            f"no store can be at {url!r}: {in_words(error)}. Give --home or SHOTBOARD_HOME a "
            "folder, or a URL such as s3://bucket/store, gs://bucket/store, "
            "az://account/container/store or file:///folder."
        ) from error


def in_words(error: Exception) -> str:
    """What the library says, in one line, without the parts for its own developers."""
    text = str(error).partition("\n\nDebug source")[0]
    return without_secrets(" ".join(text.split())).rstrip(".")[:500]


def is_final(error: Exception) -> bool:
    """Whether an error says that the request is wrong, so that no other try helps."""
    from obstore.exceptions import (
        InvalidPathError,
        NotSupportedError,
        PermissionDeniedError,
        UnauthenticatedError,
    )

    final = InvalidPathError, NotSupportedError, PermissionDeniedError, UnauthenticatedError
    return isinstance(error, (*final, FileNotFoundError, PermissionError))


def _is_folder(url: str) -> bool:
    return urlsplit(url).scheme == "file"


def _patient(seconds: float) -> dict[str, Any]:
    """How long requests are tried again; plain HTTP only where the user gave such an endpoint."""
    endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
    client: dict[str, Any] = {"timeout": timedelta(seconds=min(_REQUEST_SECONDS, seconds))}
    if endpoint.startswith("http://"):
        client["allow_http"] = True
    backoff = {
        "init_backoff": timedelta(seconds=min(0.2, seconds / 20)),
        "max_backoff": timedelta(seconds=min(10.0, seconds / 4)),
        "base": 2,
    }
    tries = {"max_retries": 10, "retry_timeout": timedelta(seconds=seconds), "backoff": backoff}
    return {"client_options": client, "retry_config": tries}


def _refuse_secrets(url: str) -> None:
    """Raises where a URL says who asks: it would be in shells' histories, logs and manifests."""
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            f"the store {without_secrets(url)!r} has a user, a password or a query in its URL. "
            "Give the bucket and the folder alone, and credentials by the environment "
            "(docs/object-stores.md)."
        )
