"use strict";
// The screen: the ladder, E, its gradient as a sum, the chosen number, the norms over training.
// page.js has `run`, what was learnt; `now`, both passes at a step; `state`, what is looked at.

const position = t => `${t} ${run.words[t]}`;
const positions = () => run.ids.map((_, t) => position(t));
const made = (name, nth = -1) => now.made.filter(([other]) => other === name).at(nth)[1];
const percent = p => `${Math.round(100 * p)}%`;

// What the ladder says, counted.
function drawLead() {
  const T = run.ids.length, box = $("lead");
  const [low, , high] = now.rungs.map(({readings}) => readings);
  const [read, next] = [count(low[0], run.ids), count(high.at(-1), run.targets)];
  box.replaceChildren(state.step
    ? `After ${state.step} steps of training on one sentence, in your browser: `
    : "This small GPT has learnt nothing yet: ");
  element("b", "lookup", `just looked up in E, ${read} of ${T} vectors spell the token read`, box);
  box.append(state.silent ? "; with the block now silenced, " : "; after the block, ");
  const E = run.tied ? "the same E" : "the other matrix";
  element("b", "logits", `${E} spells the token to come at ${next} of ${T}`, box);
  box.append(state.moved !== null ? ". One number was moved by hand."
    : state.silent ? ". (It was silenced after training.)"
    : !run.tied ? `. No logit trains E now. Two matrices end at loss ` +
      `${full(run.saved.at(-1).loss, 2)}, one at ${full(run.tiedLoss, 2)}: which is better, one ` +
      "sentence cannot decide."
    : Math.min(read, next) < 0.8 * T ? "."
    : `. So one matrix ${read + next < 2 * T ? "nearly " : ""}does both jobs: E is one ` +
      "alphabet, and the block turns one letter into the next.");
}

// ---- the ladder

const narrow = matchMedia("(max-width: 44rem)");  // there its foot is at the left

function drawLadder() {
  const {ids, targets, vocabulary} = run, across = !narrow.matches;
  const table = element("table", ids.length > 12 && across ? "many" : "");
  const th = (text, use, ofRow) =>
    Object.assign(element("th", use, text), {scope: ofRow === across ? "row" : "col"});
  const line = (head, cells, counts) => [head, ...cells,
    ...["lookup", "logits"].map((use, k) => element("td", `count ${use}`, counts?.[k]))];
  const plain = (label, use, tokens) =>
    line(th(label, use, true), tokens.map(v => element("td", `token ${use}`, vocabulary[v])));
  const rung = (name, note, {by, probs}) => {
    const head = th(name, "", true);
    element("small", "", run.tied ? note : `${by} spells`, head);
    return line(head, probs.map((p, t) => {
      const v = best(p), read = v === ids[t], next = v === targets[t];
      const use = read && next ? "sum" : read ? "lookup" : next ? "logits" : "";
      const cell = element("td", `cell spelled positive ${use}`, vocabulary[v]);
      element("small", "", percent(p[v]), cell);
      cell.style.setProperty("--a", p[v].toFixed(3));
      return cell;
    }), [ids, targets].map(tokens => count({probs}, tokens)));
  };
  const lines = [
    plain("token read", "lookup", ids),
    ...now.rungs.flatMap(({name, note, readings}) => readings.map(at => rung(name, note, at))),
    plain("token to come", "logits", targets)];
  const first = [element("td"), ...ids.map((_, t) => th(t, "", false)),
                 ...["read", "next"].map(text => th(text, "count", false))];
  const grid = [first, ...(across ? lines.reverse() : lines)];
  for (const cells of across ? grid : transposed(grid))
    element("tr", "", "", table).append(...cells);
  table.setAttribute("aria-label", "The ladder: what each position's vector spells on its way");
  $("ladder").replaceChildren(table);
}

// ---- E and dE

const choose = matrix => (v, j) => {
  if ([matrix, v, j].join() !== Object.values(state.cell).join()) change({cell: {matrix, v, j}});
};
const gradients = () => run.tied ? [
  {id: "dE", values: now.grads[0], use: "sum", size: "gradient of E"},
  {id: "lookup", values: now.fromLookup, use: "lookup", sign: "=", size: "one_hotᵀ dx"},
  {id: "logits", values: now.fromLogits, use: "logits", sign: "+", size: "dlogitsᵀ h"}] : [
  {id: "dE", values: now.grads[0], use: "lookup", size: "one_hotᵀ dx"},
  {id: "dhead", values: now.dhead, use: "logits", size: "dlogitsᵀ h"}];

function drawMatrices() {
  const rows = run.vocabulary, size = `${rows.length} tokens × ${DATA.D}`, items = gradients();
  for (const name of run.tied ? ["E"] : ["E", "head"])
    drawArray($(name), {name, values: now[name], rows, size, choose: choose(name)});
  $("head").hidden = run.tied;
  if ($("sums").children.length !== items.length) $("sums").replaceChildren();
  const scale = largest(items.flatMap(item => item.values));
  drawEquation($("sums"), items.map(item =>
    ({...item, name: item.id, rows, scale, choose: choose(item.id)})), false);
}

// ---- the chosen number

const ACCUMULATE = [["①", "dE += dlogits"], ["②", "dE += one_hot"]];  // in the order of backward
function sources({matrix}) {  // the lines of one_page.py that make this number's gradient
  const one = {head: 0, dhead: 0, logits: 0, lookup: 1}[matrix] ?? (run.tied ? null : 1);
  return ACCUMULATE.filter((_, n) => one === null || n === one)
    .map(([mark, line]) => `${mark} ${codeOf(lineOf(line))}`);
}
const lineOf = begin => DATA.lines.findIndex(text => text.trim().startsWith(begin));
const matrixOf = ({matrix}) => /head/.test(matrix) ? "head" : "E";  // whose number it is
const chosen = () => ({...state.cell, matrix: matrixOf(state.cell)});
const moved = () => state.moved === null ? null : {...chosen(), value: state.moved};

function termsOf({matrix, v, j}) {
  const [lookup, logits] = [now.fromLookup[v][j], now.fromLogits[v][j]];
  if (run.tied && ["E", "dE"].includes(matrix))
    return [[["lookup", lookup], ["logits", logits]], now.grads[0][v][j]];
  if (["E", "dE", "lookup"].includes(matrix))
    return [run.ids.flatMap((id, t) => id === v ? [[position(t), made("dx")[t][j]]] : []), lookup];
  return [positions().map((at, t) => [at, made("dlogits")[t][v], made("h")[t][j]]), logits];
}

function drawNumber() {
  const {matrix, v, j} = state.cell, W = matrixOf(state.cell), at = `[${run.vocabulary[v]}, ${j}]`;
  const saved = run.saved[state.step], kept = (W === "E" ? saved.params[0] : saved.head)[v][j];
  const value = state.moved ?? kept, d = (W === "E" ? now.grads[0] : now.dhead)[v][j];
  $("name").textContent = `${W}${at} =`;
  if ($("value") !== document.activeElement) $("value").value = +value.toPrecision(4);
  $("put-back").hidden = state.moved === null;
  const by = slope(run, state.step, state.silent, {matrix: W, v, j, value});
  $("slopes").replaceChildren();
  const {use} = gradients().find(({id}) => id === `d${W}`);
  const slopes = [["slope, by differences", by], [`d${W}${at}, by backward`, d, use]];
  for (const [name, number, of] of slopes) {
    const row = element("tr", "", "", $("slopes"));
    element("th", of, name, row);
    element("td", "", signed(number.toPrecision(6)), row);
  }
  const what = ["E", "head"].includes(matrix) ? `d${matrix}` : matrix;
  $("terms").replaceChildren(element("h3", "", `${what}${at} is the sum of`));
  drawTerms($("terms"), ...termsOf(state.cell));
  $("sources").textContent = sources(state.cell).join("\n");
  const ids = [...(run.tied ? [] : ["head"]), "E", ...gradients().map(({id}) => id)];
  const tables = [...document.querySelectorAll(":is(#head:not([hidden]), #E, #sums) table")];
  const cells = tables.map(table => table.cells[v][j]), cell = cells[ids.indexOf(matrix)];
  mark(cell, cells.filter(other => other !== cell));
}

// ---- training

function drawTrack() {
  const svg = $("track"), {saved} = run;
  const logs = saved.flatMap(at => [at.lookup, at.logits]).filter(Boolean).map(Math.log);
  const [low, high] = [Math.min(...logs), Math.max(...logs)];
  const y = n => n ? 37 - 34 * (Math.log(n) - low) / (high - low || 1) : 40;
  svg.replaceChildren();
  for (const use of ["lookup", "logits"]) drawing("polyline", {class: use,
    points: saved.map((at, i) => [400 * i / DATA.steps, y(at[use])]).join(" ")}, svg);
}
function drawStep() {
  const [lookup, logits] = [now.fromLookup, now.fromLogits].map(norm);
  const {step} = state, box = $("loss");
  Object.assign($("step"), {max: DATA.steps, value: step});
  $("step").setAttribute("aria-valuetext", `step ${step}, loss ${full(now.loss)}`);
  const p = percent(Math.exp(-now.loss));
  box.replaceChildren(
    element("span", "", `step ${step}, loss ${now.loss.toFixed(4)}: the right token gets ${p}`));
  const norms = element("span", "", run.tied ? "norms of dE's parts: " : "norms: ", box);
  element("b", "lookup", `${run.tied ? "lookup" : "dE"} ${full(lookup, 2)}`, norms);
  norms.append(" ");
  element("b", "logits", `${run.tied ? "logits" : "dhead"} ${full(logits, 2)}`, norms);
}
