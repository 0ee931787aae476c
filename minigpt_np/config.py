"""The sizes of a GPT, checked once, and the published ones by name."""
from dataclasses import dataclass, fields

from .checks import (
    check_choice, check_each, check_flag, check_int, check_positive, check_rate, check_size,
    raise_value_error)


@dataclass(frozen=True)
class GPTConfig:
    """Everything that fixes a model's shape and arithmetic.

    vocab_size   V, number of tokens
    block_size   the longest sequence, rows of P
    n_layer      L, blocks; 0: the looked-up rows go straight to the final LayerNorm and the logits
    n_head       H, heads a block; the width of one is K = D / H
    n_embd       D, width of the residual stream
    tie_embeddings   True: one matrix E is lookup and head; False: head is a second matrix
    norm         "pre": x + f(LayerNorm(x)), then a final LayerNorm (GPT-2, minGPT)
                 "post": LayerNorm(x + f(x)), no final LayerNorm (GPT-1)
    activation   "gelu_tanh": GELU's approximation by tanh (GPT-1, GPT-2, minGPT)
                 "gelu_exact": x Φ(x) (nanoGPT)
    *_pdrop      probability of dropping, in [0, 1): embeddings, attention weights, both branches

    Raises ValueError, naming the argument, for sizes below 1 (n_layer: below 0), D not a multiple
    of H, a probability outside [0, 1), a layer_norm_eps that is not positive, or an unknown norm or
    activation.
    """
    vocab_size: int = 50257
    block_size: int = 1024
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    tie_embeddings: bool = True
    norm: str = "pre"
    embd_pdrop: float = 0.0
    attn_pdrop: float = 0.0
    resid_pdrop: float = 0.0
    layer_norm_eps: float = 1e-5
    activation: str = "gelu_tanh"

    def __repr__(self):
        """An expression that makes it again: the sizes, and each field that is not the default."""
        shown = [field.name for field in fields(self)
                 if type(field.default) is int or getattr(self, field.name) != field.default]
        return f"GPTConfig({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def __post_init__(self):
        checks = {name: check_size for name in ("vocab_size", "block_size", "n_head", "n_embd")}
        checks["n_layer"] = check_int
        checks |= {name: check_rate for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop")}
        checks |= {"layer_norm_eps": check_positive, "tie_embeddings": check_flag}
        vars(self).update(check_each(checks, vars(self)))           # past the frozen __setattr__
        check_choice("norm", self.norm, ("pre", "post"))
        check_choice("activation", self.activation, ("gelu_tanh", "gelu_exact"))
        if self.n_embd % self.n_head:
            raise_value_error("n_embd", self.n_embd, f"a multiple of n_head = {self.n_head}")

    @property
    def head_size(self):
        """K, the width of one head."""
        return self.n_embd // self.n_head

    @classmethod
    def preset(cls, name, **changes):
        """The sizes minGPT knows as `name`; keyword arguments change any field.

        Where minGPT leaves vocabulary and block size open (gopher-44m and smaller), GPT-2's 50257
        and 1024 apply. Raises ValueError for a name that is not in PRESETS.
        """
        check_choice("preset", name, PRESETS)
        return cls(**{**PRESETS[name], **changes})


# minGPT's names (model.py, get_default_config); GPT-1's vocabulary, block and norm from its paper.
PRESETS = {
    "openai-gpt": dict(n_layer=12, n_head=12, n_embd=768, vocab_size=40478, block_size=512,
                       norm="post"),
    "gpt2": dict(n_layer=12, n_head=12, n_embd=768),
    "gpt2-medium": dict(n_layer=24, n_head=16, n_embd=1024),
    "gpt2-large": dict(n_layer=36, n_head=20, n_embd=1280),
    "gpt2-xl": dict(n_layer=48, n_head=25, n_embd=1600),
    "gopher-44m": dict(n_layer=8, n_head=16, n_embd=512),
    "gpt-mini": dict(n_layer=6, n_head=6, n_embd=192),
    "gpt-micro": dict(n_layer=4, n_head=4, n_embd=128),
    "gpt-nano": dict(n_layer=3, n_head=3, n_embd=48),
}
