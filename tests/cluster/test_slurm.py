"""The script for Slurm, with stand-ins for Slurm's commands that reach the hosts of the rig."""

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "docs" / "cluster" / "slurm.sh"
STAND_INS = Path(__file__).with_name("slurm")
DAEMON = STAND_INS / "slurmd.py"
JOB = "4711"
SUITE = """
name: tiny
datasets: [digits]
views: none
backbones: [mini-clip]
methods: [zero-shot, tip-adapter, tip-adapter-f: {epochs: 30}]
shots: [1, 2, 4]
seeds: [1, 2, 3, 4, 5, 6, 7, 8]
test_rows_per_class: 5
"""
TRIALS = 1 + 2 * 3 * 8


def test_it_is_bash_and_asks_slurm_for_what_it_uses():
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    text = SCRIPT.read_text()
    asked = [line.split()[1] for line in text.splitlines() if line.startswith("#SBATCH")]
    named = {option.partition("=")[0] for option in asked}
    assert {"--nodes", "--cpus-per-task", "--no-kill", "--signal", "--exclusive"} <= named
    assert text.index("#SBATCH") < text.index("set -euo pipefail")  # Slurm reads none after it


def test_without_a_store_it_says_so_before_anything_starts(tmp_path):
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": JOB}
    ended = subprocess.run([SCRIPT], env=env, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "SHOTBOARD_HOME: is not set: a URL such as" in ended.stderr


@pytest.fixture(scope="module")
def submit(rig, bucket):
    """Starts the script on the first of three hosts, as `sbatch` does; gives hosts and starter."""
    hosts = [rig.host(f"node{number}") for number in (1, 2, 3)]
    daemons = [host.popen(sys.executable, DAEMON) for host in hosts]
    for daemon in daemons:
        assert daemon.stdout.readline() == "ready\n"
    hosts[0].put("tiny.yaml", SUITE)
    env = {
        "PATH": f"{STAND_INS}:{rig.env['PATH']}",
        "SHOTBOARD_HOME": bucket.url,
        "SLURM_JOB_ID": JOB,
        "SLURM_JOB_NODELIST": "node[1-3]",
        "SLURM_CPUS_PER_TASK": "1",
        "TESTED_NODES": " ".join(f"{host.name}={host.address}" for host in hosts),
    }

    def start():
        return hosts[0].popen("bash", SCRIPT, "tiny.yaml", env=env, stderr=subprocess.STDOUT)

    start.hosts, start.url = hosts, bucket.url
    yield start
    for daemon in daemons:
        daemon.kill()
        daemon.communicate()


def left_of(hosts):
    """Processes of hosts beside the daemon, and folders of Ray."""
    running = []
    for process in (process for host in hosts for process in host.processes()):
        with suppress(psutil.NoSuchProcess):  # or a zombie, which is none
            running.append(process.cmdline())
    folders = [path for host in hosts for path in host.path("/tmp").glob("ray*")]
    return [command for command in running if str(DAEMON) not in command] + folders


def raylet(host):
    """Ray's own process there; None where it is not."""
    for process in host.processes():
        with suppress(psutil.NoSuchProcess):
            if process.name() == "raylet":
                return process
    return None


@pytest.mark.slow
@pytest.mark.served
@pytest.mark.timeout(1500)
def test_a_job_that_is_told_to_end_leaves_nothing_and_the_next_does_the_rest_though_a_node_fails(
    submit, hosts_module
):
    first = submit()
    said = []
    for line in first.stdout:
        said.append(line)
        if line.lstrip().startswith("encode digits mini-clip: "):
            first.send_signal(signal.SIGTERM)  # as Slurm does before the time is up
    assert first.wait(600) != 0, said
    assert "3 of 3 nodes are there\n" in said
    hosts_module.wait_for(lambda: not left_of(submit.hosts), seconds=200)

    second = submit()
    out = ""
    while "3 of 3 nodes are there" not in out:
        line = second.stdout.readline()
        assert line, out
        out += line
    lost = raylet(submit.hosts[2])
    lost.kill()  # its node is started again while the run goes on
    hosts_module.wait_for(lambda: raylet(submit.hosts[2]) not in (None, lost))
    out += second.communicate(timeout=900)[0]
    assert second.returncode == 0, out
    assert f"{TRIALS} trials" in out
    counted = ("sql", "SELECT count(*) AS n FROM trials", "--format", "csv", "--home")
    store = submit.hosts[1].run(
        "shotboard", *counted, submit.url, env={"SHOTBOARD_CACHE": "/tmp/other"}
    )
    assert store.stdout.split() == ["n", str(TRIALS)]
    hosts_module.wait_for(lambda: not left_of(submit.hosts), seconds=200)
