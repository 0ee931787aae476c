"use strict";
// The GPT of ../one_page.py, line for line: forwards, backwards, and a step of gradient descent.
// A matrix is an array of rows, a vector (D,) a matrix of one row, an array (H, T, K) H matrices.

const EPS = 1e-5, C = Math.sqrt(2 / Math.PI), A = 0.044715;

// ---- matrices

function matrix(rows, columns, f) {
  const out = [];
  for (let i = 0; i < rows; i++) {
    const r = [];
    for (let j = 0; j < columns; j++) r.push(f(i, j));
    out.push(r);
  }
  return out;
}
const zerosLike = a => a.map(r => r.map(() => 0));
const copy = a => a.map(r => r.slice());
const transposed = a => a[0].map((_, j) => a.map(r => r[j]));
const columns = (a, from, to) => a.map(r => r.slice(from, to));

function each(f, a, b = 0) {  // f(a[i][j], b[i][j]); b: like a, a row, a column or a number
  if (typeof b === "number") b = [[b]];
  const tall = b.length > 1, wide = b[0].length > 1, n = a[0].length, out = [];
  for (let i = 0; i < a.length; i++) {
    const x = a[i], y = b[tall ? i : 0], r = new Array(n);
    for (let j = 0; j < n; j++) r[j] = f(x[j], y[wide ? j : 0]);
    out.push(r);
  }
  return out;
}
const plus = (a, b) => each((x, y) => x + y, a, b);
const minus = (a, b) => each((x, y) => x - y, a, b);
const times = (a, b) => each((x, y) => x * y, a, b);
const over = (a, b) => each((x, y) => x / y, a, b);
const exp = a => each(Math.exp, a);

function product(a, b) {  // a @ b
  const n = b[0].length, out = [];
  for (const x of a) {
    const r = new Array(n).fill(0);
    for (let k = 0; k < x.length; k++) {
      const y = b[k], xk = x[k];
      for (let j = 0; j < n; j++) r[j] += xk * y[j];
    }
    out.push(r);
  }
  return out;
}
function accumulate(total, a) {  // total[:len(a)] += a, in place
  a.forEach((r, i) => { for (let j = 0; j < r.length; j++) total[i][j] += r[j]; });
}
const reduced = (a, f, first) => a.map(r => [r.reduce(f, first)]);  // (R, C) -> (R, 1)
const rowMax = a => reduced(a, (x, y) => Math.max(x, y), -Infinity);
const rowSum = a => reduced(a, (x, y) => x + y, 0);
const rowMean = a => over(rowSum(a), a[0].length);  // a @ mean
const sum0 = a => product([a.map(() => 1)], a);  // a.sum(0)
const beside = list => list[0].map((_, i) => list.flatMap(a => a[i]));

const normalized = (x, std) => over(minus(x, rowMean(x)), std);
const variance = x => rowMean(each(u => u * u, minus(x, rowMean(x))));
const deviation = x => each(Math.sqrt, plus(variance(x), EPS));
const minusMax = a => minus(a, rowMax(a));
const softmaxOf = exps => over(exps, rowSum(exps));
const layerNormBackward = (dxhat, xhat, std) =>
  over(minus(minus(dxhat, rowMean(dxhat)), times(xhat, rowMean(times(dxhat, xhat)))), std);

/* ids, targets: T tokens each. params: [E, P, 12 arrays a block, gain, bias]. H heads. head: E
   itself (tied), or a matrix of its own. made: a list to which every [name, array] is added, in the
   order of one_page.py's lines. Returns the loss, gradients in the order of params, dhead, and the
   two contributions to dE. */
function lossAndGradient(ids, targets, params, H, head = params[0], made = null) {
  const [E, P, ...arrays] = params, [gain, bias] = arrays.splice(-2);
  const blocks = arrays.flatMap((_, i) => i % 12 ? [] : [arrays.slice(i, i + 12)]);
  const T = ids.length, V = E.length, D = E[0].length, K = D / H, heads = [...Array(H).keys()];
  const saved = [], keep = arrays => { made?.push(...Object.entries(arrays)); return arrays; };
  const oneHotOf = tokens => matrix(T, V, (t, v) => +(tokens[t] === v));
  const split = (a, from) => heads.map(h => columns(a, from + h * K, from + h * K + K));

  // forwards
  const one_hot = oneHotOf(ids);
  let x = plus(product(one_hot, E), P.slice(0, T));
  keep({one_hot, x});
  for (const block of blocks) {
    const [gain1, bias1, Wqkv, bqkv, Wout, bout, gain2, bias2, Wup, bup, Wdown, bdown] = block;
    const std1 = deviation(x), xhat1 = normalized(x, std1);
    const n1 = plus(times(xhat1, gain1), bias1);
    const qkv = plus(product(n1, Wqkv), bqkv);
    const [q, k, v] = [0, D, 2 * D].map(from => split(qkv, from));
    const scores = heads.map(h => product(q[h], transposed(k[h])).map((r, t) =>
      r.map((score, s) => s > t ? -Infinity : score / Math.sqrt(K))));  // causal_mask
    const exp_scores = scores.map(s => exp(minusMax(s)));
    const weights = exp_scores.map(softmaxOf);
    const y = heads.map(h => product(weights[h], v[h])), mixed = beside(y);
    x = plus(plus(x, product(mixed, Wout)), bout);
    const kept = keep({std1, xhat1, n1, qkv, q, k, v, scores, exp_scores, weights, y, mixed, x});
    const std2 = deviation(x), xhat2 = normalized(x, std2);
    const n2 = plus(times(xhat2, gain2), bias2);
    const hidden = plus(product(n2, Wup), bup);
    const inner = each(u => C * (u + A * u * u * u), hidden);
    const tanh = each(Math.tanh, inner);
    const active = each((u, th) => u * (1 + th) / 2, hidden, tanh);
    x = plus(plus(x, product(active, Wdown)), bdown);
    saved.push({...kept, ...keep({std2, xhat2, n2, hidden, inner, tanh, active, x})});
  }
  const std = deviation(x), xhat = normalized(x, std);
  const h = plus(times(xhat, gain), bias);
  const logits = product(h, transposed(head));
  const exp_logits = exp(minusMax(logits)), probs = softmaxOf(exp_logits);
  const loss = -targets.reduce((total, target, t) => total + Math.log(probs[t][target]), 0) / T;
  keep({std, xhat, h, logits, exp_logits, probs, loss: [[loss]]});

  // backwards
  const dE = zerosLike(E), dP = zerosLike(P), dhead = head === E ? dE : zerosLike(head);
  const dlogits = over(minus(probs, oneHotOf(targets)), T);
  keep({dE: copy(dE), dP: copy(dP), dlogits});
  const fromLogits = product(transposed(dlogits), h);
  accumulate(dhead, fromLogits);  // ①
  const dh = product(dlogits, head);
  const dgain = sum0(times(dh, xhat)), dbias = sum0(dh), dxhat = times(dh, gain);
  let dx = layerNormBackward(dxhat, xhat, std), dblocks = [];
  keep({dE: copy(dhead), dh, dgain, dbias, dxhat, dx});
  for (const [i, block] of [...blocks.entries()].reverse()) {
    const [gain1, bias1, Wqkv, bqkv, Wout, bout, gain2, bias2, Wup, bup, Wdown, bdown] = block;
    const {std1, xhat1, n1, q, k, v, weights, mixed} = saved[i];
    const {std2, xhat2, n2, hidden, tanh, active} = saved[i];
    const dWdown = product(transposed(active), dx), dbdown = sum0(dx);
    const dactive = product(dx, transposed(Wdown));
    const dtanh = each((d, u) => d * u / 2, dactive, hidden);
    const dinner = each((d, th) => d * (1 - th * th), dtanh, tanh);
    const dhidden = plus(each((d, th) => d * (1 + th) / 2, dactive, tanh),
      each((d, u) => d * C * (1 + 3 * A * u * u), dinner, hidden));
    const dWup = product(transposed(n2), dhidden), dbup = sum0(dhidden);
    const dn2 = product(dhidden, transposed(Wup));
    const dgain2 = sum0(times(dn2, xhat2)), dbias2 = sum0(dn2), dxhat2 = times(dn2, gain2);
    dx = plus(dx, layerNormBackward(dxhat2, xhat2, std2));
    keep({dWdown, dbdown, dactive, dtanh, dinner, dhidden, dWup, dbup, dn2, dgain2, dbias2,
          dxhat2, dx});
    const dWout = product(transposed(mixed), dx), dbout = sum0(dx);
    const dmixed = product(dx, transposed(Wout)), dy = split(dmixed, 0);
    const dweights = heads.map(h => product(dy[h], transposed(v[h])));
    const dv = heads.map(h => product(transposed(weights[h]), dy[h]));
    const dscores = heads.map(h =>
      times(minus(dweights[h], rowSum(times(weights[h], dweights[h]))), weights[h]));
    const dq = heads.map(h => over(product(dscores[h], k[h]), Math.sqrt(K)));
    const dk = heads.map(h => over(product(transposed(dscores[h]), q[h]), Math.sqrt(K)));
    const dqkv = beside([...dq, ...dk, ...dv]);
    const dWqkv = product(transposed(n1), dqkv), dbqkv = sum0(dqkv);
    const dn1 = product(dqkv, transposed(Wqkv));
    const dgain1 = sum0(times(dn1, xhat1)), dbias1 = sum0(dn1), dxhat1 = times(dn1, gain1);
    dx = plus(dx, layerNormBackward(dxhat1, xhat1, std1));
    keep({dWout, dbout, dmixed, dy, dweights, dv, dscores, dq, dk, dqkv, dWqkv, dbqkv, dn1,
          dgain1, dbias1, dxhat1, dx});
    dblocks = [dgain1, dbias1, dWqkv, dbqkv, dWout, dbout,
               dgain2, dbias2, dWup, dbup, dWdown, dbdown, ...dblocks];
  }
  accumulate(dP, dx);
  const fromLookup = product(transposed(one_hot), dx);
  accumulate(dE, fromLookup);  // ②
  keep({dP: copy(dP), dE: copy(dE)});
  return {loss, grads: [dE, dP, ...dblocks, dgain, dbias], dhead, fromLogits, fromLookup};
}

// One step of plain gradient descent, in place: against the gradient.
function step(params, grads, rate) {
  params.forEach((array, i) => accumulate(array, times(grads[i], -rate)));
}
