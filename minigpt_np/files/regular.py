"""Reading regular files, with a size limit: nothing waits for a FIFO, or fills the memory."""
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
    check_regular(path, os.stat(path).st_mode)
    return open(path, "rb")


def check_regular(path, mode):
    """Raise unless the mode is that of a regular file."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path}: {KINDS[stat.S_IFMT(mode)]} given, expected a regular file")


def read_bytes(path, most):
    """The bytes of a file. Raises as open_regular, and ValueError for more than `most` bytes."""
    with open_regular(path) as file:
        raw = file.read(most + 1)
    if len(raw) > most:
        raise ValueError(f"{path}: longer than {most:,} bytes, the most that is read")
    return raw
