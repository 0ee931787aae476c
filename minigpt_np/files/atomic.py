"""Files that are whole: written beside their place, then moved into it."""
import os
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path):
    """A binary file to write; it takes the name `path` only when the `with` block has ended well.

    Until then it is `path` + ".tmp", and what was at `path` is still there; so it stays if anything
    (Ctrl-C too) stops the block. Raises the OS's error if the file cannot be written or moved.
    """
    path = Path(path)
    beside = path.with_name(path.name + ".tmp")
    try:
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
