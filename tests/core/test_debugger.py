"""What a debugger shows: where a step lands, and how much of the screen a name takes."""
import os
import re
import subprocess
import sys
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minigpt_np import GPT, AdamW, GPTConfig, Parameters, Trainer
from minigpt_np.reprs import COLUMNS, ShapeRepr
from minigpt_np.training.optim import SGD
from strategies import cases, configs

CONFIG = GPTConfig(vocab_size=8, block_size=11, n_layer=1, n_head=2, n_embd=6)
IDS = np.arange(11)[None] % 8
HERE = Path(__file__).resolve().parent


def frames(function, *args):
    """(file, function) of every call while function(*args) runs, C functions apart."""
    found, before = [], sys.gettrace()
    sys.settrace(lambda frame, event, _: found.append((frame.f_code.co_filename, frame.f_code.co_name)))
    try:
        function(*args)
    finally:
        sys.settrace(before)
    return found


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
                                 ("layers.lookup.backward(", "dE[v] += dx_n", 5)):
        called, = [i for i, source in enumerate(sources) if source.startswith(call)]
        reached = next(i for i, source in enumerate(sources) if source.startswith(addition))
        assert 0 < reached - called <= most
    assert next(i for i, source in enumerate(sources) if source.startswith("dhead +=")) < 20


def test_from_a_first_step_to_the_optimizer_there_is_no_import_and_no_search_for_a_library():
    """In a process of its own, where nothing is imported that another test asked for."""
    program = """if True:
        import numpy as np
        from minigpt_np import GPT, AdamW, GPTConfig, Trainer
        from test_debugger import frames
        model = GPT(GPTConfig(8, 11, 1, 2, 6))
        trainer, ids = Trainer(model, AdamW(model.params), threads=1), np.arange(11)[None] % 8
        found = frames(trainer.step, ids, ids)
        names = [name for _, name in found]
        assert "_update" in names and names.index("step") == 0
        print(len(names), *sorted({file for file, name in found if "importlib" in file or "openblas" in name}))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8",
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (HERE, HERE.parent, HERE.parents[1])))})
    assert done.returncode == 0, done.stderr
    calls, *others = done.stdout.split()
    assert int(calls) < 500 and not others


@given(case=cases(dropout=True))
def test_a_repr_has_names_dtypes_and_shapes_and_no_numbers_of_arrays(case):
    case.model.params.flat[...] = 1234567.0
    _, _, cache = case.model.forward(case.ids, case.targets, case.generator())
    for shown in (cache, case.model.params, case.model):
        assert "1234567" not in repr(shown) and "array(" not in repr(shown)
    config = case.model.config
    assert f"E: float64 {(config.vocab_size, config.n_embd)}" in repr(case.model.params)
    assert f"head: float64 {(config.vocab_size, config.n_embd)}" in repr(cache)
    tie = "head is E" if config.tie_embeddings else "head is not E"
    assert tie in repr(case.model) and tie in repr(case.model.params)
    assert ("\n  head: E" in repr(case.model.params)) == config.tie_embeddings


def test_a_whole_cache_and_the_arguments_of_backward_fit_a_screen():
    """As pdb's `args` prints them; of 12 blocks it takes two lines more to say so."""
    for n_layer, characters in (1, 2000), (12, 2100):
        model = GPT(GPTConfig(8, 11, n_layer, 2, 6), dtype=np.float64)
        _, _, cache = model.forward(IDS, IDS)
        given = {"self": model, "cache": cache, "grads": Parameters(model.config), "dloss": 1.0}
        arguments = "\n".join(f"{name} = {value!r}" for name, value in given.items())
        for text in (repr(cache), arguments):
            assert len(text.splitlines()) <= 60 and len(text) <= characters
    assert "blocks[1:]: 11 more like it" in repr(cache) and "blocks[1:]: 11 more like it" in repr(model.params)


@pytest.mark.parametrize("make", [AdamW, SGD])
def test_an_optimizer_and_a_trainer_are_one_line_with_what_is_set(make):
    optimizer = make(Parameters(CONFIG), lr=0.25)
    trainer = Trainer(GPT(CONFIG, params=optimizer.params), optimizer, clip=0.5, threads=3)
    assert repr(optimizer).startswith(f"{make.__name__}[{optimizer.params.flat.size:,} numbers](")
    assert all(f"{name}={getattr(optimizer, name)!r}" in repr(optimizer) for name in make.SETTINGS)
    for part in ("0 steps", "threads=3", "clip=0.5", "micro_batches=1", "schedule=None", repr(optimizer)):
        assert part in repr(trainer) and "\n" not in repr(trainer)


def test_every_cache_names_its_layer_and_shows_each_field_once():
    def caches(value):
        if isinstance(value, list):
            return [cache for entry in value for cache in caches(entry)]
        return [value, *caches(list(vars(value).values()))] if isinstance(value, ShapeRepr) else []

    _, _, cache = GPT(CONFIG).forward(IDS, IDS)
    found = caches(cache)
    modules = {re.split(r"[(:]", repr(cache))[0] for cache in found}
    assert modules == {f"{layer}.Cache" for layer in (
        "model", "lookup", "block", "layernorm", "attention", "linear", "causal", "mlp", "gelu", "logits",
        "cross_entropy")}
    for cache in found:
        assert is_dataclass(cache) and list(vars(cache)) == [field.name for field in fields(cache)]
        assert not isinstance(cache, tuple)             # whose fields a debugger shows again, by number


@dataclass(repr=False)
class Pair(ShapeRepr):
    left: object
    right: object


def test_what_fits_is_one_line_and_what_does_not_a_line_a_field():
    x = np.zeros((2, 3), np.float32)
    name = "Pair"
    assert repr(Pair(x, None)) == f"{name}(left: float32 (2, 3), right: None)"
    fits = "." * (COLUMNS - len(f"{name}(left: '', right: None)"))
    assert len(repr(Pair(fits, None))) == COLUMNS and "\n" not in repr(Pair(fits, None))
    assert repr(Pair(fits + ".", x)) == f"{name}:\n  left: '{fits}.'\n  right: float32 (2, 3)"
    inner = Pair(fits + ".", None)
    assert repr(Pair(inner, 1)) == f"{name}:\n  left: {name}:\n    left: '{fits}.'\n    right: None\n  right: 1"


@pytest.mark.parametrize("n, shown", [(1, 1), (3, 3), (4, 1), (12, 1)])
def test_of_a_long_list_the_first_entry_is_shown(n, shown):
    text = repr(Pair([Pair(i, None) for i in range(n)], None))
    assert [f"left[{i}]: " in text for i in range(n)] == [i < shown for i in range(n)]
    assert ("left[1:]" in text) == (shown < n) and (f"{n - 1} more like it" in text) == (shown < n)


@given(config=configs(), data=st.data())
def test_a_part_of_flat_names_the_arrays_it_is_of(config, data):
    params = Parameters(config)
    start = data.draw(st.integers(0, params.flat.size - 1))
    stop = data.draw(st.integers(start + 1, params.flat.size))
    params.flat[start:stop] = 1
    assert params.names_in(slice(start, stop)) == [name for name in params.slices if params.arrays[name].any()]
