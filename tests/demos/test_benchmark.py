"""demos/benchmark.py: what it prints, for people and for programs. Not how fast anything is."""
import json
from pathlib import Path

import pytest

DEMOS = Path(__file__).resolve().parents[2] / "demos"

import benchmark
from minigpt_np import GPTConfig


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    shapes = {"one": (1, 2, 8, 5, 7, 3), "two": (2, 1, 4, 70, 3, 1)}
    monkeypatch.setattr(benchmark, "SHAPES", shapes)


@pytest.mark.parametrize("threads", [1, 2])
def test_one_object_a_shape(capsys, threads):
    assert benchmark.main(["--steps", "3", "--threads", str(threads), "--json"]) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [r["shape"] for r in results] == ["one", "two"]
    for result, tokens in zip(results, (15, 70)):
        assert list(result) == ["shape", "ms_per_step", "tokens_per_s", "gemm_ms", "ratio",
                                "threads"]
        assert result["threads"] == threads
        assert result["ratio"] == pytest.approx(result["ms_per_step"] / result["gemm_ms"])
        assert result["tokens_per_s"] == pytest.approx(1e3 * tokens / result["ms_per_step"])


def test_a_shape_for_people(capsys):
    assert benchmark.main(["--shape", "one", "--steps", "2"]) == 0
    printed = capsys.readouterr().out
    assert "one: " in printed and "ratio" in printed
    shares = [int(word.split("%")[0]) for word in printed.split() if "%" in word]
    assert len(shares) == len(benchmark.PARTS) + 2 and sum(shares) == pytest.approx(100, abs=5)
    assert all(part in printed for part in [*benchmark.PARTS, "optimizer"])


def test_its_products_are_those_of_the_step():
    """Counted in multiplications: for each product of the forward pass, it and two gradients."""
    V, T, D, H, B = 7, 5, 8, 2, 4
    config = GPTConfig(vocab_size=V, block_size=T, n_layer=3, n_head=H, n_embd=D)
    products = benchmark.Products(config, B)
    products.run()
    block, head = ([a.size * b.shape[-1] for a, b, _ in some]
                   for some in (products.block, products.head))
    assert sum(block) == 3 * (B * T * 12 * D * D + 2 * B * T * T * D) and products.L == 3
    assert sum(head) == 3 * B * T * D * V
    for a, b, out in products.block + products.head:
        assert (out == a @ b).all()


@pytest.mark.parametrize("arguments, message", [
    (["--steps", "0"], "--steps: 0 given, expected at least 1"),
    (["--threads", "0"], "--threads: 0 given, expected at least 1"),
    (["--shape", "huge"], "invalid choice")])
def test_wrong_options_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        benchmark.main(arguments)
    assert caught.value.code == 2 and message in capsys.readouterr().err
