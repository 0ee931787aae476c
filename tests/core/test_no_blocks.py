"""A model without a block, L = 0: the lookup's rows, the final LayerNorm, the logits. What is true of
any model is tried on it wherever strategies.configs draws one; here is what is true of it alone."""
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minigpt_np import GPT, AdamW, Trainer
from minigpt_np.parameters import count
from strategies import assert_bits, assert_same, cases


def standardized(x, eps):
    """The rows of x with mean 0 and variance 1."""
    x = x - x.mean(axis=1, keepdims=True)
    return x / np.sqrt((x * x).mean(axis=1, keepdims=True) + eps)


@given(cases(n_layer=0))
def test_logits_are_the_equation(case):
    p, c = case.model.params, case.model.config
    x = (p.E[case.ids] + p.P[:case.ids.shape[1]]).reshape(-1, c.n_embd)
    h = x if c.norm == "post" else standardized(x, c.layer_norm_eps) * p.norm.gain + p.norm.bias
    expected = (h @ p.head.T).reshape(*case.ids.shape, -1)
    logits, _, _ = case.model.forward(case.ids)
    assert_same(logits, expected, scale=np.abs(h).max() * np.abs(p.head).max() + 1)


@given(cases(n_layer=0), st.integers(0, 4))
def test_what_came_before_does_not_matter(case, other):
    """Nothing looks back: a logit is of its own token and its own position."""
    ids = case.ids.copy()
    ids[:, :-1] = other % case.model.config.vocab_size
    assert_bits(case.model.forward(ids)[0][:, -1], case.model.forward(case.ids)[0][:, -1])


@given(cases(n_layer=0))
def test_it_is_counted_without_blocks(case):
    config, params = case.model.config, case.model.params
    V, D = config.vocab_size, config.n_embd
    expected = (V + config.block_size) * D + 2 * D * (config.norm == "pre") + V * D * (not config.tie_embeddings)
    assert params.flat.size == count(config) == expected and params.blocks == ()


@given(cases(n_layer=0, norm="pre"))
def test_it_trains_on_one_core_and_on_two(case):
    for threads in (1, 2):
        model = GPT(case.model.config, seed=1, dtype=np.float64)
        trainer = Trainer(model, AdamW(model.params, 0.1), threads=threads)
        before = model.forward(case.ids, case.targets)[1]
        loss, _ = trainer.step(case.ids, case.targets)
        assert_same(loss, before)
        assert np.isfinite(model.params.flat).all()


@given(cases(n_layer=0))
def test_it_generates_what_its_logits_say(case):
    likeliest = case.model.forward(case.ids)[0][:, -1].argmax(axis=1)
    assert (case.model.generate(case.ids, 1)[:, -1] == likeliest).all()


@given(case=cases(n_layer=0))
def test_it_is_saved_and_opened(case, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model = case.of(np.float32).model
    model.save_pretrained(folder)
    found = GPT.from_pretrained(folder)
    assert found.config == model.config
    assert_bits(found.forward(case.ids)[0], model.forward(case.ids)[0])
