"""demos/findings/models.md: what its numbers say of each other, and of the package's."""
import re
from pathlib import Path

from minigpt_np import GPTConfig
from minigpt_np.parameters import count

TABLE = Path(__file__).parents[2] / "demos" / "findings" / "models.md"


def test_shares_follow_from_sizes_and_gpts_are_counted_as_here():
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in lines if re.match(r"\| .+ \| 2", line)]
    counted = {}
    for name, _, tied, *sizes, share, scale, source in rows:
        V, D, total = (int(size.replace(",", "")) for size in sizes)
        assert tied in ("yes", "no") and "](https://github.com/" in source or source == "the same"
        assert share == f"{V * D / total:.1%}", name
        assert scale in ("1", f"√D = {D ** 0.5:.1f}")
        counted[name] = V, D, total
    assert len(counted) == 8
    for name, preset in (("GPT-1", "openai-gpt"), ("GPT-2 124M", "gpt2"), ("GPT-2 XL", "gpt2-xl")):
        config = GPTConfig.preset(preset)
        assert counted[name] == (config.vocab_size, config.n_embd, count(config))
