"""Shapes teach: in every demo that is stepped through, no two axes of the model have one length."""
import sys
import types

import pytest

import add
import one_page
import sort
import tied_gradients
import train_text
from minigpt_np import GPT


class Seen(Exception):
    """Raised where the model is first asked for a forward pass."""


def first_forward(main, arguments, monkeypatch):
    """The config and the shape of ids of a demo's first forward pass, with its defaults."""
    seen = []

    def forward(self, ids, *_, **__):
        seen.append((self.config, ids.shape))
        raise Seen

    monkeypatch.setattr(GPT, "forward", forward)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(isatty=lambda: False))
    with pytest.raises(Seen):
        main(arguments)
    return seen[0]


@pytest.mark.parametrize("demo, arguments", [
    (tied_gradients, []), (sort, ["--threads", "1"]), (add, ["--threads", "1"]),
    (train_text, ["--threads", "1"])])
def test_no_two_axes_have_one_length(demo, arguments, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config, (_, T) = first_forward(demo.main, arguments, monkeypatch)
    axes = T, config.vocab_size, config.n_embd, config.n_head, config.head_size, 4 * config.n_embd
    assert len(set(axes)) == 6, axes


def test_no_two_axes_of_the_one_page_have_one_length():
    words, D, H = one_page.TEXT.split(), one_page.D, one_page.H
    axes = len(words) - 1, len({*words, one_page.NEVER}), D, H, D // H, 4 * D
    assert len(set(axes)) == 6, axes
