"""What ingestion holds in memory of a row does not grow with what is known of it."""

import tracemalloc

from data_catalog import Example
from data_catalog.kinds import KINDS, Checked
from data_catalog.spool import Reached, Spool

ROWS = 8192
HELD = 44  # bytes: number of the mark, size, digest


def checked(number):
    example = Example(
        b"content of a row %d" % number * 20,
        f"a folder with a long name/and another one in it/{number:08d}.jpg",
        number % 100,
        f"class {number % 100}",
        ("train", "test")[number % 2],
        extras={"caption": f"what is to be seen in image {number}" * 3},
    )
    look = bytes([number % 255 + 1]) * KINDS["image"].look_bytes
    return Checked(example, f"{number:064x}", "", (640, 480), look=look)


def test_a_row_takes_few_bytes_whatever_is_known_of_it(tmp_path):
    with Spool(tmp_path, KINDS["image"].look_bytes) as spool:
        for number in range(512):  # marks, buffers
            spool.add(checked(number), Reached(number + 1, str(number)))
        tracemalloc.start()
        for number in range(512, 512 + ROWS):
            spool.add(checked(number), Reached(number + 1, str(number)))
        spool.flush()
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held / ROWS <= 1.25 * HELD  # arrays grow by an eighth at a time
        assert (peak - held) / ROWS <= 600  # of a batch of 256, not of all
        rows = list(spool.rows())
    assert len(rows) == 512 + ROWS
    assert rows[-1].path == checked(511 + ROWS).example.path
    assert rows[-1].extras == checked(511 + ROWS).example.extras


def test_digests_that_end_in_zeros_stay_whole(card_of, tmp_path):
    with Spool(tmp_path, KINDS["image"].look_bytes) as spool:
        ends = "ab" * 20 + "0" * 24
        spool.add(checked(1)._replace(sha256=ends), Reached(1, "1"))
        spool.flush()
        digests = spool.digests()
    assert digests.tobytes().hex() == ends
