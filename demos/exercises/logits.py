"""Exercise 3: logits, where a GPT writes.

    logits = h headᵀ        logits[n, v] = h[n] · head[v]

    h (N, D)        what the model has made of each of N positions
    head (V, D)     a row for every token of the vocabulary

backward is given dlogits (N, V). Return dh (N, D) and dhead (V, D).
"""


def forward(h, head):
    return h @ head.T


def backward(dlogits, h, head):
    raise NotImplementedError
