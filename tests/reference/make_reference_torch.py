"""Makes tests/reference/torch.json: what PyTorch and transformers say of three small models.

    pip install torch==2.13.0 transformers==5.23.0 && python tests/reference/make_reference_torch.py

GPT-2's architecture tied and untied, and GPT-1's. float64, so both sides can agree to rounding.
Written under this project's names; both keep a linear layer's weight as (D_in, D_out).
"""
import json
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, OpenAIGPTConfig, OpenAIGPTLMHeadModel

V, D, L, H, BLOCK, EPS = 7, 4, 2, 2, 6, 1e-5
IDS = [[3, 1, 3, 3, 0, 6], [5, 3, 2, 0, 0, 1]]
TARGETS = [[1, 3, 3, 0, 6, -1], [-1, 2, 0, 0, 1, 4]]
LR, BETAS, ADAM_EPS, DECAY, CLIP, STEPS = 1e-2, (0.9, 0.95), 1e-8, 0.1, 1.0, 10
DROPOUTS = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)


def gpt2(tied):
    config = GPT2Config(vocab_size=V, n_positions=BLOCK, n_embd=D, n_layer=L, n_head=H,
                        layer_norm_epsilon=EPS, tie_word_embeddings=tied, **DROPOUTS)
    model = GPT2LMHeadModel(config)
    t = model.transformer
    names = {"E": t.wte.weight, "P": t.wpe.weight,
             "norm.gain": t.ln_f.weight, "norm.bias": t.ln_f.bias}
    return model, names, t.h


def gpt1(tied):
    config = OpenAIGPTConfig(vocab_size=V, n_positions=BLOCK, n_embd=D, n_layer=L, n_head=H,
                             layer_norm_epsilon=EPS, tie_word_embeddings=tied, **DROPOUTS)
    model = OpenAIGPTLMHeadModel(config)
    t = model.transformer
    return model, {"E": t.tokens_embed.weight, "P": t.positions_embed.weight}, t.h


def named(names, blocks, model, tied):
    for i, b in enumerate(blocks):
        for ours, theirs in {"attention.qkv": b.attn.c_attn, "attention.out": b.attn.c_proj,
                             "mlp.up": b.mlp.c_fc, "mlp.down": b.mlp.c_proj}.items():
            names[f"blocks.{i}.{ours}.W"] = theirs.weight
            names[f"blocks.{i}.{ours}.b"] = theirs.bias
        for ours, theirs in {"norm1": b.ln_1, "norm2": b.ln_2}.items():
            names[f"blocks.{i}.{ours}.gain"] = theirs.weight
            names[f"blocks.{i}.{ours}.bias"] = theirs.bias
    assert (model.lm_head.weight is names["E"]) == tied
    if not tied:
        names["head"] = model.lm_head.weight
    assert len(names) == len(list(model.parameters()))
    return names


def loss_of(logits):
    return torch.nn.functional.cross_entropy(logits.reshape(-1, V), torch.tensor(TARGETS).ravel(),
                                             ignore_index=-1)


def reference(make, tied, seed):
    torch.manual_seed(seed)
    model, names, blocks = make(tied)
    model = model.double().train()
    names = named(names, blocks, model, tied)
    with torch.no_grad():
        for name, p in names.items():
            p.copy_(torch.randn_like(p) * 0.7 + name.endswith(".gain"))
    numbers = lambda values: {name: x.detach().tolist() for name, x in values.items()}
    found = {"weights": numbers(names)}

    logits = model(torch.tensor(IDS)).logits
    loss = loss_of(logits)
    loss.backward()
    found |= {"logits": logits.detach().tolist(), "loss": loss.item(),
              "gradients": numbers({name: p.grad for name, p in names.items()})}

    decayed = [p for name, p in names.items() if name.endswith(".W") or name == "head"]
    rest = [p for name, p in names.items() if not (name.endswith(".W") or name == "head")]
    adamw = torch.optim.AdamW([{"params": decayed, "weight_decay": DECAY},
                               {"params": rest, "weight_decay": 0.0}],
                              lr=LR, betas=BETAS, eps=ADAM_EPS)
    found["losses"], found["norms"] = [], []
    for _ in range(STEPS):
        adamw.zero_grad()
        loss = loss_of(model(torch.tensor(IDS)).logits)
        loss.backward()
        found["losses"].append(loss.item())
        found["norms"].append(torch.nn.utils.clip_grad_norm_(list(names.values()), CLIP).item())
        adamw.step()
    return found | {"weights_after": numbers(names)}


if __name__ == "__main__":
    result = {
        "config": dict(vocab_size=V, block_size=BLOCK, n_layer=L, n_head=H, n_embd=D,
                       layer_norm_eps=EPS),
        "ids": IDS, "targets": TARGETS,
        "adamw": dict(lr=LR, betas=BETAS, eps=ADAM_EPS, weight_decay=DECAY),
        "clip": CLIP, "steps": STEPS,
        "models": {"GPT-2, tied": reference(gpt2, True, 0),
                   "GPT-2, untied": reference(gpt2, False, 1),
                   "GPT-1, tied": reference(gpt1, True, 2)}}
    norms = [norm for model in result["models"].values() for norm in model["norms"]]
    assert max(norms) > CLIP > min(norms), "clipping is not exercised"
    out = Path(__file__).parent / "torch.json"
    out.write_text(json.dumps(result, separators=(",", ":")) + "\n")
