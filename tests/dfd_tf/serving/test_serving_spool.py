"""The private folder of a server: kept, made again, and cleared of those before."""

import fcntl
import os
import shutil

import pytest

from dfd_tf.serving.spool import Spool


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def spool(folder):
    made = Spool()
    yield made
    made.close()


def test_d18_the_spool_is_private_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    leftover = tmp_path / f"dfd-tf-serve-{2**22 + 1}-x"
    leftover.mkdir()
    (leftover / "video").write_bytes(b"of a server that was killed")
    alive = tmp_path / f"dfd-tf-serve-{os.getppid()}-x"
    alive.mkdir()
    spool = Spool()
    try:
        assert spool.folder.stat().st_mode & 0o777 == 0o700
        with spool.file() as file:
            file.write(b"pixels")
            file.flush()
            assert list(spool.folder.iterdir()) == [spool.scratch]
    finally:
        spool.close()
    assert list(tmp_path.iterdir()) == [alive]


def test_a_folder_that_has_vanished_is_made_again(spool):
    shutil.rmtree(spool.folder)
    assert spool.is_writable
    with spool.file() as file:
        file.write(b"film")
    assert spool.folder.stat().st_mode & 0o777 == 0o700
    assert spool.scratch.is_dir()


def test_a_folder_that_cannot_be_made_again_is_not_writable(spool):
    shutil.rmtree(spool.folder)
    spool.folder.write_bytes(b"in its place")
    assert not spool.is_writable
    with pytest.raises(OSError, match="Not a directory"):
        spool.file()


@pytest.mark.parametrize("name", ["99999999999999999999999", "²", "-1", "x", "4194305"])
def test_odd_leftovers_stop_no_start(folder, name):
    """Links, numbers that are no process, and folders of a server in another container."""
    target = folder / "elsewhere"
    target.mkdir()
    (target / "kept").write_bytes(b"somebody's")
    link = folder / f"dfd-tf-serve-{name}-link"
    link.symlink_to(target)
    (folder / f"dfd-tf-serve-{name}-dangling").symlink_to(folder / "nowhere")
    (folder / f"dfd-tf-serve-{name}-folder").mkdir()
    (folder / f"dfd-tf-serve-{name}-file").write_bytes(b"")
    Spool().close()
    assert (target / "kept").exists()
    assert link.is_symlink()


def test_a_locked_folder_is_somebodys(folder):
    locked = folder / f"dfd-tf-serve-{2**22 + 1}-x"
    locked.mkdir()
    descriptor = os.open(locked, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        Spool().close()
        assert locked.exists()
    finally:
        os.close(descriptor)
    Spool().close()
    assert not locked.exists()
