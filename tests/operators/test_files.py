"""Files and folders that are whole or absent."""

import pytest

from operators.files import commit_folder, write_atomic


def test_write_atomic_makes_the_file_and_the_folders_above(tmp_path):
    write_atomic(tmp_path / "a" / "b", b"new")
    assert (tmp_path / "a" / "b").read_bytes() == b"new"
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["b"]


def test_write_atomic_that_fails_keeps_the_old_file_and_no_draft(tmp_path, monkeypatch):
    write_atomic(tmp_path / "a", b"old")
    monkeypatch.setattr(
        "operators.files.os.fsync", lambda _: (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(OSError, match="full"):
        write_atomic(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_appears_when_its_block_ends(tmp_path):
    with commit_folder(tmp_path / "trials" / "one") as draft:
        (draft / "file").write_text("whole")
        assert not (tmp_path / "trials" / "one").exists()
    assert (tmp_path / "trials" / "one" / "file").read_text() == "whole"
    assert [each.name for each in (tmp_path / "trials").iterdir()] == ["one"]


def test_the_first_writer_of_a_folder_wins(tmp_path):
    with commit_folder(tmp_path / "one") as late:
        (late / "file").write_text("second")
        with commit_folder(tmp_path / "one") as early:
            (early / "file").write_text("first")
    assert (tmp_path / "one" / "file").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_block_that_raises_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), commit_folder(tmp_path / "one") as draft:
        (draft / "file").write_text("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "one").write_text("in the way")
    with pytest.raises(OSError), commit_folder(tmp_path / "one") as draft:
        (draft / "file").write_text("whole")
    assert (tmp_path / "one").read_text() == "in the way"
