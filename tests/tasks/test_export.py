"""The board for other programs: as Parquet, and as a file that is read while rebuilds publish."""

import re
import shutil
import subprocess
import sys

import duckdb
import polars
import pyarrow.parquet as pq
import pytest

from operators.board import TABLES, VIEWS
from tasks.pages.asking import BoardError
from tasks.pages.export import export
from tasks.pages.rebuilding import rebuild_board
from tasks.storage.store import Store


@pytest.fixture(scope="module")
def exported(drawn_board, tmp_path_factory):
    return export(drawn_board, tmp_path_factory.mktemp("out") / "board")


def test_every_table_and_view_is_a_file_with_the_rows_of_the_board(exported, drawn_board):
    assert set(TABLES) | set(VIEWS) | {"schema_version"} == set(exported.rows)
    with duckdb.connect(drawn_board.board, read_only=True) as board:
        for name in (*TABLES, *VIEWS):
            file = pq.read_metadata(exported.folder / f"{name}.parquet")
            ((rows,),) = board.execute(f"SELECT count(*) FROM {name}").fetchall()
            assert file.num_rows == rows == exported.rows[name], name


def test_values_are_those_of_the_board(exported, drawn_board):
    place = str(exported.folder / "leaderboard.parquet")
    with duckdb.connect(drawn_board.board, read_only=True) as board:
        ours = board.execute("SELECT cell_id, split, metric, mean FROM leaderboard ORDER BY ALL")
        expected = ours.fetchall()
    frame = polars.read_parquet(place).select("cell_id", "split", "metric", "mean")
    assert frame.sort(frame.columns, nulls_last=True).rows() == expected


def test_the_readme_says_what_every_column_means(exported):
    text = (exported.folder / "README.md").read_text()
    for name in (*TABLES, *VIEWS):
        columns = pq.read_schema(exported.folder / f"{name}.parquet").names
        part = re.search(rf"^## {name}\.parquet\n(.*?)(?=^## |\Z)", text, re.M | re.S)[1]
        assert re.findall(r"^\| `(\w+)` \| [^|]+ \| \S", part, re.M) == columns, name


def test_a_folder_that_holds_something_is_left_alone(drawn_board, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"is there and not empty\. Name a new folder"):
        export(drawn_board, tmp_path)
    with pytest.raises(ValueError, match=r"mine.txt is a file, and a folder is written"):
        export(drawn_board, tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_without_a_board_nothing_is_left(tmp_path):
    with pytest.raises(BoardError, match="no board yet"):
        export(Store(tmp_path / "none"), tmp_path / "out" / "board")
    assert list((tmp_path / "out").iterdir()) == []


READER = """
import sys
from pathlib import Path
import duckdb
board, over, how = sys.argv[1:]
asked = 0
print("ready", flush=True)
while not Path(over).exists() or asked < 3:
    with duckdb.connect(board, read_only=True) as connection:
        assert len(getattr(connection.sql("FROM leaderboard"), how)())
    asked += 1
print(asked)
"""


def test_other_processes_read_the_board_while_rebuilds_publish_it(drawn_board, tmp_path):
    store = Store(shutil.copytree(drawn_board.home, tmp_path / "store"))
    over = tmp_path / "over"
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(store.board), str(over), how],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for how in ("fetchall", "df", "pl")  # plain, of pandas, of Polars
    ]
    try:
        assert [reader.stdout.readline() for reader in readers] == ["ready\n"] * 3
        stamps = set()
        for _ in range(2):
            rebuild_board(store)
            stamps.add(store.board.stat().st_ino)
        assert len(stamps) > 1
        over.touch()
        for reader in readers:
            said, trouble = reader.communicate(timeout=120)
            assert reader.returncode == 0, trouble
            assert int(said) >= 3
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
