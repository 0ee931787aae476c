"""Files that are whole: written beside their place, then moved into it.

    with atomic_write(path) as file:
        file.write(...)

At any moment `path` is what was there before or the new file, never a part of one: also after
Ctrl-C, a full disk, a kill, and when several programs write it at once.
"""
import glob
import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path

from .regular import check_regular

try:
    import fcntl
except ImportError:                     # Windows: no locks, so nothing is known to be abandoned
    fcntl = None


@contextmanager
def atomic_write(path):
    """A binary file to write; it takes the name `path` only when the `with` block has ended well.

    Raises ValueError, before anything is written, where `path` is a device, a FIFO or a symbolic link,
    and the OS's error, naming `path`, where it cannot be written.
    """
    with whole_files(path) as (file,):
        yield file


@contextmanager
def whole_files(*paths):
    """Binary files of one folder that belong together: when the block has ended well they take their
    names, one after the other in this order. Programs that write the same ones take turns at that.
    """
    paths = [Path(path) for path in paths]
    for path in paths:
        if os.path.lexists(path):
            check_regular(path, os.lstat(path).st_mode)
    files = []
    try:
        for path in paths:
            files.append(open_beside(path))
        yield files
        for file in files:
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:           # Windows moves no open file
                file.close()
        with folder_lock(paths[0].parent) as folder:
            for file, path in zip(files, paths):
                os.replace(file.name, path)
            with suppress(OSError, TypeError):          # no folder, or one that cannot be flushed
                os.fsync(folder)        # the names, too, are on the disk
    except OSError as error:
        if error.errno and error.filename is None:      # a full disk does not say of which file
            error.filename = ", ".join(map(str, paths))
        raise
    finally:
        for file in files:
            with suppress(OSError):
                file.close()
            with suppress(FileNotFoundError):       # it was moved
                os.unlink(file.name)


def check_writable(path):
    """Raise as atomic_write would where it cannot write `path`; nothing is left behind."""
    path = Path(path)
    if os.path.lexists(path):
        check_regular(path, os.lstat(path).st_mode)
    file = open_beside(path)
    file.close()
    os.unlink(file.name)


def open_beside(path):
    """A new file in the folder of `path`, under a name of its own, locked for as long as its writer lives.

    Mode "x" makes the file or fails: what another may have planted under the name is not followed. Its
    permissions are those of the file it will replace.
    """
    remove_abandoned(path)
    while True:
        beside = path.with_name(f"{path.name[:40]}.{secrets.token_hex(8)}.tmp")
        try:
            file = open(beside, "xb")
        except OSError as error:
            error.filename = str(path)
            raise
        locked = lock(file.fileno())
        if not locked or os.path.lexists(beside):       # or else it was taken for abandoned, just before
            with suppress(OSError):
                os.chmod(beside, os.stat(path).st_mode & 0o777)
            return file
        file.close()


def remove_abandoned(path):
    """Unlink what killed writers of `path` have left beside it: files that are locked by nobody."""
    if fcntl is None:
        return
    for beside in path.parent.glob(f"{glob.escape(path.name[:40])}.{'[0-9a-f]' * 16}.tmp"):
        with suppress(OSError):
            descriptor = os.open(beside, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if lock(descriptor, fcntl.LOCK_NB):
                    os.unlink(beside)
            finally:
                os.close(descriptor)


@contextmanager
def folder_lock(folder):
    """Hold the folder's lock, which only one program and thread at a time can; its descriptor, or None."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:                     # Windows opens no folder, and no system one that may not be read
        yield None
        return
    try:
        lock(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)            # which unlocks it


def lock(descriptor, how=0):
    """Wait for the lock of an open file, or with LOCK_NB do not; whether it is ours now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | how)
    except (AttributeError, OSError):   # Windows; held by another; a file system without locks
        return False
    return True
