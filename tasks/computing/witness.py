"""The moment in which Ray registers this process, and this process cannot look after itself.

Ray does it in code that keeps all Python threads waiting. Where its head or raylet has ended just
before, it stays there for up to a minute, and then ends this process in words of its own. So
another process looks on: it says what became of that Ray, and ends the rest of it, which spares the
minute.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any

from tasks.computing.ray_processes import ended, kill, looking_on
from tasks.environment import own_code
from tasks.services.children import descendants, is_there

LOOK_SECONDS = 0.1
GRACE_SECONDS = 2.0  # what Ray gets to notice by itself, which is an error that can be handled
_ON, _STDERR = b"\n", 2
_WAY_OUT = "What was computed stays; the same command goes on from here."


@contextmanager
def witnessed(processes: Callable[[], Mapping[str, int]]) -> Iterator[None]:
    """Has another process look on while Ray registers this one, anywhere in the block.

    Args:
        processes: Gives the ids of the processes that must not end meanwhile, by name.
    """
    from ray import _raylet

    register: Any = _raylet.CoreWorker  # pyright: ignore[reportAttributeAccessIssue]
    with tempfile.TemporaryFile() as words, _witness(words) as line:

        def watched(*args: Any, **kwargs: Any) -> Any:
            _tell(line, json.dumps(processes()).encode() + _ON)
            with _put_by(words):
                made = register(*args, **kwargs)
            _tell(line, _ON)
            return made

        _raylet.CoreWorker = watched  # pyright: ignore[reportAttributeAccessIssue]
        try:
            yield
        finally:
            _raylet.CoreWorker = register  # pyright: ignore[reportAttributeAccessIssue]


@contextmanager
def _witness(words: IO[bytes]) -> Iterator[IO[bytes]]:
    """Starts the process that looks on; gives what it reads, and ends it.

    Args:
        words: Where Ray's own words go meanwhile.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(words.fileno())],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **own_code()},
        pass_fds=[words.fileno()],
    )
    assert process.stdin is not None
    looking_on.append(process)
    try:
        yield process.stdin
    finally:
        _tell(process.stdin, _ON)  # it may not have been needed
        with suppress(OSError):
            process.stdin.close()
        process.wait()
        looking_on.remove(process)


def _tell(line: IO[bytes], text: bytes) -> None:
    with suppress(OSError):  # it has been ended: nobody looks on, and all else is as ever
        line.write(text)
        line.flush()


@contextmanager
def _put_by(words: IO[bytes]) -> Iterator[None]:
    """Keeps what this process writes to standard error until the block has ended."""
    try:
        before = os.dup(_STDERR)
    except OSError:  # it has none
        yield
        return
    os.dup2(words.fileno(), _STDERR)
    try:
        yield
    finally:
        os.dup2(before, _STDERR)
        os.close(before)
        words.seek(0)
        with suppress(OSError):
            os.write(_STDERR, words.read())


def main(words: int) -> None:
    """Looks on until the process that started this one says that it goes on, or has ended.

    Args:
        words: Descriptor of the file with Ray's own words.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us is told, and tells us
    asked = _line()
    if not asked.strip():
        return
    watched: dict[str, int] = json.loads(asked)
    since: float | None = None
    said = False
    while not select.select([0], [], [], LOOK_SECONDS)[0]:
        gone = [name for name, process in watched.items() if not is_there(process)]
        since = (since or time.monotonic()) if gone else None
        if since and not said and time.monotonic() - since >= GRACE_SECONDS:
            _say(f"{ended(gone[0])} It was so while Ray registered this process.")
            said = True
            kill([p for each in watched.values() for p in (*descendants(each), each)])
    if os.read(0, 1) == _ON or said:
        return
    with os.fdopen(words, "rb") as file:
        file.seek(0)
        lines = file.read().decode(errors="replace").split("\n")
    if complaint := next((line for line in reversed(lines) if line.strip()), ""):
        _say(f"Ray has ended this process while it registered it: {complaint.strip()}")


def _line() -> bytes:
    """What the other process tells first; empty where it ended before."""
    text = b""
    while not text.endswith(_ON):
        byte = os.read(0, 1)
        if not byte:
            return b""
        text += byte
    return text


def _say(sentence: str) -> None:
    with suppress(OSError):
        os.write(_STDERR, f"error: {sentence}\n{_WAY_OUT}\n".encode())


if __name__ == "__main__":
    main(int(sys.argv[1]))
