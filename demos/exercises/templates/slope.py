"""Exercise 0: a slope, by hand and by difference. What every other exercise is checked with.

Write the seven functions at the end, from the top: check.py takes them in this order.

    derivative(x)           f'(x) of the f below, by hand. x is a number
    difference(f, x, h)     (f(x + h) - f(x - h)) / 2h, for any f of one number: f'(x), very nearly
    gradient(f, x)          for any f that makes one number of x (D,): how fast f grows as each
                            number of x does, the others staying where they are. One difference
                            for each, with h = 1e-5. Leave x as it was; return an array (D,)

A backward pass is the same question asked the other way round: given how fast the loss grows as y
does, how fast does it grow as each x[i] does? It grows by dy · dy/dx[i].

    identity_backward(dy, x)    y = x               x (D,), dy (D,)
    sum_backward(dy, x)         y = sum of x        x (D,), dy a number
    mean_backward(dy, x)        y = mean of x       x (D,), dy a number

    agrees(f, x, dx)        True if dx (D,) is f's gradient at x, False if not: each number of it
                            within 1e-6 times the largest number of the gradient (or within 1e-6,
                            where all are below 1). That is a gradient check.
"""
import numpy as np


def f(x):
    return x * x * x - 2 * x


def derivative(x):
    raise NotImplementedError


def difference(f, x, h):
    raise NotImplementedError


def gradient(f, x):
    raise NotImplementedError


def identity_backward(dy, x):
    raise NotImplementedError


def sum_backward(dy, x):
    raise NotImplementedError


def mean_backward(dy, x):
    raise NotImplementedError


def agrees(f, x, dx):
    raise NotImplementedError
