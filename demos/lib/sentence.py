"""A sentence as tokens."""
import re


def split(text, kind):
    """The tokens of a text: its words and punctuation marks, or its characters."""
    return re.findall(r"\w+|[^\w\s]", text) if kind == "words" else list(text)
