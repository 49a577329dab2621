"""`shotboard board` as text for papers and programs, and as a folder of Parquet."""

import csv
import io

import pytest


@pytest.fixture(scope="module")
def board(shotboard, filled):
    def call(*options):
        return shotboard("board", "--home", filled.home, *options)

    return call


def test_every_format_is_written(board):
    rows = board("--format", "json").json
    assert rows == board("--json").json
    assert len(list(csv.DictReader(io.StringIO(board("--format", "csv").out)))) == len(rows)
    assert "| method |" in board("--format", "markdown").out
    assert r"\begin{tabular}" in board("--format", "latex").out


def test_a_format_goes_to_a_file(board, tmp_path):
    file = tmp_path / "board.tex"
    answer = board("--format", "latex", "-o", file)
    assert (answer.code, answer.out) == (0, "")
    assert file.read_text() == board("--format", "latex").out
    assert board("-o", file).sentence.startswith("-o takes what --format or --plot makes")
    assert board("--where", "split=H").sentence.startswith(
        "--where and --theme say how --plot draws"
    )
    assert board("--theme", "dark").sentence.startswith("--where and --theme say how --plot draws")


def test_the_board_is_exported(board, tmp_path):
    answer = board("--export", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert "Parquet files and a README" in answer.err
    assert (tmp_path / "out" / "averages.parquet").is_file()
    assert "is there and not empty" in board("--export", tmp_path / "out").sentence


def test_a_folder_that_is_made_for_a_file_is_told(board, tmp_path):
    file = tmp_path / "new" / "board.csv"
    told = f"made the folder {file.parent}\nwrote {file}\n"
    assert board("--format", "csv", "-o", file).err == told
    assert board("--format", "csv", "-o", file).err == f"wrote {file}\n"
