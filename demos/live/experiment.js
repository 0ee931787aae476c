"use strict";
// One sentence, learnt: vocabulary, start, training, and what each rung of the ladder spells.

function vocabularyOf(words) {  // the different words in their order, and one that never comes
  let never = DATA.never;
  while (words.includes(never)) never += "y";
  return [...new Set([...words, never])];
}

// one_page.py's new_parameters(V, T, D, L, np.random.default_rng(seed)); and a head, drawn last.
function newParameters(V, T, D, L, seed) {
  const numbers = normals(seed), next = () => 0.2 * numbers.next().value;
  const drawn = (rows, columns) => matrix(rows, columns, next);
  const ones = n => matrix(1, n, () => 1), zeros = n => matrix(1, n, () => 0);
  const params = [drawn(V, D), drawn(T, D)];
  for (let i = 0; i < L; i++) params.push(
    ones(D), zeros(D), drawn(D, 3 * D), zeros(3 * D), drawn(D, D), zeros(D),
    ones(D), zeros(D), drawn(D, 4 * D), zeros(4 * D), drawn(4 * D, D), zeros(D));
  params.push(ones(D), zeros(D));
  return {params, head: drawn(V, D)};
}

// saved[i]: parameters, loss and the two norms before step i of training.
function learn(text, tied, seed) {
  const words = text.split(" "), vocabulary = vocabularyOf(words);
  const row = words.map(word => vocabulary.indexOf(word));
  const run = {words, vocabulary, tied, seed, ids: row.slice(0, -1), targets: row.slice(1),
               saved: []};
  const {params, head} = newParameters(vocabulary.length, run.ids.length, DATA.D, 1, seed);
  for (let i = 0; i <= DATA.steps; i++) {
    const pass = lossAndGradient(run.ids, run.targets, params, DATA.H, tied ? params[0] : head);
    const kept = params.map(copy);
    run.saved.push({params: kept, head: tied ? kept[0] : copy(head), loss: pass.loss,
                    lookup: norm(pass.fromLookup), logits: norm(pass.fromLogits)});
    step(params, pass.grads, DATA.rate);
    if (!tied) step([head], [pass.dhead], DATA.rate);
  }
  return run;
}
const norm = a => Math.sqrt(a.flat().reduce((total, x) => total + x * x, 0));

/* Both passes at one step. silent: without the block.
   moved: null, or {matrix: "E" or "head", v, j, value}, a number that has been changed by hand. */
function look(run, at, silent, moved) {
  const {params, head} = parametersAt(run, at, silent, moved);
  const made = [], pass = lossAndGradient(run.ids, run.targets, params, DATA.H, head, made);
  return {...pass, made, params, head, E: params[0], rungs: rungsOf(made, params, head)};
}
function parametersAt(run, at, silent, moved) {
  const {params, head} = run.saved[at];
  const kept = silent ? [...params.slice(0, 2), ...params.slice(-2)] : params;
  if (!moved) return {params: kept, head};
  const old = moved.matrix === "E" ? params[0] : head, changed = copy(old);
  changed[moved.v][moved.j] = moved.value;
  const renewed = array => array === old ? changed : array;  // tied, head is E
  return {params: kept.map(renewed), head: renewed(head)};
}

// The residual stream at three places, each read with E (and with the head, if there is one).
function rungsOf(made, params, head) {
  const [gain, bias] = params.slice(-2), stream = made.filter(([name]) => name === "x");
  const spelled = (x, W) => {
    const h = plus(times(normalized(x, deviation(x)), gain), bias);
    return softmaxOf(exp(minusMax(product(h, transposed(W)))));
  };
  const rungs = [["E[ids] + P", "looked up"],
                 ["after atten\u00adtion", "block: + attention", "no attention"],
                 ["after the MLP", "block: + MLP", "no MLP"]];
  return rungs.map(([name, note, silenced], i) => {
    const x = stream[Math.min(i, stream.length - 1)][1];
    const readings = [{by: "E", probs: spelled(x, params[0])}];
    if (head !== params[0]) readings.push({by: "head", probs: spelled(x, head)});
    return stream[i] ? {name, note, readings} : {name: silenced, note: "silenced", readings};
  });
}
const best = probs => probs.indexOf(Math.max(...probs));
const count = ({probs}, tokens) => tokens.filter((v, t) => best(probs[t]) === v).length;

// How the loss changes with one number, by central differences: good to about ten digits.
function slope(run, at, silent, moved) {
  const e = 1e-5, [up, down] = [e, -e].map(by => {
    const {params, head} = parametersAt(run, at, silent, {...moved, value: moved.value + by});
    return lossAndGradient(run.ids, run.targets, params, DATA.H, head).loss;
  });
  return (up - down) / (2 * e);
}
