"""What the laws in core/test_layers.py are put to: every layer, its arrays and sizes drawn.

A new layer is one strategy here and one row of LAYERS.
"""
import numpy as np
from hypothesis import strategies as st

from minigpt_np import GPTConfig
from minigpt_np.layers import (
    attention, block, causal, cross_entropy, dropout, gelu, gelu_exact, layernorm, linear, logits,
    lookup, mlp)
from strategies import ids_arrays, normal, seeds, sizes, targets_arrays


class Layer:
    """A layer with its arrays bound by name, so that one property can be put to all layers.

    name       as in LAYERS
    arrays     name -> float array
    forward    arrays -> output, cache
    backward   (dy, cache, grads) -> gradients of some arrays, by name; the rest accumulate in grads
    drawn      what else fixes the layer, by name: ids, sizes, seeds. For repr
    """

    def __init__(self, name, arrays, forward, backward, **drawn):
        self.name, self.arrays, self.drawn = name, arrays, drawn
        self.forward, self.backward = forward, backward

    def output(self):
        return self.forward(self.arrays)[0]

    def vjp(self, dy, cache, start=0.0):
        """The vector-Jacobian product: gradients of all arrays, and the names of those returned.

        The others are accumulated in arrays that hold `start`.
        """
        grads = {name: np.full_like(x, start) for name, x in self.arrays.items()}
        returned = self.backward(dy, cache, grads)
        return grads | returned, set(returned)

    def of(self, dtype):
        arrays = {name: x.astype(dtype) for name, x in self.arrays.items()}
        return Layer(self.name, arrays, self.forward, self.backward, **self.drawn)

    def __repr__(self):
        shown = [f"{name}={x.tolist()}" if x.size <= 8 else f"{name} {x.shape}"
                 for name, x in self.arrays.items()]
        shown += [f"{name}={x.tolist() if isinstance(x, np.ndarray) else x}"
                  for name, x in self.drawn.items()]
        return f"{self.name}({', '.join(shown)})"


class Named:
    """Attribute access to arrays of a dict: Named({"qkv.W": a}).qkv.W is a."""

    def __init__(self, arrays, prefix=""):
        self._arrays, self._prefix = arrays, prefix

    def __getattr__(self, name):
        full = self._prefix + name
        return self._arrays[full] if full in self._arrays else Named(self._arrays, full + ".")


def arrays_of(seed, **shapes):
    rng = np.random.default_rng(seed)
    return {name.replace("__", "."): rng.normal(name.endswith("gain"), 0.7, shape)
            for name, shape in shapes.items()}


def generator(seed):
    return None if seed is None else np.random.default_rng(seed)


maybe_seeds = st.none() | seeds
probabilities = st.sampled_from([0.0, 0.3, 0.8])


@st.composite
def linears(draw):
    N, I, J = draw(sizes(4)), draw(sizes(4)), draw(sizes(4))
    return Layer("linear", arrays_of(draw(seeds), x=(N, I), W=(I, J), b=(J,)),
                 lambda a: linear.forward(a["x"], Named(a)),
                 lambda dy, cache, g: {"x": linear.backward(dy, cache, Named(g))})


@st.composite
def layernorms(draw):
    N, D, eps = draw(sizes(4)), draw(sizes(5)), draw(st.sampled_from([1e-5, 0.1]))
    arrays = arrays_of(draw(seeds), x=(N, D), gain=(D,), bias=(D,))
    if draw(st.booleans()):
        arrays["x"][0] = arrays["x"][0, 0]              # a row without variance
    return Layer("layernorm", arrays, lambda a: layernorm.forward(a["x"], Named(a), eps),
                 lambda dy, cache, g: {"x": layernorm.backward(dy, cache, Named(g))}, eps=eps)


@st.composite
def gelus(draw, layer):
    scale = draw(st.sampled_from([0.1, 2, 9]))
    x = normal(draw(seeds), draw(sizes(4)), draw(sizes(4)), scale=scale)
    return Layer(layer.__name__.rpartition(".")[2], {"x": x}, lambda a: layer.forward(a["x"]),
                 lambda dy, cache, g: {"x": layer.backward(dy, cache)}, scale=scale)


@st.composite
def dropouts(draw):
    x = normal(draw(seeds), draw(sizes(4)), draw(sizes(4)))
    p, seed = draw(probabilities), draw(maybe_seeds)
    return Layer("dropout", {"x": x}, lambda a: dropout.forward(a["x"], p, generator(seed)),
                 lambda dy, mask, g: {"x": dropout.backward(dy, mask)}, p=p, seed=seed)


@st.composite
def lookups(draw):
    B, T, V, D = draw(sizes(3)), draw(sizes(4)), draw(sizes(4)), draw(sizes(3))
    ids = draw(ids_arrays(B, T, V))
    arrays = arrays_of(draw(seeds), E=(V, D), P=(T + draw(st.integers(0, 2)), D))

    def backward(dx, cache, g):
        lookup.backward(dx, cache, g["E"], g["P"])
        return {}
    return Layer("lookup", arrays, lambda a: lookup.forward(ids, a["E"], a["P"]), backward, ids=ids)


@st.composite
def all_logits(draw):
    N, V, D = draw(sizes(4)), draw(sizes(5)), draw(sizes(4))
    return Layer("logits", arrays_of(draw(seeds), h=(N, D), head=(V, D)),
                 lambda a: logits.forward(a["h"], a["head"]),
                 lambda dy, cache, g: {"h": logits.backward(dy, cache, g["head"])})


@st.composite
def losses(draw):
    N, V = draw(sizes(4)), draw(sizes(5))
    targets = draw(targets_arrays(1, N, V))[0]
    # 60: exp(60) is above softmax.SAFE_MAX, so that the shifted branch has its share
    z = normal(draw(seeds), N, V) + draw(st.sampled_from([0.0, 60.0, -60.0]))
    return Layer("cross_entropy", {"logits": z},
                 lambda a: cross_entropy.forward(a["logits"], targets),
                 lambda dloss, cache, g: {"logits": cross_entropy.backward(dloss, cache)},
                 targets=targets)


@st.composite
def causals(draw):
    B, T, H, K = draw(sizes(2)), draw(sizes(5)), draw(sizes(2)), draw(sizes(3))
    p, seed = draw(probabilities), draw(maybe_seeds)
    return Layer("causal", {"qkv": normal(draw(seeds), B * T, 3 * H * K)},
                 lambda a: causal.forward(a["qkv"], B, T, H, p, generator(seed)),
                 lambda dy, cache, g: {"qkv": causal.backward(dy, cache)},
                 B=B, T=T, H=H, p=p, seed=seed)


@st.composite
def inner_configs(draw):
    """Batch shape and config of an attention, MLP or block; D is H K <= 4."""
    H = draw(sizes(2))
    config = GPTConfig(1, 1, 1, H, H * draw(sizes(2)), attn_pdrop=draw(probabilities),
                       resid_pdrop=draw(probabilities),
                       layer_norm_eps=draw(st.sampled_from([1e-5, 0.1])),
                       activation=draw(st.sampled_from(["gelu_tanh", "gelu_exact"])))
    return (draw(sizes(2)), draw(sizes(4))), config


@st.composite
def attentions(draw):
    (B, T), config = draw(inner_configs())
    D, seed = config.n_embd, draw(maybe_seeds)
    arrays = arrays_of(draw(seeds), x=(B * T, D), qkv__W=(D, 3 * D), qkv__b=(3 * D,),
                       out__W=(D, D), out__b=(D,))
    return Layer("attention", arrays,
                 lambda a: attention.forward(a["x"], Named(a), (B, T), config, generator(seed)),
                 lambda dy, cache, g: {"x": attention.backward(dy, cache, Named(g))},
                 B=B, T=T, config=config, seed=seed)


@st.composite
def mlps(draw):
    shape, config = draw(inner_configs())
    D, seed = config.n_embd, draw(maybe_seeds)
    arrays = arrays_of(draw(seeds), x=(shape[0] * shape[1], D), up__W=(D, 4 * D), up__b=(4 * D,),
                       down__W=(4 * D, D), down__b=(D,))
    return Layer("mlp", arrays, lambda a: mlp.forward(a["x"], Named(a), config, generator(seed)),
                 lambda dy, cache, g: {"x": mlp.backward(dy, cache, Named(g))},
                 config=config, seed=seed)


def blocks(norm):
    @st.composite
    def drawn(draw):
        (B, T), config = draw(inner_configs())
        D, seed = config.n_embd, draw(maybe_seeds)
        arrays = arrays_of(
            draw(seeds), x=(B * T, D), norm1__gain=(D,), norm1__bias=(D,), norm2__gain=(D,),
            norm2__bias=(D,), attention__qkv__W=(D, 3 * D), attention__qkv__b=(3 * D,),
            attention__out__W=(D, D), attention__out__b=(D,), mlp__up__W=(D, 4 * D),
            mlp__up__b=(4 * D,), mlp__down__W=(4 * D, D), mlp__down__b=(D,))
        forward, backward = block.FORWARD[norm], block.BACKWARD[norm]
        return Layer(f"block, {norm}", arrays,
                     lambda a: forward(a["x"], Named(a), (B, T), config, generator(seed)),
                     lambda dx, cache, g: {"x": backward(dx, cache, Named(g))},
                     B=B, T=T, config=config, seed=seed)
    return drawn()


LAYERS = {
    "linear": linears(), "layernorm": layernorms(), "gelu": gelus(gelu),
    "gelu_exact": gelus(gelu_exact), "dropout": dropouts(), "lookup": lookups(),
    "logits": all_logits(), "cross_entropy": losses(), "causal": causals(),
    "attention": attentions(), "mlp": mlps(),
    "block, pre": blocks("pre"), "block, post": blocks("post"),
}
