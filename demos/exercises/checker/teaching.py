"""What an exercise says besides its verdict: a question before it, and hints."""
from collections import namedtuple

# a question for a number, asked before anything is written; the number; a sentence once it is
# known; three hints: the formula for one index, the sum, the shape of the code
Lesson = namedtuple("Lesson", "question answer why hints")

LESSONS = {
    "slope": Lesson(
        "f(x) = x³ - 2x. When x goes from 2 to 2.001, f grows by about how many thousandths?", 10,
        "f'(2) = 3·4 - 2. A derivative is what a small step of x is multiplied with.",
        ("y = sum of x: moving x[i] by h moves y by h, so dy/dx[i] = 1 and dx[i] = dy.\n"
         "y = mean of x: dy/dx[i] = 1/D.",
         "gradient: for each i, x with h more in place i, x with h less in place i, and\n"
         "(f(one) - f(other)) / 2h.",
         "dx = np.zeros(x.shape); for each i: step = np.zeros(...); step[i] = h;\n"
         "dx[i] = (f(x + step) - f(x - step)) / (2 * h).\n"
         "agrees: np.abs(gradient(f, x) - dx).max() <= 1e-6 * max(1, ...).")),
    "linear": Lesson(
        "x is (3, 2), so there are N = 3 rows, and every dy[n, j] is 1. What is db[0]?", 3,
        "b[0] is added in each of the three rows, and each of them counts.",
        ("dy[n, j]/dx[n, i] = W[i, j]\ndy[n, j]/dW[i, j] = x[n, i]\ndy[n, j]/db[j] = 1",
         "dx[n, i] = sum over j of dy[n, j] W[i, j]\ndW[i, j] = sum over n of x[n, i] dy[n, j]\n"
         "db[j] = sum over n of dy[n, j]",
         "Three lines: dy times W transposed; x transposed times dy; a sum of dy over axis 0.")),
    "lookup": Lesson(
        "ids = [[1, 0, 1]], V = 4, every dx is 1: token 3 is never looked up. What is every number "
        "of dE[3]?", 0,
        "A row that was not looked up had no part in the loss. (dE[1] is 2.)",
        ("x[b, t] = E[ids[b, t]] + P[t]: so row ids[b, t] of dE gets dx[b, t], and row t of dP.",
         "dE[v] = sum of dx[b, t] over all b, t with ids[b, t] == v\n"
         "dP[t] = sum over b of dx[b, t], 0 for t >= T",
         "Zeros like E and like P; np.add.at, or a loop, adds dx to the rows of dE that ids names, "
         "each time that it names them; the first T rows of dP get a sum over the batch.")),
    "logits": Lesson(
        "One position, V = 4, D = 1: h = [[10]], dlogits = [[0.1, 0.2, 0.3, -0.6]]. What is "
        "dhead[3, 0]?", -6,
        "dhead[v] = dlogits[v] · h: every row gets something, unlike a lookup's.",
        ("dlogits[n, v]/dh[n, d] = head[v, d]\ndlogits[n, v]/dhead[v, d] = h[n, d]",
         "dh[n, d] = sum over v of dlogits[n, v] head[v, d]\n"
         "dhead[v, d] = sum over n of dlogits[n, v] h[n, d]",
         "Two products: dlogits times head; dlogits transposed times h.")),
    "tied": Lesson(
        "dE holds 5 everywhere, and dlogits of this batch is 0 everywhere. What is dE[0, 0] "
        "afterwards?", 5,
        "Gradients are accumulated: a batch adds its own to what is there.",
        ("E[v] is in logits[n, v] = h[n] · E[v], for every n; and E[ids[n]] is x[n], which is in "
         "all of logits[n].",
         "dE[v] += sum over n of dlogits[n, v] h[n]\n"
         "with dx = (dlogits E) · (1 - h²):  dE[ids[n]] += dx[n]",
         "Compute h once more; `dE +=` a product; dh; dx; then add dx to the rows that ids names, "
         "each time. Every line that changes dE has += or np.add.at in it.")),
    "cross_entropy": Lesson(
        "One row of logits, [0, 0, 0, 0]; the target is token 0, dloss is 1. What is "
        "dlogits[0, 0]?", -0.75,
        "The softmax is 1/4 for each, and the target's is meant to be 1: 1/4 - 1.",
        ("d log(sum of exp(z[u])) / dz[v] = p[v]\n"
         "d z[target] / dz[v] = 1 if v is the target, else 0",
         "dlogits[n, v] = (p[n, v] - (1 if v == targets[n] else 0)) · dloss / N",
         "p = softmax of each row, its maximum taken away first; take 1 from p[n, targets[n]], for "
         "all n at once with np.arange(N); times dloss / N.")),
    "gelu": Lesson(
        "GELU bends from flat to steep. dy is 1: what is dx at x = 0?", 0.5,
        "At 0 the gate (1 + tanh u) / 2 is half open, and x gate' is 0 for x = 0.",
        ("y = x · gate, gate = (1 + tanh u) / 2: x is in both, so dy/dx = gate + x · gate'.",
         "gate' = (1 - tanh² u) / 2 · u', and u' = C (1 + 3A x²).",
         "u, then t = np.tanh(u), then dx = dy * ((1 + t) / 2 + x * (1 - t * t) / 2 * u').")),
    "centring": Lesson(
        "One row of four numbers, and dy is 1 for each of them. What is dx[0, 0]?", 0,
        "Moving x[0] by h moves y[0] by h - h/4 and the other three by -h/4: together nothing.",
        ("dy[n, j]/dx[n, i] = (1 if i == j else 0) - 1/D",
         "dx[n, i] = dy[n, i] - (sum over j of dy[n, j]) / D: dy with its own mean taken away.",
         "One line, much like forward's: the derivative of centring is centring.")),
    "layernorm": Lesson(
        "One row x = [1, 2, 4], gain 1; dy = [3, 0, 0]. What do the three numbers of dx add up to?",
        0,
        "Shifting the whole row changes nothing, so the gradient has nothing of that direction.",
        ("dgain[d] gets dy[n, d] xhat[n, d], dbias[d] gets dy[n, d], and dxhat = dy · gain\n"
         "dxhat[j]/dx[i] = ((1 if i == j else 0) - 1/D - xhat[i] xhat[j] / D) / std",
         "dx[n, i] = (dxhat[n, i] - mean over j of dxhat[n, j]\n"
         "- xhat[n, i] · mean over j of dxhat[n, j] xhat[n, j]) / std[n]",
         "std and xhat as in forward; dxhat; dx in one line with two means over axis 1 "
         "(keepdims=True); two sums over axis 0.")),
    "softmax": Lesson(
        "One row z = [0, 0], so that w = [1/2, 1/2]; dw = [1, 0]. What is dz[0, 0]?", 0.25,
        "w (dw - sum of w dw) = 1/2 · (1 - 1/2).",
        ("dw[r]/dz[s] = w[r] · ((1 if r == s else 0) - w[s])",
         "dz[s] = sum over r of dw[r] w[r] ((1 if r == s else 0) - w[s])\n"
         "= w[s] · (dw[s] - sum over r of w[r] dw[r])",
         "w = forward(z); the sum of w * dw over axis 1 (keepdims=True); w times the difference.")),
    "causal": Lesson(
        "T = 3 positions, dy is 1 for the first and 0 for the others. What is dv of the first?", 1,
        "The first position sees only itself, with weight 1; and no later v has a part in it.",
        ("dv[s] gets weights[t, s] dy[t] from every t >= s\ndweights[t, s] = dy[t] · v[s]\n"
         "scores[t, s] = q[t] · k[s] / sqrt(K)",
         "dscores[t, s] = w[t, s] (dw[t, s] - sum over r of w[t, r] dw[t, r]) / sqrt(K)\n"
         "dq[t] = sum over s of dscores[t, s] k[s]\ndk[s] = sum over t of dscores[t, s] q[t]",
         "w = attend(q, k); dv = wᵀ dy; dw = dy vᵀ; dscores as in exercise 9, by sqrt(K); then two "
         "products, one with dscoresᵀ. (ᵀ swaps axes 2 and 3.) The mask is in w already.")),
    "block": Lesson(
        "W_out, W_down and their biases are 0, so both branches give 0. dy is 0.5 everywhere. What "
        "is dx[0, 0]?", 0.5,
        "The gradient comes back past both branches, whatever is in them.",
        ("y = x2 + mlp(norm2(x2)), x2 = x + attention(norm1(x)):\n"
         "dx2 = dy + what comes back through the MLP\n"
         "dx = dx2 + what comes back through attention",
         "Through the MLP: W_down's linear, gelu, W_up's linear, norm2. Through attention: W_out's "
         "linear, causal, W_qkv's linear, norm1.",
         "First compute what forward threw away: a1, qkv, q k v, mixed, x2, a2, hidden, active. "
         "Then the pieces in reverse, each with the gradient of its output and its own inputs; "
         "heads() for dmixed, rows() and np.concatenate for dqkv.")),
    "model": Lesson(
        "V = 4, E is all 0, h all 1. Token 3 is neither looked up nor a target. What is dE[3, 0]?",
        0.25,
        "The head gives every token a nonzero probability, here 1/4.",
        ("E is in x = E[ids] and in logits = h Eᵀ:\n"
         "dE = what lookup.backward sends + what logits.backward sends",
         "dlogits, then dh, then dx of the last norm, then the blocks from the last to the first, "
         "each with the x that it was given, then the lookup.",
         "Keep the list of x on the way forward. dx (N, D) becomes (B, T, D) for the lookup; "
         "dp[\"blocks\"] has the first block first.")),
}
