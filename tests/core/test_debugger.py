"""What a debugger shows: where a step lands, and how much of the screen a name takes."""
import sys
from dataclasses import fields, is_dataclass

import numpy as np
from hypothesis import given

from minigpt_np import GPT, GPTConfig, Parameters
from minigpt_np.described import Described
from strategies import cases

CONFIG = GPTConfig(vocab_size=8, block_size=11, n_layer=1, n_head=2, n_embd=6)
IDS = np.arange(11)[None] % 8


def line_events(function, *args):
    """(file below minigpt_np/, function, source line) of every line that runs in the package, in order."""
    events = []

    def trace(frame, event, _):
        _, found, file = frame.f_code.co_filename.replace("\\", "/").rpartition("/minigpt_np/")
        if not found:
            return None
        if event == "line":
            with open(frame.f_code.co_filename, encoding="utf-8") as source:
                events.append((file, frame.f_code.co_name, source.read().split("\n")[frame.f_lineno - 1].strip()))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*args)
    finally:
        sys.settrace(before)
    return events


def test_the_two_lines_are_a_few_steps_from_where_their_layers_are_called():
    model = GPT(CONFIG, dtype=np.float64)
    _, _, cache = model.forward(IDS, IDS)
    events = line_events(model.backward, cache, Parameters(CONFIG, np.float64))
    sources = [source for _, _, source in events]
    for call, addition, most in (("dh = layers.logits.backward(", "dhead += dlogits.T @ cache.h", 3),
                                 ("layers.lookup.backward(", "dE[unique_ids] += dx_sums", 6)):
        called, = [i for i, source in enumerate(sources) if source.startswith(call)]
        reached, = [i for i, source in enumerate(sources) if source.startswith(addition)]
        assert 0 < reached - called <= most
    assert next(i for i, source in enumerate(sources) if source.startswith("dhead +=")) < 20


@given(case=cases(dropout=True))
def test_a_repr_has_names_dtypes_and_shapes_and_no_numbers_of_arrays(case):
    case.model.params.flat[...] = 1234567.0
    _, _, cache = case.model.forward(case.ids, case.targets, case.generator())
    for shown in (cache, case.model.params, case.model):
        assert "1234567" not in repr(shown) and "array(" not in repr(shown)
    config = case.model.config
    assert f"E: float64 {(config.vocab_size, config.n_embd)}" in repr(case.model.params)
    assert f"xhat: float64 {(case.ids.size, config.n_embd)}" in repr(cache)
    tie = "head is E" if config.tie_embeddings else "head is not E"
    assert tie in repr(case.model) and tie in repr(case.model.params)


def test_a_whole_cache_and_the_arguments_of_backward_fit_a_screen():
    for n_layer in (1, 12):
        model = GPT(GPTConfig(8, 11, n_layer, 2, 6), dtype=np.float64)
        _, _, cache = model.forward(IDS, IDS)
        arguments = "\n".join(map(repr, (model, cache, Parameters(model.config), 1.0)))
        for text, lines, characters in ((repr(cache), 60, 2000), (arguments, 60, 3000)):
            assert len(text.splitlines()) <= lines and len(text) <= characters
    assert "blocks[1:]: 11 more like it" in repr(cache) and "blocks[1:]: 11 more like it" in repr(model.params)


def test_every_cache_names_its_layer_and_shows_each_field_once():
    def caches(value):
        if isinstance(value, list):
            return [cache for entry in value for cache in caches(entry)]
        return [value, *caches(list(vars(value).values()))] if isinstance(value, Described) else []

    _, _, cache = GPT(CONFIG).forward(IDS, IDS)
    found = caches(cache)
    modules = {repr(cache).split("(")[0] for cache in found}
    assert modules == {f"{layer}.Cache" for layer in (
        "model", "lookup", "block", "layernorm", "attention", "linear", "causal", "mlp", "gelu", "logits",
        "cross_entropy")} | {"causal.QueryBlock"}
    for cache in found:
        assert is_dataclass(cache) and list(vars(cache)) == [field.name for field in fields(cache)]
        assert not isinstance(cache, tuple)             # whose fields a debugger shows again, by number
