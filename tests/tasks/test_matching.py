"""Callers and idle workers: the closest first, nobody idle, nobody starved."""

import threading
from concurrent.futures import Future

import pytest

from tasks.computing.matching import PASSED_OVER, Matching

SECONDS = 60


def closeness(worker, key):
    return int(key in worker)


class Callers:
    """Threads that wait for a worker, in the order in which they came."""

    def __init__(self, matching):
        self.matching = matching

    def come(self, key):
        future: Future = Future()

        def wait():
            try:
                future.set_result(self.matching.take(key))
            except Exception as error:
                future.set_exception(error)

        before = len(self.matching._waiting)
        threading.Thread(target=wait, daemon=True).start()
        while len(self.matching._waiting) == before and not future.done():
            pass
        return future


@pytest.fixture
def matching():
    return Matching(closeness)


@pytest.fixture
def callers(matching):
    return Callers(matching)


def test_a_caller_gets_the_worker_that_has_what_it_needs(matching):
    for worker in ("plain", "digits", "textiles"):
        matching.give(worker)
    assert matching.take("textiles") == "textiles"
    assert matching.take("textiles") == "plain"  # rather than wait
    assert matching.take("digits") == "digits"


def test_a_worker_goes_to_the_caller_who_needs_what_it_has_else_to_the_first(matching, callers):
    first, second = callers.come("digits"), callers.come("textiles")
    matching.give("textiles")
    assert second.result(SECONDS) == "textiles"
    assert not first.done()
    matching.give("textiles")
    assert first.result(SECONDS) == "textiles"


def test_nobody_is_passed_over_for_ever(matching, callers):
    first = callers.come("digits")
    for _ in range(PASSED_OVER):
        closer = callers.come("textiles")
        matching.give("textiles")
        assert closer.result(SECONDS) == "textiles"
    closer = callers.come("textiles")
    matching.give("textiles")
    assert first.result(SECONDS) == "textiles"
    matching.give("plain")
    assert closer.result(SECONDS) == "plain"


def test_who_is_interrupted_takes_no_worker_along(matching, callers):
    class Stop(BaseException):
        pass

    def interrupted():
        raise Stop

    waiting = matching._changed.wait
    matching._changed.wait = interrupted
    with pytest.raises(Stop):
        matching.take("digits")
    matching._changed.wait = waiting
    matching.give("plain")
    assert callers.come("digits").result(SECONDS) == "plain"


def test_a_worker_that_was_withdrawn_goes_to_nobody(matching, callers):
    matching.give("digits")
    assert matching.withdraw("digits")
    assert not matching.withdraw("digits")
    waits = callers.come("digits")
    matching.give("plain")
    assert waits.result(SECONDS) == "plain"


def test_a_failure_is_raised_in_all_who_wait_or_come_and_the_first_one_stays(matching, callers):
    waits = [callers.come("digits") for _ in range(3)]
    matching.fail(OSError("first"))
    matching.fail(OSError("second"))
    for each in (*waits, callers.come("digits")):
        with pytest.raises(OSError, match="first"):
            each.result(SECONDS)
