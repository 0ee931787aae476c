"""safetensors files: the bytes written, and damaged files, which are refused or read right."""
import json
import math
import os
import pickle
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from minigpt_np import GPT, GPTConfig
from minigpt_np.files import safetensors
from minigpt_np.files.names import state_dict
from minigpt_np.files.safetensors import BFLOAT16, read, read_folder, widened, write

ROOT = Path(__file__).parents[2]
SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4,
         "F32": 4, "C64": 8, "F64": 8, "I64": 8, "U64": 8}

# E is 1.0, -2.0 in a column; half is 1.5 in bfloat16 (the upper half of 0x3fc00000).
GOLDEN_HEADER = (b'{"__metadata__":{"format":"pt"},'
                 b'"E":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},'
                 b'"half":{"dtype":"BF16","shape":[],"data_offsets":[8,10]},'
                 b'"yes":{"dtype":"BOOL","shape":[1],"data_offsets":[10,11]}}')
GOLDEN_DATA = b"\x00\x00\x80\x3f" b"\x00\x00\x00\xc0" b"\xc0\x3f" b"\x01"


def file_of(header, data, length=None):
    """The bytes of a file; `header` as bytes or as an object, `length` what it says of itself."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


GOLDEN = file_of(GOLDEN_HEADER + b" " * (-len(GOLDEN_HEADER) % 8), GOLDEN_DATA)


def parsed(raw):
    """What the bytes of a file say, by the format's rules alone: {name: (dtype, shape, bytes)}.

    The test fails if they break a rule.
    """
    start = 8 + int.from_bytes(raw[:8], "little")
    assert start <= len(raw)
    header, data = json.loads(raw[8:start]), raw[start:]
    header.pop("__metadata__", None)
    found, covered = {}, 0
    for name, info in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape, (begin, end) = info["dtype"], info["shape"], info["data_offsets"]
        assert all(type(n) is int and n >= 0 for n in [*shape, begin, end])
        assert begin == covered and end - begin == math.prod(shape) * SIZES[dtype]
        found[name], covered = (dtype, tuple(shape), data[begin:end]), end
    assert covered == len(data)
    return found


def put(path, raw):
    """Write the bytes as a new file: arrays of the old one may be alive, and are the old one."""
    path.unlink(missing_ok=True)
    path.write_bytes(raw)


def contents(tensors):
    return {name: (safetensors.NAMES[array.dtype], array.shape, array.tobytes())
            for name, array in tensors.items()}


@pytest.fixture(scope="session")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("safetensors") / "model.safetensors"


def refused(path, raw, message):
    """Check that a file of these bytes is refused with words that name it."""
    put(path, raw)
    with pytest.raises(ValueError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")


# The format

def test_golden_file_is_read(path):
    put(path, GOLDEN)
    metadata = {}
    tensors = read(str(path), metadata)
    assert metadata == {"format": "pt"}
    assert list(tensors) == ["E", "half", "yes"] and contents(tensors) == parsed(GOLDEN)
    assert tensors["E"].tolist() == [[1], [-2]] and tensors["yes"].tolist() == [True]
    assert widened(tensors["half"]) == 1.5


def test_golden_file_is_written(path):
    half = np.frombuffer(b"\xc0\x3f", BFLOAT16).reshape(())
    write(path, {"yes": [True], "half": half, "E": np.array([[1], [-2]], ">f4")})
    assert path.read_bytes() == GOLDEN


@given(st.dictionaries(strategies.tensor_names, strategies.file_arrays(), max_size=6))
def test_round_trip(path, arrays):
    write(str(path), arrays)
    raw = path.read_bytes()
    tensors = read(path)
    assert contents(tensors) == parsed(raw) and list(tensors) == list(parsed(raw))
    assert tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        little_endian = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        assert tensors[name].dtype == little_endian.dtype
        assert tensors[name].shape == array.shape
        assert tensors[name].tobytes() == little_endian.tobytes()
        assert not tensors[name].flags.writeable and not tensors[name].flags.owndata

    write(path, tensors)                    # over the file that the arrays are views of
    assert path.read_bytes() == raw
    assert contents(tensors) == contents(read(path))


@pytest.mark.parametrize("metadata", [{}, {"__metadata__": None}, {"__metadata__": [1]}])
def test_a_header_may_be_unpadded_in_any_order_with_more_fields_and_no_metadata(path, metadata):
    info = {name: {"dtype": "U8", "shape": [1], "data_offsets": [at, at + 1], "extra": [None]}
            for name, at in [("last", 2), ("first", 0), ("middle", 1)]}
    put(path, file_of(info | metadata, b"abc"))
    assert {name: bytes(array) for name, array in read(path, {}).items()} == {
        "first": b"a", "middle": b"b", "last": b"c"}
    assert list(read(path)) == ["first", "middle", "last"]


# bfloat16

def test_every_bfloat16_is_the_number_that_ieee_says():
    bits = np.arange(2**16)
    sign, exponent, fraction = bits >> 15, bits >> 7 & 255, bits & 127
    with np.errstate(over="ignore"):
        # 2^(e-127) (1 + f/128), or below the least exponent 2^-126 (f/128)
        number = np.where(exponent == 0, np.ldexp(fraction / 128, -126),
                          np.ldexp(1 + fraction / 128, exponent - 127))
    number[exponent == 255] = np.where(fraction[exponent == 255] == 0, np.inf, np.nan)
    expected = np.where(sign == 1, -number, number).astype(np.float32)
    np.testing.assert_array_equal(widened(bits.astype("<u2").view(BFLOAT16)), expected,
                                  strict=True)


# Files that are broken

def test_hundreds_of_corrupted_files_are_refused_by_name_or_right(path):
    rng, accepted, n = random.Random(0), 0, strategies.examples_of(300, 20_000)
    for _ in range(n):
        raw = strategies.corrupted(GOLDEN, rng)
        put(path, raw)
        try:
            tensors = read(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")
        else:
            assert contents(tensors) == parsed(raw)
            accepted += 1
    assert 0 < accepted < n      # a byte of the data may be anything


def one(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


def two(first, second):
    return {"x": {"dtype": "U8", "shape": [first[1] - first[0]], "data_offsets": first},
            "y": {"dtype": "U8", "shape": [second[1] - second[0]], "data_offsets": second}}


EIGHT = bytes(8)


@pytest.mark.parametrize("raw, message", [
    (b"", "begins with b'', expected a header's length"),
    (b"<!DOCTYPE html>", "begins with .*: no safetensors file"),
    (file_of(b"{}", b"", length=3), "header of 3 bytes, but only 2 follow: truncated"),
    (file_of(b"[]", b""), "begins with .*, expected a header's length and the header"),
    (file_of(b"{", b""), "not JSON"), (file_of(b'{"\xff":1}', b""), "not JSON in UTF-8"),
    (file_of(b'{"x":' + b"[" * 100_000, b""), "not JSON"),
    (file_of({"x": 1}, b""),
     "tensor 'x': 1, expected a dtype of BOOL, .*, a shape, and data_offsets"),
    *[(file_of(one(dtype), EIGHT), "tensor 'x': .*, expected a dtype of BOOL, U8,")
      for dtype in ("F8_E4M3", [])],
    *[(file_of(one(shape=shape), EIGHT), "tensor 'x': .*expected a dtype of .*, a shape")
      for shape in (2, [-1, -2], [2.0], [2, True])],
    *[(file_of(one(offsets=offsets), EIGHT), "tensor 'x': .*data_offsets")
      for offsets in (8, [0, 8, 8], [-8, 0], [0, 8.0])],
    (file_of(one(shape=[3]), EIGHT), "'x': data_offsets .0, 8., expected .* for F32 in shape"),
    (file_of(one(), EIGHT[:7]),
     "tensor 'x': ends at byte 8 of the data, but the file has 7: truncated"),
    (file_of(one(), EIGHT + b"!"), "1 bytes follow the last tensor"),
    (file_of(two([0, 3], [4, 8]), EIGHT), r"tensor 'y': data_offsets \[4, 8\], expected \[3, 7\]"),
    (file_of(two([0, 5], [4, 8]), EIGHT), r"tensor 'y': data_offsets \[4, 8\], expected \[5, 9\]"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
    (b"PK\x03\x04" + bytes(100), "a pickle, which runs code .*torch.load"),      # torch.save's
    (pickle.dumps({"wte": [0.5]}, 2), "a pickle, which"),           # and before version 1.6
])
def test_each_fault_is_named(path, raw, message):
    refused(path, raw, message)


# Enough of PyTorch for the recipe, in NumPy: what is loaded here would be loaded there.
STUBS = {"torch.py": """
import pickle
import numpy

class Tensor(numpy.ndarray):
    clone = numpy.ndarray.copy
    contiguous = numpy.ndarray.view

def load(name, map_location, weights_only):
    assert map_location == "cpu" and weights_only is True
    with open(name, "rb") as file:
        checkpoint = pickle.load(file)
    tensors = {name: array.view(Tensor) for name, array in checkpoint["model"].items()}
    return checkpoint | {"model": tensors}
""", "safetensors/__init__.py": "", "safetensors/torch.py": """
from minigpt_np.files.safetensors import write

def save_file(tensors, name, metadata):
    assert metadata == {"format": "pt"}
    write(name, tensors)
"""}


@pytest.mark.skipif(os.name != "posix", reason="the recipe is for its shells")
def test_the_recipe_run_as_it_stands_opens_nanoGPTs_checkpoint(tmp_path, monkeypatch):
    """Weights under "model", their names as torch.compile leaves them, sizes under "model_args"."""
    for name, source in STUBS.items():
        stub = tmp_path / "stubs" / name
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text(source)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (tmp_path / "stubs", ROOT))))

    config = GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=3, n_embd=6,
                       activation="gelu_exact")
    model = GPT(config, seed=3)
    weights = {}
    for name, array in state_dict(model.params).items():
        if name.endswith(".weight"):
            is_linear = name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
            weights[f"_orig_mod.{name}"] = array.T if is_linear else array
    sizes = dict(n_layer=1, n_head=3, n_embd=6, block_size=4, vocab_size=5, bias=False, dropout=0.0)
    folder = tmp_path / "a b's \"ü\" $HOME\\n `x`"
    folder.mkdir()
    (folder / "ckpt.pt").write_bytes(pickle.dumps(
        {"model": weights, "optimizer": {"state": {}}, "iter_num": 5, "model_args": sizes}))
    with pytest.raises(ValueError, match="ckpt.pt.*a pickle") as error:
        GPT.from_pretrained(folder)
    command = str(error.value).partition("convert it with PyTorch: ")[2]
    subprocess.run(command.replace("python", shlex.quote(sys.executable), 1), shell=True,
                   check=True)
    opened = GPT.from_pretrained(folder)
    assert opened.config == config
    assert np.array_equal(opened.params.flat, model.params.flat)


def test_a_file_whose_length_looks_like_a_pickle_is_read(path):
    header = GOLDEN_HEADER.ljust(0x480)                     # its length begins b"\x80\x04"
    put(path, file_of(header, GOLDEN_DATA))
    assert contents(read(path)) == parsed(GOLDEN)
    refused(path, file_of(header, GOLDEN_DATA)[:1000], "truncated")


# Folders

SHARDS = {"a.safetensors": {"y": np.arange(3.0), "x": np.arange(2, dtype="f4")},
          "b.safetensors": {"wte": np.ones((2, 2), "f2")}}


def folder_of(folder, shards=SHARDS, weight_map=None):
    """Write the shards and an index, by default the true one."""
    for shard, arrays in shards.items():
        write(folder / shard, arrays)
    if weight_map is None:
        weight_map = {name: shard for shard in reversed(shards) for name in shards[shard]}
    index = folder / "model.safetensors.index.json"
    whole = {"metadata": {"total_size": 40}, "weight_map": weight_map}
    index.write_text(json.dumps(whole, indent=2))
    return index


def test_shards_are_one_mapping(tmp_path):
    folder_of(tmp_path)
    tensors = read_folder(str(tmp_path))
    assert list(tensors) == ["y", "x", "wte"]
    for shard, arrays in SHARDS.items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(tensors[name], array, strict=True)


def test_one_file_goes_before_an_index_and_that_before_pickles(tmp_path):
    folder_of(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    assert len(read_folder(tmp_path)) == 3
    write(tmp_path / "model.safetensors", {"only": np.zeros(1)})
    assert list(read_folder(tmp_path)) == ["only"]


@pytest.mark.parametrize("names, taken", [
    (["optimizer.pt", "pytorch_model.bin"], "pytorch_model.bin"), (["ckpt.pt"], "ckpt.pt"),
    (["model.pth", "other.pth"], "model.pth")])
def test_pickles_alone_are_refused_with_a_way_out(tmp_path, names, taken):
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{tmp_path}: .*but \['{taken}'\]: .*torch.load"):
        read_folder(tmp_path)


@pytest.mark.parametrize("weight_map, message", [
    ({"x": "a.safetensors", "wte": "b.safetensors"}, "tensor 'y': in a shard, but not in this"),
    ({"x": "a.safetensors", "y": "a.safetensors", "wte": "b.safetensors", "z": "a.safetensors"},
     "tensor 'z': in no shard"),
    (["a.safetensors"], r"weight_map is \['a.safetensors'\], expected tensor -> file"),
    ({"x": 1}, "weight_map is {'x': 1}, expected tensor -> file name"),
    ({"x": "../a.safetensors"}, "'../a.safetensors', expected the name of a file in that folder")])
def test_shards_that_disagree_with_their_index(tmp_path, weight_map, message):
    index = folder_of(tmp_path, weight_map=weight_map)
    with pytest.raises(ValueError, match=re.escape(str(index)) + ": " + message):
        read_folder(tmp_path)


# Writing

@pytest.mark.parametrize("name, array, message", [
    *[("y", np.zeros(1, dtype), "dtype .*, expected one of BOOL")
      for dtype in ("c16", object, "V3")],
    ("y", [[1], [2, 3]], "expected rows of one length"), ("y", np.ma.array([1]), "a masked array"),
    ("__metadata__", np.zeros(1), "expected any other name"), (1, np.zeros(1), "expected a str"),
    ("\ud800", np.zeros(1), "lone surrogate")])
def test_what_the_format_does_not_have_is_not_written(tmp_path, name, array, message):
    path = tmp_path / "model.safetensors"
    where = re.escape(f"{path}: tensor {name!r}: ")
    with pytest.raises(ValueError, match=f"^{where}.*{message}"):
        write(path, {"x": np.zeros(1), name: array})
    assert os.listdir(tmp_path) == []
