"""What `shotboard up` checks before it starts anything; what it starts is in flows/test_up.py."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tasks.pool import _end_process
from tasks.serving import _alone, project_folder
from tasks.store import Store

RUN = "0d4f7a52-4f0c-4c0e-9d5a-0f3f1c9a2b11"


def test_a_folder_without_prefect_yaml_is_refused(monkeypatch, tmp_path):
    monkeypatch.delenv("SHOTBOARD_PROJECT", raising=False)
    with pytest.raises(FileNotFoundError, match=rf"no prefect\.yaml in {tmp_path}.*Set SHOTBOARD"):
        project_folder(tmp_path)


def test_the_variable_names_the_folder_of_prefect_yaml(monkeypatch, tmp_path):
    (tmp_path / "prefect.yaml").touch()
    monkeypatch.setenv("SHOTBOARD_PROJECT", str(tmp_path))
    assert project_folder(tmp_path / "elsewhere") == tmp_path


def test_a_store_is_served_once_at_a_time(tmp_path):
    store = Store(tmp_path)
    with _alone(store, 4200):
        with (
            pytest.raises(ValueError, match=r"already \(http://127\.0\.0\.1:4200, process \d+\)"),
            _alone(store, 4300),
        ):
            pass
        assert (store.up / "running").is_file()
    with _alone(store, 4300):
        pass


@pytest.fixture
def sleeping():
    """A process that looks like a flow run."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        env={**os.environ, "PREFECT__FLOW_RUN_ID": RUN},
        start_new_session=True,
    )
    time.sleep(0.2)  # until it is Python, with this environment
    yield process
    process.kill()
    process.wait()


def test_a_flow_run_that_was_left_behind_is_ended(sleeping):
    _end_process(str(sleeping.pid), RUN)
    assert sleeping.wait(10) == -signal.SIGTERM


def test_a_process_whose_number_was_that_of_a_flow_run_is_left_alone(sleeping):
    _end_process(str(sleeping.pid), "another")
    assert sleeping.poll() is None


@pytest.mark.parametrize("pid", [None, "", "vm:12", "0"])
def test_a_flow_run_without_a_process_here_needs_no_ending(pid):
    _end_process(pid, RUN)
