"""Objects at a URL: a bucket of S3 or of GCS, a container of Azure, or a folder.

What a store asks of such a place is little: create an object where there is none, read, replace,
delete and list. `create` is what everything hangs on: of several who create the same object one
succeeds and all others hear of it. Whether a place keeps that promise is proved, not looked up in
a list of names; see `Remote.prove`.

Requests are tried again by the library for a while where the network or the server is at fault.
An exclusive creation is not: whoever loses the answer cannot tell whether it was done, so what is
there is read and compared with what was sent.
"""

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tasks.plain_text import without_secrets
from tasks.storage.opening import PATIENCE_SECONDS, in_words, is_final, opened

if TYPE_CHECKING:
    from obstore.store import ObjectStore

LARGE_BYTES = 8 << 20  # from which it is asked first whether a blob is there already
CREATE_TRIES = 5

T = TypeVar("T")


class RemoteError(OSError):
    """The place of a store cannot be reached, or refuses what it is asked; a sentence says so."""


class DamagedError(RemoteError):
    """An object is gone or is not what it was when it was written."""


class Seen(NamedTuple):
    """An object in a listing.

    Attributes:
        tag: Changes with the content.
        size: In bytes.
        changed: When it was written.
    """

    tag: str
    size: int
    changed: datetime


@dataclass(frozen=True)
class Remote:
    """The objects below a URL.

    Attributes:
        url: As the user gave it.
        objects: Of obstore, its root at the URL.
        pause: Seconds before an exclusive creation is tried again; doubled each time.
    """

    url: str
    objects: "ObjectStore"
    pause: float = 0.5

    @classmethod
    def at(cls, url: str, patience: float = PATIENCE_SECONDS) -> "Remote":
        """The objects below a URL; nothing is asked of it yet. As `opened`."""
        return cls(url, opened(url, patience), min(0.5, patience / 20))

    def create(self, key: str, content: bytes) -> str | None:
        """Makes an object where there is none; of several who try at once one gets its tag.

        Args:
            key: Of the object.
            content: All of it. Who finds the very same content there gets the tag as well: it may
                be its own, of a try whose answer was lost.

        Returns:
            The tag of the object; None where another content is there.

        Raises:
            RemoteError: It cannot be known whether the object was made; the same call finds out.
        """
        from obstore import put
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        pause = self.pause
        for left in reversed(range(CREATE_TRIES)):
            try:
                done = put(self.objects, key, content, mode="create", use_multipart=False)
                return done["e_tag"] or ""
            except (AlreadyExistsError, PreconditionError):
                return self._ours(key, content)
            except (BaseError, OSError) as error:
                if not left or is_final(error):
                    raise self._error(f"{key} cannot be created", error) from error
            time.sleep(pause)
            pause *= 2
            if self.head(key) is not None:  # it was made, by this try or by another writer
                return self._ours(key, content)
        raise AssertionError("the last try returns or raises")

    def read(self, key: str) -> bytes | None:
        """The content of an object; None where there is none.

        Raises:
            RemoteError: It cannot be read.
        """
        return self._asked(f"{key} cannot be read", lambda: bytes(self._get(key)))

    def replace(self, key: str, content: bytes | Path) -> str:
        """Writes an object, whatever was there; returns its tag.

        Args:
            key: Of the object.
            content: All of it, or the file that has it.

        Raises:
            RemoteError: It cannot be written; what was there stays.
        """
        from obstore import put

        with self._sentence(f"{key} cannot be written"):
            return put(self.objects, key, content)["e_tag"] or ""

    def delete(self, key: str) -> None:
        """Removes an object, if it is there.

        Raises:
            RemoteError: It cannot be removed.
        """
        from obstore import delete

        self._asked(f"{key} cannot be removed", lambda: delete(self.objects, key))

    def head(self, key: str) -> Seen | None:
        """What a listing would say of one object; None where there is none.

        Raises:
            RemoteError: It cannot be asked.
        """
        from obstore import head

        found = self._asked(f"{key} cannot be looked at", lambda: head(self.objects, key))
        return None if found is None else _seen(found)

    def listed(self, prefix: str) -> dict[str, Seen]:
        """All objects of a folder, at any depth, by key without the folder's name.

        Args:
            prefix: The folder, without a slash at its end.

        Raises:
            RemoteError: It cannot be listed.
        """
        from obstore import list as each

        with self._sentence(f"{prefix} cannot be listed"):
            chunks = each(self.objects, f"{prefix}/")
            found = [meta for chunk in chunks for meta in chunk]
        return {meta["path"].removeprefix(f"{prefix}/"): _seen(meta) for meta in found}

    def put_blob(self, content: bytes | Path) -> tuple[str, int]:
        """Keeps some bytes under their digest; returns SHA-256 and size.

        Whoever writes the same blob writes the same bytes, so nobody need be first.

        Args:
            content: The bytes, or the file that has them.
        """
        digest, size = digest_of(content)
        there = self.head(blob(digest)) if size >= LARGE_BYTES else None
        if there is None or there.size != size:
            self.replace(blob(digest), content)
        return digest, size

    def get_blob(self, digest: str, into: Path) -> None:
        """Writes a blob to a file, checked by its digest.

        Args:
            digest: SHA-256 of the bytes.
            into: The file, which is not there yet.

        Raises:
            DamagedError: It is gone, or other bytes are there.
            RemoteError: It cannot be read.
        """
        seen = hashlib.sha256()

        def read() -> bool:
            nonlocal seen
            seen = hashlib.sha256()
            with into.open("wb") as file:
                for part in self._stream(blob(digest)):
                    seen.update(part)
                    file.write(part)
            return True

        if self._asked(f"{blob(digest)} cannot be read", read) is None:
            raise DamagedError(f"{blob(digest)} is gone from {self.shown}.")
        if seen.hexdigest() != digest:
            raise DamagedError(f"{blob(digest)} of {self.shown} is not what was written there.")

    def prove(self) -> None:
        """Makes the same object twice, and sees the second refused.

        Raises:
            ValueError: The place has no exclusive creation, so it can keep no store.
            RemoteError: It cannot be reached or written.
        """
        from obstore import put
        from obstore.exceptions import AlreadyExistsError, NotSupportedError, PreconditionError

        key = f"probes/{uuid.uuid4().hex}"
        refused = (AlreadyExistsError, PreconditionError)
        try:
            with self._sentence("nothing can be created", NotSupportedError, NotImplementedError):
                # A first try whose answer is lost is refused when the library repeats it.
                with suppress(*refused):
                    put(self.objects, key, b"1", mode="create", use_multipart=False)
                try:
                    put(self.objects, key, b"2", mode="create", use_multipart=False)
                    kept = False
                except refused:
                    kept = self.read(key) == b"1"
        except (NotSupportedError, NotImplementedError):
            kept = False
        with suppress(RemoteError):
            self.delete(key)
        if not kept:
            raise ValueError(
                f"{self.shown} lets an object be created twice, so of two runs that finish the "
                "same trial each could overwrite the other's. Use a place with exclusive creation "
                "(S3 and servers that honour If-None-Match, GCS, Azure, file://), or a folder."
            )

    def _ours(self, key: str, content: bytes) -> str | None:
        """The tag of an object that is there, if it has this content."""
        seen = self.head(key)
        return seen.tag if seen is not None and self.read(key) == content else None

    @property
    def shown(self) -> str:
        """The URL for people, without secrets."""
        return without_secrets(self.url)

    def _get(self, key: str) -> bytes:
        from obstore import get

        return get(self.objects, key).bytes()  # pyright: ignore[reportReturnType]

    def _stream(self, key: str) -> Iterator[bytes]:
        from obstore import get

        return get(self.objects, key).stream(min_chunk_size=4 << 20)  # pyright: ignore[reportReturnType]

    def _asked(self, trouble: str, ask: Callable[[], T]) -> T | None:
        """An answer, or None where the object is not there."""
        try:
            with self._sentence(trouble, FileNotFoundError):
                return ask()
        except FileNotFoundError:
            return None

    @contextmanager
    def _sentence(self, trouble: str, *passed: type[Exception]) -> Iterator[None]:
        """Turns what the library raises into a `RemoteError`, but for what is `passed` on."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (RemoteError, *passed):
            raise
        except (BaseError, OSError) as error:
            raise self._error(trouble, error) from error

    def _error(self, trouble: str, error: Exception) -> RemoteError:
        return RemoteError(
            f"the store {self.shown} does not do what it is asked: {trouble} ({in_words(error)}). "
            "Look at the URL, the network and the credentials in the environment "
            "(docs/object-stores.md); what was computed stays, and is sent by the next run."
        )


def blob(digest: str) -> str:
    """The key of some bytes."""
    return f"blobs/{digest[:2]}/{digest}"


def digest_of(content: bytes | Path) -> tuple[str, int]:
    """SHA-256 and size of some bytes, or of those of a file."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest(), len(content)
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), content.stat().st_size


def _seen(meta: Any) -> Seen:
    return Seen(meta["e_tag"] or "", meta["size"], meta["last_modified"])
