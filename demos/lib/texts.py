"""Text to train on and to look at."""
import re
from pydoc_data.topics import topics

from minigpt_np.files.regular import read_bytes

DOCUMENTATION = "pydoc_data.topics"     # which every CPython has
MAX_TEXT = 1 << 30          # bytes


def documentation():
    """CPython's own documentation of the language, a topic after the other."""
    return "\n\n".join(topics[name] for name in sorted(topics))


def read_text(path):
    """The text of a UTF-8 file without its byte-order mark; `documentation` if there is no path.

    Raises ValueError if it is not UTF-8, or too long.
    """
    if path is None:
        return documentation()
    try:
        return read_bytes(path, MAX_TEXT).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"--text: {path}: not UTF-8: {error}") from None


def read_prose(path):
    """The same with a newline at the end of each line, however it ends in the file."""
    return re.sub("\r\n?", "\n", read_text(path))
