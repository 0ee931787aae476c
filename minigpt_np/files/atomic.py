"""Atomic writes: a file is written beside its place, then moved into it.

    with atomic_write(path) as file:
        file.write(...)

At any moment `path` is what was there before or the new file, never a part of one: also after
Ctrl-C, a full disk, a kill, and when several programs write it at once.
"""
import os
import secrets
import stat
from contextlib import contextmanager, suppress

from ..checks import check_path


@contextmanager
def atomic_write(path):
    """A binary file to write; it takes the name `path` only when the `with` block has ended well.

    Raises ValueError, before anything is written, where `path` is not a regular file (a folder, a
    device, a symbolic link), and the OS's error, naming `path`, where it cannot be written.
    """
    file = open_beside(check_path("path", path))
    try:
        yield file
        file.flush()
        os.fsync(file.fileno())
        file.close()                        # Windows moves no open file
        os.replace(file.name, path)
    except OSError as error:
        if error.filename is None:          # a full disk does not say which file it was
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            file.close()
        with suppress(FileNotFoundError):               # it was moved
            os.unlink(file.name)


def write_text(path, text):
    """Write the text to `path` in UTF-8, atomically."""
    with atomic_write(path) as file:
        file.write(text.encode())


def check_writable(path):
    """Raise as atomic_write would where it cannot write `path`; nothing is left behind."""
    file = open_beside(check_path("path", path))
    file.close()
    os.unlink(file.name)


def open_beside(path):
    """A new file in the folder of `path`, with the permissions of the file that it will replace.

    Its name is drawn, and mode "x" makes it or fails, so that no link planted there is followed.
    """
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise ValueError(f"{path}: a folder, link or device given, expected a regular file")
    beside = path.with_name(f"{path.name[:40]}.{secrets.token_hex(8)}.tmp")
    try:
        file = open(beside, "xb")
    except OSError as error:
        error.filename = str(path)
        raise
    with suppress(OSError):                             # there is nothing to replace
        os.chmod(beside, os.stat(path).st_mode & 0o777)
    return file
