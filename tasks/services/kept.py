"""A server that is started again where it ends by itself, while its parent goes on."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from tasks.services.children import Child

LOOK_SECONDS = 0.2
TRIES = 3  # what ends as often as that will not stay


class Kept:
    """A server, or the one that has taken its place; a thread looks after it.

    Its socket is its parent's, so whoever asks while there is none waits for the next one, and is
    not refused.

    Attributes:
        child: The last one that was started.
        again: How often it was started again.

    Args:
        child: See above; it runs.
        place: Where it listens; closed where no other will be started.
        start: Starts another at the place.
        ended: Is told of each that has ended, before another starts.
    """

    def __init__(
        self,
        child: Child,
        place: socket.socket,
        start: Callable[[], Child],
        ended: Callable[[Child], None],
    ) -> None:
        self.child = child
        self.again = 0
        self._place = place
        self._start = start
        self._ended = ended
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name=child.name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it runs, or is about to again."""
        return self.child.alive or self._thread.is_alive()

    def _look(self) -> None:
        """Starts it again until it is to stop, or will not stay."""
        while not self._over.wait(LOOK_SECONDS):
            if self.child.alive:
                continue
            if self.again == TRIES:
                self._place.close()
                return
            self.again += 1
            with suppress(Exception):  # it was one of the tries
                self._ended(self.child)
                self.child = self._start()

    def stop(self) -> None:
        """Ends it for good."""
        self._over.set()
        self._thread.join()  # one that is starting is there in a moment, and is ended with the rest
        self.child.stop()
        self._place.close()
