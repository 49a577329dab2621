"""Who is told what a run of the command line made worse."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from flows.cli.telling import tell
from tasks.pages.regressions import Moves
from tasks.services.notifying import address

ROW = {
    **{"suite": "nights", "protocol": "few_shot", "dataset": "pets", "backbone": "clip"},
    **{"method": "coop", "variant": "", "shots": 4, "split": "all", "metric": "accuracy"},
    **{"unit": "share", "verdict": "regressed", "cause": "hyperparameters lr 0.1 to 9.0"},
    **{"previous_mean": 0.7, "current_mean": 0.6, "p_images": 0.01, "moved_trials": 0},
    **{"cell_id": "c0", "previous_run_id": "r1", "current_run_id": "r2"},
}
SAID = (
    "regressed: coop on pets, few_shot, 4 shots, all, clip: accuracy 70.0 % to 60.0 %; "
    "hyperparameters lr 0.1 to 9.0\n"
)


@pytest.fixture
def webhook(monkeypatch):
    """A webhook that `SHOTBOARD_NOTIFY` names: its status, and what was posted."""
    status, posted = [200], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SHOTBOARD_NOTIFY", f"http://127.0.0.1:{server.server_port}/s3cret")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("tasks.services.server.configured_api", lambda: None)
    yield status, posted
    server.shutdown()
    server.server_close()


def test_a_regression_is_printed_and_sent(webhook, capsys):
    _, posted = webhook
    tell(Moves((ROW,)), address())
    assert capsys.readouterr().err.replace("\n", " ").split() == SAID.split()
    (message,) = posted
    assert message["title"] == "Shotboard, suite nights: 1 cell regressed"
    assert SAID.strip() in message["message"]


def test_nothing_to_tell_is_not_told(webhook, capsys):
    tell(Moves(), address())
    assert (webhook[1], capsys.readouterr().err) == ([], "")


def test_a_server_of_the_user_tells_by_itself(webhook, monkeypatch):
    monkeypatch.setattr("tasks.services.server.configured_api", lambda: "http://prefect/api")
    tell(Moves((ROW,)), address())
    assert webhook[1] == []


def test_an_address_that_takes_nothing_is_said_without_the_secret(webhook, capsys):
    webhook[0][0] = 500
    tell(Moves((ROW,)), address())
    said = " ".join(capsys.readouterr().err.split())
    assert said.endswith("the notification was not taken by JSON at 127.0.0.1.")
    assert "s3cret" not in said


def test_a_wrong_address_is_refused_before_anything_starts(shotboard, monkeypatch, tmp_path):
    monkeypatch.setenv("SHOTBOARD_NOTIFY", "s3cret")
    answer = shotboard("run", "--home", tmp_path / "store")
    assert answer.code == 2
    assert answer.sentence.startswith("SHOTBOARD_NOTIFY is no address")
    assert not (tmp_path / "store").exists()
