"""A clock with one matrix: E, written by hand, is looked up and predicts the next hour, untrained.

    python demos/clock.py                   # read it first: the whole model is clock()

Row v of E is (cos, -cos, sin, -sin) of hour v's angle. A row's largest product is with itself, so E
alone would repeat each hour. The one block turns the vector that was looked up by one hour, and
the same E reads the next hour from it. So one matrix can do both jobs, and the block does the turn.
Attention is 0. The MLP is linear, because GELU(x) - GELU(-x) = x. LayerNorm only divides by one
number, because every row has mean 0 and the same length.

This is not a special case. Any two matrices A and B of width D fit into one E of width 2D + 2 with
the rows (A[v], B[v], a, b), where a and b give all rows mean 0 and one length. With a block that
swaps the two halves, and a final gain of 0 outside the second, the logits are A[u] · B[v]. E then
has about as many numbers as A and B together, and the block, being twice as wide, four times as
many as one of width D. tests/core/test_what_one_E_can.py builds it for any A and B.
"""
import numpy as np

from lib.terminal import run
from minigpt_np import GPT, GPTConfig

HOURS, D = 12, 4
TURN = 2 * np.pi / HOURS


def clock(gain):
    """The tied model, every number of it written here; `gain` is the final LayerNorm's."""
    model = GPT(GPTConfig(HOURS, HOURS, n_layer=1, n_head=1, n_embd=D), dtype=np.float64)
    params, block = model.params, model.params.blocks[0]
    params.flat[...] = 0                                    # P, attention and the biases stay 0
    angle = TURN * np.arange(HOURS)
    params.E[...] = np.stack([np.cos(angle), -np.cos(angle), np.sin(angle), -np.sin(angle)], axis=1)
    block.norm2.gain[...] = 1
    params.norm.gain[...] = gain

    rotation = [[np.cos(TURN), np.sin(TURN)], [-np.sin(TURN), np.cos(TURN)]]
    turn = np.kron(rotation, np.eye(2))                     # (D, D): E[v] @ turn = E[v + 1]
    std = np.sqrt(1 / 2 + model.config.layer_norm_eps)      # of each row of E
    change = std * (turn - np.eye(D))                       # E[v] / std @ change = E[v + 1] - E[v]
    block.mlp.up.W[:, :2 * D] = np.hstack([np.eye(D), -np.eye(D)])
    block.mlp.down.W[:2 * D] = np.vstack([change, -change])     # GELU(x) - GELU(-x) = x
    return model


def silence_mlp(model):
    """Set the MLP's output to 0, so that E reads what was looked up in E -> the model."""
    model.params.blocks[0].mlp.down.W[...] = 0
    return model


def main():
    ids = np.arange(HOURS)[None]                            # (1, T): a position for each hour
    models = {"gain 1": clock(1), "gain 10": clock(10), "gain 100": clock(100),
              "MLP off": silence_mlp(clock(1))}
    passes = [model.forward(ids, (ids + 1) % HOURS) for model in models.values()]

    print("Each hour is looked up in E. Which hour does the same E then find likeliest?\n")
    print("hour    cos  -cos   sin  -sin    " + "".join(f"{name:>11}" for name in models))
    for v, row in enumerate(models["gain 1"].params.E):
        hand = "".join(f"{number:6.2f}" for number in row.round(2) + 0.0)
        said = "".join(f"{logits[0, v].argmax() or HOURS:11}" for logits, _, _ in passes)
        print(f"{v or HOURS:4} {hand}    {said}")
    print(f"{'loss of the next hour':33}" + "".join(f"{loss:11.3f}" for _, loss, _ in passes))


if __name__ == "__main__":
    run(main)
