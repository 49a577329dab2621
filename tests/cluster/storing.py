"""A server of S3 for hosts, and stores held against each other."""

import http.client
import json
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class Bucket(NamedTuple):
    """A store in a bucket of its own.

    Attributes:
        url: Of the store.
        env: Variables with which hosts reach it.
    """

    url: str
    env: dict[str, str]

    def count(self, prefix: str) -> int:
        """How many objects of the store begin so."""
        place, folder = self.url.removeprefix("s3://").split("/")
        asked = f"{self.env['AWS_ENDPOINT_URL']}/{place}?list-type=2&prefix={folder}/{prefix}"
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.read().count(b"<Key>")


@contextmanager
def bucket(address: str) -> Iterator[Bucket]:
    """Serves a bucket at an address of this machine."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        name = f"b{uuid.uuid4().hex[:12]}"
        connection = http.client.HTTPConnection(host, port, timeout=60)
        connection.request("PUT", f"/{name}")
        assert connection.getresponse().status == 200
        connection.close()
        yield Bucket(
            f"s3://{name}/store",
            {
                "AWS_ENDPOINT_URL": f"http://{host}:{port}",
                "AWS_ACCESS_KEY_ID": "tests",
                "AWS_SECRET_ACCESS_KEY": "no-secret",
                "AWS_DEFAULT_REGION": "us-east-1",
            },
        )
    finally:
        server.stop()


FILES = ("predictions.parquet", "prompt.safetensors")


def found(host: Any, home: str) -> dict[str, Any]:
    """What a store has that a second run of the same has to have as well.

    Args:
        host: Whose command line is asked.
        home: The store as a folder of the host.

    Returns:
        The board's rows, and by trial the bytes of its predictions and prompt.
    """
    board = json.loads(host.shotboard("board", "--json", "--home", home).stdout)
    trials = {}
    for folder in sorted(host.path(home).joinpath("trials").iterdir()):
        trials[folder.name] = {
            name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()
        }
    return {"board": board, "trials": trials}
