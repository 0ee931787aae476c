"""demos/count_parameters.py: published counts to the digit."""
from dataclasses import replace

import pytest
from hypothesis import given

from minigpt_np import GPT, PRESETS, GPTConfig
from strategies import configs

import count_parameters as demo


def printed(capsys, *arguments):
    assert demo.main(list(arguments)) == 0
    return capsys.readouterr().out


def test_the_published_counts(capsys):
    """Tied, of the checkpoints; untied, each V x D more."""
    text = printed(capsys)
    for name, V, D, published in [("openai-gpt", 40478, 768, 116_534_784),
                                  ("gpt2", 50257, 768, 124_439_808),
                                  ("gpt2-medium", 50257, 1024, 354_823_168),
                                  ("gpt2-large", 50257, 1280, 774_030_080),
                                  ("gpt2-xl", 50257, 1600, 1_557_611_200)]:
        row = next(line for line in text.splitlines() if line.split()[:1] == [name]).split()
        assert row[-2:] == [f"{published:,}", f"{published + V * D:,}"]


@pytest.mark.parametrize("columns", [40, 60])
def test_all_of_it_fits_a_terminal(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = printed(capsys)
    assert all(len(line) <= columns for line in text.splitlines())
    assert all(text.count(f"\n{name} ") >= 2 for name in PRESETS)


@given(configs().filter(lambda config: config.n_layer))
def test_counts_are_those_of_models(config):
    for tie, counted in zip((True, False), demo.both(config)):
        params = GPT(replace(config, tie_embeddings=tie)).params
        assert counted == params.flat.size
    assert demo.size_of_E(config) == params.E.size
    block = params.blocks[0]
    arrays = [block.norm1, block.attention.qkv, block.attention.out, block.norm2, block.mlp.up,
              block.mlp.down]
    assert demo.size_of_block(config) == sum(a.size for pair in arrays for a in vars(pair).values())


def test_sizes_can_be_changed(capsys):
    text = printed(capsys, "gpt-nano", "--vocab-size", "3", "--block-size", "11", "--layers", "1",
                   "--heads", "2", "--width", "4")
    row = next(line for line in text.splitlines() if line.startswith("gpt-nano")).split()
    assert row[1:6] == ["1", "2", "4", "3", "11"]
    assert row[6] == str(3 * 4 + 11 * 4 + (12 * 16 + 13 * 4) + 2 * 4)


@pytest.mark.parametrize("arguments, complaint", [
    (["gpt2", "--heads", "7"], "n_embd: 768 given, expected a multiple of n_head = 7"),
    (["--vocab-size", "0"], "vocab_size: 0 given"),
    (["--layers", "few"], "invalid int value"),
    (["gpt3"], "preset: 'gpt3' given, expected one of openai-gpt, gpt2"),
])
def test_bad_input(capsys, arguments, complaint):
    with pytest.raises((ValueError, SystemExit)) as caught:
        demo.main(arguments)
    assert complaint in str(caught.value) + capsys.readouterr().err
