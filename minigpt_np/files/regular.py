"""Reading regular files only, and none longer than it may be: nothing hangs on a FIFO or fills the memory."""
import errno
import os
import stat

KINDS = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket",
         stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def open_regular(path):
    """The file at `path`, opened to read bytes.

    Raises ValueError for a FIFO, a socket or a device, which would block or never end, and
    the OS's error for what cannot be opened.
    """
    check_regular(path, os.stat(path).st_mode)          # some devices act when they are opened
    file = open(path, "rb", opener=open_at_once)
    try:
        check_regular(path, os.fstat(file.fileno()).st_mode)        # the path may mean another file by now
    except BaseException:
        file.close()
        raise
    return file


def open_at_once(path, flags):
    """As open does, but a FIFO is not waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def check_regular(path, mode):
    """Raise unless the mode is that of a regular file."""
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if kind != stat.S_IFREG:
        raise ValueError(f"{path}: {KINDS.get(kind, 'something else')} given, expected a regular file")


def read_bytes(path, most):
    """The bytes of a file of at most `most` bytes. Raises as open_regular, and ValueError for a longer one."""
    with open_regular(path) as file:
        raw = file.read(most + 1)
    if len(raw) > most:
        raise ValueError(f"{path}: longer than {most:,} bytes, expected at most so many")
    return raw
