"""The format is a promise to other programs: its bytes are checked here one by one, and every lie
that a file can tell is found out."""
import importlib.util
import json
import math
import mmap
import os
import pickle
import random
import re
import shlex
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from minigpt_np import GPT, GPTConfig
from minigpt_np.files import safetensors
from minigpt_np.files.safetensors import BFLOAT16, bfloat16_to_float32, read, read_folder, write

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


def little(array):
    """The bytes of an array in C order, little-endian."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


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
    assert len(str(caught.value)) < len(str(path)) + 1000
    return str(caught.value)


# The format

def test_golden_file_is_read(path):
    put(path, GOLDEN)
    tensors = read(str(path))
    assert list(tensors) == ["E", "half", "yes"]
    assert tensors.metadata == {"format": "pt"}
    assert tensors.files == dict.fromkeys(tensors, str(path))
    np.testing.assert_array_equal(tensors["E"], np.array([[1], [-2]], np.float32), strict=True)
    np.testing.assert_array_equal(tensors["yes"], np.array([True]), strict=True)
    assert tensors["half"].dtype == BFLOAT16
    assert bfloat16_to_float32(tensors["half"]) == 1.5


def test_golden_file_is_written(path):
    half = np.frombuffer(b"\xc0\x3f", BFLOAT16).reshape(())
    write(path, {"yes": np.array([True]), "half": half, "E": np.array([[1], [-2]], ">f4")},
          {"format": "pt"})
    assert path.read_bytes() == GOLDEN


def test_empty_file(path):
    write(path, {})
    assert path.read_bytes() == file_of(b"{}      ", b"")
    assert read(path) == {} and read(path).metadata == {}


@given(st.dictionaries(strategies.tensor_names, strategies.file_arrays(), max_size=6),
       st.dictionaries(strategies.tensor_names, st.text(), max_size=2))
def test_round_trip(path, arrays, metadata):
    write(str(path), arrays, metadata)
    raw = path.read_bytes()
    tensors = read(path)
    assert contents(tensors) == parsed(raw)
    assert tensors.metadata == metadata
    assert tensors.keys() == arrays.keys() == tensors.files.keys()
    for name, array in arrays.items():
        assert tensors[name].dtype == array.dtype.newbyteorder("<")
        assert tensors[name].shape == array.shape
        assert tensors[name].tobytes() == little(array)
        assert not tensors[name].flags.writeable and not tensors[name].flags.owndata

    assert (8 + int.from_bytes(raw[:8], "little")) % 8 == 0
    dtypes = list(SIZES)
    order = [(-dtypes.index(dtype), name) for name, (dtype, _, _) in parsed(raw).items()]
    assert sorted(order) == [(-dtypes.index(safetensors.NAMES[tensors[name].dtype]), name)
                             for name in json.loads(raw[8:8 + int.from_bytes(raw[:8], "little")])
                             if name != "__metadata__"]
    assert list(tensors) == list(parsed(raw))

    write(path, tensors, tensors.metadata)      # over the file that the arrays are views of
    assert path.read_bytes() == raw
    assert contents(tensors) == contents(read(path))


def test_file_order_is_the_order_of_the_bytes_not_of_the_header(path):
    info = {name: {"dtype": "U8", "shape": [1], "data_offsets": [begin, begin + 1]}
            for name, begin in [("last", 2), ("first", 0), ("middle", 1)]}
    put(path, file_of(info, b"abc"))
    assert list(read(path)) == ["first", "middle", "last"]


@given(st.integers(0, 7))
def test_a_header_need_not_be_padded(path, spaces):
    put(path, file_of(GOLDEN_HEADER + b" " * spaces, GOLDEN_DATA))
    assert contents(read(path)) == parsed(GOLDEN)


def test_fields_that_are_not_known_and_metadata_that_is_null_are_passed_over(path):
    put(path, file_of({"__metadata__": None, "a": {
        "dtype": "U8", "shape": [1], "data_offsets": [0, 1], "extra": [None]}}, b"a"))
    tensors = read(path)
    assert tensors["a"].tolist() == [97] and tensors.metadata == {}


# bfloat16 and copying

def test_every_bfloat16_is_the_number_that_ieee_says():
    bits = np.arange(2**16)
    sign, exponent, fraction = bits >> 15, bits >> 7 & 255, bits & 127
    with np.errstate(over="ignore"):
        # 2^(e-127) (1 + f/128), or below the least exponent 2^-126 (f/128)
        number = np.where(exponent == 0, np.ldexp(fraction / 128, -126),
                          np.ldexp(1 + fraction / 128, exponent - 127))
    number[exponent == 255] = np.where(fraction[exponent == 255] == 0, np.inf, np.nan)
    expected = np.where(sign == 1, -number, number).astype(np.float32)
    np.testing.assert_array_equal(bfloat16_to_float32(bits.astype("<u2").view(BFLOAT16)), expected,
                                  strict=True)


def test_numpy_never_takes_bfloat16_for_integers():
    array = np.ones(2, np.uint16).view(BFLOAT16)
    for misuse in (lambda: array + 1, lambda: array.astype(np.float32), lambda: np.float32(array),
                   lambda: np.copyto(np.ones(2, np.float32), array)):
        with pytest.raises((TypeError, ValueError)):
            misuse()


@given(strategies.file_arrays(["<f2", "V2", "<f4", "<f8"]), st.sampled_from(["f4", "f8"]),
       st.sampled_from(strategies.VIEWS), st.integers(1, 64))
def test_copy_into(path, array, dtype, view, piece):
    write(path, {"before": np.ones(3), "x": array, "after": np.zeros(1)})
    tensors = read(path)
    out = view(np.full(array.T.shape if view is np.transpose else array.shape, 7, dtype))
    out.setflags(write=True)
    with pytest.MonkeyPatch.context() as patch, np.errstate(over="ignore", invalid="ignore"):
        patch.setattr(safetensors, "PIECE", piece)
        tensors.copy_into("x", out)
        values = bfloat16_to_float32(array) if array.dtype == BFLOAT16 else array
        np.testing.assert_array_equal(out, values.astype(dtype))


@pytest.mark.parametrize("dtype, out, message", [
    ("<f4", np.empty((2, 3), "f4"), r"shape \(1, 3\), expected \(2, 3\)"),
    ("<f4", np.empty((3,), "f4"), r"shape \(1, 3\), expected \(3,\)"),
    ("<c8", np.empty((1, 3), "f4"), r"dtype C64, expected one that fits into float32"),
    ("<f4", np.empty((1, 3), "i4"), r"dtype F32, expected one that fits into int32"),
    ("V2", np.empty((1, 3), "u2"), r"dtype BF16, expected one that fits into uint16")])
def test_copy_into_what_does_not_fit(path, dtype, out, message):
    write(path, {"x": np.zeros((1, 3), dtype)})
    out[...] = 7
    tensors = read(path)
    with pytest.raises(ValueError, match=re.escape(f"{path}: tensor 'x': ") + message):
        tensors.copy_into("x", out)
    assert (out == 7).all()


def traced_peak(work):
    """Bytes that `work` holds at its highest, of what Python and NumPy allocate."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_neither_reading_nor_copying_nor_writing_makes_a_second_copy(path):
    size = 2**24
    arrays = {"half": np.zeros((512, size // 1024), BFLOAT16), "x": np.zeros((512, size // 2048)).T}
    out = np.empty((512, size // 1024), np.float32)
    assert traced_peak(lambda: write(path, arrays)) < size / 4
    assert traced_peak(lambda: read(path)) < size / 64
    tensors = read(path)
    assert traced_peak(lambda: tensors.copy_into("half", out)) < size / 2


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps"), reason="asks Linux what is resident")
def test_copied_pages_do_not_stay_in_memory(path):
    def resident():
        lines = iter(Path("/proc/self/smaps").read_text().splitlines())
        for line in lines:
            if line.endswith(str(path)):
                rss = next(line for line in lines if line.startswith("Rss:"))
                return 1024 * int(rss.split()[1])

    write(path, {"x": np.ones((64, 2**16), np.float32)})        # 16 MiB
    tensors = read(path)
    tensors["x"].sum()
    assert resident() >= 2**24      # so the figure means something
    out = np.zeros((64, 2**16), np.float32)
    tensors.copy_into("x", out)
    assert (out == 1).all()
    assert resident() < 2**22


def test_where_the_system_cannot_release_pages_copying_works_all_the_same(path, monkeypatch):
    monkeypatch.delattr(mmap, "MADV_DONTNEED", raising=False)
    put(path, GOLDEN)
    out = np.zeros((2, 1))
    read(path).copy_into("E", out)
    assert out.tolist() == [[1], [-2]]


# Files that are broken

def is_read(path, raw):
    """Whether a file of these bytes is not refused, by an error that names it; what is read is then right."""
    put(path, raw)
    try:
        tensors = read(path)
    except ValueError as error:
        assert str(error).startswith(f"{path}: ")
        return False
    assert contents(tensors) == parsed(raw)
    return True


def test_thousands_of_corrupted_files_are_refused_or_right(path):
    rng = random.Random(0)
    accepted = 0
    n = strategies.examples_of(2000, 20_000)
    for _ in range(n):
        accepted += is_read(path, strategies.corrupted(GOLDEN, rng))
    assert 0 < accepted < n      # a byte of the data may be anything


odd_numbers = st.sampled_from([0, 1, 2, 4, 8, 10, 11, 12, -1, 2**31, 2**62, 2**63, 2**64, 10**30,
                               1.0, 0.5, True, False, None, "", "1"])
odd_values = st.one_of(
    odd_numbers, st.lists(odd_numbers, max_size=3),
    st.sampled_from([*SIZES, "F8_E4M3", "f4", {}, {"dtype": "F32"}]),
    st.sampled_from([[0, 8], [8, 10], [2, 1], [1] * 32, [1] * 40]))


@given(st.data())
def test_a_header_that_lies_is_refused_or_right(path, data):
    header = json.loads(GOLDEN_HEADER)
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(["E", "half", "yes", "new", "__metadata__"]))
        field = data.draw(st.sampled_from(["dtype", "shape", "data_offsets", None]))
        value = json.loads(json.dumps(data.draw(odd_values)))      # a copy: it may be changed
        if field and isinstance(header.get(name), dict):
            header[name][field] = value
        else:
            header[name] = value
    is_read(path, file_of(header, GOLDEN_DATA[:data.draw(st.sampled_from([11, 11, 10, 0]))]))


def one(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


def two(first, second):
    return {"x": {"dtype": "U8", "shape": [first[1] - first[0]], "data_offsets": first},
            "y": {"dtype": "U8", "shape": [second[1] - second[0]], "data_offsets": second}}


DEEP = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

EIGHT = bytes(8)


@pytest.mark.parametrize("raw, message", [
    (b"", "has 0 bytes, expected 8"),
    (bytes(7), "has 7 bytes, expected 8"),
    (bytes(8), "header begins with b''"),
    (file_of(b"{}", b"", length=3), "header of 3 bytes, but only 2 follow: truncated"),
    (file_of(b"{}", b"", length=2**64 - 1), "header of 18446744073709551615 bytes, more than 1000"),
    (file_of(b"{}", b"", length=100_000_001), "header of 100000001 bytes, more than 100000000"),
    (file_of(b"{}", b"", length=100_000_000), "header of 100000000 bytes, but only 2"),
    (file_of(b"", b"{}"), "bad JSON"),
    (file_of(b"[]", b""), r"header begins with b'\['"),
    (file_of(b" {}", b""), "header begins with b' '"),
    (file_of(b"{", b""), "bad JSON"),
    (file_of(b'{"\xff":1}', b""), "bad JSON"),
    (file_of(b'{"x":NaN}', b""), "bad JSON: NaN is not JSON"),
    (file_of(b'{"x":' + b"9" * 9999 + b"}", b""), "digits|9999|expected dtype"),
    (file_of(DEEP, b""), "bad JSON: .*recursion"),
    (file_of(b'{"x":1,"x":1}', b""), "key 'x' twice"),
    (file_of(b'{"x":{"dtype":"U8","dtype":"U8","shape":[],"data_offsets":[0,1]}}', b"a"),
     "key 'dtype' twice"),
    (file_of(b'{"\\ud800":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}', b"a"), "not Unicode"),
    (file_of({"__metadata__": []}, b""), r"__metadata__ is \[\], expected text -> text"),
    (file_of({"__metadata__": {"a": 1}}, b""), "__metadata__ is {'a': 1}, expected text -> text"),
    (file_of(b'{"__metadata__":{"a":"\\udfff"}}', b""), "__metadata__ .* expected text -> text"),
    (file_of({"x": 1}, b""), "tensor 'x': 1, expected dtype, shape and data_offsets"),
    (file_of({"x": {"dtype": "U8", "shape": [1]}}, b"a"), "tensor 'x': .*expected dtype, shape"),
    (file_of(one("F8_E4M3"), EIGHT), "tensor 'x': dtype 'F8_E4M3', expected one of BOOL, U8,"),
    (file_of(one(["F32"]), EIGHT), r"tensor 'x': dtype \['F32'\], expected one of"),
    (file_of(one(shape=2), EIGHT), "tensor 'x': shape 2, expected at most 32 whole numbers"),
    (file_of(one(shape=[-2]), EIGHT), r"tensor 'x': shape \[-2\], expected"),
    (file_of(one(shape=[-1, -2]), EIGHT), r"tensor 'x': shape \[-1, -2\], expected"),
    (file_of(one(shape=[2.0]), EIGHT), r"tensor 'x': shape \[2.0\], expected"),
    (file_of(one(shape=[2, True]), EIGHT), r"tensor 'x': shape \[2, True\], expected"),
    (file_of(one(shape=["2"]), EIGHT), r"tensor 'x': shape \['2'\], expected"),
    (file_of(one(shape=[2] + [1] * 32), EIGHT), "tensor 'x': shape .*expected at most 32"),
    (file_of(one(shape=[3]), EIGHT), "tensor 'x': data_offsets .* not the size of F32 in shape"),
    (file_of(one(shape=[]), EIGHT), "tensor 'x': data_offsets .* not the size of F32 in shape"),
    (file_of(one(shape=[2**32, 2**32, 2]), EIGHT), "tensor 'x': data_offsets .* not the size"),
    (file_of(one(shape=[2**64 + 2]), EIGHT), "tensor 'x': data_offsets .* not the size"),
    (file_of(one(shape=[0, 2**62, 2**62], offsets=[0, 0]), b""), "tensor 'x': .* too large for an"),
    (file_of(one("U8", [0, 2**63], [0, 0]), b""), "tensor 'x': .* too large for an array"),
    (file_of(one("I16", [0, 2**62], [0, 0]), b""), "tensor 'x': .* too large for an array"),
    (file_of(one(offsets=8), EIGHT), "tensor 'x': data_offsets 8, expected 0 <= begin <= end"),
    (file_of(one(offsets=[8]), EIGHT), r"tensor 'x': data_offsets \[8\], expected"),
    (file_of(one(offsets=[0, 8, 8]), EIGHT), r"tensor 'x': data_offsets \[0, 8, 8\], expected"),
    (file_of(one(offsets=[-8, 0]), EIGHT), r"tensor 'x': data_offsets \[-8, 0\], expected"),
    (file_of(one(offsets=[8, 0]), EIGHT), r"tensor 'x': data_offsets \[8, 0\], expected"),
    (file_of(one(offsets=[0, 8.0]), EIGHT), r"tensor 'x': data_offsets \[0, 8.0\], expected"),
    (file_of(one(), EIGHT[:7]), "tensor 'x': ends at byte 8 of the data, but the file has 7"),
    (file_of(one(offsets=[2**70, 2**70 + 8]), EIGHT), "tensor 'x': ends at byte 11805916"),
    (file_of(one(), EIGHT + b"!"), "1 bytes follow the last tensor, expected none"),
    (file_of({}, b"!"), "1 bytes follow the last tensor, expected none"),
    (file_of(one(offsets=[1, 9]), EIGHT + b"!"), "tensor 'x': begins at byte 1 .* leaves a gap"),
    (file_of(two([0, 3], [4, 8]), EIGHT), "tensor 'y': begins at byte 4 .* expected 3: leaves"),
    (file_of(two([0, 5], [4, 8]), EIGHT), "tensor 'y': begins at byte 4 .* expected 5: overlaps"),
    (file_of(two([0, 8], [0, 8]), EIGHT), "tensor 'y': begins at byte 0 .* expected 8: overlaps"),
    (file_of(two([0, 8], [4, 4]), EIGHT), "tensor 'y': begins at byte 4 .* expected 8: overlaps"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
])
def test_each_fault_is_named(path, raw, message):
    refused(path, raw, message)


def test_the_largest_empty_array_is_read(path):
    put(path, file_of(one("U8", [0, 2**63 - 1], [0, 0]), b""))
    assert read(path)["x"].shape == (0, 2**63 - 1)


def test_a_tensor_of_32_axes_is_read(path):
    put(path, file_of(one(shape=[2] + [1] * 31), EIGHT))
    assert read(path)["x"].shape == (2,) + (1,) * 31


def test_no_memory_is_taken_on_the_word_of_a_file(path):
    claims = [file_of(b"{}", bytes(100), length=90_000_000),
              file_of(one(shape=[2**28], offsets=[0, 2**30]), b""),
              file_of(one(shape=[2**28], offsets=[0, 2**30]), EIGHT)]
    for raw in claims:
        assert traced_peak(lambda: refused(path, raw, "truncated")) < 2**20


def test_long_names_are_quoted_in_part(path):
    refused(path, file_of({"n" * 10**6: {"d" * 10**6: 0}}, b""), r"tensor 'nnn.*nnn': \{'ddd")


class Trap:
    """Opening a pickle of this runs code."""

    def __reduce__(self):
        return os.abort, ()


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", [Trap(), None, {"wte": list(range(500))}])
def test_pickles_are_refused_with_a_way_out(path, protocol, value):
    message = refused(path, pickle.dumps(value, protocol), "a pickle, which runs code when opened")
    assert "torch.load" in message and "safetensors.torch.save_file" in message


# Enough of PyTorch for the recipe, in NumPy: what is loaded here would be loaded there.
STUBS = {"torch.py": """
import pickle

class Tensor:
    def __init__(self, array):
        self.array = array

    def clone(self):
        return Tensor(self.array.copy())

    def contiguous(self):
        return self

def load(name, map_location, weights_only):
    assert map_location == "cpu" and weights_only is True
    with open(name, "rb") as file:
        return pickle.load(file)
""", "safetensors/__init__.py": "", "safetensors/torch.py": """
from minigpt_np.files.safetensors import write

def save_file(tensors, name, metadata):
    write(name, {key: tensor.array for key, tensor in tensors.items()}, metadata)
"""}


@pytest.fixture
def pytorch(tmp_path, monkeypatch):
    """PYTHONPATH with the stubs. Returns a function that pickles name -> array as tensors into a file."""
    for name, source in STUBS.items():
        stub = tmp_path / "stubs" / name
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text(source)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (tmp_path / "stubs", ROOT))))
    spec = importlib.util.spec_from_file_location("torch", tmp_path / "stubs" / "torch.py")
    torch = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(torch)
    monkeypatch.setitem(sys.modules, "torch", torch)
    return lambda arrays: {name: torch.Tensor(array) for name, array in arrays.items()}


def run_recipe(error):
    """What the message says to run, run by a shell as it stands there."""
    command = str(error.value).partition("convert it with PyTorch: ")[2]
    subprocess.run(command.replace("python", shlex.quote(sys.executable), 1), shell=True, check=True)


@pytest.mark.skipif(os.name != "posix", reason="the recipe is for its shells")
@pytest.mark.parametrize("folder", ["model", "a b's \"ü\" $HOME\\n `x`"])
def test_the_recipe_run_as_it_stands_opens_a_pytorch_model_bin(tmp_path, pytorch, folder):
    """In two parts, with the causal masks that old versions stored, beside pickles of another kind."""
    model = GPT(GPTConfig(vocab_size=5, block_size=4, n_layer=2, n_head=2, n_embd=6), seed=3)
    folder = tmp_path / folder
    model.save_pretrained(folder)
    arrays = {name: np.array(array) for name, array in read(folder / "model.safetensors").items()}
    arrays["transformer.h.0.attn.bias"] = np.tri(4, dtype=bool)[None, None]
    (folder / "model.safetensors").unlink()
    names = sorted(arrays)
    for part, some in (("00001", names[::2]), ("00002", names[1::2])):
        tensors = pytorch({name: arrays[name] for name in some})
        (folder / f"pytorch_model-{part}-of-00002.bin").write_bytes(pickle.dumps(tensors))
    (folder / "training_args.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="pytorch_model-00001-of-00002.bin.*a pickle") as error:
        GPT.from_pretrained(folder)
    run_recipe(error)
    opened = GPT.from_pretrained(folder)
    assert opened.config == model.config and np.array_equal(opened.params.flat, model.params.flat)


@pytest.mark.skipif(os.name != "posix", reason="the recipe is for its shells")
def test_the_recipe_run_as_it_stands_opens_nanoGPTs_checkpoint(tmp_path, pytorch):
    """Weights under "model", their names as torch.compile leaves them, sizes under "model_args"."""
    config = GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=3, n_embd=6, activation="gelu_exact")
    state = {name: np.array(array) for name, array in GPT(config, seed=3).params.state_dict().items()
             if not name.endswith(".bias")}
    state |= {name: np.ascontiguousarray(array.T) for name, array in state.items()
              if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))}
    checkpoint = {"model": pytorch({f"_orig_mod.{name}": array for name, array in state.items()}),
                  "optimizer": {"state": {}}, "iter_num": 5, "config": {"compile": True},
                  "model_args": dict(n_layer=1, n_head=3, n_embd=6, block_size=4, vocab_size=5, bias=False,
                                     dropout=0.0)}
    (tmp_path / "ckpt.pt").write_bytes(pickle.dumps(checkpoint))
    with pytest.raises(ValueError, match="ckpt.pt.*a pickle") as error:
        GPT.from_pretrained(tmp_path)
    run_recipe(error)
    opened = GPT.from_pretrained(tmp_path)
    assert opened.config == config
    assert np.array_equal(opened.params.flat, GPT(config, seed=3).params.flat)


def test_zipped_pickles_are_refused_with_a_way_out(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Trap()))
    refused(path, path.read_bytes(), "a pickle, which runs code when opened")


def test_a_file_whose_length_looks_like_a_pickle_is_read(path):
    header = GOLDEN_HEADER.ljust(0x480)                     # its length begins b"\x80\x04"
    put(path, file_of(header, GOLDEN_DATA))
    assert contents(read(path)) == parsed(GOLDEN)
    refused(path, file_of(header, GOLDEN_DATA)[:1000], "truncated")


def test_what_cannot_be_opened_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.safetensors"):
        read(tmp_path / "nothing.safetensors")
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        read(tmp_path)


# Folders

SHARDS = {"a.safetensors": {"y": np.arange(3.0), "x": np.arange(2, dtype="f4")},
          "b.safetensors": {"wte": np.ones((2, 2), "f2")}}


def folder_of(folder, shards=SHARDS, weight_map=None):
    """Write the shards and an index, by default the true one."""
    for shard, arrays in shards.items():
        write(folder / shard, arrays, {"format": "pt", "of": shard})
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
            assert tensors.files[name] == tmp_path / shard
    assert tensors.metadata["format"] == "pt"
    assert len(tensors.mappings) == 2
    out = np.empty((2, 2), np.float32)
    tensors.copy_into("wte", out)
    assert (out == 1).all()


def test_one_file_goes_before_an_index_and_pickles(tmp_path):
    folder_of(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    write(tmp_path / "model.safetensors", {"only": np.zeros(1)})
    assert list(read_folder(tmp_path)) == ["only"]


def test_an_index_goes_before_pickles(tmp_path):
    folder_of(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    assert len(read_folder(tmp_path)) == 3


@pytest.mark.parametrize("name", ["pytorch_model.bin", "ckpt.pt", "model.pth"])
def test_pickles_alone_are_refused_with_a_way_out(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=f"{re.escape(str(tmp_path))}: .*{name}.*torch.load"):
        read_folder(tmp_path)


def test_a_folder_without_weights_and_no_folder_are_the_systems_error(tmp_path):
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(FileNotFoundError, match="model.safetensors"):
            read_folder(folder)


def test_a_missing_shard_is_the_systems_error(tmp_path):
    folder_of(tmp_path)
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="b.safetensors"):
        read_folder(tmp_path)


@pytest.mark.parametrize("shard", [
    "", ".", "..", "../a.safetensors", "/etc/passwd", "sub/a.safetensors", "..\\a.safetensors",
    "C:a.safetensors", "a\0.safetensors"])
def test_shards_lie_in_the_folder(tmp_path, shard):
    index = folder_of(tmp_path, weight_map={"y": "a.safetensors", "x": shard})
    with pytest.raises(ValueError, match=f"{re.escape(str(index))}: tensor 'x': in .*same folder"):
        read_folder(tmp_path)


@pytest.mark.parametrize("weight_map, message", [
    ({"x": "a.safetensors", "wte": "b.safetensors"},
     "a.safetensors: tensor 'y': not expected here, model.safetensors.index.json has it in None"),
    ({"x": "a.safetensors", "y": "b.safetensors", "wte": "b.safetensors"},
     "a.safetensors: tensor 'y': not expected here, .* has it in 'b.safetensors'"),
    ({"x": "a.safetensors", "y": "a.safetensors", "z": "a.safetensors"},
     "a.safetensors: tensor 'z': missing, model.safetensors.index.json expects it here"),
    (["a.safetensors"], r"index.json: weight_map is \['a.safetensors'\], expected tensor -> file"),
    ({"x": 1}, "index.json: weight_map is {'x': 1}, expected tensor -> file")])
def test_shards_that_disagree_with_their_index(tmp_path, weight_map, message):
    folder_of(tmp_path, weight_map=weight_map)
    with pytest.raises(ValueError, match=re.escape(str(tmp_path)) + ".*" + message):
        read_folder(tmp_path)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    shards = {**SHARDS, "c.safetensors": {"wte": np.zeros((2, 2), "f2")}}
    for shard in ("b.safetensors", "c.safetensors"):
        folder_of(tmp_path, shards, {"y": "a.safetensors", "x": "a.safetensors", "wte": shard,
                                     "also": "c.safetensors", "more": "b.safetensors"})
        with pytest.raises(ValueError, match="tensor 'wte': not expected here"):
            read_folder(tmp_path)


@pytest.mark.parametrize("raw, message", [
    (b"", "bad JSON"), (b"[]", r"\[\], expected an object"), (b"{}", "weight_map is None"),
    (b'{"weight_map":{"x":"a","x":"b"}}', "bad JSON: key 'x' twice"), (b"\xff", "bad JSON")])
def test_an_invalid_index_is_refused(tmp_path, raw, message):
    index = tmp_path / "model.safetensors.index.json"
    index.write_bytes(raw)
    with pytest.raises(ValueError, match=f"{re.escape(str(index))}: {message}"):
        read_folder(tmp_path)


def test_an_index_longer_than_a_header_may_be(tmp_path, monkeypatch):
    index = folder_of(tmp_path)
    monkeypatch.setattr(safetensors, "MAX_HEADER", index.stat().st_size - 1)
    with pytest.raises(ValueError, match=f"{re.escape(str(index))}: longer than"):
        read_folder(tmp_path)


# Writing

@pytest.mark.parametrize("tensors, metadata, message", [
    ({"x": np.ma.array([1.0], mask=[True])}, None, "tensor 'x': a masked array given, expected one without"),
    ({"x": [[1], [2, 3]]}, None, "tensor 'x': rows of lengths .1, 2. given"),
    ({"x": np.zeros(1), "y": np.zeros(1, "c16")}, None, "tensor 'y': dtype complex128, expected"),
    ({"x": np.zeros(1, object)}, None, "tensor 'x': dtype object, expected one of BOOL"),
    ({"x": np.zeros(1, "U1")}, None, "tensor 'x': dtype <U1, expected one of"),
    ({"x": np.zeros(1, "V3")}, None, r"tensor 'x': dtype \|V3, expected one of"),
    ({"x": np.zeros(1, [("a", "f4")])}, None, "tensor 'x': dtype .*, expected one of"),
    ({"x": np.zeros(1, "M8[s]")}, None, "tensor 'x': dtype datetime64.*, expected one of"),
    ({3: np.zeros(1)}, None, "tensor 3: expected a name that is Unicode"),
    ({"\ud800": np.zeros(1)}, None, "tensor '.ud800': expected a name that is Unicode"),
    ({"__metadata__": np.zeros(1)}, None, "tensor '__metadata__': expected a name"),
    ({}, {"step": 3}, "metadata is {'step': 3}, expected text -> text"),
    ({}, {3: "step"}, "metadata is {3: 'step'}, expected text -> text"),
    ({}, "step", "metadata is 'step', expected text -> text")])
def test_what_the_format_cannot_hold_is_refused_before_anything_is_written(
        tmp_path, tensors, metadata, message):
    path = tmp_path / "model.safetensors"
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}: {message}"):
        write(path, tensors, metadata)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="NumPy 2's strings")
def test_numpys_own_strings_are_refused(path):
    with pytest.raises(ValueError, match="tensor 'x': dtype StringDType"):
        write(path, {"x": np.zeros(1, np.dtypes.StringDType())})


def test_a_header_may_reach_its_limit_and_not_pass_it(path, monkeypatch):
    write(path, {"x": np.zeros(1)})
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    monkeypatch.setattr(safetensors, "MAX_HEADER", length)
    write(path, {"x": np.zeros(1)})
    assert list(read(path)) == ["x"]
    monkeypatch.setattr(safetensors, "MAX_HEADER", length - 1)
    with pytest.raises(ValueError, match=f"header of {length} bytes, expected at most"):
        write(path, {"x": np.zeros(1)})
    refused(path, raw, f"announces a header of {length} bytes, more than {length - 1}")


def test_a_file_takes_its_place_when_it_is_whole_and_on_the_disk(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    put(path, b"old")
    synced = []

    def fsync(descriptor):
        synced.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))

    def rename(source, target, replace=os.replace):
        assert synced == [(os.stat(source).st_ino, os.stat(source).st_size)]
        assert list(read(source)) == ["x"] and path.read_bytes() == b"old"
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    write(path, {"x": np.arange(10)})
    assert read(path)["x"].tolist() == list(range(10))
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_what_stops_a_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "model.safetensors"
    write(path, {"old": np.zeros(3)})

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(path, {"new": np.zeros(3)})
    assert list(read(path)) == ["old"]
    assert os.listdir(tmp_path) == [path.name]


def test_a_folder_that_is_not_there_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        write(tmp_path / "nothing" / "model.safetensors", {"x": np.zeros(3)})
