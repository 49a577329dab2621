"""Digests that files must have, told while they are read; and those that were noted."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from data_catalog.json_text import JSONError, load_json

_DIGITS = {"sha256": 64, "md5": 32, "git": 40}
_READ_BYTES = 1 << 20


class Checksum(NamedTuple):
    """A digest that a file must have.

    Attributes:
        kind: `sha256`, `md5`, or `git` for the SHA-1 of a git blob, which the hub has of small
            files.
        digits: In hex and lower case.
        source: Where it stands; for people.
    """

    kind: str
    digits: str
    source: str = "published"

    def __str__(self) -> str:
        return f"{self.kind} {self.digits}"


def checksum(kind: str, digits: str) -> Checksum:
    """A published checksum with which files can be compared.

    Args:
        kind: `sha256`, `md5` or `git`.
        digits: In hex.

    Raises:
        ValueError: There is no such kind, or the digits are none of it.
    """
    length = _DIGITS.get(kind)
    if length is None:
        raise ValueError(f"no checksum is called {kind!r}. There is: {', '.join(_DIGITS)}.")
    if len(digits) != length or set(digits) - set("0123456789abcdef"):
        raise ValueError(
            f"{kind} {digits!r} is not {length} hexadecimal digits in lower case. Copy it whole."
        )
    return Checksum(kind, digits)


class Digests:
    """The SHA-256 of bytes as they come, and what stands beside a published digest.

    Args:
        wanted: The published one; None where there is none.
    """

    def __init__(self, wanted: Checksum | None) -> None:
        self._sha256 = hashlib.sha256()
        asked = wanted is not None and wanted.kind == "md5"
        self._md5 = hashlib.md5(usedforsecurity=False) if asked else None

    def update(self, chunk: bytes) -> None:
        """Takes in further bytes."""
        self._sha256.update(chunk)
        if self._md5 is not None:
            self._md5.update(chunk)

    @property
    def sha256(self) -> str:
        """The SHA-256 of all bytes so far, in hex."""
        return self._sha256.hexdigest()

    def fit(self, expected: Checksum, file: Path) -> bool:
        """Whether the bytes have the digest that they should have.

        Args:
            expected: That digest.
            file: See `found`.
        """
        return self.found(expected.kind, file).digits == expected.digits

    def found(self, kind: str, file: Path) -> Checksum:
        """The digest of the bytes.

        Args:
            kind: Of the digest.
            file: That was read; a git blob begins with its size, so it is read once more.
        """
        if kind == "sha256":
            return Checksum(kind, self.sha256)
        if kind == "md5" and self._md5 is not None:
            return Checksum(kind, self._md5.hexdigest())
        blob = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
        for chunk in chunks_of(file):
            blob.update(chunk)
        return Checksum(kind, blob.hexdigest())


def chunks_of(file: Path) -> Iterator[bytes]:
    """The bytes of a file, a mebibyte at a time."""
    with file.open("rb") as source:
        while chunk := source.read(_READ_BYTES):
            yield chunk


class Noted:
    """Digests of what was fetched where none is published, so that a change is seen.

    Args:
        file: JSON that has them by place; made when the first is noted.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def of(self, place: str) -> Checksum | None:
        """The digest of what `place` gave before; None where nothing is known of it."""
        found = self._read().get(place)
        if not isinstance(found, dict) or not isinstance(found.get("sha256"), str):
            return None
        when = str(found.get("fetched_at", ""))[:10]
        return Checksum(
            "sha256", found["sha256"], f"noted when it was first fetched ({when}, {self.file})"
        )

    def note(self, place: str, sha256: str) -> None:
        """Keeps the digest of what a place gave.

        Args:
            place: Where it came from.
            sha256: In hex.
        """
        from filelock import FileLock

        self.file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.file.with_name(f".{self.file.name}.lock")):
            known = self._read()
            if place in known:
                return
            when = datetime.now(UTC).isoformat(timespec="seconds")
            known[place] = {"sha256": sha256, "fetched_at": when}
            draft = self.file.with_name(f".{self.file.name}.draft")
            draft.write_text(json.dumps(known, indent=1, sort_keys=True))
            draft.replace(self.file)

    def _read(self) -> dict[str, Any]:
        try:
            known = load_json(self.file.read_bytes())
        except (FileNotFoundError, JSONError):
            return {}
        return known if isinstance(known, dict) else {}
