"""What ingesting many small images costs: images a second, CPU and memory, before and now.

    python benchmarks/ingestion.py --before FOLDER      # a checkout of the code to compare with
    python benchmarks/ingestion.py --images 20000 --images 50000 --json -

Images are generated, 32 x 32 pixels of noise over a gradient, as PNG in one Parquet file of a
hundred classes without splits. Each size is ingested by each code in a process of its own, in
turns. Memory is the peak of the process's own pages beyond what its imports take, and beside it
that of its workers together. Wall time depends on what else the machine does, so CPU seconds, those
of the workers included, stand beside it.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measuring import markdown_table, write_json
from PIL import Image

CLASSES = 100
SIDE = 32
PROJECT = Path(__file__).resolve().parents[1]
# Runs with the code of either checkout, so it uses what both have.
WORKER = """
import json, os, resource, sys, threading, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from data_catalog import DatasetCard, ParquetImages, ingest
import data_catalog, pyarrow.parquet, psutil, PIL.Image, simplejpeg
assert data_catalog.__file__.startswith(sys.argv[1])
me = psutil.Process()
imports = me.memory_info().rss
def cpu():
    seconds = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        seconds += used.ru_utime + used.ru_stime
    return seconds
peaks, done = [0, 0], threading.Event()
def private(process):
    with open(f"/proc/{process.pid}/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return 1024 * int(lines["RssAnon"].split()[0])
def watch():
    while not done.wait(0.1):
        peaks[0] = max(peaks[0], private(me))
        workers = 0
        for child in me.children(recursive=True):
            try: workers += private(child)
            except (OSError, KeyError, psutil.Error): pass
        peaks[1] = max(peaks[1], workers)
before = private(me)
threading.Thread(target=watch, daemon=True).start()
start, used = time.perf_counter(), cpu()
found = ingest(DatasetCard(name="many", source=ParquetImages(sys.argv[2])), Path(sys.argv[3]))
wall, used = time.perf_counter() - start, cpu() - used
done.set()
print(json.dumps({"fingerprint": found.fingerprint, "rows": found.rows, "wall": wall, "cpu": used,
    "peak": peaks[0] - before, "workers": peaks[1]}))
"""


def images(count: int) -> Iterator[bytes]:
    """PNG files, no two alike."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 127, SIDE)
    for _ in range(count):
        weights = rng.random((2, 3))
        shade = ramp[:, None, None] * weights[0] + ramp[None, :, None] * weights[1]
        noise = rng.integers(0, 24, (SIDE, SIDE, 3))
        file = io.BytesIO()
        Image.fromarray((shade / 2 + noise + 60).astype(np.uint8)).save(file, "PNG")
        yield file.getvalue()


def make(file: Path, count: int) -> None:
    """Writes a Parquet file of so many images."""
    schema = pa.schema([("image", pa.binary()), ("class_name", pa.string())])
    with pq.ParquetWriter(file, schema, compression="NONE") as writer:
        batch: list[bytes] = []
        row = 0
        for content in images(count):
            batch.append(content)
            if len(batch) == 1000:
                writer.write_table(_table(batch, row, schema))
                row, batch = row + len(batch), []
        if batch:
            writer.write_table(_table(batch, row, schema))


def _table(batch: list[bytes], start: int, schema: pa.Schema) -> pa.Table:
    names = [f"class {(start + at) % CLASSES:02d}" for at in range(len(batch))]
    return pa.Table.from_pydict({"image": batch, "class_name": names}, schema=schema)


def measure(code: Path, source: Path) -> dict[str, Any]:
    """One ingestion by the code of a checkout."""
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        done = subprocess.run(
            [sys.executable, "-c", WORKER, code, source, folder],
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
    return json.loads(done.stdout)


def markdown(report: dict[str, Any]) -> str:
    """A report as a table of docs/benchmarks.md."""
    rows = []
    for entry in report["runs"]:
        count = entry["rows"]
        rows.append(
            (
                f"{count:,}",
                entry["code"],
                f"{count / entry['wall']:,.0f}",
                f"{1e6 * entry['cpu'] / count:.0f} µs",
                f"{entry['peak'] / 2**20:.0f} MiB",
                f"{entry['peak'] / count:,.0f} bytes",
                f"{entry['workers'] / 2**20:.0f} MiB",
            )
        )
    heads = {
        "Images": ">",
        "Code": "<",
        "Images a second": ">",
        "CPU an image": ">",
        "Peak memory": ">",
        "an image": ">",
        "Workers": ">",
    }
    return markdown_table(heads, rows)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--before", type=Path, help="checkout of other code")
    parser.add_argument("--images", type=int, action="append")
    parser.add_argument("--scratch", type=Path, help="folder with room for three times the images")
    parser.add_argument("--json", metavar="FILE", help="`-` for standard output")
    asked = parser.parse_args()
    codes = {"before": asked.before.resolve()} if asked.before else {}
    codes["now"] = PROJECT
    report: dict[str, Any] = {"benchmark": "ingestion", "runs": []}
    with tempfile.TemporaryDirectory(dir=asked.scratch) as scratch:
        for count in sorted(asked.images or [20_000, 200_000]):
            source = Path(scratch) / f"{count}.parquet"
            make(source, count)
            prints = set()
            for name, code in codes.items():
                found = measure(code, source)
                prints.add(found["fingerprint"])
                report["runs"].append({"code": name, **found})
            if len(prints) > 1:
                raise SystemExit(f"{count} images have other fingerprints: {prints}.")
            source.unlink()
    if asked.json != "-":
        print(markdown(report))
    write_json(report, asked.json)


if __name__ == "__main__":
    main()
