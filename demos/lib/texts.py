"""Text to train on, and text that a model writes."""
import codecs
import sys
import time
import unicodedata
from contextlib import nullcontext
from pydoc_data.topics import topics

from minigpt_np.training.blas import blas_threads

CACHE = 32 << 20        # bytes: weights that fit are used up before a second thread has woken up
OFTEN = 0.1             # seconds between two flushes, at least: in a notebook each is a message


def documentation():
    """CPython's own documentation of the language, a topic after the other."""
    return "\n\n".join(topics[name] for name in sorted(topics))


def read_text(path):
    """The text of a UTF-8 file; `documentation` if there is no path.

    Its byte-order mark is left out, and each line ends in a newline, however it ends in the file.
    Raises ValueError if it is not UTF-8.
    """
    if path is None:
        return documentation()
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise ValueError(f"--text: {path}: not UTF-8: {error}") from None


def write(model, ids, n, tokenizer, stream=None, **options):
    """Print ids (T,) and n tokens that continue them, as they come -> the new ones, a list.

    It ends early at an end of text, which is not among them.

    tokenizer   one of characters, or of bytes: then a character is shown once it is whole
    options     of model.stream
    """
    stream = stream or sys.stdout
    text = codecs.getincrementaldecoder("utf-8")("replace")     # a token can end within a character
    flushed = -OFTEN

    def show(token):
        nonlocal flushed
        stream.write(spelled_out(text.decode(bytes_of(token, tokenizer))))
        if time.monotonic() - flushed >= OFTEN:
            stream.flush()
            flushed = time.monotonic()

    for token in ids:
        show(token)
    new = []
    with blas_threads(1) if model.params.flat.nbytes <= CACHE else nullcontext():
        for token, in model.stream(ids[None], n, **options):
            if token == tokenizer.end_of_text:
                break
            new.append(int(token))
            show(token)
    stream.write(spelled_out(text.decode(b"", final=True)) + "\n")
    return new


def bytes_of(v, tokenizer):
    """A token's bytes, or those of U+FFFD: a model can have more rows than its tokenizer tokens."""
    return tokenizer.token(v) if v < tokenizer.vocab_size else "\ufffd".encode()


def spelled_out(text):
    """The text, its control characters, which a terminal would obey, spelled out."""
    return "".join(repr(c)[1:-1] if unicodedata.category(c) == "Cc" and c not in "\n\t" else c
                   for c in text)
