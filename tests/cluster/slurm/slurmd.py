"""Starts what `srun` sends to this host, and ends it when `srun` has gone, as Slurm does."""

import json
import os
import select
import signal
import socketserver
import subprocess
import sys
from contextlib import suppress

PORT = 6818
END = b"\0"  # before the exit code, after all output


class Step(socketserver.BaseRequestHandler):
    def handle(self):
        asked = json.loads(self.request.makefile("rb").readline())
        process = subprocess.Popen(
            asked["command"],
            env={**asked["env"], "SLURMD_NODENAME": os.uname().nodename},
            stdin=subprocess.DEVNULL,
            stdout=self.request,
            stderr=self.request,
            start_new_session=True,
        )
        while process.poll() is None:
            readable, _, _ = select.select([self.request], [], [], 0.1)
            if readable and not self.request.recv(1):
                process.terminate()
                try:
                    process.wait(30)  # Slurm's KillWait
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
        with suppress(OSError):
            self.request.sendall(END + str(process.wait()).encode())


class Daemon(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


with Daemon(("0.0.0.0", PORT), Step) as daemon:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    daemon.serve_forever()
