"""A model writes, and each token is shown as it comes."""
import codecs
import sys
from contextlib import nullcontext

from minigpt_np.training.blas import blas_threads

CACHE = 32 << 20        # bytes: weights that fit are multiplied with before a second thread has woken up


def write(model, ids, n, tokenizer, stream=None, **options):
    """Print n tokens that continue ids (T,), each at once -> those up to an end of text, a list.

    tokenizer   one of characters, or of bytes: then a character is shown once it is whole
    options     of model.stream
    """
    stream = stream or sys.stdout
    text = codecs.getincrementaldecoder("utf-8")("replace")     # a token can end within a character
    new = []
    with one_thread_if_small(model):
        for token, in model.stream(ids[None], n, **options):
            if token == getattr(tokenizer, "end_of_text", None):
                break
            new.append(int(token))
            stream.write(text.decode(bytes_of(token, tokenizer)))
            stream.flush()
    stream.write(text.decode(b"", final=True) + "\n")
    return new


def one_thread_if_small(model):
    """A context in which the BLAS uses one thread if the weights fit the cache: two would wait for each other."""
    return blas_threads(1) if model.params.flat.nbytes <= CACHE else nullcontext()


def bytes_of(v, tokenizer):
    """A token's bytes. A model can have more rows than its tokenizer has tokens (nanoGPT rounds up to 50304)."""
    if v >= tokenizer.vocab_size:
        return "\ufffd".encode()
    return tokenizer.token(v) if hasattr(tokenizer, "token") else tokenizer.decode([v]).encode("utf-8", "replace")
