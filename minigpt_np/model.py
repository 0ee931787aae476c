"""The GPT: its forward pass and its backward pass, two straight columns that mirror each other."""
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from . import generation
from .checks import check_ids, check_targets
from .config import GPTConfig
from .files import pretrained
from .layers import block, cross_entropy, dropout, layernorm, logits as output, lookup
from .parameters import Parameters, initialize


class Cache(NamedTuple):
    """What backward needs to know of a forward pass. It belongs to that pass alone."""
    shape: tuple            # (B, T)
    lookup: lookup.Cache
    mask: object            # dropout's
    blocks: list            # of block.Cache
    norm: layernorm.Cache   # None when config.norm is "post"
    output: output.Cache
    loss: cross_entropy.Cache       # None without targets


class GPT:
    """A GPT of the given config; `params` holds all its numbers.

    seed     int or numpy Generator for the initialisation
    dtype    np.float32 to train, np.float64 to check gradients, np.complex128 to check them to
             machine precision; the same seed gives the same weights, to rounding
    params   Parameters to use instead of new ones (seed and dtype then do not matter)
    """

    def __init__(self, config, seed=0, dtype=np.float32, params=None):
        if not isinstance(config, GPTConfig):
            raise ValueError(f"config: {config!r} given, expected a GPTConfig")
        if np.dtype(dtype).kind not in "fc":
            raise ValueError(f"dtype: {dtype!r} given, expected a floating-point or complex type")
        self.config = config
        self.params = params
        if params is None:
            self.params = Parameters(config, dtype)
            initialize(self.params, np.random.default_rng(seed))

    def forward(self, ids, targets=None, rng=None):
        """ids (B, T) integers, targets (B, T) integers or None -> logits (B, T, V), loss, cache.

        loss is the mean cross-entropy over the targets that are not -1; None without targets.
        rng, a Generator, turns dropout on. Nothing is kept in the model.
        Raises ValueError for ids or targets that are not what check_ids and check_targets expect.
        """
        ids = check_ids(ids, self.config)
        targets = check_targets(targets, ids.shape, self.config.vocab_size)
        p, c = self.params, self.config
        forward_block, _ = block.PLACES[c.norm]
        norm = scored = loss = None

        x, looked_up = lookup.forward(ids, p.E, p.P)
        x, mask = dropout.forward(x, c.embd_pdrop, rng)
        x = x.reshape(-1, c.n_embd)
        blocks = []
        for w in p.blocks:
            x, cache = forward_block(x, w, ids.shape, c, rng)
            blocks.append(cache)
        if p.norm is not None:
            x, norm = layernorm.forward(x, p.norm, c.layer_norm_eps)
        logits, written = output.forward(x, p.head)
        if targets is not None:
            loss, scored = cross_entropy.forward(logits, targets.ravel())

        return logits.reshape(*ids.shape, -1), loss, Cache(ids.shape, looked_up, mask, blocks, norm, written, scored)

    def backward(self, cache, grads=None, dloss=1.0):
        """The gradient of dloss · loss with respect to every parameter, added into `grads`.

        cache    from forward with targets; it is only read, so it can be used again
        grads    Parameters to add into; new ones, all 0, unless given
        Returns grads. Raises ValueError if the forward pass had no targets.
        """
        if cache.loss is None:
            raise ValueError("cache: of a forward pass without targets given, expected one with a loss")
        g = Parameters(self.config, self.params.flat.dtype) if grads is None else grads
        _, backward_block = block.PLACES[self.config.norm]

        dlogits = cross_entropy.backward(dloss, cache.loss)
        # E's use as the head: dE += dlogitsᵀ h, dense. (Tied: g.head is g.E.)
        dx = output.backward(dlogits, cache.output, g.head)
        if cache.norm is not None:
            dx = layernorm.backward(dx, cache.norm, g.norm)
        for saved, dw in zip(reversed(cache.blocks), reversed(g.blocks)):
            dx = backward_block(dx, saved, dw)
        dx = dx.reshape(*cache.shape, -1)
        dx = dropout.backward(dx, cache.mask)
        # E's use as the lookup: dE[ids] += dx, each time a row was read. Into the same array.
        lookup.backward(dx, cache.lookup, g.E, g.P)
        return g

    def untied(self):
        """The same function of its inputs with head as a copy of E: E's two gradients come apart.

        Returns a new GPT that shares no memory with this one; grads.E then holds the lookup's
        contribution alone and grads.head the logits'. Their sum is the tied model's dE.
        """
        config = replace(self.config, tie_embeddings=False)
        model = GPT(config, params=Parameters(config, self.params.flat.dtype))
        for name, array in self.params.named().items():
            model.params.arrays[name][...] = array
        model.params.head[...] = self.params.head
        return model

    @classmethod
    def from_pretrained(cls, folder, n_head=None, dtype=np.float32):
        """The GPT in a folder: model.safetensors, or shards with their index, and config.json.

        Of transformers' gpt2 and openai-gpt, or a state dict of minGPT's or nanoGPT's (whose GELU is
        not the tanh approximation used here). Embeddings are tied if the file has no lm_head.weight
        or one equal to wte.
        n_head   H, needed where no config.json says it: no tensor tells
        dtype    of the numbers here; on file they are float32, float16 or bfloat16
        Raises ValueError, naming file and tensor, for anything that does not fit together, and the
        OS's own error for what cannot be opened; warns of NaN or infinity in a tensor.
        """
        params = pretrained.load(folder, n_head, dtype)
        return cls(params.config, params=params)

    def save_pretrained(self, folder):
        """Write config.json and model.safetensors to `folder`; transformers opens them as the same model.

        Each file is whole or the one that was there before. Raises ValueError for complex numbers.
        """
        pretrained.save(self.params, folder)

    def generate(self, ids, max_new_tokens, temperature=1.0, do_sample=False,
                 top_k=None, top_p=None, seed=None):
        """ids (B, T) -> (B, T + max_new_tokens): each prompt continued. See generation.stream."""
        return generation.generate(self, ids, max_new_tokens, temperature, do_sample,
                                   top_k, top_p, seed)

    def stream(self, ids, max_new_tokens, temperature=1.0, do_sample=False,
               top_k=None, top_p=None, seed=None):
        """The same as an iterator over the new tokens, (B,) at a time. See generation.stream."""
        return generation.stream(self, ids, max_new_tokens, temperature, do_sample,
                                 top_k, top_p, seed)
