"""One file a layer, its forward and its backward side by side. README.md is the tour.

forward(...) returns the output and a cache with named fields; backward takes the gradient of the
output and that cache, accumulates the parameters' gradients into the arrays it is given, and
returns the gradient of the input. Nothing is kept between calls.
"""
from . import (
    attention, block, causal, cross_entropy, dropout, gelu, gelu_exact, layernorm, linear, logits,
    lookup, mlp, softmax)
