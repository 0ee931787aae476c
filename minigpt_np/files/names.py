"""Hugging Face's names for our arrays. In a tied model wte and lm_head are one array."""

EMBEDDINGS = {"gpt2": {"E": "wte", "P": "wpe", "head": "lm_head"},
              "openai-gpt": {"E": "tokens_embed", "P": "positions_embed", "head": "lm_head"}}
MODULES = {"norm1": "ln_1", "attention.qkv": "attn.c_attn", "attention.out": "attn.c_proj",
           "norm2": "ln_2", "mlp.up": "mlp.c_fc", "mlp.down": "mlp.c_proj"}
LEAVES = {"W": "weight", "b": "bias", "gain": "weight", "bias": "bias"}
NORMS = {"gpt2": "pre", "openai-gpt": "post"}
MODEL_TYPES = {norm: model_type for model_type, norm in NORMS.items()}


def state_dict(params):
    """Hugging Face's name -> view of every array of `params`, parameters or gradients. No copies.

    As in PyTorch, a tied matrix is there under both its names: "transformer.wte.weight" and
    "lm_head.weight" are then one and the same array.
    """
    model_type = MODEL_TYPES[params.config.norm]
    arrays = params.arrays | {"head": params.head}
    return {("" if name == "head" else "transformer.") + short_name(name, model_type): array
            for name, array in arrays.items()}


def short_name(name, model_type):
    """Hugging Face's name for our array `name`, without the `transformer.` that some files omit."""
    if name in EMBEDDINGS[model_type]:
        return f"{EMBEDDINGS[model_type][name]}.weight"
    module, _, leaf = name.rpartition(".")
    if module == "norm":
        return f"ln_f.{LEAVES[leaf]}"
    _, i, module = module.split(".", 2)
    return f"h.{i}.{MODULES[module]}.{LEAVES[leaf]}"
