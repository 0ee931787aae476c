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
import shlex
from pathlib import Path

import numpy as np

from ..checks import check_array, check_path, check_utf8, show
from .atomic import atomic_write

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

METADATA = "__metadata__"

PICKLE = "a pickle, which runs code when opened, and is not read here"


def widened(tensor):
    """The tensor; a BFLOAT16 one as a float32 copy, of whose bits bfloat16 is the upper half."""
    if tensor.dtype != BFLOAT16:
        return tensor
    return np.left_shift(tensor.view("<u2"), 16, dtype=np.uint32).view(np.float32)


# Reading

def read(path, metadata=None):
    """Map a safetensors file: name -> read-only array, in file order, no number read yet.

    metadata   a dict to which the file's own, text -> text, is added
    The arrays are views of the file: replace it (as `write` does), but do not change it in place
    while they live. bfloat16 tensors have the dtype BFLOAT16: see `widened`. NaN and infinity pass.
    Raises ValueError, naming the file and the tensor, for anything but a complete and well-formed
    file, and the OS's own error for a file that cannot be opened.
    """
    with open(check_path("path", path), "rb") as file:
        start, size = file.read(9), os.fstat(file.fileno()).st_size
        length = int.from_bytes(start[:8], "little")
        if length > size - 8 or start[8:] != b"{":
            raise ValueError(f"{path}: {what_is_wrong(path, start, length, size)}")
        file.seek(8)
        header = read_object(path, file.read(length))
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    data = np.frombuffer(mapping, np.uint8)[8 + length:]

    of_file = header.pop(METADATA, None)
    if metadata is not None and isinstance(of_file, dict):
        metadata.update(of_file)
    for name, info in header.items():
        if not is_entry(info):
            raise ValueError(f"{path}: tensor {show(name)}: {show(info)}, expected a dtype of "
                             f"{', '.join(DTYPES)}, a shape, and data_offsets")
    tensors, reached = {}, 0
    for name, info in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape, offsets = DTYPES[info["dtype"]], info["shape"], info["data_offsets"]
        begin, reached = reached, reached + math.prod(shape) * dtype.itemsize
        where = f"{path}: tensor {show(name)}"
        if offsets != [begin, reached]:
            raise ValueError(f"{where}: data_offsets {show(offsets)}, expected {[begin, reached]} "
                             f"for {info['dtype']} in shape {show(shape)}, after the one before it")
        if reached > data.size:
            raise ValueError(f"{where}: ends at byte {reached} of the data, "
                             f"but the file has {data.size}: truncated?")
        tensors[name] = data[begin:reached].view(dtype).reshape(shape)
    if reached != data.size:
        raise ValueError(f"{path}: {data.size - reached} bytes follow the last tensor")
    return tensors


def what_is_wrong(path, start, length, size):
    """Why a file of `size` bytes that begins with `start` is not a safetensors file."""
    if start[8:] == b"{":
        return f"announces a header of {length} bytes, but only {size - 8} follow: truncated?"
    if start.startswith((b"PK\x03\x04", b"\x80")):
        return f"{PICKLE}; {how_to_convert([path])}"
    if start.startswith(b"version "):
        return "a Git LFS pointer, not the file itself: fetch that with `git lfs pull`"
    return f"begins with {start}, expected a header's length and the header: no safetensors file?"


def how_to_convert(pickles):
    """A shell command that makes a model.safetensors of these files, in their folder, with PyTorch.

    It also takes nanoGPT's ckpt.pt, which has the weights under "model" and, under "model_args",
    the sizes, of which it makes the config.json.
    """
    program = (
        "import json, sys, torch, safetensors.torch; weights, config, *names = sys.argv[1:]; "
        "parts = [torch.load(name, map_location=\"cpu\", weights_only=True) for name in names]; "
        "tensors = {k: v.clone().contiguous() for part in parts "
        "for k, v in part.get(\"model\", part).items()}; "
        "safetensors.torch.save_file(tensors, weights, {\"format\": \"pt\"}); "
        "[json.dump(part[\"model_args\"], open(config, \"w\")) "
        "for part in parts if \"model_args\" in part]")
    folder = Path(pickles[0]).parent
    files = folder / "model.safetensors", folder / "config.json", *pickles
    command = shlex.join(["python", "-c", program, *map(str, files)])
    return f"if you trust it, convert it with PyTorch: {command}"


def read_object(path, raw=None):
    """The JSON object in a file, or in `raw`, a part of its bytes."""
    raw = path.read_bytes() if raw is None else raw
    try:
        value = json.loads(raw.decode("utf-8-sig"))         # some editors put a mark first
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON in UTF-8: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {show(value)}, expected an object: {{...}}")
    return value


def is_entry(info):
    """Whether a JSON value has a tensor's dtype, shape and data_offsets."""
    return (isinstance(info, dict) and info.get("dtype") in list(DTYPES)
            and is_sizes(info.get("shape")) and is_sizes(info.get("data_offsets")))


def is_sizes(value):
    """Whether a JSON value is a list of whole numbers of at least 0 (true and 1.0 are not)."""
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


# A folder, as Hugging Face lays it out

def find_weights(folder):
    """The path of model.safetensors in `folder`, or else of model.safetensors.index.json, the list
    of its shards. Raises ValueError if there are only pickles.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if index.exists() and not single.exists():
        return index
    pickles = sorted(p for p in folder.glob("*") if p.suffix in (".bin", ".pt", ".pth"))
    if pickles and not single.exists():
        # beside pytorch_model.bin lie an optimizer's state and the like
        pickles = [p for p in pickles if p.name.startswith("pytorch_model")] or pickles[:1]
        raise ValueError(f"{folder}: no model.safetensors, but {show([p.name for p in pickles])}: "
                         f"{PICKLE}; {how_to_convert(pickles)}")
    return single


def read_folder(folder, metadata=None):
    """The tensors of a folder, all shards as one, and the metadata of one file: see `read`.

    Raises ValueError as `read` and `find_weights` do, and unless the shards have the tensors that
    their index lists; the OS's own error for a folder or file that is not there.
    """
    path = find_weights(check_path("folder", folder))
    if path.suffix != ".json":
        return read(path, metadata)
    shard_of = read_object(path).get("weight_map")
    if not isinstance(shard_of, dict) or not all(isinstance(s, str) for s in shard_of.values()):
        raise ValueError(f"{path}: weight_map is {show(shard_of)}, expected tensor -> file name")
    tensors = {}
    for shard in sorted(set(shard_of.values())):
        if Path(shard).name != shard:
            raise ValueError(f"{path}: {show(shard)}, expected the name of a file in that folder")
        tensors.update(read(path.parent / shard))
    if odd := sorted(shard_of.keys() ^ tensors.keys()):
        problem = "in no shard" if odd[0] in shard_of else "in a shard, but not in this index"
        raise ValueError(f"{path}: tensor {show(odd[0])}: {problem}")
    return tensors


# Writing

def write(path, tensors, metadata=None):
    """Write `tensors` (name -> array of a dtype in DTYPES) and `metadata` (text -> text) to `path`,
    atomically.

    The bytes are those that the reference library writes for PyTorch. Raises ValueError, before
    anything is written, for a name that is not text or is the header's own, a masked array, or a
    dtype that the format does not have.
    """
    tensors, dtypes = dict(tensors), {}
    for name, values in tensors.items():
        where = f"{path}: tensor {show(name)}"
        if check_utf8(where, name) == METADATA:
            raise ValueError(f"{where}: given, expected any other name")
        tensors[name] = array = check_array(where, values)
        dtypes[name] = NAMES.get(array.dtype.newbyteorder("<"))
        if dtypes[name] is None:
            raise ValueError(f"{where}: dtype {array.dtype}, expected one of {', '.join(DTYPES)}")
    order = sorted(tensors, key=lambda name: (-list(DTYPES).index(dtypes[name]), name))
    header, begin = {METADATA: {"format": "pt"} | (metadata or {})}, 0  # transformers asks for pt
    for name in order:
        end = begin + tensors[name].nbytes
        header[name] = {"dtype": dtypes[name], "shape": list(tensors[name].shape),
                        "data_offsets": [begin, end]}
        begin = end
    raw = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    with atomic_write(path) as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        for name in order:              # copied only if strided or big-endian
            file.write(np.ascontiguousarray(tensors[name], DTYPES[dtypes[name]]))
