"""Atomic writes: the old file or the new one, whoever writes and however that ends."""
import errno
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest

from minigpt_np.files.atomic import atomic_write, check_writable
from minigpt_np.files.regular import open_regular, read_bytes
from strategies import examples_of

pytestmark = pytest.mark.skipif(os.name != "posix",
                                reason="links, FIFOs and signals as POSIX has them")


def write(path, raw):
    with atomic_write(path) as file:
        file.write(raw)


def special(kind, path):
    """Make something at `path` that is no regular file."""
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "link":
        target = path.with_name("target")
        target.write_bytes(b"target")
        path.symlink_to(target)
    elif kind == "dangling link":
        path.symlink_to(path.with_name("nothing"))
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(os.path.relpath(path))     # the whole path may be too long for one


KINDS = {"FIFO": "a FIFO given", "socket": "a socket given", "link": "a symbolic link given",
         "dangling link": "a symbolic link given", "folder": "Is a directory"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused_before_anything_is_written(tmp_path, kind):
    path = tmp_path / "run.npz"
    special(kind, path)
    before = sorted(os.listdir(tmp_path)), os.lstat(path)
    with pytest.raises((ValueError, OSError), match=KINDS[kind]) as caught:
        with atomic_write(path):
            raise AssertionError("opened")
    assert str(path) in str(caught.value)
    with pytest.raises((ValueError, OSError), match=KINDS[kind]):
        check_writable(path)
    if "link" not in kind:              # to read, a link is followed
        with pytest.raises((ValueError, OSError), match=KINDS[kind]):
            open_regular(path)
    assert (sorted(os.listdir(tmp_path)), os.lstat(path)) == before


@pytest.mark.parametrize("device", ["/dev/null"])
def test_a_device_is_neither_replaced_nor_read(device):
    if not os.path.exists(device):
        pytest.skip("no such device")
    before = os.stat(device)
    with pytest.raises(ValueError, match=f"{device}: a device given, expected a regular file"):
        write(device, b"x")
    for use in (open_regular, lambda path: read_bytes(path, 10)):
        with pytest.raises(ValueError, match=f"{device}: a device given"):
            use(device)
    assert stat.S_ISCHR(os.stat(device).st_mode) and os.stat(device).st_ino == before.st_ino


def test_a_file_is_read_through_a_link_and_no_longer_than_it_may_be(tmp_path):
    path = tmp_path / "run.npz"
    special("link", path)
    assert read_bytes(path, 6) == b"target"
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}: longer than 5 bytes"):
        read_bytes(path, 5)
    with pytest.raises(FileNotFoundError, match="none"):
        read_bytes(tmp_path / "none", 5)


def test_permissions_stay_or_are_those_of_any_new_file(tmp_path):
    path, other = tmp_path / "run.npz", tmp_path / "other"
    other.write_bytes(b"")
    write(path, b"new")
    assert path.stat().st_mode == other.stat().st_mode
    path.chmod(0o600)
    write(path, b"newer")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_disk_says_which_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError,
                       match=f"No space left on device: '{re.escape(str(tmp_path / 'run.npz'))}'"):
        write(tmp_path / "run.npz", b"x")
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named_as_it_was_given(tmp_path):
    for use in (lambda path: write(path, b"x"), check_writable):
        with pytest.raises(FileNotFoundError, match=r"none/run.npz'$"):
            use(tmp_path / "none" / "run.npz")


def test_what_is_asked_whether_it_can_be_written_stays_as_it_is(tmp_path):
    path = tmp_path / ("é" * 127)               # a name as long as names may be
    check_writable(path)
    assert os.listdir(tmp_path) == []
    write(path, b"new")
    check_writable(str(path))
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("step", ["inside", "fsync", "replace"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_stops_a_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step,
                                                                 error):
    path = tmp_path / "run.npz"
    write(path, b"old")

    def stop(*_):
        raise error

    with pytest.raises(error):
        with atomic_write(path) as file:
            file.write(b"new")
            if step == "inside":
                stop()
            monkeypatch.setattr(os, step, stop)
    monkeypatch.undo()
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["run.npz"]


def test_many_writers_leave_one_of_their_files_and_nothing_else(tmp_path):
    path, failures = tmp_path / "run.npz", []
    write(path, b"x" * 5000)

    def work(letter):
        try:
            for _ in range(20):
                write(path, letter * 5000)
                raw = path.read_bytes()
                assert raw == raw[:1] * 5000
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(letter,)) for letter in (b"a", b"b", b"c", b"d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and os.listdir(tmp_path) == ["run.npz"]


def test_a_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    path, synced = tmp_path / "run.npz", []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(
        (os.fstat(file).st_size, path.exists())))
    write(path, b"new")
    assert synced == [(3, False)] and path.read_bytes() == b"new"


WRITER = """
import sys
from minigpt_np.files.atomic import atomic_write
print("ready", flush=True)
while True:
    for letter in (b"a", b"b"):
        with atomic_write(sys.argv[1]) as file:
            for _ in range(100):
                file.write(letter * 1000)
"""


def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "run.npz"
    write(path, b"a" * 100_000)
    for n in range(examples_of(1, 100)):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
        writer.stdout.readline()
        time.sleep(0.003 * (n % 17))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        raw = path.read_bytes()
        assert raw in (b"a" * 100_000, b"b" * 100_000)
    write(path, b"last")
    assert path.read_bytes() == b"last"
