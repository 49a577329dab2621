import os
import subprocess
import sys
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from websockets.proxy import get_proxy

from tasks.environment import for_workers, own_code, set_defaults, set_local_ray
from tasks.publishing.mlflow_client import check_answers
from tasks.services.children import free_port
from tasks.services.server import _check_proxies, reachable

ROOT = Path(__file__).resolve().parents[2]


def test_telemetry_is_off_by_default():
    environ = {}
    set_defaults(environ)
    assert environ["DO_NOT_TRACK"] == "1"
    assert environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environ["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_a_choice_of_the_user_wins():
    environ = {"DO_NOT_TRACK": "0"}
    set_defaults(environ)
    assert environ["DO_NOT_TRACK"] == "0"


def test_the_hub_stays_reachable():
    environ = {}
    set_defaults(environ)
    assert "HF_HUB_OFFLINE" not in environ


def test_only_a_local_ray_is_kept_off_the_network():
    environ = {}
    set_defaults(environ)
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in environ
    set_local_ray(environ)
    assert environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"


def test_a_worker_gets_one_thread_unless_the_user_says_more():
    assert for_workers({})["OMP_NUM_THREADS"] == "1"
    assert for_workers({"OMP_NUM_THREADS": "4"})["OMP_NUM_THREADS"] == "4"


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_loopback_never_goes_through_a_proxy_and_what_the_user_said_stays(name):
    environ = {"HTTP_PROXY": "http://proxy:8080", name: "intranet, .corp"}
    set_defaults(environ)
    listed = "intranet,.corp,127.0.0.1,localhost,::1"
    assert (environ["NO_PROXY"], environ["no_proxy"]) == (listed, listed)
    set_defaults(environ)
    assert environ["NO_PROXY"] == listed


def test_a_user_who_uses_no_proxy_at_all_is_left_alone():
    environ = {"NO_PROXY": "*"}
    set_defaults(environ)
    assert environ["NO_PROXY"] == environ["no_proxy"] == "*"


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


def test_a_login_in_the_url_of_a_server_is_sent_as_its_clients_send_it():
    """Without it there is no such host, to Python's own client."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.headers.get("Authorization") == f"Basic {b64encode(b'anna:p@ss').decode()}"
            self.send_response(200 if known and self.path == "/api/health" else 500)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            assert reachable(f"http://anna:p%40ss@127.0.0.1:{server.server_port}/api/") is None
            assert reachable(f"http://127.0.0.1:{server.server_port}/api") is not None
        finally:
            server.shutdown()


@pytest.mark.parametrize("proxy", PROXIES)
def test_every_library_that_asks_our_servers_asks_them_directly(proxy, monkeypatch):
    import httpx
    import requests
    from websockets.uri import parse_uri

    for name in (*PROXIES, "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    environ = {proxy: "http://127.0.0.1:9"}
    set_defaults(environ)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert reachable(f"http://127.0.0.1:{free_port()}/api").endswith("Connection refused")
    assert not requests.utils.get_environ_proxies("http://127.0.0.1:5000/api")
    assert get_proxy(parse_uri("ws://127.0.0.1:4200/api/events/in")) is None
    with httpx.Client() as client:
        for url in ("http://127.0.0.1:41003/api", "http://localhost:4200", "http://[::1]:4200"):
            assert client._transport_for_url(httpx.URL(url)) is client._transport


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A working folder as users have it, with modules of our names."""
    folder = tmp_path / "project"
    for name in ("tasks.py", "operators/__init__.py", "torch.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("raise SystemExit('the user\\'s own')")
    monkeypatch.chdir(folder)
    return folder


def places(variables):
    return variables["PYTHONPATH"].split(os.pathsep)


def test_the_working_folder_and_that_of_the_script_are_no_place_of_ours(project, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(project.parent / "sweep.py")])
    variables = own_code({}, ["", str(project), str(project.parent), str(ROOT)])
    assert variables["PYTHONSAFEPATH"] == "1"
    assert places(variables) == [str(ROOT)]


def test_what_pythonpath_names_stays_after_our_packages(project, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    asked = os.pathsep.join(["", ".", str(other)])
    assert places(own_code({"PYTHONPATH": asked}, [])) == [str(ROOT), str(project), str(other)]


def test_installed_packages_come_after_pythons_own_unless_something_has_our_names(
    project, tmp_path, monkeypatch
):
    installed = tmp_path / "lib" / "site-packages"
    monkeypatch.setattr("tasks.environment.ROOT", installed)
    assert own_code({}, [str(installed)])["PYTHONPATH"] == ""
    assert places(own_code({"PYTHONPATH": str(tmp_path)}, [])) == [str(tmp_path)]
    asked = {"PYTHONPATH": str(project)}
    assert places(own_code(asked, [])) == [str(installed), str(project)]


@pytest.mark.parametrize("how", [["-c", "from shotboard import main; main()"], ["-m", "shotboard"]])
def test_the_command_is_ours_whatever_pythonpath_has(project, how):
    for name in ("flows.py", "data_catalog.py"):
        (project / name).write_text("raise SystemExit('the user\\'s own')")
    (project / "torch.py").unlink()  # a library that is shadowed on purpose is
    done = subprocess.run(
        [sys.executable, *how, "plan", "--help"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(project), str(ROOT)])},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--methods" in done.stdout


def test_an_mlflow_server_that_is_not_there_is_refused_at_once_and_its_password_kept():
    uri = f"http://me:secret@127.0.0.1:{free_port()}"
    with pytest.raises(ConnectionError, match=r"MLFLOW_TRACKING_URI is http://127.*unset") as said:
        check_answers(uri)
    assert "secret" not in str(said.value)
    check_answers("sqlite:////there/is/none.db")


@pytest.mark.parametrize("name", ["ALL_PROXY", "http_proxy"])
def test_a_proxy_that_cannot_be_used_is_refused_with_its_variable(name, monkeypatch):
    for other in PROXIES:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "socks4://127.0.0.1:9")
    with pytest.raises(ValueError, match=rf"a proxy that {name} names cannot be used .*unset"):
        _check_proxies()
