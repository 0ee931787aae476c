"""Models from and to folders in Hugging Face's layout: config.json beside model.safetensors.

Three families lie under the same names. Ours are on the left of MODULES, theirs on the right.

    transformers, gpt2 and openai-gpt   y = x W + b, W (D_in, D_out) as here: "Conv1D"
    minGPT                              nn.Linear, y = x Wᵀ + b: every such W lies transposed
    nanoGPT                             the same, with the exact GELU; trained with bias=False it has
                                        no bias at all

Which one a file is from, every size but the number of heads, and whether the two embeddings are
tied is read off its tensors; a config.json, where there is one, must agree. It may be any of theirs:
minGPT's has a preset for model_type, nanoGPT's model_args have block_size, bias and dropout.
Sources: transformers' models/gpt2 and models/openai, minGPT's and nanoGPT's model.py.
"""
import hashlib
import json
import re
import time
import warnings
from pathlib import Path

import numpy as np

from . import safetensors
from ..checks import check_dtype, check_flag, check_rate, show
from ..config import PRESETS, GPTConfig
from ..parameters import Parameters, shapes
from .atomic import folder_lock, whole_files
from .names import MODEL_TYPES, NORMS, short_name, state_dict
from .regular import read_bytes

ARCHITECTURES = {"gpt2": "GPT2LMHeadModel", "openai-gpt": "OpenAIGPTLMHeadModel"}

# Not weights: the causal mask and the positions' numbers, as older versions stored them.
BUFFERS = re.compile(r"h\.[0-9]+\.attn\.(bias|masked_bias)|position_ids")

# config.json's names for our activations, the one to write first. GELU's tanh approximation has three;
# openai-gpt's "gelu" is that, too (transformers' modeling_openai.py, ACT_FNS), and it has no exact one.
ACTIVATIONS = {
    "gpt2": ("activation_function", {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh",
                                     "gelu_fast": "gelu_tanh", "gelu": "gelu_exact"}),
    "openai-gpt": ("afn", {"gelu": "gelu_tanh"}),
}

# Other fields that change the arithmetic, and the values under which it is ours; the first one is meant
# where the field is missing.
ARITHMETIC = {
    "gpt2": {"scale_attn_weights": (True,), "scale_attn_by_inverse_layer_idx": (False,),
             "reorder_and_upcast_attn": (False,), "add_cross_attention": (False,)},
    "openai-gpt": {},
}
ALIASES = {"max_position_embeddings": "n_positions", "block_size": "n_positions", "hidden_size": "n_embd",
           "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}
DROPOUTS = ("embd_pdrop", "attn_pdrop", "resid_pdrop")

MAX_CONFIG = 1 << 20        # bytes of config.json
STAMP = "minigpt_np"        # in config.json and in the weights' metadata: which of them belong together
WAITS = (0.01, 0.03, 0.1, 0.3, 0.6)     # seconds that another program is given to finish saving


# Writing

def save(params, folder):
    """Write the model of `params` to `folder`, created if needed: see GPT.save_pretrained."""
    dtype = params.flat.dtype
    if dtype not in (np.float16, np.float32, np.float64):
        raise ValueError(f"model: numbers of {dtype} given, expected float16, float32 or float64")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = state_dict(params)
    if params.config.tie_embeddings:
        del tensors["lm_head.weight"]       # each number once

    # Two programs may write this folder at once, and one may be stopped between the two files. The stamp
    # is of the config: where it is the same, either's weights are right under it.
    fields = config_to_json(params.config)
    stamp = hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:16]
    weights = folder / "model.safetensors"
    with whole_files(weights, folder / "config.json") as (weights_file, config_file):
        config_file.write(json.dumps(fields | {STAMP: stamp}, indent=2).encode() + b"\n")
        safetensors.write_into(weights_file, weights, tensors, {"format": "pt", STAMP: stamp})


def config_to_json(config):
    """config.json's object, with transformers' names for our fields."""
    model_type = MODEL_TYPES[config.norm]
    field, names = ACTIVATIONS[model_type]
    if config.activation not in names.values():
        raise ValueError(f"activation: {config.activation!r} given, expected "
                         f"{' or '.join(map(repr, names.values()))}, as files of a {model_type} have it")
    fields = {
        "architectures": [ARCHITECTURES[model_type]],
        "model_type": model_type,
        "vocab_size": config.vocab_size,
        "n_positions": config.block_size,
        "n_embd": config.n_embd,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        field: next(name for name in names if names[name] == config.activation),
        "layer_norm_epsilon": config.layer_norm_eps,
        **{name: getattr(config, name) for name in DROPOUTS},
        "tie_word_embeddings": config.tie_embeddings,
    }
    if config.vocab_size != 50257:      # transformers would take GPT-2's <|endoftext|>, 50256
        fields |= {"bos_token_id": None, "eos_token_id": None}
    return fields


# Reading. Every check comes first, on shapes alone; then the one allocation, then the numbers.

def load(folder, n_head=None, dtype=np.float32):
    """The Parameters in `folder`: see GPT.from_pretrained."""
    dtype = check_dtype("dtype", dtype)
    folder = Path(folder)
    tensors, fields = open_folder(folder)
    file_names = find_weights(tensors)
    single = folder / "model.safetensors"
    source = single if single.exists() else folder / "model.safetensors.index.json"
    config = find_config(folder / "config.json", fields, source, tensors, file_names, n_head)
    names = match_names(folder / "config.json", fields, source, tensors, file_names, config)
    transposed = find_transposed(source, tensors, names, config)

    if fields.get("tie_word_embeddings") and not config.tie_embeddings:
        warnings.warn(f"{folder / 'config.json'}: tie_word_embeddings is true, but {source} has two matrices of "
                      "different numbers: both are used", stacklevel=3)
    params = Parameters(config, dtype)
    for name, array in params.named().items():
        if name not in names:       # a bias that the file does without
            continue
        tensors.copy_into(names[name], array.T if transposed and name.endswith(".W") else array)
        if not is_finite(array):
            warnings.warn(f"{tensors.files[names[name]]}: tensor {show(names[name])}: "
                          "holds NaN or infinity", stacklevel=3)
    return params


def open_folder(folder):
    """The Tensors in a folder and the fields of its config.json, {} where there is none: both of one save."""
    path = folder / "config.json"
    for wait in (*WAITS, None):
        with folder_lock(folder):           # nobody moves a file into the folder between the two openings
            tensors = safetensors.read_folder(folder)
            fields = read_config(path) if path.exists() else {}
        stamps = tensors.metadata.get(STAMP), fields.get(STAMP)
        if None in stamps or stamps[0] == stamps[1]:
            return tensors, fields
        if wait is not None:                # where there are no locks, or a writer is between its two files
            time.sleep(wait)
    raise ValueError(f"{path}: is of another model than {folder / 'model.safetensors'}: two programs save to this "
                     f"folder, or one was stopped while it did. Expected the two files of one saving: save again "
                     f"(or delete {STAMP!r} from config.json, if you know that they belong together)")


def find_weights(tensors):
    """Short name -> name in the file, of all tensors that are weights."""
    file_names = {}
    for name in tensors:
        short = shortened(name)
        if short in file_names:
            raise ValueError(f"{tensors.files[name]}: tensor {show(name)}: there is "
                             f"{show(file_names[short])} too, expected one of them")
        if not BUFFERS.fullmatch(short):
            file_names[short] = name
    # safetensors' save_model keeps one name of a tied matrix, and notes: the other -> the one it kept
    for name, kept in tensors.metadata.items():
        if kept in tensors:
            file_names.setdefault(shortened(name), kept)
    return file_names


def shortened(name):
    """A tensor's name without what PyTorch and nanoGPT's compiled models put before it."""
    return name.removeprefix("_orig_mod.").removeprefix("transformer.")


def find_config(path, fields, source, tensors, file_names, n_head):
    """The GPTConfig that the file's shapes and config.json, if any, agree on."""
    model_type = fields.get("model_type", "openai-gpt" if "tokens_embed.weight" in file_names else "gpt2")
    if model_type not in ("gpt2", "openai-gpt"):
        raise ValueError(f"{path}: model_type is {show(model_type)}, "
                         "expected 'gpt2' or 'openai-gpt', or the name of one of minGPT's presets")

    E, P = (short_name(name, model_type) for name in "EP")
    V, D = matrix_shape(source, tensors, file_names, E)
    positions, _ = matrix_shape(source, tensors, file_names, P)
    blocks = len({name.split(".")[1] for name in file_names if re.match(r"h\.[0-9]+\.", name)})
    L = fields.get("n_layer", blocks)
    if type(L) is not int or not 0 <= L <= len(file_names):      # before there is a loop to L
        raise ValueError(f"{path}: n_layer is {show(L)}, but {source} has {blocks} blocks")
    expected = {"vocab_size": (V,), "n_positions": (positions,), "n_embd": (D,),
                "n_inner": (None, 4 * D), **ARITHMETIC[model_type]}
    field, names = ACTIVATIONS[model_type]
    expected[field] = (default_activation(model_type, fields, file_names), *names)
    for field, values in expected.items():
        if fields.get(field, values[0]) not in values:
            raise ValueError(f"{path}: {field} is {show(fields[field])}, "
                             f"expected {' or '.join(map(repr, values))} (to read {source})")
    try:
        return GPTConfig(
            vocab_size=V, block_size=positions, n_layer=L, n_embd=D, norm=NORMS[model_type],
            n_head=find_n_head(fields, n_head), activation=names[fields.get(field, expected[field][0])],
            tie_embeddings=is_tied(source, tensors, file_names, E, fields),
            layer_norm_eps=fields.get("layer_norm_epsilon", 1e-5),
            **{name: fields.get(name, 0.0) for name in DROPOUTS})
    except ValueError as error:
        raise ValueError(f"{path if fields else source}: {error}") from None


def default_activation(model_type, fields, file_names):
    """config.json's name for the activation of a file that does not name one.

    nanoGPT's, recognised by the field `bias` of its model_args or by having no biases, is the exact GELU.
    """
    is_nanogpt = model_type == "gpt2" and ("bias" in fields or not any(name.endswith(".bias") for name in file_names))
    return "gelu" if is_nanogpt or model_type == "openai-gpt" else "gelu_new"


def read_config(path):
    """config.json's object: nulls left out, aliases resolved, dropouts by default 0.1 as theirs."""
    raw = read_bytes(path, MAX_CONFIG)
    try:
        fields = json.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON in UTF-8: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"{path}: {show(fields)}, expected an object: {{...}}")
    if isinstance(fields.get("model"), dict) and "n_layer" not in fields:       # minGPT's, of a whole run
        fields = fields["model"]
    fields = {field: value for field, value in fields.items() if value is not None}
    preset = fields.get("model_type")
    if isinstance(preset, str) and preset in PRESETS and preset not in NORMS:
        fields = PRESETS[preset] | fields | {"model_type": "gpt2"}      # minGPT's are all of its architecture
    if "dropout" in fields:         # nanoGPT's one for all three
        fields = dict.fromkeys(DROPOUTS, check_rate(f"{path}: dropout", fields["dropout"])) | fields
    for alias, field in ALIASES.items():
        if alias in fields and fields.setdefault(field, fields[alias]) != fields[alias]:
            raise ValueError(f"{path}: {alias} is {show(fields[alias])}, "
                             f"but {field} {show(fields[field])}")
    for field in ("bias", "tie_word_embeddings"):
        check_flag(f"{path}: {field}", fields.get(field, False))
    return dict.fromkeys(DROPOUTS, 0.1) | fields


def find_n_head(fields, n_head):
    """H: what config.json says, or else what the caller does."""
    if n_head is None and "n_head" not in fields:
        raise ValueError("n_head: not given, and there is no config.json with it; the tensors are "
                         "the same for any number of heads, so expected "
                         "from_pretrained(folder, n_head=...)")
    if n_head is not None and fields.get("n_head", n_head) != n_head:
        raise ValueError(f"n_head: {n_head!r} given, but the file has {show(fields['n_head'])}")
    return fields.get("n_head", n_head)


def matrix_shape(source, tensors, file_names, short):
    """The two sizes of an embedding."""
    if short not in file_names:
        raise ValueError(f"{source}: tensor {show(short)}: missing")
    shape = tensors[file_names[short]].shape
    if len(shape) != 2:
        raise ValueError(f"{tensors.files[file_names[short]]}: tensor {show(file_names[short])}: "
                         f"shape {shape}, expected a matrix")
    return shape


def is_tied(source, tensors, file_names, E, fields):
    """Whether E is the head: if the file has no other head, or one that is E bit for bit; but an explicit
    false in config.json keeps equal matrices apart."""
    says = fields.get("tie_word_embeddings")
    if "lm_head.weight" not in file_names:
        if says is False:
            raise ValueError(f"{source}: tensor 'lm_head.weight': missing, but config.json has "
                             "tie_word_embeddings false")
        return True
    if says is False:
        return False
    E, head = tensors[file_names[E]], tensors[file_names["lm_head.weight"]]
    rows = 1024                             # at a time
    return E.dtype == head.dtype and E.shape == head.shape and all(
        E[i:i + rows].tobytes() == head[i:i + rows].tobytes() for i in range(0, len(E), rows))


def match_names(path, fields, source, tensors, file_names, config):
    """Our name -> name in the file. A file without any bias is nanoGPT's: they are all 0."""
    model_type = MODEL_TYPES[config.norm]
    short = {name: short_name(name, model_type) for name in shapes(config)}
    biases = {name for name in short if name.endswith((".b", ".bias"))}
    has_biases = any(short[name] in file_names for name in biases)
    if fields.get("bias", has_biases) != has_biases:
        raise ValueError(f"{path}: bias is {fields['bias']}, but {source} has {'' if has_biases else 'no '}biases")
    if not has_biases:
        short = {name: short[name] for name in short if name not in biases}

    expected = f"expected a {model_type} with n_layer = {config.n_layer}"
    missing = [name for name in short.values() if name not in file_names]
    if missing:
        raise ValueError(f"{source}: tensor {show(missing[0])}: missing{and_more(missing)}; "
                         + expected)
    extra = [file_names[name] for name in file_names.keys() - short.values() - {"lm_head.weight"}]
    if extra:
        raise ValueError(f"{tensors.files[min(extra)]}: tensor {show(min(extra))}: "
                         f"not expected{and_more(extra)}; " + expected)
    return {name: file_names[short[name]] for name in short}


def and_more(names):
    return f", and {len(names) - 1} more" if len(names) > 1 else ""


def find_transposed(source, tensors, names, config):
    """Whether each linear layer's W lies transposed, as nn.Linear has it. Checks shapes and dtypes.

    (D, 3D) or (3D, D) tells, D x D does not: those that tell must agree on how the others lie.
    """
    ways = {}       # whether transposed -> a tensor that shows it
    for name, shape in shapes(config).items():
        if name not in names:
            continue
        tensor = tensors[names[name]]
        where = f"{tensors.files[names[name]]}: tensor {show(names[name])}"
        expected = {shape, shape[::-1]} if name.endswith(".W") else {shape}
        if tensor.shape not in expected:
            raise ValueError(f"{where}: shape {tensor.shape}, expected "
                             + " or ".join(map(str, sorted(expected))))
        dtype = safetensors.NAMES[tensor.dtype]
        if dtype not in ("F16", "BF16", "F32", "F64"):
            raise ValueError(f"{where}: dtype {dtype}, expected F32, F16 or BF16")
        if len(expected) == 2:
            ways[tensor.shape != shape] = names[name]
    if len(ways) == 2:
        raise ValueError(f"{source}: tensor {show(ways[True])}: lies (D_out, D_in) as nn.Linear "
                         f"has it, but {show(ways[False])} (D_in, D_out): how the square ones lie "
                         "cannot be known")
    return True in ways


def is_finite(array):
    """Whether no number is NaN or infinite. A finite sum shows it, with nothing allocated."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())
