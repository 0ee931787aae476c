"""safetensors files, read and written with NumPy and the standard library.

    8 bytes     n, the length of the header: unsigned, little-endian
    n bytes     the header: JSON in UTF-8, padded with spaces to a multiple of 8,
                {"__metadata__": {text: text, ...},
                 name: {"dtype": "F32", "shape": [V, D], "data_offsets": [begin, end]}, ...}
    the rest    the tensors' bytes, C order, little-endian; begin and end count from here

The tensors lie end to end and fill the rest of the file, so every claim of the header can be
checked against the file's size before a number is read, and nothing in the file is ever run.
Source: the format's own description, https://github.com/huggingface/safetensors#format
"""
import json
import math
import mmap
import os
import re
import shlex
import sys
from pathlib import Path

import numpy as np

from ..checks import check_array, show
from .atomic import atomic_write
from .regular import open_regular, read_bytes

# NumPy has no bfloat16. To NumPy these are two bytes without a meaning, so it refuses to compute
# with them or to cast them; as uint16 they would pass for integers, silently.
BFLOAT16 = np.dtype("V2")

# The format's names, in its order of alignment: the last are laid out first in a file.
DTYPES = {
    "BOOL": np.dtype("?"), "U8": np.dtype("u1"), "I8": np.dtype("i1"),
    "I16": np.dtype("<i2"), "U16": np.dtype("<u2"), "F16": np.dtype("<f2"), "BF16": BFLOAT16,
    "I32": np.dtype("<i4"), "U32": np.dtype("<u4"), "F32": np.dtype("<f4"), "C64": np.dtype("<c8"),
    "F64": np.dtype("<f8"), "I64": np.dtype("<i8"), "U64": np.dtype("<u8"),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}

MAX_HEADER = 100_000_000    # bytes; the format's limit
MAX_AXES = 32               # NumPy 1's limit
PIECE = 1 << 20             # bytes of a tensor to copy or write at a time

_SURROGATE = re.compile("[\ud800-\udfff]")


class Tensors(dict):
    """Names to read-only arrays, in file order: views of the mapped file, no number read yet.

    metadata    text -> text, from the header
    files       name -> the file that holds the tensor, for messages
    mappings    the mapped files

    bfloat16 tensors have the dtype BFLOAT16: see `bfloat16_to_float32` and `copy_into`. The arrays
    are the file: replace it (as `write` does), but do not change it in place while they live.
    """

    def __init__(self):
        self.metadata = {}
        self.files = {}
        self.mappings = []

    def copy_into(self, name, out):
        """Copy the tensor into `out`, of the same shape and of any dtype that holds its numbers.

        Each number is copied once, bfloat16 widened on the way. What has been read leaves this
        process's memory again, so that loading a model peaks at little more than the model.
        Raises ValueError, naming file and tensor, if shape or dtype do not fit.
        """
        tensor = self[name]
        where = f"{self.files[name]}: tensor {show(name)}"
        if tensor.shape != out.shape:
            raise ValueError(f"{where}: shape {tensor.shape}, expected {out.shape}")
        dtype = np.dtype("f4") if tensor.dtype == BFLOAT16 else tensor.dtype
        if not np.can_cast(dtype, out.dtype, "same_kind"):
            raise ValueError(f"{where}: dtype {NAMES[tensor.dtype]}, "
                             f"expected one that fits into {out.dtype}")

        tensor, out = np.atleast_1d(tensor, out)
        for rows in _pieces(tensor):
            piece = tensor[rows]
            if piece.dtype == BFLOAT16:
                piece = bfloat16_to_float32(piece)
            np.copyto(out[rows], piece)
            self._release()

    def _release(self):
        """Hand the pages read so far back to the system (they are read again if touched again)."""
        if hasattr(mmap, "MADV_DONTNEED"):      # not on Windows
            for mapping in self.mappings:
                mapping.madvise(mmap.MADV_DONTNEED)


def bfloat16_to_float32(array):
    """A float32 copy of a BFLOAT16 array: bfloat16 is the upper half of a float32's bits."""
    return np.left_shift(array.view("<u2"), 16, dtype=np.uint32).view(np.float32)


def _pieces(array):
    """Slices of the first axis, each of PIECE bytes or of one row, whichever is more."""
    rows = max(1, PIECE * len(array) // max(1, array.nbytes))
    return [slice(start, start + rows) for start in range(0, len(array), rows)]


# Reading

def read(path):
    """Map a safetensors file and return its `Tensors`.

    Only the header is read, and the whole of it is checked first. Raises ValueError, naming file
    and tensor, for anything but a whole and well-formed file, and the OS's own error for a file
    that cannot be opened. The numbers themselves are not looked at: NaN and infinity pass.
    """
    with open_regular(path) as file:
        header, data_start = _read_header(file, path)
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    data = np.frombuffer(mapping, np.uint8)[data_start:]

    tensors = Tensors()
    tensors.mappings.append(mapping)
    metadata = header.pop("__metadata__", None)
    if metadata is not None:
        if not _is_text_map(metadata):
            raise ValueError(f"{path}: __metadata__ is {show(metadata)}, expected text -> text")
        tensors.metadata = metadata
    for name, (dtype, shape, begin, end) in _layout(header, data.size, path):
        tensors[name] = data[begin:end].view(dtype).reshape(shape)
        tensors.files[name] = path
    return tensors


def _read_header(file, path):
    """The header's object, and where in the file the tensors' bytes begin."""
    size = os.fstat(file.fileno()).st_size
    start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    if length > min(size - 8, MAX_HEADER) or start[8:] != b"{":
        raise ValueError(f"{path}: {_what_is_wrong(path, start, length, size)}")
    file.seek(8)
    return _parse(file.read(length), path), 8 + length


def _what_is_wrong(path, start, length, size):
    """Why a file of `size` bytes that begins with `start` is not a safetensors file."""
    if start.startswith((b"PK\x03\x04", b"\x80")) and start[8:] != b"{":
        return f"a pickle, which runs code when opened, and is not read here; {how_to_convert([path])}"
    if start.startswith(b"version "):
        return "a Git LFS pointer, not the file itself: fetch that with `git lfs pull`"
    if size < 8:
        return f"has {size} bytes, expected 8 for the header's length and a header: truncated?"
    if length > MAX_HEADER:
        return f"announces a header of {length} bytes, more than {MAX_HEADER}: no safetensors file?"
    if length > size - 8:
        return f"announces a header of {length} bytes, but only {size - 8} follow: truncated?"
    return f"header begins with {start[8:]}, expected an object: {{...}}"


def how_to_convert(pickles):
    """A shell command that makes a model.safetensors of these files, in their folder, with PyTorch.

    It also takes nanoGPT's ckpt.pt, which has the weights under "model" and the sizes, of which it makes
    the config.json, under "model_args".
    """
    folder = Path(pickles[0]).parent
    names, weights, config = (json.dumps(value, ensure_ascii=False) for value in (
        list(map(str, pickles)), str(folder / "model.safetensors"), str(folder / "config.json")))
    program = (
        "import json, torch, safetensors.torch; "
        f"parts = [torch.load(name, map_location=\"cpu\", weights_only=True) for name in {names}]; "
        "tensors = {k: v.clone().contiguous() for part in parts for k, v in part.get(\"model\", part).items()}; "
        f"safetensors.torch.save_file(tensors, {weights}, {{\"format\": \"pt\"}}); "
        f"[json.dump(part[\"model_args\"], open({config}, \"w\")) for part in parts if \"model_args\" in part]")
    return f"if you trust it, convert it with PyTorch: python -c {shlex.quote(program)}"


def _parse(raw, path):
    """The JSON object in the bytes `raw`."""
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: bad JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {show(value)}, expected an object: {{...}}")
    return value


def _unique(pairs):
    """A JSON object as a dict, if no key comes twice."""
    fields = {}
    for key, value in pairs:
        if key in fields or not _is_text(key):
            raise ValueError(f"key {show(key)} " + ("twice" if key in fields else "is not Unicode"))
        fields[key] = value
    return fields


def _no_constant(name):
    raise ValueError(f"{name} is not JSON")


def _layout(header, room, path):
    """[(name, (dtype, shape, begin, end)), ...] in file order, which fill `room` bytes exactly."""
    checked = [(name, _check_tensor(f"{path}: tensor {show(name)}", info, room))
               for name, info in header.items()]
    checked.sort(key=lambda entry: entry[1][2:])
    reached = 0
    for name, (_, _, begin, end) in checked:
        if begin != reached:
            fault = "overlaps the tensor before it" if begin < reached else "leaves a gap before it"
            raise ValueError(f"{path}: tensor {show(name)}: begins at byte {begin} of the data, "
                             f"expected {reached}: {fault}")
        reached = end
    if reached != room:
        raise ValueError(f"{path}: {room - reached} bytes follow the last tensor, expected none")
    return checked


def _check_tensor(where, info, room):
    """One entry of a header as (dtype, shape, begin, end)."""
    if not isinstance(info, dict) or not {"dtype", "shape", "data_offsets"} <= info.keys():
        raise ValueError(f"{where}: {show(info)}, expected dtype, shape and data_offsets")
    name, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    if not isinstance(name, str) or name not in DTYPES:
        raise ValueError(f"{where}: dtype {show(name)}, expected one of {', '.join(DTYPES)}")
    if not _is_sizes(shape) or len(shape) > MAX_AXES:
        raise ValueError(f"{where}: shape {show(shape)}, expected at most {MAX_AXES} "
                         "whole numbers of at least 0")
    if not _is_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"{where}: data_offsets {show(offsets)}, expected 0 <= begin <= end")
    begin, end = offsets
    if end > room:
        raise ValueError(f"{where}: ends at byte {show(end)} of the data, "
                         f"but the file has {room}: truncated?")
    dtype = DTYPES[name]
    if math.prod(shape) * dtype.itemsize != end - begin:
        raise ValueError(f"{where}: data_offsets {offsets} are not the size of "
                         f"{name} in shape {show(shape)}")
    if math.prod(max(1, n) for n in shape) * dtype.itemsize > sys.maxsize:     # [0, 2**62, 2**62]
        raise ValueError(f"{where}: shape {show(shape)} is too large for an array")
    return dtype, shape, begin, end


def _is_sizes(value):
    """Whether a JSON value is a list of whole numbers of at least 0 (true and 1.0 are not)."""
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _is_text(value):
    """Whether it is a string that UTF-8 can hold: JSON can spell halves of surrogate pairs."""
    return isinstance(value, str) and not _SURROGATE.search(value)


def _is_text_map(value):
    """Whether it is a dict of strings to strings."""
    return isinstance(value, dict) and all(map(_is_text, [*value.keys(), *value.values()]))


# A folder, as Hugging Face lays it out

def read_folder(folder):
    """The `Tensors` of model.safetensors in `folder`, or else of all the shards that
    model.safetensors.index.json lists, as one.

    Each shard must hold exactly the tensors that the index expects in it, and lie in the folder.
    Raises ValueError as `read` does, and if there are pickles only; the OS's own error for a
    folder or file that is not there.
    """
    folder = Path(folder)
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if index.exists() and not single.exists():
        return _read_shards(folder, index)
    pickles = sorted(p for p in folder.glob("*") if p.suffix in (".bin", ".pt", ".pth"))
    if pickles and not single.exists():
        # beside pytorch_model.bin lie an optimizer's state and the like
        pickles = [p for p in pickles if p.name.startswith("pytorch_model")] or pickles[:1]
        raise ValueError(f"{folder}: no model.safetensors, but {show([p.name for p in pickles])}: a pickle, which "
                         f"runs code when opened, and is not read here; {how_to_convert(pickles)}")
    return read(single)


def _read_shards(folder, index):
    shard_of = _parse(read_bytes(index, MAX_HEADER), index).get("weight_map")
    if not _is_text_map(shard_of):
        raise ValueError(f"{index}: weight_map is {show(shard_of)}, expected tensor -> file name")
    for name, shard in shard_of.items():
        if shard in ("", ".", "..") or set(shard) & set("/\\:\0"):
            raise ValueError(f"{index}: tensor {show(name)}: in {show(shard)}, "
                             "expected the name of a file in the same folder")

    combined = Tensors()
    for shard in sorted(set(shard_of.values())):
        tensors = read(folder / shard)
        for name in tensors:
            if shard_of.get(name) != shard:
                raise ValueError(f"{folder / shard}: tensor {show(name)}: not expected here, "
                                 f"{index.name} has it in {show(shard_of.get(name))}")
        combined.update(tensors)
        combined.metadata.update(tensors.metadata)
        combined.files.update(tensors.files)
        combined.mappings += tensors.mappings
    for name, shard in shard_of.items():
        if name not in combined:
            raise ValueError(f"{folder / shard}: tensor {show(name)}: missing, {index.name} "
                             "expects it here")
    return combined


# Writing

def write(path, tensors, metadata=None):
    """Write `tensors` (name -> array of a dtype in DTYPES) and `metadata` (text -> text) to `path`.

    The bytes are those that the reference library writes. Whatever happens meanwhile, `path` is the
    old file or the new one, whole. Raises ValueError for a masked array, and for a name, dtype or
    metadata that the format cannot hold; then nothing is written.
    """
    with atomic_write(path) as file:
        write_into(file, path, tensors, metadata)


def write_into(file, path, tensors, metadata=None):
    """The same into a file that is open already, and is to be called `path`."""
    arrays = {name: check_array(f"{path}: tensor {show(name)}", array) for name, array in tensors.items()}
    header, order = _header(path, arrays, {} if metadata is None else metadata)
    file.write(len(header).to_bytes(8, "little"))
    file.write(header)
    for name in order:
        array = np.atleast_1d(arrays[name])
        for rows in _pieces(array):         # copied only if strided or big-endian
            file.write(np.ascontiguousarray(array[rows], array.dtype.newbyteorder("<")))


def _header(path, arrays, metadata):
    """The header's bytes, and the names in the order in which the arrays follow it."""
    if not _is_text_map(metadata):
        raise ValueError(f"{path}: metadata is {show(metadata)}, expected text -> text")
    for name, array in arrays.items():
        if not _is_text(name) or name == "__metadata__":
            raise ValueError(f"{path}: tensor {show(name)}: expected a name that is Unicode text "
                             "and not __metadata__")
        if array.dtype.kind not in "biufcV" or array.dtype.newbyteorder("<") not in NAMES:
            raise ValueError(f"{path}: tensor {show(name)}: dtype {array.dtype}, "
                             f"expected one of {', '.join(DTYPES)}")

    dtypes = {name: NAMES[array.dtype.newbyteorder("<")] for name, array in arrays.items()}
    rank = {dtype: -i for i, dtype in enumerate(DTYPES)}
    order = sorted(arrays, key=lambda name: (rank[dtypes[name]], name))
    header, begin = {"__metadata__": metadata} if metadata else {}, 0
    for name in order:
        array = arrays[name]
        header[name] = {"dtype": dtypes[name], "shape": list(array.shape),
                        "data_offsets": [begin, begin + array.nbytes]}
        begin += array.nbytes
    raw = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    if len(raw) > MAX_HEADER:
        raise ValueError(f"{path}: header of {len(raw)} bytes, expected at most {MAX_HEADER}")
    return raw, order
