"""The GPT: its forward pass, and its backward pass that mirrors it."""
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from . import generation, layers
from .checks import (
    check_finite_number, check_generator, check_ids, check_seed, check_targets, raise_value_error)
from .config import GPTConfig
from .reprs import ShapeRepr
from .files import pretrained
from .parameters import Parameters, check_shapes, initialize


@dataclass(repr=False)
class Cache(ShapeRepr):
    """What backward needs from a forward pass. It belongs to that pass alone."""
    config: GPTConfig
    shape: tuple                            # (B, T)
    lookup: layers.lookup.Cache
    dropout_mask: np.ndarray                # or None
    blocks: list                            # of layers.block.Cache
    norm: layers.layernorm.Cache            # None when config.norm is "post"
    logits: layers.logits.Cache
    loss: layers.cross_entropy.Cache        # None without targets


class GPT:
    """A GPT of the given config; `params` holds all its numbers.

    seed     int or numpy Generator for the initialisation
    dtype    np.float32 to train, np.float64 to check gradients, np.complex128 to check them to
             machine precision; the same seed gives the same weights, to rounding
    params   Parameters to use instead of new ones (seed and dtype then do not matter)
    """

    def __init__(self, config, seed=0, dtype=np.float32, params=None):
        if params is None:
            params = Parameters(config, dtype)
            initialize(params, check_seed("seed", seed))
        self.config = config
        self.params = check_shapes("params", params, config)

    def __repr__(self):
        return f"GPT[{self.params.summary()}]{repr(self.config).removeprefix('GPTConfig')}"

    def forward(self, ids, targets=None, rng=None, kv_cache=None):
        """ids (B, T) integers, targets (B, T) integers or None -> logits (B, T, V), loss, cache.

        loss is the mean cross-entropy over the targets that are not -1; None without targets.
        rng, a Generator, turns dropout on. Nothing is kept in the model.
        kv_cache   for generation, a generation.KVCache: ids follow the positions in it, and are
                   added to it; logits (B, 1, V) are those after the last one. Such a pass has no
                   loss and no backward
        Raises ValueError for ids, targets or kv_cache that check_ids, check_targets and
        check_kv_cache refuse, and if self.params was replaced by Parameters of other shapes.
        """
        ids = check_ids(ids, self.config)
        targets = check_targets(targets, ids.shape, self.config.vocab_size)
        rng = None if rng is None else check_generator("rng", rng)
        params = check_shapes("params", self.params, self.config)
        generation.check_kv_cache(kv_cache, ids.shape, targets, self.config)
        config, shape = self.config, ids.shape
        forward_block = layers.block.FORWARD[config.norm]
        norm_cache = loss_cache = loss = None
        start = 0 if kv_cache is None else kv_cache.length

        # E is looked up:  x = one_hot(ids) E + P
        x, lookup_cache = layers.lookup.forward(ids, params.E, params.P[start:])
        x, dropout_mask = layers.dropout.forward(x, config.embd_pdrop, rng)
        x = x.reshape(-1, config.n_embd)
        block_caches = []
        for i, block_params in enumerate(params.blocks):
            extend = None if kv_cache is None else partial(kv_cache.extend, i)
            x, block_cache = forward_block(x, block_params, shape, config, rng, extend)
            block_caches.append(block_cache)
        h = x
        if kv_cache is not None:
            kv_cache.length += shape[1]
            h = x.reshape(*shape, -1)[:, -1]            # of the last position
        if params.norm is not None:
            h, norm_cache = layers.layernorm.forward(h, params.norm, config.layer_norm_eps)
        # E is the head:  logits = h Eᵀ  (tied: params.head is params.E)
        logits, logits_cache = layers.logits.forward(h, params.head)
        if targets is not None:
            loss, loss_cache = layers.cross_entropy.forward(logits, targets.ravel())

        cache = Cache(config, shape, lookup_cache, dropout_mask, block_caches, norm_cache,
                      logits_cache, loss_cache)
        return logits.reshape(len(ids), -1, config.vocab_size), loss, cache

    def backward(self, cache, grads=None, dloss=1.0):
        """The gradient of dloss · loss with respect to every parameter, accumulated into `grads`.

        cache    from forward with targets; it is only read, so it can be used again. Call backward
                 before the weights change: afterwards the result mixes old and new
        grads    Parameters to accumulate into; new ones, all 0, unless given. Untied ones for a
                 tied model keep the two uses of E apart: grads.E gets the lookup's part, grads.head
                 the logits'
        Returns grads. Raises ValueError if the forward pass had no targets or was one through a
        model of another config, if dloss is not finite, and if grads are of other shapes or are
        the model's own params. Of cache, grads and the model either all are complex or none is.
        """
        check_cache(cache, self.config, self.params.flat.dtype)
        if grads is None:
            grads = Parameters(self.config, self.params.flat.dtype)
        dloss = check_finite_number("dloss", dloss)
        check_shapes("grads", grads, self.config, self.params.flat.dtype, tied_alike=False)
        if grads is self.params:
            raise ValueError("grads: the model's own params given, expected other Parameters")
        backward_block = layers.block.BACKWARD[self.config.norm]

        dlogits = layers.cross_entropy.backward(dloss, cache.loss)
        # ① E is the head:  dE += dlogitsᵀ h, every row of it  (tied: grads.head is grads.E)
        dh = layers.logits.backward(dlogits, cache.logits, grads.head)
        dx = dh
        if cache.norm is not None:
            dx = layers.layernorm.backward(dh, cache.norm, grads.norm)
        for block_cache, block_grads in zip(reversed(cache.blocks), reversed(grads.blocks)):
            dx = backward_block(dx, block_cache, block_grads)
        dx = dx.reshape(*cache.shape, -1)
        dx = layers.dropout.backward(dx, cache.dropout_mask)
        # ② E is looked up:  dE += one_hotᵀ dx, into the same array: a row for each position
        layers.lookup.backward(dx, cache.lookup, grads.E, grads.P)
        return grads

    def untied(self):
        """The same function of its inputs, head being a copy of E: E's two gradients come apart.

        Returns a new GPT that shares no memory with this one; grads.E then holds the lookup's
        contribution alone and grads.head the logits'. Their sum is the tied model's dE.
        """
        config = replace(self.config, tie_embeddings=False)
        model = GPT(config, params=Parameters(config, self.params.flat.dtype))
        for name, array in self.params.arrays.items():
            model.params.arrays[name][...] = array
        model.params.head[...] = self.params.head
        return model

    @classmethod
    def from_pretrained(cls, folder, n_head=None, dtype=np.float32):
        """The GPT in a folder: model.safetensors, or shards with their index, and config.json.

        Of transformers' gpt2 and openai-gpt, or a state dict of minGPT's or nanoGPT's (with its
        exact GELU). Embeddings are tied if the file has no lm_head.weight or one equal to wte, and
        config.json does not say tie_word_embeddings false.
        n_head   H, needed where no config.json gives it: no tensor shows it
        dtype    of the numbers here; on file they are float64, float32, float16 or bfloat16
        Raises ValueError, naming file and tensor, for anything that does not fit together, and the
        OS's own error for a file that cannot be opened; warns of NaN or infinity in a tensor.
        """
        params = pretrained.load(folder, n_head, dtype)
        return cls(params.config, params=params)

    def save_pretrained(self, folder):
        """Write config.json and model.safetensors to `folder`, which transformers can open.

        Each file is replaced atomically. Raises ValueError for complex numbers, and if self.params
        was replaced by Parameters of other shapes.
        """
        pretrained.save(check_shapes("params", self.params, self.config), self.config, folder)

    generate = generation.generate
    stream = generation.stream


def check_cache(cache, config, dtype):
    """Raise ValueError unless cache is of a pass with targets through such a model."""
    if not isinstance(cache, Cache) or cache.loss is None:
        raise_value_error("cache", cache, "the cache of a forward pass with targets")
    if cache.config != config:
        raise ValueError(f"cache: of a pass through {cache.config} given, expected {config}")
    if cache.logits.h.dtype.kind != dtype.kind:
        raise ValueError(f"cache: of {cache.logits.h.dtype} given, expected {dtype}")
