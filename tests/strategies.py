"""What the properties are about: shapes, ids, weights and models, drawn by Hypothesis.

Sizes and ids are drawn one by one, so that a failure shrinks to few positions and few tokens.
The floats come from a drawn seed: which numbers they are explains nothing, and there are many.
"""
from dataclasses import dataclass, is_dataclass, replace
from fractions import Fraction
from math import prod

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from minigpt_np import GPT, GPTConfig

seeds = st.integers(0, 2**32 - 1)
NORMS = ("pre", "post")


def examples(share):
    """Settings with this share of the profile's examples, for a property that is expensive."""
    return settings(max_examples=max(1, round(settings().max_examples * share)))


def examples_of(default, thorough):
    """How often to try what Hypothesis does not draw, in either profile."""
    return thorough if settings().max_examples >= 1000 else default


def sizes(most):
    """1..most."""
    return st.integers(1, most)


def normal(seed, *shape, scale=1.0):
    """float64 of the shape, N(0, scale)."""
    return np.random.default_rng(seed).normal(0, scale, shape)


# ---- ids and targets -----------------------------------------------------------------------------

@st.composite
def ids_arrays(draw, B, T, V):
    """ids (B, T) in 0..V-1; few tokens and many positions, so most draws repeat some."""
    ids = draw(st.lists(st.integers(0, V - 1), min_size=B * T, max_size=B * T))
    return np.array(ids).reshape(B, T)


@st.composite
def targets_arrays(draw, B, T, V):
    """targets (B, T) in -1..V-1, at least one of them scored."""
    targets = draw(st.lists(st.integers(-1, V - 1), min_size=B * T, max_size=B * T))
    if max(targets) < 0:
        targets[draw(st.integers(0, B * T - 1))] = draw(st.integers(0, V - 1))
    return np.array(targets).reshape(B, T)


# ---- models --------------------------------------------------------------------------------------

@st.composite
def configs(draw, dropout=False, **fixed):
    """GPTConfig of a few hundred numbers at most; `fixed` fixes fields."""
    H, norm = draw(sizes(2)), fixed["norm"] if "norm" in fixed else draw(st.sampled_from(NORMS))
    found = dict(vocab_size=draw(sizes(5)), block_size=draw(sizes(5)),
                 n_layer=draw(st.integers(0, 2)), n_head=H, n_embd=H * draw(sizes(2)), norm=norm,
                 tie_embeddings=draw(st.booleans()))
    if norm == "pre":           # openai-gpt's files know no exact GELU
        found["activation"] = draw(st.sampled_from(["gelu_tanh", "gelu_exact"]))
    if dropout:
        for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop"):
            found[name] = draw(st.sampled_from([0.0, 0.3, 0.8]))
    return GPTConfig(**(found | fixed))


def with_large_weights(config, seed, dtype=np.float64):
    """A model of this config with weights large enough for every part to matter: N(0, 0.7), gains
    about 1. (At the initial 0.02 attention is all but uniform and GELU all but x / 2.)
    LayerNorm's eps is the config's."""
    model = GPT(config, dtype=dtype)
    rng = np.random.default_rng(seed)
    for name, array in model.params.arrays.items():
        array[...] = rng.normal(name.endswith(".gain"), 0.7, array.shape)
    return model


@dataclass
class Case:
    """A model and a batch for it."""
    model: GPT
    ids: np.ndarray
    targets: np.ndarray
    seed: int               # of dropout

    def generator(self):
        """The same one each time; None, no dropout, if the config has none."""
        c = self.model.config
        drops = c.embd_pdrop or c.attn_pdrop or c.resid_pdrop
        return np.random.default_rng(self.seed) if drops else None

    def forward(self):
        """logits, loss, cache."""
        return self.model.forward(self.ids, self.targets, self.generator())

    def loss(self):
        return self.forward()[1]

    def gradient(self):
        """Parameters."""
        return self.model.backward(self.forward()[2])

    def of(self, dtype):
        """The same with weights of another dtype."""
        model = GPT(self.model.config, dtype=dtype)
        model.params.flat[...] = self.model.params.flat
        return replace(self, model=model)

    def untied(self):
        """The same with a head of its own, a copy of E."""
        return replace(self, model=self.model.untied())

    def __repr__(self):
        ids, targets = (np.asarray(array).tolist() for array in (self.ids, self.targets))
        return (f"Case({self.model.config}, {self.model.params.flat.dtype}, ids={ids}, "
                f"targets={targets}, seed={self.seed})")


@st.composite
def cases(draw, dtype=np.float64, **fixed):
    """Case of a model with large weights; `fixed` as for configs."""
    config = draw(configs(**fixed))
    B, T = draw(sizes(3)), draw(sizes(config.block_size))
    return Case(with_large_weights(config, draw(seeds), dtype),
                draw(ids_arrays(B, T, config.vocab_size)),
                draw(targets_arrays(B, T, config.vocab_size)), draw(seeds))


# ---- text for tokenizers -------------------------------------------------------------------------

# Where splitting into words goes wrong, if it does: white space of every kind and what only looks
# like it, contractions, letters and numbers beyond ASCII, joined emoji, the special token.
AWKWARD = [
    " ", "  ", "\n", "\r\n", "\t", "\x1c", "\x1f", "\x85", "\xa0", "\u1680", "\u180e", "\u2003",
    "\u200b", "\u2028", "\u3000", "\ufeff", "'", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S",
    "’s", "'ſ", "a", "the", "é", "e\u0301", "ǅ", "ʰ", "ª", "я", "字", "𝔸", "0", "2019", "²", "½",
    "Ⅳ", "٣", "一", "𝟙", ".", "...", "_", "€", "👍🏽", "👨‍👩‍👧", "\0", "\x7f", "\uffff", "\U0010ffff",
    "<|endoftext|>", "<|endoftext|",
]

unicode_text = st.one_of(
    st.text(),
    st.lists(st.sampled_from(AWKWARD), max_size=12).map("".join),
    st.lists(st.one_of(st.sampled_from(AWKWARD), st.characters(exclude_categories=["Cs"])),
             max_size=12).map("".join))

# Few distinct letters in a few words: pairs repeat, overlap ("aaa") and tie.
repetitive_text = st.lists(st.text("ab", max_size=9), max_size=12).map(" ".join)


# ---- arguments -----------------------------------------------------------------------------------

# What nobody means to give.
ODD = [
    None, True, False, 0, 1, -1, 2**63, 0.5, -0.0, 1.0, np.nan, np.inf, 1e-400, 1j,
    Fraction(1, 3), "", "a", "1", b"a", "\ud800", "\0", "x" * 10**4, [], [1], [[1]], [[1], [2, 3]],
    {}, {1: 2}, set(), range(20), list(range(10**4)), object, object(), len, np.uint64(2**64 - 1),
    np.float16(0.5), np.float32(np.nan), np.bool_(True), np.str_("a"), np.array(1), np.array([1]),
    np.array([]), np.array([0.5]), np.array([["a"]]), np.array([None]), np.ma.array([1]),
    np.zeros((2, 3, 4), int), np.arange(20), np.arange(20.0), np.random.default_rng(0)]


# ---- arrays for files ----------------------------------------------------------------------------

FILE_DTYPES = ["?", "u1", "i1", "<i2", ">u2", "<f2", "V2", "<i4", "<u4", "<f4", ">f4", "<c8",
               "<f8", "<i8", ">u8"]

VIEWS = [np.asarray, np.transpose,
         lambda array: array[(slice(None, None, -1),) * array.ndim + (...,)],   # strides below 0
         lambda array: np.repeat(array[..., None], 3, axis=-1)[..., 1]]         # strides of 3


@st.composite
def file_arrays(draw, dtypes=FILE_DTYPES):
    """An array of any shape (no axes, empty, 1s), strides and byte order, its bits at random."""
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    rng = np.random.default_rng(draw(seeds))
    bits = rng.integers(0, 2 if dtype.kind == "b" else 256, (*shape, dtype.itemsize), np.uint8)
    return draw(st.sampled_from(VIEWS))(bits.view(dtype)[..., 0])


tensor_names = st.one_of(
    st.sampled_from(["wte.weight", "h.0.ln_1.bias", "", "a/b", "é", '"', "\\", "\x00"]), st.text())


def corrupted(raw, rng):
    """`raw` with one thing wrong: a byte, a bit, an end, a piece taken out, put in or put twice.

    rng is a random.Random.
    """
    at, other = sorted(rng.randrange(len(raw) + 1) for _ in range(2))
    head = rng.random() < 0.3       # the length and the first bytes of the header deserve more
    byte = rng.randrange(min(len(raw), 10 if head else len(raw)))
    return rng.choice([
        lambda: raw[:byte] + bytes([rng.randrange(256)]) + raw[byte + 1:],
        lambda: raw[:byte] + bytes([raw[byte] ^ 1 << rng.randrange(8)]) + raw[byte + 1:],
        lambda: raw[:byte] + rng.choice("0123456789{}[],:. -e").encode() + raw[byte + 1:],
        lambda: raw[:at],
        lambda: raw + rng.randbytes(rng.randrange(1, 9)),
        lambda: raw[:at] + raw[other:],
        lambda: raw[:byte] + rng.randbytes(rng.randrange(1, 4)) + raw[byte:],
        lambda: raw[:other] + raw[at:other] + raw[other:],
        lambda: raw[:8] + raw[at:other] + raw[8:],
    ])()


def with_another_value(whole, rng):
    """A JSON value like `whole` in which one value, key or item, somewhere, is another or gone."""
    odd = [None, True, False, 0, 1, -1, 2, 0.5, 1e308, 2**64, 10**30, "", "a", "gpt2", [], {},
           [0], [[]], {"a": 1}]
    if not isinstance(whole, (dict, list)) or not whole or rng.random() < 0.1:
        return rng.choice(odd)
    changed = whole.copy()
    key = rng.choice(list(whole)) if isinstance(whole, dict) else rng.randrange(len(whole))
    value = changed.pop(key)
    if rng.random() < 0.8:
        value = with_another_value(value, rng)
        if isinstance(whole, list):
            changed.insert(key, value)
        else:
            changed[key if rng.random() < 0.8 else rng.choice(["a", *whole])] = value
    return changed


# ---- comparison ----------------------------------------------------------------------------------

def assert_same(a, b, scale=None, terms=4096, what="they"):
    """`what`, a and b, are the same sums in another order: at most eps · terms · scale apart.

    Two orders of adding n numbers differ by at most n eps times the sum of their sizes. scale is
    the largest of a and b unless given, plus 1/256 for a zero that numbers of order 1 left; 4096
    terms are gradcheck's allowance too. eps is of the shorter dtype.
    """
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, what
    eps = max(np.finfo(a.dtype).eps, np.finfo(b.dtype).eps)
    if scale is None:
        scale = max(np.max(np.abs(a), initial=0), np.max(np.abs(b), initial=0)) + 1 / 256
    worst = np.max(np.abs(a - b), initial=0)
    assert worst <= eps * terms * scale, f"{what} differ by {worst}, allowed {eps * terms * scale}"


def assert_bits(a, b, what="they"):
    """`what`, a and b, are of the same dtype and shape, and the same bit for bit."""
    assert a.dtype == b.dtype and a.shape == b.shape, what
    assert a.tobytes() == b.tobytes(), f"{what} differ"


def assert_unmoved(now, before, what):
    """Every array in nested tuples, lists, dicts and dataclasses has the bits it had."""
    if isinstance(before, np.ndarray):
        assert_bits(now, before, what)
    elif isinstance(before, dict):
        for name in before:
            assert_unmoved(now[name], before[name], f"{what}, {name}")
    elif isinstance(before, (tuple, list)):
        for i, (a, b) in enumerate(zip(now, before, strict=True)):
            assert_unmoved(a, b, f"{what}[{i}]")
    elif is_dataclass(before):
        assert_unmoved(vars(now), vars(before), what)
    else:
        assert now == before, what


def rounding(cache):
    """The difference allowed between two ways to a gradient that is 0 because numbers of order 1
    cancel: gradcheck's 16 eps of float64.

    A LayerNorm on the way multiplies it by gain / sqrt(variance + eps), which is hundreds where a
    row has next to no variance, as rows of one or two numbers often have.
    """
    def growth(value):
        if isinstance(value, (tuple, list)):
            return prod(map(growth, value))
        if not is_dataclass(value):
            return 1.0
        own = 1.0
        if hasattr(value, "inv_std"):
            own = max(1.0, np.max(value.inv_std) * np.max(np.abs(value.gain)))
        return own * prod(map(growth, vars(value).values()))
    return 16 * np.finfo(float).eps * growth(cache)
