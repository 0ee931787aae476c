"""demos/gpt2.py: what it says of a checkpoint is so."""
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lib import terminal
from minigpt_np import GPT, GPTConfig
from minigpt_np.files import safetensors
from minigpt_np.files.names import state_dict
from minigpt_np.text import open_tokenizer
from minigpt_np.text.bpe import BPETokenizer

DEMOS = Path(__file__).resolve().parents[2] / "demos"

import gpt2 as demo

PROMPT = "a naïve rose is a rose"


def checkpoint(folder, tied=True, rows=None, norm="pre"):
    """A model with large enough weights to have opinions, and its tokenizer, in `folder`."""
    tokenizer = BPETokenizer.train("a rose is a rose is a rose " * 9, 260)
    model = GPT(GPTConfig(vocab_size=rows or 260, block_size=16, n_layer=2, n_head=2, n_embd=8,
                          tie_embeddings=tied, norm=norm), seed=3)
    model.params.flat *= 20
    model.save_pretrained(folder)
    tokenizer.save(folder)
    return model, tokenizer


def output(capsys, folder, *arguments):
    assert demo.main(["--model", str(folder), "--prompt", PROMPT, *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_tie_is_shown_as_it_is(tmp_path, capsys, tied, norm):
    model, _ = checkpoint(tmp_path, tied, norm=norm)
    text = output(capsys, tmp_path)
    assert f"params.head is params.E    {tied}" in text
    assert ("One matrix: it is looked up, and it is the head." in text) == tied
    assert ("The two have different numbers." in text) == (not tied)
    assert ("the row of E that scored it" in text) == tied
    assert f"{model.params.flat.size:,} numbers" in text
    assert "te.weight  260 x 8" in text or "tokens_embed.weight  260 x 8" in text


def test_a_head_stored_besides_is_seen_to_be_equal(tmp_path, capsys):
    model, _ = checkpoint(tmp_path)
    safetensors.write(tmp_path / "model.safetensors", state_dict(model.params))
    text = output(capsys, tmp_path)
    assert "equal, bit for bit" in text and "params.head is params.E    True" in text


def test_equal_matrices_that_are_kept_apart_are_reported(tmp_path, capsys):
    model, _ = checkpoint(tmp_path)
    model.untied().save_pretrained(tmp_path)
    text = output(capsys, tmp_path)
    assert "params.head is params.E    False" in text
    assert "equal, but tie_word_embeddings is false" in text


@pytest.mark.parametrize("tied", [True, False])
def test_the_text_is_generates_and_the_rows_are_the_nearest(tmp_path, capsys, tied):
    """The last position's h, found anew from the logits of the full text, is nearest to them."""
    model, tokenizer = checkpoint(tmp_path, tied)
    prompt = tokenizer.encode(PROMPT)
    greedy = ["--greedy", "--tokens", "5", "--nearest", "4"]
    drawn = [*greedy[1:], "--seed", "3", "--temperature", "0.5", "--top-k", "9"]
    as_drawn = dict(temperature=0.5, do_sample=True, top_k=9, seed=3)
    for options, arguments in [({}, greedy), (as_drawn, drawn)]:
        text = output(capsys, tmp_path, *arguments)
        ids = model.generate(prompt[None], 5, **options)[0]
        assert tokenizer.end_of_text not in ids
        assert tokenizer.decode(ids) in text

        logits = model.forward(ids[None, -16:])[0][0, -1].astype(float)
        rows = re.findall(r"^.* +(\d+)  +(-?[\d.]+)  +(-?[\d.]+)  +([\d.]+)%  +(\d+|-)$",
                          text, re.MULTILINE)
        assert [int(row[0]) for row in rows] == list(np.argsort(-logits)[:4])
        shares = np.exp(logits) / np.exp(logits).sum()
        for v, score, cosine, percent, times in rows:
            assert float(score) == pytest.approx(logits[int(v)], abs=0.0051)
            assert float(percent) == pytest.approx(100 * shares[int(v)], abs=0.051)
            assert -1 <= float(cosine) <= 1
            assert (0 if times == "-" else int(times)) == list(ids).count(int(v))


def test_it_stops_at_the_end_of_the_text(tmp_path, capsys):
    model, tokenizer = checkpoint(tmp_path)
    model.params.norm.gain[:] = 0
    model.params.norm.bias[:] = 1           # h is all 1, whatever is read
    model.params.E[:] = -1
    model.params.E[tokenizer.end_of_text] = 1
    model.save_pretrained(tmp_path)
    text = output(capsys, tmp_path, "--nearest", "1")
    assert "\n0 tokens in" in text and "\n<|endoftext…  " in text


def test_rows_without_a_token_are_no_error(tmp_path, capsys):
    checkpoint(tmp_path, rows=304)
    assert "304 x 8" in output(capsys, tmp_path, "--nearest", "304", "--tokens", "20")


def test_a_narrow_terminal_holds_all_of_it(tmp_path, capsys, monkeypatch):
    checkpoint(tmp_path)
    monkeypatch.setenv("COLUMNS", "48")
    text = output(capsys, tmp_path, "--tokens", "2")
    assert all(len(line) <= 48 for line in text.splitlines()) and text.count("cosine") == 1


@pytest.mark.parametrize("arguments, complaint", [
    ((), "the tokenizer has 260 tokens, but E has only 259 rows"),
    (("--temperature", "0"), "--temperature: 0.0 given"),
    (("--top-p", "2"), "--top-p: 2.0 given"), (("--top-k", "0"), "--top-k: 0 given"),
    (("--greedy", "--top-k", "5"), "--top-k: 5 given, expected None where no token is drawn"),
    (("--greedy", "--temperature", "0.8"), "--temperature: 0.8 given, expected 1.0 where no token"),
    (("--tokens", "0"), "--tokens: 0 given, expected at least 1"),
    (("--prompt", ""), "--prompt: '' given, of which this tokenizer leaves nothing"),
    (("--model", "no-such-folder"), "--model: no-such-folder given"),
])
def test_bad_input(tmp_path, capsys, arguments, complaint):
    checkpoint(tmp_path, rows=260 if arguments else 259)
    with pytest.raises(SystemExit) as stopped:
        terminal.run(lambda: output(capsys, tmp_path, *arguments))
    printed = capsys.readouterr()
    assert stopped.value.code == 2 and complaint in printed.err and printed.out == ""


REFERENCE = json.loads(Path(__file__).parents[1].joinpath("reference", "gpt1.json").read_bytes())


def test_gpt1_opens_and_speaks(tmp_path, capsys):
    """Its model, its tokenizer: the prompt as the model reads it, in lower case."""
    vocab = {token: v for v, token in enumerate(REFERENCE["vocab"])}
    model = GPT(GPTConfig(len(vocab), 16, 2, 2, 8, norm="post"), seed=3)
    model.params.flat *= 20
    model.save_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    merges = "".join(f"{a} {b}\n" for a, b in REFERENCE["merges"])
    (tmp_path / "merges.txt").write_text(merges, encoding="utf-8")
    tokenizer = open_tokenizer(tmp_path)
    text = output(capsys, tmp_path, "--greedy", "--prompt", "The MATRIX reads", "--tokens", "5")
    ids = model.generate(tokenizer.encode("The MATRIX reads")[None], 5)[0]
    assert f"The model continues\n\n{tokenizer.decode(ids)}" in text
    assert "tokens_embed.weight" in text and "The prompt looks up " in text
    with pytest.raises(ValueError, match="--prompt: ' ' given, of which this tokenizer leaves"):
        output(capsys, tmp_path, "--prompt", " ")


def test_it_runs_in_the_plainest_locale(tmp_path):
    checkpoint(tmp_path)
    run = subprocess.run([sys.executable, DEMOS / "gpt2.py", "--model", tmp_path, "--tokens", "3",
                          "--prompt", "naïve"], capture_output=True,
                         env={"PYTHONPATH": str(DEMOS.parent), "LC_ALL": "C"})
    assert run.returncode == 0 and run.stderr == b""
    assert "naïve" in run.stdout.decode()
