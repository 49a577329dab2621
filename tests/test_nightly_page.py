"""docs/nightly.md says what is so."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[1]
TEXT = (PROJECT / "docs" / "nightly.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


COMMANDS = sorted(set(re.findall(r"^(?:- run: )?(shotboard [^#\n]+)", TEXT, re.M)))
ADDRESSES = {
    *re.findall(r"^export SHOTBOARD_NOTIFY=(\S+)$", TEXT, re.M),
    *re.findall(r"^\| `(\w+://\S+)` \|", TEXT, re.M),
}


def test_there_is_something_to_look_at():
    assert len(COMMANDS) >= 4
    assert len(ADDRESSES) == 4
    assert len(blocks("sql")) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_there(command):
    from typer.main import get_command

    from flows.cli.app import app

    _, name, *arguments = shlex.split(command)
    group = get_command(app)
    group.get_command(None, name).make_context(name, arguments)  # pyright: ignore


@pytest.mark.parametrize("address", sorted(ADDRESSES))
def test_every_address_is_one(address, monkeypatch):
    from tasks.services.notifying import address as read

    monkeypatch.setenv("SHOTBOARD_NOTIFY", address)
    assert read()


def test_the_query_has_an_answer(tmp_path):
    from tasks.pages.asking import rows
    from tasks.pages.board import rebuild
    from tasks.storage.store import Store

    store = Store(tmp_path / "store")
    rebuild(store)
    assert rows(store, blocks("sql")[0]) == []


def test_states_events_and_exit_codes_are_those_of_the_code():
    from flows.cli.common import REGRESSED as CODE
    from flows.cli.common import TRIALS_FAILED, WRONG_REQUEST
    from tasks.pages.regressions import EVENTS

    (states,) = re.findall(r"^\| state of the flow run \|(.*)\|$", TEXT, re.M)
    (events,) = re.findall(r"^\| event \|(.*)\|$", TEXT, re.M)
    assert re.findall(r"`(\S+)`", states) == ["Completed", *EVENTS]
    assert re.findall(r"`(\S+)`", events) == list(EVENTS.values())
    codes = [int(code) for code in re.findall(r"^\| (\d) \|", TEXT, re.M)]
    assert codes == [0, TRIALS_FAILED, WRONG_REQUEST, CODE]


def test_the_schedule_is_where_the_page_says():
    deployments = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
    (nightly,) = (each for each in deployments if each["name"] == "nightly")
    (schedule,) = nightly["schedules"]
    assert (schedule["cron"], schedule["timezone"]) == ("0 2 * * *", "Europe/Berlin")
    (shown, _) = (yaml.safe_load(block) for block in blocks("yaml"))
    assert set(shown) <= set(nightly)
    assert set(shown["schedules"][0]) <= set(schedule)
