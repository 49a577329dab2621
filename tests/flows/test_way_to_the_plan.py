"""From the command line to a plan: few functions, and never back up."""

import sys
from functools import cache

import pytest

from tasks.planning.choices import Request
from tasks.planning.suite import Suite

LAYERS = ("flows.cli", "flows", "tasks", "operators", "data_catalog")  # from top to bottom
START, END = ("flows.cli.running", "plan"), ("tasks.planning.plan", "make_plan")
ASIDE = {"one_sentence", "Store.at", "Suite.all_datasets"}  # which pass no suite on
ASIDE |= {"refuse_unknown", "_at_most", "_unknown"}  # which look at it, and nothing comes of it
PLANNING = ("plan", "cells", "choices", "suite", "resolve")  # likewise, in tasks.planning


@cache
def layer(module):
    """How far down a module is; None for one of others."""
    found = [n for n, name in enumerate(LAYERS) if module == name or module.startswith(f"{name}.")]
    return found[0] if found else None


class Way:
    """Which of our functions call which, and which of them a suite or a request goes through."""

    def __init__(self):
        self.calls, self.hands, self.ended, self._known = set(), set(), False, {}

    def function(self, frame):
        """Module and name of one of our functions; None for others. Millions of calls ask this."""
        code = frame.f_code
        if code not in self._known:
            name = frame.f_globals.get("__name__", "")
            of_a_dataclass = code.co_filename == "<string>"
            ours = layer(name) is not None
            named = name, code.co_qualname.split(".<locals>")[0]
            self._known[code] = named if ours else None, ours and not of_a_dataclass
        return self._known[code]

    def __call__(self, frame, event, value):
        if self.ended or event not in ("call", "return"):
            return
        here, counts = self.function(frame)
        if not counts:
            return
        given = [value]
        if event == "call":
            above = frame.f_back
            while above is not None and self.function(above)[0] is None:
                above = above.f_back  # pydantic and functools call for somebody
            if above is not None:
                self.calls.add((self.function(above)[0], here))
            code, local = frame.f_code, frame.f_locals
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            given = [local[name] for name in names if name in local]
            self.ended = here == END
        if any(isinstance(each, Suite | Request) for each in given):
            self.hands.add(here)

    @property
    def through(self):
        """Those that a suite goes through, and those that pass it on from one to the next."""
        return self.hands | {above for above, below in self.calls if below in self.hands}


@pytest.fixture(scope="module")
def way(shotboard, tmp_path_factory):
    """The way of `shotboard plan`; what it asks for has a place in every function."""
    home, found = tmp_path_factory.mktemp("way"), Way()
    command = ["plan", "quickstart", "--methods", "zero-shot,coop,promptkd", "--shots", "1"]
    command += ["--set", "coop.epochs=3", "--views", "bank:2"]
    shotboard(*command, "--home", home)  # what is imported on the way is imported now
    sys.setprofile(found)
    try:
        answer = shotboard(*command, "--home", home)
    finally:
        sys.setprofile(None)
    assert answer.code == 0
    assert found.ended
    return found


def test_a_suite_goes_from_the_command_line_to_its_plan_through_fewer_than_ten_functions(way):
    called = {below for above, below in way.calls if above == START}
    assert {name for _, name in called} >= {"overrides", "planned_of"}
    through = way.through | called | {START}
    assert END in through
    assert {"load_suite", "override", "check"} < {name for _, name in through}
    assert len({each for each in through if each[1] not in ASIDE}) < 10, sorted(through)


def test_no_function_on_the_way_calls_one_above_it(way):
    assert len(way.calls) > 20
    assert [call for call in way.calls if layer(call[0][0]) > layer(call[1][0])] == []
    known = {f"tasks.planning.{name}": n for n, name in enumerate(PLANNING)}
    inside = [(a, b) for a, b in way.calls if a[0] in known and b[0] in known]
    assert inside
    assert [(a, b) for a, b in inside if known[a[0]] > known[b[0]]] == []
