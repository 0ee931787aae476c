"""E is lookup and head, and both accumulate into its gradient: the question the project answers."""
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt_np import GPT, AdamW, GPTConfig, Parameters, Trainer
from minigpt_np.layers import cross_entropy, logits, lookup
from strategies import assert_bits, assert_same, cases, configs, seeds

tied_cases = cases(tie_embeddings=True, dropout=True)


@given(config=configs(), seed=seeds)
def test_tied_is_one_array_untied_is_two(config, seed):
    model = GPT(config, seed)
    grads = Parameters(config)
    tied = config.tie_embeddings
    for p in (model.params, grads):
        assert (p.head is p.E) == tied and np.shares_memory(p.head, p.E) == tied
        assert p.head.shape == p.E.shape == (config.vocab_size, config.n_embd)
    if not tied:
        assert np.any(model.params.head != model.params.E)


@given(case=tied_cases)
def test_tied_gradient_is_the_sum_of_the_untied_two(case):
    apart = case.untied()
    for together, separate in zip(case.forward()[:2], apart.forward()):     # logits, loss
        assert_bits(together, separate)
    tied, untied = case.gradient(), apart.gradient()
    assert tied.head is tied.E and untied.head is not untied.E
    assert_same(tied.E, untied.E + untied.head, scale=1 + np.max(np.abs(untied.E)))
    for name in tied.arrays.keys() - {"E"}:
        assert_bits(tied.arrays[name], untied.arrays[name])


@given(case=cases())
def test_an_untied_copy_has_the_weights_in_memory_of_its_own_and_a_head_equal_to_the_head(case):
    params, apart = case.model.params, case.model.untied().params
    assert apart.head is not apart.E and not np.shares_memory(apart.flat, params.flat)
    for name, array in params.arrays.items():
        assert_bits(apart.arrays[name], array)
    assert_bits(apart.head, params.head)


@given(case=tied_cases)
def test_rows_never_read_get_a_gradient_from_the_logits_alone(case):
    tied, untied = case.gradient(), case.untied().gradient()
    for v in set(range(case.model.config.vocab_size)) - set(case.ids.ravel()):
        assert not untied.E[v].any()
        assert_bits(tied.E[v], untied.head[v])


@given(case=cases(dropout=True))
def test_the_two_lines_are_the_products_they_are_derived_from(case):
    """dE is one_hotᵀ dx by the lookup and dlogitsᵀ h by the logits. In a batch of one sequence dx
    can be read off P, of which position t alone reads row t: dP[t] = dx[t]."""
    case.ids, case.targets = case.ids[:1], np.maximum(case.targets[:1], 0)
    apart = case.untied()
    _, _, cache = apart.forward()
    grads = apart.model.backward(cache)
    one_hot = np.eye(apart.model.config.vocab_size)[case.ids[0]]
    assert_same(grads.E, one_hot.T @ grads.P[:case.ids.shape[1]], scale=1 + np.max(np.abs(grads.P)))
    assert_same(grads.head, cross_entropy.backward(1.0, cache.loss).T @ cache.logits.h)


@given(case=cases(dropout=True), data=st.data())
def test_permuting_the_vocabulary_permutes_the_gradient_of_E(case, data):
    V = case.model.config.vocab_size
    new_id = np.array(data.draw(st.permutations(range(V))))       # token v is called new_id[v]
    loss, before = case.loss(), case.gradient()
    p = case.model.params
    for matrix in {id(p.E): p.E, id(p.head): p.head}.values():
        matrix[new_id] = matrix.copy()
    case.ids = new_id[case.ids]
    case.targets = np.where(case.targets < 0, -1, new_id[case.targets])
    after = case.gradient()
    assert_same(case.loss(), loss)
    scale = 1 + np.max(np.abs(before.flat))
    assert_same(after.E[new_id], before.E, scale=scale)
    assert_same(after.head[new_id], before.head, scale=scale)
    for name in before.arrays.keys() - {"E", "head"}:
        assert_same(after.arrays[name], before.arrays[name], scale=scale)


@given(case=cases(tie_embeddings=False))
def test_the_heads_gradient_adds_up_to_nothing_over_the_vocabulary(case):
    """Adding one vector to every row of head shifts each position's logits alike, and softmax does
    not care: so the rows of its gradient sum to 0. The lookup's do not, nor a tied E's."""
    head = case.gradient().head
    assert_same(head.sum(axis=0), np.zeros(head.shape[1]), scale=1 + np.max(np.abs(head)))


@given(case=tied_cases)
def test_untied_gradients_of_a_tied_model_are_its_two_contributions(case):
    apart = Parameters(replace(case.model.config, tie_embeddings=False), np.float64)
    case.model.backward(case.forward()[2], apart)
    assert_bits(apart.flat, case.untied().gradient().flat)


@pytest.mark.parametrize("threads, tied", [(1, True), (2, False), (3, True)])
def test_the_gradient_of_E_is_an_ordinary_array_in_every_worker(threads, tied, monkeypatch):
    for layer in (logits, lookup):
        def checked(dy, cache, gradient, *others, backward=layer.backward):
            assert type(gradient) is np.ndarray and gradient.shape == (5, 4)
            return backward(dy, cache, gradient, *others)
        monkeypatch.setattr(layer, "backward", checked)
    model = GPT(GPTConfig(5, 2, n_layer=0, n_head=1, n_embd=4, tie_embeddings=tied))
    trainer = Trainer(model, AdamW(model.params), threads=threads)
    trainer.step([[1, 2]] * threads, [[2, 3]] * threads)
    assert (trainer.grads.head is trainer.grads.E) == tied
