"""Atomic writes: the old file or the new one, whoever writes and however that ends."""
import errno
import os
import re
import signal
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from minigpt_np.files.atomic import atomic_write, check_writable
from trainers import in_child

pytestmark = pytest.mark.skipif(os.name != "posix",
                                reason="links, FIFOs and signals as POSIX has them")


def write(path, raw):
    with atomic_write(path) as file:
        file.write(raw)


@pytest.mark.parametrize("make", [
    os.mkfifo, os.mkdir, lambda path: path.symlink_to(path.with_name("nothing"))])
def test_only_a_regular_file_is_replaced(tmp_path, make):
    path = tmp_path / "run.npz"
    make(path)
    before = os.lstat(path)
    for use in (lambda path: write(path, b"x"), check_writable):
        with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: .*expected a regular file"):
            use(path)
    assert os.listdir(tmp_path) == ["run.npz"] and os.lstat(path) == before


def test_permissions_are_kept_or_those_of_any_new_file(tmp_path):
    path, other = tmp_path / "run.npz", tmp_path / "other"
    other.write_bytes(b"")
    write(path, b"new")
    assert path.stat().st_mode == other.stat().st_mode
    path.chmod(0o600)
    write(path, b"newer")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_missing_folder_is_named_as_it_was_given(tmp_path):
    for use in (lambda path: write(path, b"x"), check_writable):
        with pytest.raises(FileNotFoundError, match=r"none/run.npz'$"):
            use(tmp_path / "none" / "run.npz")


def test_check_writable_leaves_nothing_behind(tmp_path):
    path = tmp_path / ("é" * 127)               # a name as long as names may be
    check_writable(path)
    assert os.listdir(tmp_path) == []
    write(path, b"new")
    check_writable(str(path))
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("step", ["inside", "fsync", "replace"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_only_the_old_file(tmp_path, monkeypatch, step, error):
    path = tmp_path / "run.npz"
    write(path, b"old")

    def stop(*_):
        raise error(errno.ENOSPC, "No space left")

    with pytest.raises(error) as caught:
        with atomic_write(path) as file:
            file.write(b"new")
            if step == "inside":
                stop()
            monkeypatch.setattr(os, step, stop)
    monkeypatch.undo()
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["run.npz"]
    if error is OSError:                    # a full disk does not say which file it was
        assert caught.value.filename == str(path)


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="other'$"), atomic_write(tmp_path / "run.npz"):
        open(tmp_path / "other")


def test_many_writers_leave_one_of_their_files_and_nothing_else(tmp_path):
    path = tmp_path / "run.npz"

    def work(letter):
        for _ in range(5):
            write(path, letter * 5000)
            raw = path.read_bytes()
            assert raw == raw[:1] * 5000

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, (b"a", b"b", b"c", b"d")))
    assert os.listdir(tmp_path) == ["run.npz"]


def test_a_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    path, synced = tmp_path / "run.npz", []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(
        (os.fstat(file).st_size, path.exists())))
    write(path, b"new")
    assert synced == [(3, False)] and path.read_bytes() == b"new"


def test_a_killed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "run.npz"
    write(path, b"old")

    def work():
        with atomic_write(path) as file:
            file.write(b"new" * 100_000)
            os.kill(os.getpid(), signal.SIGKILL)

    assert not in_child(work)
    assert path.read_bytes() == b"old"
    write(path, b"new")
    assert path.read_bytes() == b"new"
