"""Checking on all cores gives what checking one after the other gives, in the same order."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_catalog import Example, ingest
from data_catalog.kinds import pool
from data_catalog.kinds.decoding import check_image


def serial(check, examples):
    for example in examples:
        yield check(example)


@pytest.fixture
def mixed(png, jpeg):
    """Examples of every outcome: sound, damaged, empty, unreadable, of one colour."""
    rows = [
        Example((png, jpeg)[n % 2](n), f"{n}.png", n % 2, ("cat", "dog")[n % 2]) for n in range(300)
    ]
    rows[5] = rows[5]._replace(content=b"damaged")
    rows[70] = rows[70]._replace(content=b"")
    rows[71] = rows[71]._replace(content=b"", error="missing: no such file")
    rows[72] = rows[72]._replace(content=rows[72].content[:60])
    rows[290] = rows[3]._replace(path="copy")
    return rows


@pytest.fixture
def in_processes(monkeypatch):
    """Processes after the first 40 examples, with small chunks."""
    monkeypatch.setattr(pool, "IN_THREADS", 40)
    monkeypatch.setattr(pool, "CHUNK_ROWS", 7)
    monkeypatch.setattr(pool, "cores", lambda: 2)


def test_processes_find_what_one_thread_finds_in_the_same_order(mixed, in_processes):
    assert list(pool.check_in_order(check_image, mixed)) == list(serial(check_image, mixed))


def test_processes_give_the_dataset_of_one_thread(mixed, in_processes, card_of, tmp_path):
    parallel = ingest(card_of(*mixed), tmp_path / "parallel")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("data_catalog.kinds.image.check_in_order", serial)
        alone = ingest(card_of(*mixed), tmp_path / "alone")
    assert parallel.fingerprint == alone.fingerprint
    for name in ("data.parquet", "quarantine.parquet"):
        assert (parallel.folder / name).read_bytes() == (alone.folder / name).read_bytes()
    assert {**parallel.card, "ingested_at": ""} == {**alone.card, "ingested_at": ""}


def test_what_a_failing_source_gave_comes_before_its_error(mixed, in_processes):
    def failing():
        yield from mixed[:200]
        raise OSError("gone")

    found = []
    with pytest.raises(OSError, match="gone"):
        found.extend(iter_into(found, pool.check_in_order(check_image, failing())))
    assert found == list(serial(check_image, mixed[:200]))


def iter_into(found, rows):
    for row in rows:
        found.append(row)
    return ()


def test_the_examples_in_memory_are_few(mixed, in_processes):
    given = 0

    def counted():
        nonlocal given
        for row in mixed:
            given += 1
            yield row

    found = pool.check_in_order(check_image, counted())
    for taken in range(1, len(mixed) + 1):
        next(found)
        assert given - taken <= 4 * pool.AHEAD * pool.THREAD_ROWS


def test_processes_are_gone_when_the_reader_stops_early(mixed, in_processes):
    import psutil

    found = pool.check_in_order(check_image, mixed)
    for _ in range(60):
        next(found)
    children = psutil.Process().children()
    workers = [each for each in children if "popen_loky" in " ".join(each.cmdline())]
    assert workers
    found.close()
    assert psutil.wait_procs(workers, timeout=30)[1] == []


def test_a_script_without_a_guard_is_not_started_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "print('started', flush=True)\n"
        "from data_catalog import Example\n"
        "from data_catalog.kinds import pool\n"
        "from data_catalog.kinds.text import check_text\n"
        "pool.IN_THREADS, pool.cores = 1, lambda: 2\n"
        "rows = [Example(f'text {n}'.encode(), str(n)) for n in range(200)]\n"
        "print(len(list(pool.check_in_order(check_text, rows))))\n"
    )
    done = subprocess.run(
        [sys.executable, script, Path(__file__).parents[2]],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert (done.stdout.split(), done.returncode) == (["started", "200"], 0), done.stderr
