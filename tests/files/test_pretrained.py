"""Folders in Hugging Face's layout: what is written is what is read, and nothing else passes."""
import json
import os
import random
import tempfile
import tracemalloc
import warnings
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st

from minigpt_np import GPT, GPTConfig, Parameters
from minigpt_np.files import pretrained, safetensors
from minigpt_np.files.names import state_dict
from strategies import configs, corrupted, examples_of, with_another_value

SMALL = GPTConfig(vocab_size=5, block_size=4, n_layer=2, n_head=2, n_embd=6)
LINEAR = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


@contextmanager
def temporary_folder():
    """A folder of its own for every example that Hypothesis draws."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def random_model(config, dtype=np.float32):
    """Every number different from every other: whatever lands in the wrong place shows."""
    model = GPT(config, dtype=dtype)
    model.params.flat[:] = np.random.default_rng(1).permutation(model.params.flat.size) / 64 - 1
    return model


def saved(model, folder):
    """The two files that save_pretrained writes, as (tensors, config.json's object)."""
    model.save_pretrained(folder)
    tensors = {name: np.array(array) for name, array in
               safetensors.read(folder / "model.safetensors").items()}
    return tensors, json.loads((folder / "config.json").read_text(encoding="utf-8"))


def rewrite(folder, tensors, fields):
    safetensors.write(folder / "model.safetensors", tensors)
    (folder / "config.json").write_text(json.dumps(fields))


def test_names_and_shapes_of_gpt2_and_gpt1():
    """As GPT2LMHeadModel and OpenAIGPTLMHeadModel have them (transformers 5.23)."""
    params = GPT(GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=2, n_embd=6)).params
    assert {name: array.shape for name, array in state_dict(params).items()} == {
        "transformer.wte.weight": (5, 6), "transformer.wpe.weight": (4, 6),
        "transformer.h.0.ln_1.weight": (6,), "transformer.h.0.ln_1.bias": (6,),
        "transformer.h.0.attn.c_attn.weight": (6, 18), "transformer.h.0.attn.c_attn.bias": (18,),
        "transformer.h.0.attn.c_proj.weight": (6, 6), "transformer.h.0.attn.c_proj.bias": (6,),
        "transformer.h.0.ln_2.weight": (6,), "transformer.h.0.ln_2.bias": (6,),
        "transformer.h.0.mlp.c_fc.weight": (6, 24), "transformer.h.0.mlp.c_fc.bias": (24,),
        "transformer.h.0.mlp.c_proj.weight": (24, 6), "transformer.h.0.mlp.c_proj.bias": (6,),
        "transformer.ln_f.weight": (6,), "transformer.ln_f.bias": (6,),
        "lm_head.weight": (5, 6)}
    gpt2, gpt1 = (state_dict(GPT(replace(SMALL, norm=norm)).params).keys()
                  for norm in ("pre", "post"))
    assert gpt1 - gpt2 == {"transformer.tokens_embed.weight", "transformer.positions_embed.weight"}
    assert gpt2 - gpt1 == {"transformer.wte.weight", "transformer.wpe.weight",
                           "transformer.ln_f.weight", "transformer.ln_f.bias"}


@given(configs())
def test_state_dict_is_the_model_itself(config):
    """No copies: writing into the views writes every number, of parameters and gradients alike."""
    model = random_model(config)
    ids = np.zeros((1, 1), int)
    grads = model.backward(model.forward(ids, ids)[2])
    for params in (model.params, grads):
        state = state_dict(params)
        assert (state["lm_head.weight"] is params.E) == config.tie_embeddings
        for array in state.values():
            array[...] = 7
        assert (params.flat == 7).all()
    assert state_dict(model.params).keys() == state_dict(grads).keys()


@given(configs(), st.sampled_from([np.float32, np.float64]),
       st.sampled_from([np.float32, np.float64, np.complex128]))
def test_a_model_saved_and_opened_is_the_same_model(config, dtype, opened_dtype):
    model = random_model(config, dtype)
    with temporary_folder() as folder:
        folder = folder / "new" / "folder"
        tensors, fields = saved(model, folder)
        opened = GPT.from_pretrained(folder, dtype=opened_dtype)
        assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]

    assert opened.config == config
    assert opened.params.flat.dtype == opened_dtype
    assert np.array_equal(opened.params.flat, model.params.flat)
    assert (opened.params.head is opened.params.E) == config.tie_embeddings
    assert ("lm_head.weight" in tensors) == (not config.tie_embeddings)
    assert sum(array.size for array in tensors.values()) == model.params.flat.size
    assert fields["tie_word_embeddings"] == config.tie_embeddings
    assert fields["model_type"] == {"pre": "gpt2", "post": "openai-gpt"}[config.norm]
    assert fields["n_positions"] == config.block_size


@pytest.mark.parametrize("name, activation",
                         [("gelu", "gelu_exact"), ("gelu_new", "gelu_tanh"), (None, "gelu_tanh")])
def test_config_json_says_which_gelu(tmp_path, name, activation):
    """transformers' "gelu" is the exact one, except in openai-gpt, which has no exact one."""
    tensors, fields = saved(random_model(replace(SMALL, activation=activation)), tmp_path)
    assert fields["activation_function"] == (name or "gelu_new")
    rewrite(tmp_path, tensors, fields | {"activation_function": name})
    assert GPT.from_pretrained(tmp_path).config.activation == activation
    with pytest.raises(ValueError, match="^activation .*openai-gpt: 'gelu_exact' given"):
        random_model(replace(SMALL, norm="post", activation="gelu_exact")).save_pretrained(tmp_path)


def test_the_config_written_has_transformers_fields():
    """All of those that transformers would otherwise fill in with something else; of the model's
    own config, whichever its params were made for."""
    config = GPTConfig(vocab_size=np.int64(5), block_size=4, n_layer=2, n_head=2, n_embd=6,
                       resid_pdrop=np.float64(0.5), attn_pdrop=0.25, layer_norm_eps=1e-3)
    params = Parameters(replace(config, n_head=1, layer_norm_eps=0.1))
    with temporary_folder() as folder:
        _, fields = saved(GPT(config, params=params), folder)
        _, gpt1 = saved(GPT(replace(config, norm="post")), folder)
        full = pretrained.config_to_json(replace(config, vocab_size=50257))
    assert fields.pop("minigpt_np").isalnum()
    assert fields == {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 5,
        "n_positions": 4, "n_embd": 6, "n_layer": 2, "n_head": 2, "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-3, "embd_pdrop": 0.0, "attn_pdrop": 0.25, "resid_pdrop": 0.5,
        "tie_word_embeddings": True, "bos_token_id": None, "eos_token_id": None}
    assert gpt1["architectures"] == ["OpenAIGPTLMHeadModel"]
    assert gpt1["afn"] == "gelu" and "activation_function" not in gpt1
    assert "eos_token_id" not in full


# The file's own way of holding a model

FORMATS = {"F64": np.float64, "F32": np.float32, "F16": np.float16}


def encode(array, format):
    if format == "BF16":                # the upper half of every float32's bits
        return (array.view(np.uint32) >> 16).astype(np.uint16).view(safetensors.BFLOAT16)
    return array.astype(FORMATS[format])


def decode(array, format):
    """What float32 numbers an array is after a stay in the file."""
    return safetensors.widened(encode(array, format)).astype("f4")


# Ways in which transformers, minGPT and nanoGPT leave one model on file: arguments of lay_out.
layouts = st.fixed_dictionaries({
    "prefix": st.sampled_from(["", "module.", "_orig_mod.module.", "model.", "net.gpt."]),
    "format": st.sampled_from([*FORMATS, "BF16"]), "shards": st.integers(0, 3)} | dict.fromkeys(
        ["transformer", "head_alone", "head_too", "transposed", "biases", "buffers", "config"],
        st.booleans()))


def lay_out(model, folder, prefix="", format="F32", shards=0, transformer=True, head_alone=False,
            head_too=False, transposed=False, biases=True, buffers=False, config=True):
    """Write `model` to `folder` in this way."""
    tensors, fields = saved(model, folder)
    if head_alone and model.config.tie_embeddings:
        wte = next(name for name in tensors if "wte" in name or "tokens_embed" in name)
        tensors["lm_head.weight"] = tensors.pop(wte)
    if head_too:
        tensors["lm_head.weight"] = np.array(model.params.head)
    if not biases:
        tensors = {name: array for name, array in tensors.items() if not name.endswith(".bias")}
    if transposed:
        tensors |= {name: tensors[name].T for name in tensors if name.endswith(LINEAR)}
    tensors = {name: encode(np.ascontiguousarray(array), format) for name, array in tensors.items()}
    if buffers:
        T = model.config.block_size
        tensors["transformer.h.0.attn.bias"] = np.tri(T, dtype=bool)[None, None]
        tensors["transformer.h.0.attn.masked_bias"] = np.float32(-1e4)
        tensors["transformer.position_ids"] = np.arange(T)[None]
    tensors = {prefix + (name if transformer else name.removeprefix("transformer.")): array
               for name, array in tensors.items()}
    if not config:
        (folder / "config.json").unlink()
    if not shards:
        return safetensors.write(folder / "model.safetensors", tensors)

    (folder / "model.safetensors").unlink()
    shard_of = {name: f"model-{i % shards}.safetensors" for i, name in enumerate(tensors)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shard_of}))
    for shard in set(shard_of.values()):
        safetensors.write(folder / shard, {name: tensors[name] for name in tensors
                                           if shard_of[name] == shard})


@given(configs(), layouts)
def test_every_layout_opens_as_the_same_numbers(config, layout):
    model = random_model(config)
    if not layout["biases"]:
        for name, array in model.params.arrays.items():
            if name.endswith((".b", ".bias")):
                array[...] = 0
    expected = decode(model.params.flat, layout["format"])
    head, E = (decode(array, layout["format"]) for array in (model.params.head, model.params.E))
    assume(config.tie_embeddings or (head != E).any())
    with temporary_folder() as folder:
        lay_out(model, folder, **layout)        # a tied E under either of its names
        opened = GPT.from_pretrained(folder, None if layout["config"] else config.n_head)

    if not layout["config"]:        # then nothing tells these
        is_nanogpt = config.norm == "pre" and not layout["biases"]
        config = replace(config, layer_norm_eps=1e-5, embd_pdrop=0.0, attn_pdrop=0.0,
                         resid_pdrop=0.0,
                         activation="gelu_exact" if is_nanogpt else "gelu_tanh")
    assert opened.config == config
    assert opened.params.flat.dtype == np.float32
    assert np.array_equal(opened.params.flat, expected)


@pytest.mark.parametrize("says", [True, False, None])
@pytest.mark.parametrize("head", ["none", "equal", "first bit different", "last bit different"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_tie_is_found(tmp_path, norm, head, says):
    """By the numbers, whatever config.json says; but its false keeps equal matrices apart."""
    config = replace(SMALL, norm=norm)
    model = random_model(config)
    tensors, fields = saved(model, tmp_path)
    fields["tie_word_embeddings"] = says
    if head != "none":
        tensors["lm_head.weight"] = np.array(model.params.E)
    if "different" in head:
        where = (0, 0) if "first" in head else (-1, -1)
        tensors["lm_head.weight"].view(np.uint32)[where] ^= 1
    rewrite(tmp_path, tensors, fields)
    if head == "none" and says is False:
        with pytest.raises(ValueError, match="tensors missing: .'lm_head.weight'"):
            GPT.from_pretrained(tmp_path)
        return

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        opened = GPT.from_pretrained(tmp_path)
    tied = head == "none" or head == "equal" and says is not False
    assert opened.config.tie_embeddings == tied
    assert (opened.params.head is opened.params.E) == tied
    assert np.array_equal(opened.params.E, model.params.E)
    warns = "different" in head and says is True
    assert [warning.filename for warning in caught] == [__file__] * warns
    assert all("tie_word_embeddings is true, but" in str(warning.message) for warning in caught)


def test_a_head_without_E_is_refused_where_the_config_says_untied(tmp_path):
    tensors, fields = saved(random_model(SMALL), tmp_path)
    tensors["lm_head.weight"] = tensors.pop("transformer.wte.weight")
    rewrite(tmp_path, tensors, fields | {"tie_word_embeddings": False})
    with pytest.raises(ValueError, match="missing: .'wte.weight'.; besides .*lm_head.weight"):
        GPT.from_pretrained(tmp_path)


def test_the_head_count_comes_from_the_config_or_the_caller(tmp_path):
    tensors, fields = saved(random_model(SMALL), tmp_path)
    assert GPT.from_pretrained(tmp_path, n_head=2).config.n_head == 2
    with pytest.raises(ValueError, match="n_head: 3 given, but .*config.json has 2"):
        GPT.from_pretrained(tmp_path, n_head=3)
    del fields["n_head"]
    rewrite(tmp_path, tensors, fields)
    assert GPT.from_pretrained(tmp_path, n_head=3).config.n_head == 3
    for n_head, complaint in [(None, "n_head: not given, and .*config.json does not"),
                              (4, "n_embd: 6 given"),
                              (0, "n_head: 0 given"), (np.array([2, 2]), "n_head: an array")]:
        with pytest.raises(ValueError, match=complaint):
            GPT.from_pretrained(tmp_path, n_head)


def test_missing_fields_of_a_config_have_transformers_defaults(tmp_path):
    tensors, fields = saved(random_model(SMALL), tmp_path)
    rewrite(tmp_path, tensors, {"n_head": 2, "resid_pdrop": None, "attn_pdrop": 0})
    config = GPT.from_pretrained(tmp_path).config
    assert config == replace(SMALL, embd_pdrop=0.1, resid_pdrop=0.1)


NANO = GPTConfig(vocab_size=5, block_size=4, n_layer=3, n_head=3, n_embd=48, embd_pdrop=0.1,
                 attn_pdrop=0.1, resid_pdrop=0.1)


@pytest.mark.parametrize("fields, config", [
    ({"model_type": "gpt-nano", "n_layer": None, "n_head": None, "n_embd": None, "vocab_size": 5},
     NANO),
    ({"model_type": "gpt-nano", "block_size": 4, "embd_pdrop": 0.0}, replace(NANO, embd_pdrop=0.0)),
    ({"system": {"seed": 1}, "model": {"model_type": "gpt-nano"}, "trainer": {}}, NANO),
    ({"n_layer": 3, "n_head": 3, "n_embd": 48, "block_size": 4, "bias": True, "vocab_size": 5,
      "dropout": 0.2},
     replace(NANO, embd_pdrop=0.2, attn_pdrop=0.2, resid_pdrop=0.2, activation="gelu_exact")),
])
def test_minGPTs_and_nanoGPTs_configs_are_honoured(tmp_path, fields, config):
    tensors, _ = saved(random_model(NANO), tmp_path)
    rewrite(tmp_path, tensors, fields)
    assert GPT.from_pretrained(tmp_path).config == config


def test_minGPTs_and_nanoGPTs_configs_are_never_ignored(tmp_path):
    tensors, _ = saved(random_model(NANO), tmp_path)
    for fields, complaint in [({"model_type": "gpt-micro"}, "n_embd is 128, expected 48"),
                              ({"n_head": 3, "block_size": 5}, "n_positions is 5, expected 4")]:
        rewrite(tmp_path, tensors, fields)
        with pytest.raises(ValueError, match=f"config.json: {complaint}"):
            GPT.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_where_one_of_the_two_files_cannot_be_written_both_are_the_old_ones(tmp_path, name):
    model = random_model(SMALL)
    model.save_pretrained(tmp_path)
    (tmp_path / name).rename(tmp_path / "kept")
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=f"{name}: .*expected a regular file"):
        GPT(NANO).save_pretrained(tmp_path)
    (tmp_path / name).rmdir()
    (tmp_path / "kept").rename(tmp_path / name)
    opened = GPT.from_pretrained(tmp_path)
    assert opened.config == SMALL and np.array_equal(opened.params.flat, model.params.flat)


@given(configs(), configs())
def test_a_config_beside_the_weights_of_another_saving_is_refused_or_right(old, new):
    """As a program leaves it that is killed between the moves of its two files."""
    with temporary_folder() as folder:
        random_model(old).save_pretrained(folder)
        config = (folder / "config.json").read_bytes()
        model = random_model(new)
        model.params.flat += 1
        model.save_pretrained(folder)
        (folder / "config.json").write_bytes(config)
        if old != new:
            with pytest.raises(ValueError, match="config.json: of another model than"):
                GPT.from_pretrained(folder)
        else:
            assert np.array_equal(GPT.from_pretrained(folder).params.flat, model.params.flat)


def test_an_edited_config_and_a_file_without_a_stamp_are_accepted(tmp_path):
    """By an editor that puts a byte order mark first."""
    tensors, fields = saved(random_model(SMALL), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(fields | {"resid_pdrop": 0.5}), "utf-8-sig")
    assert GPT.from_pretrained(tmp_path).config.resid_pdrop == 0.5
    rewrite(tmp_path, tensors, fields | {"minigpt_np": "another"})
    assert GPT.from_pretrained(tmp_path).config == SMALL


# Bad input

@pytest.fixture
def no_allocation(monkeypatch):
    """Refused is refused before the model's memory is taken."""
    def refuse(*_):
        raise AssertionError("Parameters made before every check was passed")
    monkeypatch.setattr(pretrained, "Parameters", refuse)


@pytest.mark.parametrize("change, complaint", [
    ({"model_type": "bert"}, "model_type: 'bert' given, expected one of gpt2, openai-gpt, "),
    ({"model_type": "openai-gpt"}, "missing: .'tokens_embed.weight'"),
    ({"tie_word_embeddings": "no"}, "tie_word_embeddings: 'no' given, expected True or False"),
    ({"n_layer": 3}, "n_layer is 3, expected 2"),
    ({"n_head": 4}, "config.json: n_embd: 6 given, expected a multiple of n_head = 4"),
    ({"n_inner": 12}, "n_inner is 12, expected None or 24"),
    ({"activation_function": "relu"}, "activation_function is 'relu', expected 'gelu_new' or"),
    ({"scale_attn_weights": False}, "scale_attn_weights is False, expected True"),
    ({"scale_attn_by_inverse_layer_idx": True}, "inverse_layer_idx is True, expected False"),
    ({"layer_norm_epsilon": True}, "config.json: layer_norm_eps: True given"),
])
def test_configs_refused(tmp_path, no_allocation, change, complaint):
    tensors, fields = saved(random_model(SMALL), tmp_path)
    rewrite(tmp_path, tensors, fields | change)
    with pytest.raises(ValueError, match=complaint) as caught:
        GPT.from_pretrained(tmp_path)
    assert str(caught.value).count(f"{tmp_path / 'config.json'}: ") == 1 or "missing" in complaint


@pytest.mark.parametrize("name, array, complaint", [
    ("transformer.wte.weight", None, "missing: .'wte.weight'"),
    ("transformer.wte.weight", np.float32(1), r"embeddings of shapes \(\) and \(4, 6\) given"),
    ("transformer.wpe.weight", np.zeros(6, "f4"), r"of shapes \(5, 6\) and \(6,\) given"),
    ("transformer.wpe.weight", np.zeros((4, 5), "f4"), r"shape \(4, 5\), expected \(4, 6\)"),
    ("transformer.h.0.attn.c_attn.weight", np.float32(1), r"shape \(\), expected \(6, 18\)"),
    ("transformer.h.1.ln_2.bias", None, "missing: .'h.1.ln_2.bias'.; besides blocks, .*ln_f.bias"),
    ("transformer.h.0.mlp.c_fc.weight", np.zeros((24, 6), "f4"), r"expected \(6, 24\)"),
    ("transformer.h.0.mlp.c_fc.weight", np.zeros((6, 24), "i4"), "dtype: 'I32' given, expected"),
    ("transformer.h.2.ln_1.weight", np.zeros(6, "f4"), "n_layer is 2, expected 3"),
    ("lm_head.bias", np.zeros(5, "f4"), "not expected in a gpt2 of 2 blocks: .'lm_head.bias'"),
    ("lm_head.weight", np.zeros((7, 6), "f4"), r"shape \(7, 6\), expected \(5, 6\)"),
])
def test_tensors_refused(tmp_path, no_allocation, name, array, complaint):
    tensors, fields = saved(random_model(SMALL), tmp_path)
    tensors[name] = array
    rewrite(tmp_path, {name: array for name, array in tensors.items() if array is not None}, fields)
    with pytest.raises(ValueError, match=complaint) as caught:
        GPT.from_pretrained(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/")
    assert str(caught.value).count("model.safetensors") == 1


def test_complex_numbers_are_not_saved(tmp_path):
    with pytest.raises(ValueError, match="complex128 given, expected float32 or float64"):
        GPT(SMALL, dtype=np.complex128).save_pretrained(tmp_path / "new")
    assert not os.listdir(tmp_path)


def test_nan_and_infinity_are_loaded_with_a_warning(tmp_path):
    model = random_model(SMALL)
    model.params.E[0, 0] = np.nan
    model.params.blocks[1].mlp.up.W[0, 0] = np.inf
    model.save_pretrained(tmp_path)
    with pytest.warns(UserWarning) as caught:
        opened = GPT.from_pretrained(tmp_path)
    assert opened.params.flat.tobytes() == model.params.flat.tobytes()
    path = tmp_path / "model.safetensors"
    assert [str(warning.message) for warning in caught] == [
        f"{path}: tensor '{name}': holds NaN or infinity"
        for name in ("wte.weight", "h.1.mlp.c_fc.weight")]
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize("transposed", [False, True])
def test_no_number_is_held_twice(tmp_path, transposed):
    config = GPTConfig(vocab_size=500, block_size=8, n_layer=2, n_head=2, n_embd=128)
    model = random_model(config)
    lay_out(model, tmp_path, transposed=transposed, head_too=True, buffers=True)
    size = model.params.flat.nbytes
    tracemalloc.start()
    try:
        opened = GPT.from_pretrained(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.array_equal(opened.params.flat, model.params.flat)
    assert size <= peak < 1.2 * size


# Fuzz: an error that says what is wrong, or the right model

def test_hundreds_of_corrupted_folders_are_refused_or_right(tmp_path):
    """Headers, configs and indices torn or changed: a clear error, or the numbers that the file has
    under each name and the sizes that the config names.
    """
    rng = random.Random(0)
    config = replace(SMALL, tie_embeddings=False)
    model = random_model(config)
    whole, sharded, nano = tmp_path / "whole", tmp_path / "sharded", tmp_path / "nano"
    model.save_pretrained(whole)
    lay_out(model, sharded, transposed=True, buffers=True, shards=2)
    GPT(NANO).save_pretrained(nano)
    (nano / "config.json").write_text('{"model": {"model_type": "gpt-nano", "dropout": 0.1}}')
    kept = {path: path.read_bytes() for folder in (whole, sharded, nano)
            for path in sorted(folder.iterdir())}
    accepted, n = 0, examples_of(200, 30_000)
    for _ in range(n):
        path = rng.choice(list(kept))
        raw = kept[path]
        if path.suffix == ".json" and rng.random() < 0.7:
            raw = json.dumps(with_another_value(json.loads(raw), rng)).encode()
        elif path.suffix == ".json":
            raw = corrupted(raw, rng)
        else:
            end = 8 + int.from_bytes(raw[:8], "little")
            raw = corrupted(raw[:end], rng) + raw[end:]
        path.unlink()               # the old one may still be mapped
        path.write_bytes(raw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                opened = GPT.from_pretrained(path.parent)
            except (ValueError, OSError) as error:
                assert str(path.parent) in str(error) or "n_head: not given" in str(error)
            else:
                accepted += 1
                assert_as_the_files_say(opened, path.parent)
        path.unlink()
        path.write_bytes(kept[path])
    assert 0 < accepted < n
    for folder in (whole, sharded):
        assert np.array_equal(GPT.from_pretrained(folder).params.flat, model.params.flat)


def assert_as_the_files_say(opened, folder):
    tensors, state = safetensors.read_folder(folder), state_dict(opened.params)
    square = opened.config.n_embd, opened.config.n_embd
    for name, tensor in tensors.items():
        if name in state and tensor.dtype == np.float32 and tensor.shape != square:
            lying = tensor if tensor.shape == state[name].shape else tensor.T
            assert np.array_equal(state[name], lying, equal_nan=True)
    fields = json.loads((folder / "config.json").read_bytes())
    fields = {field: value for field, value in fields.items() if value is not None}
    c = opened.config
    said = {"vocab_size": c.vocab_size, "n_positions": c.block_size, "n_embd": c.n_embd,
            "n_layer": c.n_layer,
            "n_head": c.n_head, "layer_norm_epsilon": c.layer_norm_eps, "embd_pdrop": c.embd_pdrop,
            "attn_pdrop": c.attn_pdrop, "resid_pdrop": c.resid_pdrop}
    assert all(float(fields[field]) == said[field] for field in said.keys() & fields.keys())
