"""Right answers to the exercises. (So: spoilers.)

Each is the source of what a learner adds to the file.
"""

# Of each exercise the one that the wrong answers of wrong.py are made of.
PLAIN = {
    "slope": """
def derivative(x):
    return 3 * x * x - 2


def difference(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


def gradient(f, x):
    h = 1e-5
    dx = np.zeros(len(x))
    for i in range(len(x)):
        step = np.zeros(len(x))
        step[i] = h
        dx[i] = (f(x + step) - f(x - step)) / (2 * h)
    return dx


def identity_backward(dy, x):
    return dy


def sum_backward(dy, x):
    return dy * np.ones(len(x))


def mean_backward(dy, x):
    return dy * np.ones(len(x)) / len(x)


def agrees(f, x, dx):
    right = gradient(f, x)
    return np.abs(dx - right).max() <= 1e-6 * max(1, np.abs(right).max())
""",

    "linear": """
def backward(dy, x, W, b):
    dx = dy @ W.T
    dW = x.T @ dy
    db = dy.sum(axis=0)
    return dx, dW, db
""",

    "lookup": """
def backward(dx, ids, E, P):
    T = ids.shape[1]
    dE = np.zeros_like(E)
    dP = np.zeros_like(P)
    np.add.at(dE, ids, dx)
    dP[:T] = dx.sum(axis=0)
    return dE, dP
""",

    "logits": """
def backward(dlogits, h, head):
    dh = dlogits @ head
    dhead = dlogits.T @ h
    return dh, dhead
""",

    "tied": """
def backward(dlogits, ids, E, dE):
    h = np.tanh(E[ids])
    dE += dlogits.T @ h
    dx = dlogits @ E * (1 - h * h)
    np.add.at(dE, ids, dx)
""",

    "cross_entropy": """
def backward(dloss, logits, targets):
    N = len(targets)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    p[np.arange(N), targets] -= 1
    return p * dloss / N
""",

    "gelu": """
def backward(dy, x):
    t = np.tanh(C * (x + A * x * x * x))
    du = C * (1 + 3 * A * x * x)
    return dy * ((1 + t) / 2 + x * (1 - t * t) / 2 * du)
""",

    "centring": """
def backward(dy, x):
    return dy - dy.mean(axis=1, keepdims=True)
""",

    "layernorm": """
def backward(dy, x, gain, bias):
    centred = x - x.mean(axis=1, keepdims=True)
    std = np.sqrt((centred * centred).mean(axis=1, keepdims=True) + EPS)
    xhat = centred / std
    dxhat = dy * gain
    mean = dxhat.mean(axis=1, keepdims=True)
    along = (dxhat * xhat).mean(axis=1, keepdims=True)
    dx = (dxhat - mean - xhat * along) / std
    dgain = (dy * xhat).sum(axis=0)
    dbias = dy.sum(axis=0)
    return dx, dgain, dbias
""",

    "softmax": """
def backward(dw, z):
    w = forward(z)
    total = (w * dw).sum(axis=1, keepdims=True)
    return w * (dw - total)
""",

    "causal": """
def backward(dy, q, k, v):
    K = q.shape[3]
    w = attend(q, k)
    dv = w.swapaxes(2, 3) @ dy
    dw = dy @ v.swapaxes(2, 3)
    total = (w * dw).sum(axis=3, keepdims=True)
    dscores = w * (dw - total) / np.sqrt(K)
    dq = dscores @ k
    dk = dscores.swapaxes(2, 3) @ q
    return dq, dk, dv
""",

    "block": """
def backward(dy, x, w, B, H):
    a1 = layernorm.forward(x, w["gain1"], w["bias1"])
    qkv = linear.forward(a1, w["W_qkv"], w["b_qkv"])
    q, k, v = [heads(part, B, H) for part in np.split(qkv, 3, axis=1)]
    mixed = rows(causal.forward(q, k, v))
    x2 = x + linear.forward(mixed, w["W_out"], w["b_out"])
    a2 = layernorm.forward(x2, w["gain2"], w["bias2"])
    hidden = linear.forward(a2, w["W_up"], w["b_up"])
    active = gelu.forward(hidden)
    dw = {}
    dactive, dw["W_down"], dw["b_down"] = linear.backward(dy, active, w["W_down"], w["b_down"])
    dhidden = gelu.backward(dactive, hidden)
    da2, dw["W_up"], dw["b_up"] = linear.backward(dhidden, a2, w["W_up"], w["b_up"])
    dmlp, dw["gain2"], dw["bias2"] = layernorm.backward(da2, x2, w["gain2"], w["bias2"])
    dx2 = dy + dmlp
    dmixed, dw["W_out"], dw["b_out"] = linear.backward(dx2, mixed, w["W_out"], w["b_out"])
    dq, dk, dv = causal.backward(heads(dmixed, B, H), q, k, v)
    dqkv = np.concatenate([rows(dq), rows(dk), rows(dv)], axis=1)
    da1, dw["W_qkv"], dw["b_qkv"] = linear.backward(dqkv, a1, w["W_qkv"], w["b_qkv"])
    dattention, dw["gain1"], dw["bias1"] = layernorm.backward(da1, x, w["gain1"], w["bias1"])
    dx = dx2 + dattention
    return dx, dw
""",

    "model": """
def backward(dloss, ids, targets, p, H):
    B, T = ids.shape
    E, P = p["E"], p["P"]
    D = E.shape[1]
    xs = [lookup.forward(ids, E, P).reshape(B * T, D)]
    for w in p["blocks"]:
        xs.append(block.forward(xs[-1], w, B, H))
    h = layernorm.forward(xs[-1], p["gain"], p["bias"])
    scores = logits.forward(h, E)
    dp = {"blocks": []}
    dscores = cross_entropy.backward(dloss, scores, targets.ravel())
    dh, dhead = logits.backward(dscores, h, E)
    dx, dp["gain"], dp["bias"] = layernorm.backward(dh, xs[-1], p["gain"], p["bias"])
    for x, w in zip(reversed(xs[:-1]), reversed(p["blocks"])):
        dx, dw = block.backward(dx, x, w, B, H)
        dp["blocks"].insert(0, dw)
    dE, dp["P"] = lookup.backward(dx.reshape(B, T, D), ids, E, P)
    dp["E"] = dhead + dE
    return dp
""",
}

# And some as other people would write them.
OTHER_STYLES = {
    "linear, loops over numbers, in a list": """
def backward(dy, x, W, b):
    N, I = x.shape
    J = len(b)
    dx, dW, db = np.zeros((N, I)), np.zeros((I, J)), np.zeros(J)
    for n in range(N):
        for j in range(J):
            db[j] += dy[n, j]
            for i in range(I):
                dx[n, i] += dy[n, j] * W[i, j]
                dW[i, j] += dy[n, j] * x[n, i]
    return [dx, dW, db]
""",

    "lookup, a mask for each row": """
def backward(dx, ids, E, P, axis=0):
    T = dx.shape[1]
    dE = np.array([dx[ids == v].sum(axis) for v in range(E.shape[0])])
    return dE, np.array([dx[:, t].sum(axis) if t < T else 0 * P[t] for t in range(len(P))])
""",

    "tied, new array, stored": """
def backward(dlogits, ids, E, dE):
    one_hot = np.eye(E.shape[0])[ids]
    h = np.tanh(one_hot @ E)
    dE[:] = dE + one_hot.T @ (dlogits @ E * (1 - h ** 2)) + dlogits.T @ h
    return dE
""",

    "gelu, sigmoid": """
def backward(dy, x):
    u = C * (x + A * x ** 3)
    gate = 1 / (1 + np.exp(-2 * u))
    return np.multiply(dy, gate + x * gate * (1 - gate) * 2 * (C + 3 * A * C * np.square(x)))
""",

    "layernorm, by way of the variance": """
def backward(dy, x, gain, bias):
    D = x.shape[1]
    mu = x.mean(1, keepdims=True)
    var = x.var(1, keepdims=True)
    inv = (var + EPS) ** -0.5
    dxhat = dy * gain
    dvar = np.sum(dxhat * (x - mu) * -0.5 * inv ** 3, axis=1, keepdims=True)
    dmu = np.sum(-dxhat * inv, axis=1, keepdims=True)
    dmu += dvar * np.mean(-2 * (x - mu), axis=1, keepdims=True)
    dx = dxhat * inv + dvar * 2 * (x - mu) / D + dmu / D
    return dx, np.sum(dy * (x - mu) * inv, axis=0), np.sum(dy, axis=0)
""",

    "block, all written out": """
def norm_back(dy, x, gain):
    centred = x - x.mean(1, keepdims=True)
    std = np.sqrt((centred ** 2).mean(1, keepdims=True) + 1e-5)
    xhat = centred / std
    d = dy * gain
    return ((d - d.mean(1, keepdims=True) - xhat * (d * xhat).mean(1, keepdims=True)) / std,
            (dy * xhat).sum(0), dy.sum(0), xhat)


def backward(dy, x, w, B, H):
    _, _, _, xhat = norm_back(dy, x, w["gain1"])
    a1 = w["gain1"] * xhat + w["bias1"]
    q, k, v = [heads(part, B, H) for part in np.split(a1 @ w["W_qkv"] + w["b_qkv"], 3, axis=1)]
    weights = causal.attend(q, k)
    mixed = rows(weights @ v)
    x2 = x + mixed @ w["W_out"] + w["b_out"]
    _, _, _, xhat = norm_back(dy, x2, w["gain2"])
    a2 = w["gain2"] * xhat + w["bias2"]
    hidden = a2 @ w["W_up"] + w["b_up"]
    t = np.tanh(gelu.C * (hidden + gelu.A * hidden ** 3))
    dw = {"W_down": (hidden * (1 + t) / 2).T @ dy, "b_down": dy.sum(0)}
    d = dy @ w["W_down"].T
    d = d * ((1 + t) / 2 + hidden * (1 - t * t) / 2 * gelu.C * (1 + 3 * gelu.A * hidden ** 2))
    dw["W_up"], dw["b_up"] = a2.T @ d, d.sum(0)
    d, dw["gain2"], dw["bias2"], _ = norm_back(d @ w["W_up"].T, x2, w["gain2"])
    d = d + dy
    dw["W_out"], dw["b_out"] = mixed.T @ d, d.sum(0)
    dmixed = heads(d @ w["W_out"].T, B, H)
    dweights = dmixed @ v.swapaxes(2, 3)
    ds = weights * (dweights - (weights * dweights).sum(3, keepdims=True)) / np.sqrt(q.shape[3])
    parts = ds @ k, ds.swapaxes(2, 3) @ q, weights.swapaxes(2, 3) @ dmixed
    dqkv = np.concatenate([rows(part) for part in parts], 1)
    dw["W_qkv"], dw["b_qkv"] = a1.T @ dqkv, dqkv.sum(0)
    da, dw["gain1"], dw["bias1"], _ = norm_back(dqkv @ w["W_qkv"].T, x, w["gain1"])
    return d + da, dw
""",

    "model, recursive": """
def through_blocks(x, blocks, p, B, H, then):
    if not blocks:
        return then(x), []
    dx, below = through_blocks(block.forward(x, blocks[0], B, H), blocks[1:], p, B, H, then)
    dx, dw = block.backward(dx, x, blocks[0], B, H)
    return dx, [dw, *below]


def backward(dloss, ids, targets, p, H):
    dp = {"E": np.zeros_like(p["E"])}

    def head(x):
        h = layernorm.forward(x, p["gain"], p["bias"])
        d = cross_entropy.backward(dloss, h @ p["E"].T, targets.reshape(-1))
        dh, dE = logits.backward(d, h, p["E"])
        dp["E"] += dE
        dx, dp["gain"], dp["bias"] = layernorm.backward(dh, x, p["gain"], p["bias"])
        return dx

    x = lookup.forward(ids, p["E"], p["P"])
    dx, dp["blocks"] = through_blocks(x.reshape(-1, x.shape[2]), p["blocks"], p, len(ids), H, head)
    dE, dp["P"] = lookup.backward(dx.reshape(x.shape), ids, p["E"], p["P"])
    dp["E"] += dE
    return dp
""",
}
