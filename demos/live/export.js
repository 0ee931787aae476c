"use strict";
// What leaves the page, as text: a program in Python, and a figure.

// A program that prints the screen's digits: by one_page.py if tied, by the package if not.
function asPython(run, at, silent, moved, {matrix, v, j}) {
  const quote = JSON.stringify, place = `[vocabulary.index(${quote(run.vocabulary[v])}), ${j}]`;
  const [W, dW] = run.tied ? ["params[0]", "gradients[0]"]
    : [`model.params.${matrix}`, `gradients.${matrix}`];
  const setup = `# Run it from the repository's folder.
import sys
sys.path.insert(0, "demos")
import numpy as np
from one_page import D, H, L, LEARNING_RATE, loss_and_gradient, new_parameters

words = ${quote(run.words.join(" "))}.split()
vocabulary = list(dict.fromkeys([*words, ${quote(run.vocabulary.at(-1))}]))
row = np.array([vocabulary.index(word) for word in words])
ids, targets, V, T = row[:-1], row[1:], len(vocabulary), len(row) - 1
rng = np.random.default_rng(${run.seed})
params = new_parameters(V, T, D, L, rng)
`;
  const tied = `
for _ in range(${at}):
    for array, gradient in zip(params, loss_and_gradient(ids, targets, params, H)[1]):
        array -= LEARNING_RATE * gradient
${silent ? "params[2:-2] = []  # the block silenced\n" : ""}`;
  const untied = `from minigpt_np import GPT, GPTConfig
params.append(rng.normal(0, 0.2, (V, D)))  # the head
model = GPT(GPTConfig(V, T, L, H, D, tie_embeddings=False), dtype=np.float64)
for theirs, ours in zip(model.params.arrays.values(), params, strict=True):
    theirs[...] = ours

def loss_and_gradients(model):
    _, loss, cache = model.forward(ids[None], targets[None])
    return loss, model.backward(cache)

for _ in range(${at}):
    model.params.flat -= LEARNING_RATE * loss_and_gradients(model)[1].flat
${silent ? `# the block silenced
silent = GPT(GPTConfig(V, T, 0, H, D, tie_embeddings=False), dtype=np.float64)
for name, array in silent.params.arrays.items():
    array[...] = model.params.arrays[name]
model = silent
` : ""}`;
  const pass = run.tied ? "loss_and_gradient(ids, targets, params, H)"
    : "loss_and_gradients(model)";
  return `${setup}${run.tied ? tied : untied}${moved ? `${W}${place} = ${moved.value}\n` : ""}
loss, gradients = ${pass}
print("loss", loss)
print(${quote(`${matrix}[${run.vocabulary[v]}, ${j}]`)}, ${W}${place})
print(${quote(`d${matrix}[${run.vocabulary[v]}, ${j}]`)}, ${dW}${place})
`;
}

/* A figure of boxes: x, y, width, height; a cell's fill, ink and sign ("negative" is underlined,
   "zero" a dot), or a text with its ink and fonts. */
function asSVG(width, height, boxes) {
  const tag = (name, attributes, text = "") => {
    const escaped = value => String(value).replace(/[<>&"]/g, c => `&#${c.charCodeAt()};`);
    const given = Object.entries(attributes).map(([key, value]) => ` ${key}="${escaped(value)}"`);
    return `<${name}${given.join("")}>${escaped(text)}</${name}>\n`;
  };
  const drawn = boxes.map(({x, y, width, height, fill, sign, text, ink, fonts}) => {
    if (text) return tag("text", {x, y: y + 0.78 * height, fill: ink, ...fonts}, text);
    const cell = tag("rect", {x, y, width, height, fill, rx: 2});
    const middle = {cx: x + width / 2, cy: y + height / 2};
    const foot = `M${x},${y + height - 1}h${width}`;
    return sign === "negative" ? cell + tag("path", {d: foot, stroke: ink})
      : sign === "zero" ? cell + tag("circle", {...middle, r: 1.5, fill: ink}) : cell;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">
${drawn.join("")}</svg>
`;
}
