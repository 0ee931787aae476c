"""Models from and to folders in Hugging Face's layout: config.json beside model.safetensors.

Three families of files use the same names. Ours are on the left of MODULES, theirs on the right.

    transformers, gpt2 and openai-gpt   y = x W + b, W (D_in, D_out) as here: "Conv1D"
    minGPT                              nn.Linear, y = x Wᵀ + b: every such W is stored transposed
    nanoGPT                             the same, with the exact GELU; trained with bias=False
                                        it has no bias at all

Which one a file is from, every size but the number of heads, and whether the two embeddings are
tied is read off its tensors; a config.json, where there is one, must agree. It may be any of
theirs: minGPT's has a preset for model_type, nanoGPT's model_args have block_size, bias and
dropout. Without it a file with biases is taken for minGPT's or transformers': its GELU is the
tanh approximation. Sources: transformers' models/gpt2 and models/openai, minGPT's and nanoGPT's
model.py.
"""
import hashlib
import json
import os
import re
import warnings

import numpy as np

from . import safetensors
from ..checks import check_choice, check_dtype, check_flag, check_path, check_size, show
from ..config import PRESETS, GPTConfig
from ..parameters import Parameters, shapes
from .atomic import atomic_write
from .names import MODEL_TYPES, NORMS, short_name, state_dict

ARCHITECTURES = {"gpt2": "GPT2LMHeadModel", "openai-gpt": "OpenAIGPTLMHeadModel"}

# Not weights: the causal mask and the positions' numbers, as older versions stored them.
BUFFERS = re.compile(r"h\.[0-9]+\.attn\.(bias|masked_bias)|position_ids")

# config.json's names for our activations, the one to write first. GELU's tanh approximation has
# three; openai-gpt's "gelu" is that, too (transformers' modeling_openai.py, ACT_FNS), and it has
# no exact one.
ACTIVATIONS = {
    "gpt2": ("activation_function", {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh",
                                     "gelu_fast": "gelu_tanh", "gelu": "gelu_exact"}),
    "openai-gpt": ("afn", {"gelu": "gelu_tanh"}),
}

# Fields of a gpt2 that change the arithmetic, with their defaults, which this package computes.
ARITHMETIC = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False,
              "reorder_and_upcast_attn": False, "add_cross_attention": False}
MINGPT = [name for name in PRESETS if name not in NORMS]        # its model_type, always a gpt2
DROPOUTS = ("embd_pdrop", "attn_pdrop", "resid_pdrop")

STAMP = "minigpt_np"        # a hash of the config: in config.json and in the weights' metadata
HEAD = "lm_head.weight"


# Writing

def save(params, config, folder):
    """Write a model to `folder`, created if needed: see GPT.save_pretrained."""
    folder, dtype = check_path("folder", folder), params.flat.dtype
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"model: numbers of {dtype} given, expected float32 or float64")
    fields = config_to_json(config)
    stamp = {STAMP: hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:16]}
    folder.mkdir(parents=True, exist_ok=True)
    tensors = state_dict(params)
    if config.tie_embeddings:
        del tensors[HEAD]                   # each number once
    with atomic_write(folder / "config.json") as file:      # moved into place after the weights
        file.write(json.dumps(fields | stamp, indent=2).encode() + b"\n")
        safetensors.write(folder / "model.safetensors", tensors, stamp)


def config_to_json(config):
    """config.json's object, with transformers' names for our fields."""
    model_type = MODEL_TYPES[config.norm]
    field, names = ACTIVATIONS[model_type]
    check_choice(f"activation in files of {model_type}", config.activation, names.values())
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
    n_head = None if n_head is None else check_size("n_head", n_head)
    files = ModelFiles(check_path("folder", folder))
    config = files.config(n_head)
    tensors = files.tensors_of(config)
    transposed = files.check_layout(tensors, config)
    if files.says_tied and not config.tie_embeddings:
        warnings.warn(f"{files.config_path}: tie_word_embeddings is true, but {files.path} has two "
                      "matrices of different numbers: both are used", stacklevel=3)
    params = Parameters(config, dtype)
    for name, tensor in tensors.items():        # a bias that the file does without stays 0
        array = params.arrays[name]
        place = array.T if transposed and name.endswith(".W") else array
        with np.errstate(over="ignore"):
            place[...] = safetensors.widened(tensor)
        if not np.isfinite(array).all():
            warnings.warn(f"{files.where(name)}: holds NaN or infinity", stacklevel=3)
    return params


class ModelFiles:
    """The files of a folder.

    path          the weights, or the index of their shards
    tensors       name -> array of all weights, by transformers' names without any prefix
    config_path   config.json
    fields        its object, {} where there is none
    model_type    "gpt2" or "openai-gpt"
    says_tied     config.json's tie_word_embeddings: True, False or None
    has_biases    whether any tensor is a bias
    """

    def __init__(self, folder):
        self.path, self.config_path = safetensors.find_weights(folder), folder / "config.json"
        metadata = {}
        tensors = safetensors.read_folder(folder, metadata)
        self.fields = read_config(self.config_path) if self.config_path.exists() else {}
        stamps = metadata.get(STAMP), self.fields.get(STAMP)
        if None not in stamps and stamps[0] != stamps[1]:
            raise ValueError(
                f"{self.config_path}: of another model than {self.path}, expected the two of one "
                "saving: two programs save to this folder, or one was stopped meanwhile. Save "
                f"again (or delete {STAMP!r} from config.json, if the two do belong together)")
        # "_orig_mod." is put first by torch.compile, "module." by DistributedDataParallel.
        shared = os.path.commonprefix(list(tensors)).rpartition(".")[0] + "."
        names = {name: name.removeprefix(shared).removeprefix("transformer.") for name in tensors}
        self.tensors = {short: tensors[name] for name, short in names.items()
                        if not BUFFERS.fullmatch(short)}
        is_gpt1 = "positions_embed.weight" in self.tensors
        self.model_type = self.fields.get("model_type", "openai-gpt" if is_gpt1 else "gpt2")
        check_choice(f"{self.config_path}: model_type", self.model_type, (*NORMS, *MINGPT))
        self.says_tied = self.fields.get("tie_word_embeddings")
        self.has_biases = any(name.endswith(".bias") for name in self.tensors)
        E = self.short_name("E")
        if E not in self.tensors and HEAD in self.tensors and self.says_tied is not False:
            self.tensors[E] = self.tensors.pop(HEAD)        # a tied matrix under its other name

    def short_name(self, name):
        return short_name(name, self.model_type)

    def where(self, name):
        """How an error message names our array `name`."""
        return f"{self.path}: tensor {show(self.short_name(name))}"

    def named(self, *names):
        """Our name -> tensor of these arrays. ValueError where one is missing."""
        missing = [short for name in names if (short := self.short_name(name)) not in self.tensors]
        if missing:
            others = sorted(name for name in self.tensors if not name.startswith("h."))
            raise ValueError(f"{self.path}: tensors missing: {show(missing)}; "
                             f"besides blocks, h.*, it has {show(others)}")
        return {name: self.tensors[self.short_name(name)] for name in names}

    def config(self, n_head):
        """The GPTConfig that the tensors' shapes and config.json, if any, agree on."""
        E, P = self.named("E", "P").values()
        if E.ndim != 2 or P.ndim != 2:
            raise ValueError(f"{self.path}: embeddings of shapes {E.shape} and {P.shape} given, "
                             "expected (V, D) and (block_size, D)")
        V, D = E.shape
        L = len({name.split(".")[1] for name in self.tensors if re.match(r"h\.[0-9]+\.", name)})
        field, activations = ACTIVATIONS[self.model_type]
        expected = {
            "vocab_size": [V], "n_positions": [len(P)], "n_embd": [D], "n_layer": [L],
            "n_inner": [None, 4 * D], field: list(activations)}
        if self.model_type == "gpt2":
            expected |= {name: [value] for name, value in ARITHMETIC.items()}
        for name, values in expected.items():
            if self.fields.get(name, values[0]) not in values:
                choices = " or ".join(map(repr, values))
                raise ValueError(f"{self.config_path}: {name} is {show(self.fields[name])}, "
                                 f"expected {choices} (to read {self.path})")
        sizes = dict(vocab_size=V, block_size=len(P), n_layer=L, n_embd=D,
                     n_head=self.n_head(n_head), tie_embeddings=self.is_tied())
        # nanoGPT's, known by the field `bias` of its model_args or by having none: the exact GELU
        is_nanogpt = "bias" in self.fields or not self.has_biases
        default = "gelu" if is_nanogpt or self.model_type == "openai-gpt" else "gelu_new"
        dropouts = {name: self.fields.get(name, 0.0) for name in DROPOUTS}
        try:
            return GPTConfig(
                **sizes, **dropouts, norm=NORMS[self.model_type],
                activation=activations[self.fields.get(field, default)],
                layer_norm_eps=self.fields.get("layer_norm_epsilon", 1e-5))
        except ValueError as error:
            raise ValueError(f"{self.config_path if self.fields else self.path}: {error}") from None

    def n_head(self, given):
        """H: what config.json says, or else what the caller does."""
        says = self.fields.get("n_head", given)
        if says is None:
            raise ValueError(
                f"n_head: not given, and {self.config_path} does not have it; the tensors are the "
                "same for any number of heads, so expected from_pretrained(folder, n_head=...)")
        if given not in (None, says):
            raise ValueError(f"n_head: {given!r} given, but {self.config_path} has {show(says)}")
        return says

    def is_tied(self):
        """Whether E is the head: unless config.json says no, or there is a head of other bits."""
        if self.says_tied is False:
            return False
        if HEAD not in self.tensors:
            return True
        E, head = self.named("E", "head").values()
        return E.shape == head.shape and all(
            row.tobytes() == head_row.tobytes() for row, head_row in zip(E, head))

    def tensors_of(self, config):
        """Our name -> tensor. A file without any bias is nanoGPT's: they are all 0."""
        names = [name for name in shapes(config)
                 if self.has_biases or not name.endswith((".b", ".bias"))]
        tensors = self.named(*names)
        extra = sorted(self.tensors.keys() - {self.short_name(name) for name in names} - {HEAD})
        if extra:
            raise ValueError(f"{self.path}: tensors not expected in a {self.model_type} of "
                             f"{config.n_layer} blocks: {show(extra)}")
        return tensors

    def check_layout(self, tensors, config):
        """Check shapes and dtypes -> whether every linear W is transposed, as in nn.Linear."""
        qkv = tensors.get("blocks.0.attention.qkv.W")           # (D, 3D), or transposed (3D, D)
        transposed = qkv is not None and qkv.shape[:1] > (config.n_embd,)
        shape_of = shapes(config)
        for name, tensor in tensors.items():
            shape, dtype = shape_of[name], safetensors.NAMES[tensor.dtype]
            expected = shape[::-1] if transposed and name.endswith(".W") else shape
            if tensor.shape != expected:
                raise ValueError(f"{self.where(name)}: shape {tensor.shape}, expected {expected}")
            check_choice(f"{self.where(name)}: dtype", dtype, ("F64", "F32", "F16", "BF16"))
        return transposed


def read_config(path):
    """config.json's object, without nulls, in transformers' names and with its defaults."""
    fields = safetensors.read_object(path)
    if isinstance(fields.get("model"), dict):
        fields = fields["model"]                                # minGPT's, of a complete run
    fields = {field: value for field, value in fields.items() if value is not None}
    if fields.get("model_type") in MINGPT:
        fields = PRESETS[fields["model_type"]] | fields | {"model_type": "gpt2"}
    if "dropout" in fields:                                     # nanoGPT's one for all three
        fields = dict.fromkeys(DROPOUTS, fields["dropout"]) | fields
    if "block_size" in fields:                                  # nanoGPT's and minGPT's
        fields = {"n_positions": fields["block_size"]} | fields
    check_flag(f"{path}: tie_word_embeddings", fields.get("tie_word_embeddings", False))
    return dict.fromkeys(DROPOUTS, 0.1) | fields
