"""A whole GPT on one page, its one matrix E both lookup and head: forwards, backwards, and trained.

    python demos/one_page.py                # read it from top to bottom, run it, then step through it

Beside a line: the shape of its result and, where it changes, the file of minigpt_np/layers/ that has the same lines.
T positions, V tokens, D numbers a token, H heads of K numbers (D = H K), L blocks. The backward half is the
forward half from its end, line for line: where that made x, this makes dx, of the same shape: the gradient of
the loss with respect to x. E is used twice, so two lines accumulate into dE: ① as the head, ② as the lookup.
"""
import numpy as np

TEXT, NEVER = "the dog saw the cat and the cat saw the bird fly", "fish"  # NEVER: a token that never comes
L, H, D, STEPS, LEARNING_RATE, SEED = 1, 2, 6, 200, 0.1, 0
EPS, C, A = 1e-5, np.sqrt(2 / np.pi), 0.044715                          # LayerNorm's; GELU's two


def new_parameters(V, T, D, L, rng):                                    # ../parameters.py
    def matrix(rows, columns):
        return rng.normal(0, 0.2, (rows, columns))
    params = [matrix(V, D), matrix(T, D)]                               # E (V, D), P (T, D)
    for _ in range(L):                                                  # as the loop over blocks names them
        params += [np.ones(D), np.zeros(D), matrix(D, 3 * D), np.zeros(3 * D), matrix(D, D), np.zeros(D),
                   np.ones(D), np.zeros(D), matrix(D, 4 * D), np.zeros(4 * D), matrix(4 * D, D), np.zeros(D)]
    return [*params, np.ones(D), np.zeros(D)]                           # gain (D,), bias (D,)


def loss_and_gradient(ids, targets, params, H):
    """ids, targets (T,), params as above -> the loss, and the gradient of each of params."""
    E, P, *arrays, gain, bias = params
    blocks, dblocks, saved = [arrays[i:i + 12] for i in range(0, len(arrays), 12)], [], []
    T, V, D, K = len(ids), *E.shape, E.shape[1] // H
    mean = np.full((D, 1), 1 / D)                                       # (D, 1): x @ mean is each row's mean
    causal_mask = np.triu(np.full((T, T), -np.inf), 1)                  # (T, T): -inf on what comes later

    # forwards ---------------------------------------------------------- ../model.py
    one_hot = np.eye(V)[ids]                                            # (T, V)     lookup.py
    x = one_hot @ E + P[:T]                                             # (T, D)     that is, E[ids] + P[:T]
    for gain1, bias1, Wqkv, bqkv, Wout, bout, gain2, bias2, Wup, bup, Wdown, bdown in blocks:  # block.py
        std1 = np.sqrt((x - x @ mean)**2 @ mean + EPS)                  # (T, 1)     layernorm.py
        xhat1 = (x - x @ mean) / std1                                   # (T, D)
        n1 = gain1 * xhat1 + bias1                                      # (T, D)
        qkv = n1 @ Wqkv + bqkv                                          # (T, 3D)    attention.py, linear.py
        q, k, v = qkv.reshape(T, 3, H, K).transpose(1, 2, 0, 3)         # (H, T, K)  each; causal.py
        scores = q @ k.swapaxes(1, 2) / np.sqrt(K) + causal_mask        # (H, T, T)
        exp_scores = np.exp(scores - scores.max(2, keepdims=True))      # (H, T, T)  softmax.py
        weights = exp_scores / exp_scores.sum(2, keepdims=True)         # (H, T, T)
        y = weights @ v                                                 # (H, T, K)  causal.py
        mixed = y.transpose(1, 0, 2).reshape(T, D)                      # (T, D)
        x = x + mixed @ Wout + bout                                     # (T, D)     attention.py, linear.py
        std2 = np.sqrt((x - x @ mean)**2 @ mean + EPS)                  # (T, 1)     layernorm.py
        xhat2 = (x - x @ mean) / std2                                   # (T, D)
        n2 = gain2 * xhat2 + bias2                                      # (T, D)
        hidden = n2 @ Wup + bup                                         # (T, 4D)    mlp.py, linear.py
        inner = C * (hidden + A * hidden**3)                            # (T, 4D)    gelu.py
        tanh = np.tanh(inner)                                           # (T, 4D)
        active = hidden * (1 + tanh) / 2                                # (T, 4D)
        x = x + active @ Wdown + bdown                                  # (T, D)     mlp.py, linear.py
        saved.append((std1, xhat1, n1, q, k, v, weights, mixed, std2, xhat2, n2, hidden, tanh, active))
    std = np.sqrt((x - x @ mean)**2 @ mean + EPS)                       # (T, 1)     layernorm.py
    xhat = (x - x @ mean) / std                                         # (T, D)
    h = gain * xhat + bias                                              # (T, D)
    logits = h @ E.T                                                    # (T, V)     logits.py: E once more
    exp_logits = np.exp(logits - logits.max(1, keepdims=True))          # (T, V)     softmax.py
    probs = exp_logits / exp_logits.sum(1, keepdims=True)               # (T, V)
    loss = -np.log(probs[np.arange(T), targets]).mean()                 # ()         cross_entropy.py

    # backwards --------------------------------------------------------- ../model.py
    dE, dP = np.zeros_like(E), np.zeros_like(P)                         # (V, D) (T, D)  ../parameters.py
    dlogits = (probs - np.eye(V)[targets]) / T                          # (T, V)     cross_entropy.py, softmax.py
    dE += dlogits.T @ h                                                 # (V, D)   ① logits.py: to every row
    dh = dlogits @ E                                                    # (T, D)
    dgain, dbias, dxhat = (dh * xhat).sum(0), dh.sum(0), dh * gain      # (D,) (D,) (T, D)  layernorm.py
    dx = (dxhat - dxhat @ mean - xhat * (dxhat * xhat @ mean)) / std    # (T, D)
    for block, kept in zip(reversed(blocks), reversed(saved)):          # block.py
        gain1, bias1, Wqkv, bqkv, Wout, bout, gain2, bias2, Wup, bup, Wdown, bdown = block
        std1, xhat1, n1, q, k, v, weights, mixed, std2, xhat2, n2, hidden, tanh, active = kept
        dWdown, dbdown, dactive = active.T @ dx, dx.sum(0), dx @ Wdown.T            # (4D, D) (D,) (T, 4D)  mlp.py
        dtanh = dactive * hidden / 2                                                # (T, 4D)  gelu.py
        dinner = dtanh * (1 - tanh**2)                                              # (T, 4D)
        dhidden = dactive * (1 + tanh) / 2 + dinner * C * (1 + 3 * A * hidden**2)   # (T, 4D)
        dWup, dbup, dn2 = n2.T @ dhidden, dhidden.sum(0), dhidden @ Wup.T           # (D, 4D) (4D,) (T, D)  linear.py
        dgain2, dbias2, dxhat2 = (dn2 * xhat2).sum(0), dn2.sum(0), dn2 * gain2      # (D,) (D,) (T, D)  layernorm.py
        dx = dx + (dxhat2 - dxhat2 @ mean - xhat2 * (dxhat2 * xhat2 @ mean)) / std2  # (T, D)  block.py: dx +
        dWout, dbout, dmixed = mixed.T @ dx, dx.sum(0), dx @ Wout.T                 # (D, D) (D,) (T, D)  attention.py
        dy = dmixed.reshape(T, H, K).transpose(1, 0, 2)                             # (H, T, K)  causal.py
        dweights, dv = dy @ v.swapaxes(1, 2), weights.swapaxes(1, 2) @ dy           # (H, T, T) (H, T, K)
        dscores = weights * (dweights - (weights * dweights).sum(2, keepdims=True))  # (H, T, T)  softmax.py
        dq, dk = dscores @ k / np.sqrt(K), dscores.swapaxes(1, 2) @ q / np.sqrt(K)  # (H, T, K) (H, T, K)  causal.py
        dqkv = np.stack([dq, dk, dv]).transpose(2, 0, 1, 3).reshape(T, 3 * D)       # (T, 3D)
        dWqkv, dbqkv, dn1 = n1.T @ dqkv, dqkv.sum(0), dqkv @ Wqkv.T                 # (D, 3D) (3D,) (T, D)  linear.py
        dgain1, dbias1, dxhat1 = (dn1 * xhat1).sum(0), dn1.sum(0), dn1 * gain1      # (D,) (D,) (T, D)  layernorm.py
        dx = dx + (dxhat1 - dxhat1 @ mean - xhat1 * (dxhat1 * xhat1 @ mean)) / std1  # (T, D)  block.py: dx +
        dblocks = [dgain1, dbias1, dWqkv, dbqkv, dWout, dbout, dgain2, dbias2, dWup, dbup, dWdown, dbdown, *dblocks]
    dP[:T] += dx                                                        # (T, D)     lookup.py
    dE += one_hot.T @ dx                                                # (V, D)   ② lookup.py: to the rows of its ids
    return loss, [dE, dP, *dblocks, dgain, dbias]


if __name__ == "__main__":
    np.set_printoptions(precision=3, suppress=True, linewidth=79)       # few digits, for `p` in pdb
    vocabulary = list(dict.fromkeys([*TEXT.split(), NEVER]))            # row v of E is that of the token vocabulary[v]
    row = np.array([vocabulary.index(token) for token in TEXT.split()])
    ids, targets, V, T = row[:-1], row[1:], len(vocabulary), len(row) - 1
    params = new_parameters(V, T, D, L, np.random.default_rng(SEED))
    print(f"{TEXT}\nT = {T}, V = {V}, D = {D}, H = {H}, K = {D // H}, L = {L}")
    for i in range(STEPS + 1):                                          # ../training/trainer.py
        loss, grads = loss_and_gradient(ids, targets, params, H)
        if i % 40 == 0:
            print(f"step {i:3}  loss {loss:.4f}: the right token gets about {np.exp(-loss):.0%}")
        if i == STEPS:
            break
        for array, grad in zip(params, grads):                          # ../training/optim.py
            array -= LEARNING_RATE * grad

    from minigpt_np import GPT, GPTConfig                               # the one look into the package
    model = GPT(GPTConfig(V, T, L, H, D), dtype=np.float64)
    for theirs, ours in zip(model.params.arrays.values(), params):
        theirs[...] = ours
    expected = model.backward(model.forward(ids[None], targets[None])[2]).arrays.values()
    worst = max(np.max(np.abs(a - b)) / np.max(np.abs(b)) for a, b in zip(grads, expected, strict=True))
    print(f"The package's gradient is the same: all within {worst:.0e} of an array's largest.")
    assert worst < 1e-12
