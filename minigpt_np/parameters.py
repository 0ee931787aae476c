"""Every number of a model in one flat vector, with a named view into it for each array.

The optimizer is then one loop over one array, saving writes one array, and the gradient has the
same shape and the same names.
"""
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from .checks import check_dtype, raise_value_error
from .config import GPTConfig
from .reprs import ShapeRepr, Verbatim, layout


class Sealed(ShapeRepr):
    """Base class for owners of views: an attribute is set once; then only the numbers in it change.

    `params.E = W` would leave head, flat and the optimizer with the old E: it raises ValueError.
    `params.E += dE` changes the numbers of E and assigns E itself, which is allowed.
    """

    def __setattr__(self, name, value):
        if vars(self).get(name, value) is not value:
            refuse_rebinding(name)
        vars(self)[name] = value


class Arrays(dict):
    """Read-only dict of name -> view; the numbers in a view may change."""

    def __setitem__(self, name, value):
        if self.get(name) is not value:
            refuse_rebinding(name)

    def refuse(self, *_, **__):
        raise ValueError('arrays: a change given, expected none: write params.arrays["E"][...] = W')

    def __reduce__(self):
        return dict, (dict(self),)              # a copy is a plain dict

    __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = refuse


def refuse_rebinding(name):
    raise ValueError(f"{name}: another object given (head, flat and the optimizer would keep the "
                     "old one), expected new numbers in it, as by params.E[...] = W")


@dataclass(repr=False)
class Linear(Sealed):
    W: np.ndarray           # (D_in, D_out): y = x W + b
    b: np.ndarray           # (D_out,)


@dataclass(repr=False)
class LayerNorm(Sealed):
    gain: np.ndarray        # (D,)
    bias: np.ndarray        # (D,)


@dataclass(repr=False)
class Attention(Sealed):
    qkv: Linear             # D -> 3D: queries, keys and values of all heads
    out: Linear             # D -> D


@dataclass(repr=False)
class MLP(Sealed):
    up: Linear              # D -> 4D
    down: Linear            # 4D -> D


@dataclass(repr=False)
class Block(Sealed):
    norm1: LayerNorm
    attention: Attention
    norm2: LayerNorm
    mlp: MLP


def shapes(config):
    """Name -> shape of every array that a model of this config holds, in the order they are used.

    A tied model has no entry "head": its head is E. Raises ValueError unless it is a GPTConfig.
    """
    if not isinstance(config, GPTConfig):
        raise_value_error("config", config, "a GPTConfig")
    V, D, L = config.vocab_size, config.n_embd, config.n_layer
    by_name = {"E": (V, D), "P": (config.block_size, D)}
    for i in range(L):
        by_name |= {
            f"blocks.{i}.norm1.gain": (D,), f"blocks.{i}.norm1.bias": (D,),
            f"blocks.{i}.attention.qkv.W": (D, 3 * D), f"blocks.{i}.attention.qkv.b": (3 * D,),
            f"blocks.{i}.attention.out.W": (D, D), f"blocks.{i}.attention.out.b": (D,),
            f"blocks.{i}.norm2.gain": (D,), f"blocks.{i}.norm2.bias": (D,),
            f"blocks.{i}.mlp.up.W": (D, 4 * D), f"blocks.{i}.mlp.up.b": (4 * D,),
            f"blocks.{i}.mlp.down.W": (4 * D, D), f"blocks.{i}.mlp.down.b": (D,),
        }
    if config.norm == "pre":
        by_name |= {"norm.gain": (D,), "norm.bias": (D,)}
    if not config.tie_embeddings:
        by_name["head"] = (V, D)
    return by_name


def count(config):
    """How many numbers a model of this config holds; a tied E counts once. Allocates nothing."""
    return sum(prod(shape) for shape in shapes(config).values())


def decays(name):
    """Whether AdamW's weight decay applies to the array: minGPT's rule for its two matrices.

    The weights of matrix products decay: the W of every linear layer, and an untied head.
    Biases, gains, P and E do not. A tied E is in minGPT's terms both an embedding (no
    decay) and a product's weight (decay); it is one array and can be in one group only, and here
    that is the embedding's: no decay, whether tied or not.
    """
    return name.endswith(".W") or name == "head"


MARGIN = 1 << 14            # numbers of unused memory before and after flat


class Parameters(Sealed):
    """The arrays of a GPT (or their gradients), all zeros: views into `flat`, a 1-D array.

    flat     every number once: the first `n_decayed` have weight decay; then come E, P, the rest
    slices   name -> the slice of flat that the array is a view of, in the order of flat
    arrays   name -> view, in the order of use, for loops; each number of flat is in one of them
    E        (V, D) token vectors          P        (block_size, D) position vectors
    blocks   L of Block                    norm     final LayerNorm; None when config.norm is "post"
    head     (V, D) what the logits are products with; tied: E itself

    zeros    (n, dtype) -> memory for flat and a margin, with which a trainer can share flat with
             workers in pages of up to 64 kB

    Each attribute keeps its object (see Sealed). Copies (copy.copy, copy.deepcopy, pickle) have a
    flat of their own, with views into it, tied as here. Raises ValueError for a dtype that
    check_dtype refuses.
    """

    def __init__(self, config, dtype=np.float32, zeros=np.zeros):
        dtype = check_dtype("dtype", dtype)
        sizes = {name: prod(shape) for name, shape in shapes(config).items()}
        slices, start = {}, 0
        for name in sorted(sizes, key=decays, reverse=True):    # a stable sort
            slices[name] = slice(start, start + sizes[name])
            start += sizes[name]
        self.config = config
        self.flat = zeros(start + 2 * MARGIN, dtype)[MARGIN:-MARGIN]
        self.n_decayed = sum(size for name, size in sizes.items() if decays(name))
        self.slices = slices
        self.arrays = Arrays({name: self.flat[slices[name]].reshape(shape)
                              for name, shape in shapes(config).items()})
        self.E = self.arrays["E"]
        self.P = self.arrays["P"]
        self.blocks = tuple(self._block(f"blocks.{i}") for i in range(config.n_layer))
        self.norm = self._layernorm("norm") if config.norm == "pre" else None
        # The tie. One array under two names: what is accumulated into either is in both.
        self.head = self.E if config.tie_embeddings else self.arrays["head"]

    def _block(self, name):
        return Block(
            self._layernorm(f"{name}.norm1"),
            Attention(self._linear(f"{name}.attention.qkv"), self._linear(f"{name}.attention.out")),
            self._layernorm(f"{name}.norm2"),
            MLP(self._linear(f"{name}.mlp.up"), self._linear(f"{name}.mlp.down")),
        )

    def _layernorm(self, name):
        return LayerNorm(self.arrays[f"{name}.gain"], self.arrays[f"{name}.bias"])

    def _linear(self, name):
        return Linear(self.arrays[f"{name}.W"], self.arrays[f"{name}.b"])

    def names_in(self, part):
        """Names of the arrays with numbers in flat[part], `part` a slice with start and stop."""
        return [name for name, place in self.slices.items()
                if place.start < part.stop and part.start < place.stop]

    def summary(self):
        """One line: how many numbers of which dtype, and whether head is E."""
        tie = "head is E" if self.head is self.E else "head is not E"
        return f"{self.flat.size:,} numbers, {self.flat.dtype}, {tie}"

    def __repr__(self):
        head = Verbatim("E") if self.head is self.E else self.head
        fields = {"E": self.E, "P": self.P, "blocks": self.blocks, "norm": self.norm, "head": head}
        return "\n".join(layout(f"Parameters[{self.summary()}]", fields.items()))

    def __reduce__(self):
        return from_flat, (self.config, np.array(self.flat))


def check_shapes(name, params, config=None, dtype=None, tied_alike=True):
    """params, or ValueError unless they are Parameters with the shapes of this config, complex if
    and only if dtype is.

    tied_alike   False: one may be tied and the other not
    """
    if not isinstance(params, Parameters):
        raise_value_error(name, params, "Parameters")
    if not tied_alike and params.config.tie_embeddings != config.tie_embeddings:
        config = replace(config, tie_embeddings=params.config.tie_embeddings)
    found = params.config
    if config is not None and found is not config and shapes(found) != shapes(config):
        raise ValueError(f"{name}: Parameters of {found} given, expected those of {config}")
    if dtype is not None and params.P.dtype.kind != dtype.kind:
        raise ValueError(f"{name}: Parameters of {params.P.dtype} given, expected {dtype}")
    return params


def from_flat(config, flat):
    """Parameters with these numbers, copied."""
    params = Parameters(config, flat.dtype)
    params.flat[...] = flat
    return params


def initialize(params, rng):
    """Fill `params` with GPT-2's initialisation, drawn from the Generator `rng`.

    Weights and embeddings ~ N(0, 0.02); the two projections back into the residual stream
    ~ N(0, 0.02 / sqrt(2L)), since 2L of them add up in it (GPT-2 paper, section 2.3); biases 0,
    gains 1. Drawn in float64 whatever the dtype, so that every dtype holds the same weights.
    """
    for name, array in params.arrays.items():
        if name.endswith(".gain"):
            array[...] = 1
        elif name.endswith((".bias", ".b")):
            array[...] = 0
        else:
            std = 0.02
            if name.endswith((".out.W", ".down.W")):
                std /= np.sqrt(2 * params.config.n_layer)
            for row in array:
                row[...] = rng.normal(0, std, row.shape)
