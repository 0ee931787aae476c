"""One matrix that is looked up and predicts: what it can do, and what the length of a row means.

Exact, and nothing is trained. Without a block, a position's logits depend on its own token and its
place alone: S (V, V), where S[u, v] is the package's own logit of v after u, at a drawn position.
"""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt_np import GPT, GPTConfig
from strategies import assert_bits, cases, ids_arrays, normal, seeds, sizes, with_large_weights

EPS = np.finfo(float).eps


@st.composite
def without_blocks(draw, **fixed):
    """A model of L = 0, tied unless `fixed` says otherwise, and one of its positions."""
    sizes_drawn = dict(vocab_size=draw(sizes(6)), block_size=draw(sizes(3)), n_embd=draw(sizes(5)))
    model = with_large_weights(GPTConfig(n_layer=0, n_head=1, **(sizes_drawn | fixed)), draw(seeds))
    return model, draw(st.integers(0, model.config.block_size - 1))


def scores(model, t=0):
    """S (V, V) at position t, and the vectors h (V, D) that it is the products of: S = h headᵀ."""
    ids = np.repeat(np.arange(model.config.vocab_size)[:, None], t + 1, axis=1)
    logits, _, cache = model.forward(ids)
    return logits[:, t], cache.logits.h.reshape(*ids.shape, -1)[:, t]


def log_softmax(S):
    S = S - S.max(axis=-1, keepdims=True)
    return S - np.log(np.exp(S).sum(axis=-1, keepdims=True))


def loss_of(S, C):
    """The mean loss of S on C[u, v] pairs of u and then v."""
    return -np.sum(C[C > 0] * log_softmax(S)[C > 0]) / np.sum(C)


def repeats_over_swaps(S):
    """(V, V): the log of p(u|u) p(v|v) / (p(v|u) p(u|v))."""
    return np.diag(S)[:, None] + np.diag(S) - S - S.T


def rounding(h, E):
    """What a few sums of products of their rows may lose: D eps of the largest, each."""
    return 64 * EPS * E.shape[1] * (1 + np.max(np.abs(h))) * (1 + np.max(np.abs(E)))


# ---- how the two jobs oppose each other: one matrix must rather repeat than swap -----------------

@given(without_blocks(norm="post"))
def test_without_layernorm_repeating_beats_swapping_by_a_squared_distance(drawn):
    """p(u|u) p(v|v) / (p(v|u) p(u|v)) = exp(|E_u - E_v|²). The bias b_v = P_t · E_v cancels."""
    model, t = drawn
    E, (S, h) = model.params.E, scores(*drawn)
    squares = np.sum((E[:, None] - E) ** 2, axis=2)
    assert np.max(np.abs(repeats_over_swaps(S) - squares)) <= rounding(h, E)


@given(without_blocks(norm="pre"), st.sampled_from([-9, -1, 0.1, 1, 9]))
def test_with_layernorm_of_equal_positive_gains_repeating_still_beats_swapping(drawn, gain):
    """The log is (h_u - h_v) · (E_u - E_v), for any gains, bias and P. Gains that are all equal give
    it their sign: E_u - E_v = x_u - x_v, and LayerNorm is then their multiple of the gradient of a
    convex function of x, so that (h_u - h_v) / gain never points against x_u - x_v."""
    model, t = drawn
    E, (S, h) = model.params.E, scores(*drawn)
    exact = np.sum((h[:, None] - h) * (E[:, None] - E), axis=2)
    assert np.max(np.abs(repeats_over_swaps(S) - exact)) <= rounding(h, E)
    model.params.norm.gain[...] = gain
    S, h = scores(*drawn)
    assert np.min(np.sign(gain) * repeats_over_swaps(S)) >= -rounding(h, E)


@given(without_blocks(norm="post"), st.data())
def test_without_layernorm_it_is_a_reversible_chain_no_better_than_symmetrized_counts(drawn, data):
    """With b_v = P_t · E_v and pi_u = exp(b_u) Z_u, pi_u p(v|u) = exp(E_u · E_v + b_u + b_v) is
    symmetric. So in a circular text, where each token is read as often as it is predicted, no E and
    P have a smaller loss than the counts C + Cᵀ."""
    model, t = drawn
    E, P, (S, h) = model.params.E, model.params.P, scores(*drawn)
    log_Z = np.log(np.sum(np.exp(S), axis=1))
    log_joint = (P[t] @ E.T + log_Z)[:, None] + log_softmax(S)
    assert np.max(np.abs(log_joint - log_joint.T)) <= rounding(h, E)

    text = data.draw(ids_arrays(1, data.draw(sizes(12), label="T"), len(E)), label="text")[0]
    C = np.zeros((len(E), len(E)))
    np.add.at(C, (text, np.roll(text, -1)), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        best = loss_of(np.log(C + C.T), C)
    assert loss_of(S, C) >= best - rounding(h, E)


@pytest.mark.parametrize("V", [3, 12])
def test_two_matrices_follow_a_directed_cycle_without_a_block(V):
    """The control of the last: for a cycle the counts C + Cᵀ leave a loss of log 2."""
    model = GPT(GPTConfig(V, 1, 0, 1, V, norm="post", tie_embeddings=False), dtype=np.float64)
    model.params.flat[...] = 0
    model.params.E[...] = 100 * np.eye(V)
    model.params.head[...] = np.roll(np.eye(V), 1, axis=0)
    assert loss_of(scores(model)[0], np.roll(np.eye(V), 1, axis=1)) < 1e-12


# ---- what lets one matrix do both: unequal gains and a mean, or a block --------------------------

def cycle_by_layernorm(hours, gain):
    """A tied model without a block in which each hour says the next. What turns the hand are gains
    that differ, and the mean that LayerNorm subtracts from a row looked up but not from the head's.

    With p = cos + sin and q = cos - sin of hour v's angle, E[v] = (p, -p, q, -q) + k sin. Gains of
    ((a + 1)/2, (a - 1)/2, (b + 1)/2, (b - 1)/2) make, for angles u and v,
        S ∝ a p_u p_v + b q_u q_v + k sin(v) (p_u + q_u)
          = (a + b) cos(v - u) + (a - b + k) sin(v + u) + k sin(v - u),
    which is cos(v - u - turn) for a + b = cos(turn), a - b = -k, k = sin(turn).
    """
    model = GPT(GPTConfig(hours, 1, 0, 1, 4), dtype=np.float64)
    turn = 2 * np.pi / hours
    angle = turn * np.arange(hours)
    p, q, k = np.cos(angle) + np.sin(angle), np.cos(angle) - np.sin(angle), np.sin(turn)
    a, b = (np.cos(turn) - k) / 2, (np.cos(turn) + k) / 2
    model.params.flat[...] = 0
    model.params.E[...] = np.stack([p, -p, q, -q], axis=1) + (k * np.sin(angle))[:, None]
    model.params.norm.gain[...] = gain * np.array([a + 1, a - 1, b + 1, b - 1]) / 2
    return model


@pytest.mark.parametrize("hours", [3, 4, 7, 12])
def test_layernorm_alone_lets_one_matrix_follow_a_directed_cycle(hours):
    """With loss 0. (With equal gains each token says itself.)"""
    cycle = np.roll(np.eye(hours), 1, axis=1)
    model = cycle_by_layernorm(hours, gain=200)
    assert loss_of(scores(model)[0], cycle) < 1e-6
    model.params.norm.gain[...] = 200
    assert (scores(model)[0].argmax(axis=1) == np.arange(hours)).all()


@given(without_blocks(norm="pre"))
def test_with_rows_of_one_length_only_the_subtracted_mean_makes_E_asymmetric(drawn):
    """Without P and bias, S = E C G Eᵀ / std, where C = I - 11ᵀ/D subtracts the mean. E G Eᵀ is
    symmetric, whatever the signs of G, and the rest has rank 1. So the rank of S - Sᵀ is at most 2,
    and 0 if all rows have mean 0."""
    model, _ = drawn
    E, norm = model.params.E, model.params.norm
    model.params.P[...] = norm.bias[...] = 0
    mean = E.mean(axis=1, keepdims=True)
    E -= mean
    E /= np.sqrt(np.mean(E * E, axis=1, keepdims=True)) + (model.config.n_embd == 1)
    S, h = scores(model)
    assert np.max(np.abs(S - S.T)) <= rounding(h, E)
    E += mean
    S, h = scores(model)
    singular = np.linalg.svd(S - S.T, compute_uv=False)
    assert np.all(singular[2:] <= len(E) * rounding(h, E))


@given(sizes(6), sizes(4), seeds)
def test_any_two_matrices_fit_into_one_E_and_a_block(V, D, seed):
    """The logits A[u] · B[v] from one tied E of width 2D + 2, LayerNorm included. E[v] is
    (A[v], B[v], a, b), with a and b such that all rows have mean 0 and one length. The MLP swaps
    the two halves, which keeps both, and the final gain is 0 outside the second."""
    A, B, W = normal(seed, V, D), normal(seed + 1, V, D), 2 * D + 2
    rows = np.hstack([A, B])
    sums, squares = rows.sum(axis=1), np.sum(rows * rows, axis=1)
    # a + b = -sums and a² + b² = length² - squares
    length2 = np.max(squares + sums ** 2 / 2)
    root = np.sqrt(np.maximum(2 * (length2 - squares) - sums ** 2, 0))
    model = GPT(GPTConfig(V, 1, 1, 1, W), dtype=np.float64)
    params, mlp = model.params, model.params.blocks[0].mlp
    params.flat[...] = 0
    params.E[...] = np.column_stack([rows, (-sums + root) / 2, (-sums - root) / 2])

    swap = np.eye(W)[[*range(D, 2 * D), *range(D), 2 * D, 2 * D + 1]]
    std = np.sqrt(length2 / W + model.config.layer_norm_eps)
    params.blocks[0].norm2.gain[...] = std
    mlp.up.W[:, :2 * W] = np.hstack([np.eye(W), -np.eye(W)])        # GELU(x) - GELU(-x) = x
    mlp.down.W[:2 * W] = np.vstack([swap - np.eye(W), np.eye(W) - swap])
    params.norm.gain[D:2 * D] = std
    S, h = scores(model)
    assert np.max(np.abs(S - A @ B.T)) <= 16 * rounding(h, params.E)


# ---- length is not likelihood --------------------------------------------------------------------

@given(cases())
def test_at_the_output_only_differences_of_rows_count(case):
    """p_v / p_u = exp(h · (head_v - head_u)). And the mean logit of v is head_v · (the mean h)."""
    logits, _, cache = case.model.forward(case.ids)
    h, head = cache.logits.h, case.model.params.head
    log_p = log_softmax(logits.reshape(-1, len(head)))
    differences = head[:, None] - head
    log_odds = log_p[:, :, None] - log_p[:, None]
    assert np.max(np.abs(log_odds - np.einsum("nd,vud->nvu", h, differences))) <= rounding(h, head)
    assert np.max(np.abs(logits.mean(axis=(0, 1)) - head @ h.mean(axis=0))) <= rounding(h, head)


@given(cases(tie_embeddings=True), seeds)
def test_one_vector_moved_from_P_to_every_row_of_E_changes_no_probability(case, seed):
    """So the length of a row cannot mean likelihood. E[ids] + P keeps its bits, because all numbers
    are multiples of 1/1024 here; each logit gets h · c more, which softmax does not see."""
    params = case.model.params
    c = normal(seed, case.model.config.n_embd)
    for array in params.E, params.P, c:
        array[...] = np.round(array * 1024) / 1024
    before, _, cache = case.model.forward(case.ids)
    params.E += c
    params.P -= c
    after, _, after_cache = case.model.forward(case.ids)
    h = cache.logits.h
    assert_bits(after_cache.logits.h, h)
    assert np.max(np.abs(log_softmax(after) - log_softmax(before))) <= rounding(h, params.E)


def test_one_vector_added_to_every_row_of_E_alone_does_change_probabilities():
    model = with_large_weights(GPTConfig(5, 3, 1, 1, 4), seed=0)
    ids = np.array([[0, 1, 2]])
    before = log_softmax(model.forward(ids)[0])
    model.params.E += [1, 0, 0, 0]
    assert np.max(np.abs(log_softmax(model.forward(ids)[0]) - before)) > 0.1


@given(without_blocks(norm="pre", tie_embeddings=False, layer_norm_eps=1e-30),
       st.floats(0.01, 100), st.data())
def test_at_the_input_layernorm_divides_a_row_s_length_out(drawn, factor, data):
    """Without a block and with P = 0 it has no effect. (Untied: only the lookup's row changes.)"""
    model, t = drawn
    E = model.params.E
    model.params.P[...] = 0
    before, h = scores(model, t)
    E[data.draw(st.integers(0, len(E) - 1), label="v")] *= factor
    after, _ = scores(model, t)
    # the mean that is subtracted is off by eps of the largest number of its row
    cancelled = np.max(np.max(np.abs(E), axis=1) / (np.std(E, axis=1) + (E.shape[1] == 1)))
    assert np.max(np.abs(after - before)) <= cancelled * rounding(h, model.params.head)


@pytest.mark.parametrize("n_layer, P", [(0, 1), (1, 0)])
def test_in_a_stream_with_P_or_a_block_a_row_s_length_counts(n_layer, P):
    """As its share of the sum that the final LayerNorm is given."""
    model = with_large_weights(GPTConfig(5, 1, n_layer, 1, 4, tie_embeddings=False), seed=0)
    model.params.P *= P
    before = log_softmax(scores(model)[0])
    model.params.E *= 3
    assert np.max(np.abs(log_softmax(scores(model)[0]) - before)) > 0.1
